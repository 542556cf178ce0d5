"""Everything that is kept on disk, damaged in every way: what comes of it is the same result, or made again.

Each `Target` is made once, whole; each damage is done to a copy of it, then a user asks for it twice.
"""

import gc
import json
import os
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import nbformat
import torch
from safetensors.torch import save_file

from emoser_lib.corpora.corpus import LABELS
from emoser_lib.errors import EmoserError
from emoser_lib.experiments.runs import runner
from emoser_lib.experiments.runs.answers import ANSWERS
from emoser_lib.experiments.runs.profiles import PlannedRun
from emoser_lib.experiments.runs.records import RunStatus
from emoser_lib.experiments.runs.settling import settle
from emoser_lib.experiments.training.cells import Cell, kept_cell
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.files import file_sha256, remove
from emoser_lib.systems.declared import Queries, Training
from emoser_lib.systems.fitting import Trained, fit, trained_parameters
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache
from emoser_lib.systems.qwen_audio.conversion import converted
from tests import tiny

SECONDS = 60
"""After which an answer counts as never."""


@dataclass(frozen=True)
class Target:
    """Something that is kept.

    Attributes:
        make: writes it into a folder, whole.
        ask: what a user gets of it, comparable; the same as at first, whatever was damaged.
        damaged: the files and folders in it that are damaged, relative.
    """

    make: Callable[[Path], None]
    ask: Callable[[Path], Any]
    damaged: Callable[[Path], list[Path]]


# The ways. Each changes a file, or what stands in a folder's place; False: it cannot be done to this one.


def gone(path: Path) -> None:
    """A purged scratch disk."""
    remove(path)


def emptied(path: Path) -> None:
    """A power cut, a quota."""
    path.write_bytes(b"")


def cut(path: Path) -> None:
    """A partial copy."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeroed(path: Path) -> None:
    """A power cut on a file system that had the length already."""
    path.write_bytes(bytes(path.stat().st_size))


def one_bit(path: Path) -> None:
    """A disk that is old."""
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 4
    path.write_bytes(bytes(content))


def edited(path: Path) -> None:
    """Somebody's editor: the last digit that is not in a name becomes another one; other files get a line more."""
    content = path.read_bytes()
    at = max(content.rfind(b"%d" % digit) for digit in range(10))
    turned = b"%d" % ((content[at] - ord("0") + 1) % 10) if at >= 0 else b""
    text = path.suffix in (".json", ".jsonl", ".ipynb", ".jinja")
    path.write_bytes(content[:at] + turned + content[at + 1 :] if text and turned else content + b"\n")


def braces(path: Path) -> None:
    """A program that began to write."""
    path.write_bytes(b"{}\n")


def doubled(path: Path) -> None:
    """A copy that went on at the wrong place."""
    path.write_bytes(path.read_bytes() * 2)


def a_folder(path: Path) -> None:
    remove(path)
    (path / "inside").mkdir(parents=True)


def a_loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path)


def a_pipe(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def a_file(path: Path) -> None:
    remove(path)
    path.write_bytes(b"x")


OF_FILES = (gone, emptied, cut, zeroed, one_bit, edited, braces, doubled, a_folder, a_loop, a_pipe)
OF_EMPTY_FILES = (gone, braces, a_folder, a_loop, a_pipe)
OF_FOLDERS = (gone, a_file, a_loop, a_pipe)


def ways(path: Path) -> tuple[Callable[[Path], None], ...]:
    """How this file or folder can be damaged."""
    if path.is_dir():
        return OF_FOLDERS
    return OF_FILES if path.stat().st_size else OF_EMPTY_FILES


# A training that was stopped after its second checkpoint.

TRAINING = Training(epochs=3, batch_size=2, learning_rate=1e-2)
MAPPER = Queries(queries=4, layers=1, heads=2, width=32, mlp=32, dropout=0.3)


class Stop(Exception):
    """The training is stopped here."""


def _task(stop_at: int = 0) -> Any:
    task = tiny.task(tiny.llm("llama"), MAPPER, tiny.examples())
    loss, steps = task.loss, iter(range(1, 10_000))

    def stopping(batch: Any, items: float) -> Any:
        if next(steps) == stop_at:
            raise Stop
        return loss(batch, items)

    task.loss = stopping
    return task


def _trained(folder: Path, stop_at: int = 0, epochs: int = TRAINING.epochs) -> tuple[Any, Trained]:
    task = _task(stop_at)
    return task, fit(task, replace(TRAINING, epochs=epochs), folder, save_steps=2)


def stopped_training(folder: Path) -> None:
    try:
        _trained(folder / "cell" / "training", stop_at=6)
    except Stop:
        return


def go_on(folder: Path) -> Any:
    task, trained = _trained(folder / "cell" / "training")
    weights = {name: values.tolist() for name, values in trained_parameters(task.model).items()}
    return trained.scores.tolist(), weights


def of_checkpoints(folder: Path) -> list[Path]:
    newest = folder / "cell" / "training" / "checkpoint-4"
    return [*sorted(newest.iterdir()), newest, newest.parent]


# A cell: a training that came to its end.


def cell_of(folder: Path, number: int = 0, epochs: int = TRAINING.epochs) -> Cell:
    """One of several."""

    def run(place: Path) -> Trained:
        task, trained = _trained(place / "training", epochs=epochs)
        save_file(trained_parameters(task.model), place / "trained.safetensors")
        return trained

    return kept_cell({"number": number}, __name__, ["a", "b", "c", "d"], LABELS[:3], run, folder)


def finished_cell(folder: Path) -> Any:
    cell = cell_of(folder)
    return cell.epochs, cell.ids, file_sha256(folder / cell.key / "trained.safetensors")


def of_the_only_folder(folder: Path) -> list[Path]:
    [place] = [path for path in folder.iterdir() if path.is_dir()]
    return [*sorted(path for path in place.iterdir() if path.is_file()), place]


# Answers about altered clips, and of Qwen-Audio.


def answers(folder: Path) -> Any:
    batches = [[f"{number}{letter}" for letter in "ab"] for number in range(4)]
    return kept_lines({"of": "faults"}, __name__, batches, lambda ids: [[clip, len(clip) / 7] for clip in ids], folder)


# Frames of an encoder.


def frames(folder: Path) -> Any:
    place = folder / "checkpoint"
    if not place.is_dir():
        torch.manual_seed(0)
        tiny.ENCODERS["whisper"](place)
    encoder = load_encoder(str(place), device="cpu")
    features = FeatureCache(encoder, -1, folder / "features").add(tiny.sounds(3))
    return {clip: features[clip].tolist() for clip in features.lengths}


def of_frames(folder: Path) -> list[Path]:
    [key] = [path for path in (folder / "features").iterdir() if path.is_dir()]
    entry = sorted(key.glob("*/*.safetensors"))[0]
    return [entry, entry.parent, key / "encoder.json", key, key.parent / f".{key.name}.lock"]


# A checkpoint that is converted before its first use.


def conversion(folder: Path) -> Any:
    source = folder / "checkpoint"
    if not source.is_dir():
        tiny.write_v1(source, tokenizer=True)
        known = {"model_type": "qwen"} | json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps(known))
    with mock.patch.dict(os.environ, {"EMOSER_CACHE": str(folder / "cache")}):
        done = converted(str(source))
    kept = ("conversion.json", "whole.json")  # they hold times
    return {path.name: file_sha256(path) for path in sorted(done.iterdir()) if path.name not in kept}


def of_conversions(folder: Path) -> list[Path]:
    [place] = (folder / "cache" / "converted").iterdir()
    return [*sorted(place.iterdir()), place, place.parent]


# A run: its record and its notebook. A stand-in for the kernel, all else is the runner's.


def _planned(folder: Path) -> PlannedRun:
    return PlannedRun(folder / "09-try.ipynb", "demo", "one", {"seed": 1}, {})


def run_chapter(folder: Path) -> None:
    cells = [nbformat.v4.new_code_cell("1 + 1", execution_count=1, id="a")]
    outcome = runner.Outcome(RunStatus.OK, None, 1.0, 2.0, nbformat.v4.new_notebook(cells=cells), "[1]\n")
    with mock.patch.object(runner, "_execute", lambda *_: outcome):
        runner.run(_planned(folder), folder / "runs")


def run_or_read(folder: Path) -> Any:
    """What stands there as ok, or what is made again where nothing does."""
    planned = _planned(folder)
    place = folder / "runs" / planned.chapter / planned.key
    record = settle(folder / "runs").get(place)
    if record is None or record.status is not RunStatus.OK:
        run_chapter(folder)
        record = settle(folder / "runs")[place]
    return record.model_dump(exclude={"date", "commit"}), [
        (place / name).read_text() for name in ("09-try.ipynb", ANSWERS)
    ]


TARGETS = {
    "checkpoint": Target(stopped_training, go_on, of_checkpoints),
    "cell": Target(lambda folder: finished_cell(folder), finished_cell, of_the_only_folder),
    "answers": Target(lambda folder: answers(folder), answers, of_the_only_folder),
    "frames": Target(lambda folder: frames(folder), frames, of_frames),
    "converted checkpoint": Target(lambda folder: conversion(folder), conversion, of_conversions),
    "record and notebook": Target(
        run_chapter, run_or_read, lambda folder: of_the_only_folder(folder / "runs" / "09-try")
    ),
}


class Late(BaseException):
    """An answer that does not come."""


@contextmanager
def no_longer_than(seconds: int) -> Iterator[None]:
    """Raise `Late` where the block hangs."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def asked(target: Target, folder: Path) -> tuple[Any, list[str]]:
    """What a user gets, and the warnings that are ours."""
    with warnings.catch_warnings(record=True) as caught, no_longer_than(SECONDS):
        warnings.simplefilter("always")
        found = target.ask(folder)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    return found, [one for one in said if str(folder) in one]


def judged(target: Target, folder: Path, expected: Any) -> str:
    """What came of a damage: ``well``, or what went wrong."""
    try:
        found, _ = asked(target, folder)
        again, said = asked(target, folder)
    except Late:
        return "hangs"
    except EmoserError:
        return "manual steps"
    except Exception:
        return "tracebacks"
    if found != expected or again != expected:
        return "different results"
    return "manual steps" if said else "well"


@dataclass(frozen=True)
class Damage:
    """One damage to one file or folder of a target, and what came of it."""

    target: str
    name: str
    kind: str
    came: str


def damages(name: str, home: Path, sample: int = 1) -> Iterator[Damage]:
    """Do every damage to a target, or one of so many.

    Args:
        name: of the target.
        home: an empty folder.
        sample: 1: all; 7: the first, the eighth, the fifteenth …
    """
    target, whole, work = TARGETS[name], home / "whole", home / "work"

    def copy() -> None:
        remove(work)
        shutil.copytree(whole, work, symlinks=True)

    gc.freeze()  # the Trainer collects garbage after each training: not what was imported, again and again
    work.mkdir(parents=True)
    target.make(work)  # where it is then damaged: what is kept may name its folder
    shutil.copytree(work, whole)
    expected = target.ask(work)
    copy()
    todo = [
        (path, kind) for path in (one.relative_to(work) for one in target.damaged(work)) for kind in ways(work / path)
    ]
    for path, kind in todo[::sample]:
        copy()
        kind(work / path)
        yield Damage(name, str(path), kind.__name__, judged(target, work, expected))


def counted(found: list[Damage]) -> dict[str, dict[str, int]]:
    """How many damages, and what came of them, by target."""
    return {name: dict(Counter(one.came for one in found if one.target == name)) for name in TARGETS}
