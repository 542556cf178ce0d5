"""A key stands for numbers: one fixed tiny training of every kind gives what was written down under the same key.

    python -m tests.systems.test_versions --write

writes the keys and numbers anew, after the number of what was changed was raised in ``emoser_lib/versions.py``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from emoser_lib import versions
from emoser_lib.corpora import Condition, Corpus, alter
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.corpora.corpus import LABELS, build_frame
from emoser_lib.experiments.training.audio import train_audio_cell
from emoser_lib.experiments.training.cells import KEYED_PACKAGES, Cell, run_folder
from emoser_lib.experiments.training.conditions import ask_trained
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.experiments.training.qwen_audio import qwen_answers, qwen_label_scores
from emoser_lib.experiments.training.speakers import normalised
from emoser_lib.experiments.training.text import train_cell
from emoser_lib.source import code_sha256, file_of, modules_behind
from emoser_lib.systems.arms import ARMS, arm_values
from emoser_lib.systems.declared import AudioSystem, Linear, Lora, Loss, Own, Queries, TextSystem, Training
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.hearing.feature_cache import FeatureCache, frames_depend_on
from emoser_lib.systems.qwen_audio import QwenAudio, converted, load
from emoser_lib.systems.reading.llm import LLM, load_llm
from emoser_lib.systems.reading.zero_shot import Decoding
from emoser_lib.versions import VERSIONS

WRITTEN = Path(__file__).with_name("versions.json")
COMMAND = "python -m tests.systems.test_versions --write"

Found = dict[str, Any]


@dataclass
class Parts:
    """What is trained and heard, loaded when it is first asked for.

    Attributes:
        home: where cells are kept; in `f` the clips and their frames.
    """

    home: Path

    @cached_property
    def corpus(self) -> Corpus:
        rows = range(12)
        words = [f"{'no ' * (row % 3)}dice la palabra {row}" for row in rows]
        folder = self.home / "f"
        folder.mkdir()
        for row in rows:  # noise, the same on every machine to the last bit
            noise = np.random.default_rng(row).integers(-9000, 9000, 6400 + 700 * row, dtype=np.int16)
            soundfile.write(folder / f"{row}.wav", noise, SAMPLE_RATE)
        frame = build_frame(
            {
                "id": [f"clip-{row}" for row in rows],
                "audio": [str(folder / f"{row}.wav") for row in rows],
                "transcription": words,
                "label": [LABELS[min(row % 4 + row % 3, 5)] for row in rows],
                "speaker": [f"speaker-{row % 2}" for row in rows],
            }
        )
        return Corpus("noises", frame)

    @cached_property
    def cut(self) -> Fold:
        clips = tuple(self.corpus.frame["id"])
        return Fold(0, clips[:9], clips[9:])

    @cached_property
    def llm(self) -> LLM:
        return load_llm("emoser/demo-gemma", device="cpu")

    @cached_property
    def qwen(self) -> QwenAudio:
        return load(converted("emoser/demo-qwen-audio-v1"), device="cpu", name="emoser/demo-qwen-audio-v1")

    def encoder(self, kind: str, context: Any = "clip") -> Encoder:
        if kind == "qwen-audio":
            return self.qwen.encoder
        return load_encoder(f"emoser/demo-{kind}", device="cpu", context=context)


SHORT = Training(epochs=2, batch_size=4, learning_rate=3e-3)
PLAIN = Lora(2, 4, dropout=0.0)
MAPPER = Queries(queries=3, layers=1, heads=2, width=16, mlp=16, dropout=0.0)
HEARS = AudioSystem(training=replace(SHORT, epochs=1, learning_rate=1e-2))
QWEN = AudioSystem("qwen-audio", chat="own", words="nouns", bridge=Own(), loss=Loss("none", "clips", "words"))


def of_cell(cell: Cell) -> Found:
    """Key, losses and scores of a training."""
    losses = [entry["loss"] for entry in cell.log]
    return {"key": cell.key, "losses": losses, "scores": cell.epochs[-1], "trained": cell.trainable}


def text(system: TextSystem) -> Callable[[Parts], Found]:
    return lambda parts: of_cell(train_cell(parts.llm, system, parts.corpus, parts.cut, parts.home))


def audio(
    system: AudioSystem, encoder: str = "whisper", context: str = "clip", without_voices: bool = False
) -> Callable[[Parts], Found]:
    def run(parts: Parts) -> Found:
        heard = hear(parts.encoder(encoder, context), system, parts.corpus, parts.corpus.frame["id"], parts.home / "f")
        hearing = normalised(heard) if without_voices else heard
        llm = parts.qwen.llm if encoder == "qwen-audio" else parts.llm
        return of_cell(train_audio_cell(llm, system, hearing, parts.cut, parts.home))

    return run


def arm(system: str, name: str) -> Callable[[Parts], Found]:
    values = arm_values(system, name)
    training = {key: value for key, value in values.items() if hasattr(Training, key)}
    declared = replace(
        HEARS,
        encoding=values["encoding"],
        loss=Loss(values["weights"], values["mean"]),
        training=replace(HEARS.training, epochs=2, **training),
    )
    return audio(declared, system.removesuffix("-gemma"), values["context"])


def frames(kind: str) -> Callable[[Parts], Found]:
    def run(parts: Parts) -> Found:
        cache = FeatureCache(parts.encoder(kind), "all", parts.home / "f", batch_size=2)
        clips = [f"clip-{row}" for row in range(3)]
        features = cache.add(zip(clips, parts.corpus.waveforms(clips), strict=True))
        some = [features[clip][:, ::5, ::17].flatten().tolist()[:40] for clip in clips]
        return {"key": cache.key, "lengths": list(features.lengths.values()), "frames": some}

    return run


def altered_clips(parts: Parts) -> Found:
    llm, encoder = parts.llm, parts.encoder("whisper")
    hearing = hear(encoder, HEARS, parts.corpus, parts.corpus.frame["id"], parts.home / "f")
    cell = train_audio_cell(llm, HEARS, hearing, parts.cut, parts.home)
    worse = alter(parts.corpus, Condition(seconds=0.3, snr_db=10, words_deleted=0.3))
    told = ask_trained(llm, HEARS, encoder, cell, worse, parts.home)
    return {"key": kept(parts, cell.key), "answers": list(told["answer"]), "scores": list(told["probability"])}


def qwen_asked(parts: Parts) -> Found:
    ids = parts.cut.validation
    scores = qwen_label_scores(parts.qwen, QWEN, parts.corpus, ids, 2, parts.home)
    return {"key": kept(parts), "scores": scores.to_numpy().tolist()}


def qwen_answering(parts: Parts) -> Found:
    said = qwen_answers(parts.qwen, QWEN, parts.corpus, parts.cut.validation, Decoding(4), 2, parts.home)
    return {"key": kept(parts), "answers": list(said)}


def kept(parts: Parts, *others: str) -> str:
    """The key of what was kept last."""
    [folder] = [path for path in parts.home.iterdir() if path.name not in ("f", *others)]
    return folder.name


LOSSES = {
    f"loss {weights}, mean over {mean}": audio(replace(HEARS, loss=Loss(weights, mean)))
    for weights in ("none", "inverse", "normalised", "sqrt")
    for mean in ("weights", "clips")
}
CASES: Mapping[str, Callable[[Parts], Found]] = {
    "text, LoRA on all linear layers": text(TextSystem(lora=PLAIN, training=SHORT)),
    "text, LoRA on q and v": text(TextSystem(lora=replace(PLAIN, targets="q,v"), training=SHORT)),
    "text, LoRA on q, k and v": text(TextSystem(lora=replace(PLAIN, targets="q,k,v"), training=SHORT)),
    "text, LoRA on c_attn": text(TextSystem(lora=replace(PLAIN, targets="c_attn"), training=SHORT)),
    "text, end token": text(TextSystem(end=True, lora=PLAIN, training=replace(SHORT, epochs=1))),
    "text, schedule": text(TextSystem(lora=PLAIN, training=replace(SHORT, warmup=0.4, accumulation=2, clip=0.0))),
    "linear": audio(HEARS),
    "linear, stacked": audio(replace(HEARS, bridge=Linear(stack=4))),
    "linear, pooled": audio(replace(HEARS, bridge=Linear(pool=4))),
    "linear, not scaled": audio(replace(HEARS, scaled=False)),
    "queries": audio(replace(HEARS, bridge=MAPPER)),
    "queries, other norm and positions": audio(
        replace(HEARS, bridge=replace(MAPPER, norm="post", positions="sinusoidal"))
    ),
    "queries, LoRA, other rate": audio(
        replace(HEARS, bridge=MAPPER, adaptation=PLAIN, training=replace(HEARS.training, outer_rate=3.0))
    ),
    "weighted layers": audio(replace(HEARS, layer="weighted"), "wavlm"),
    "windows": audio(replace(HEARS, window_seconds=0.3)),
    "speech": audio(replace(HEARS, speech_weight=0.5, training=replace(HEARS.training, batch_size=2, accumulation=2))),
    "speaker normalisation": audio(HEARS, without_voices=True),
    "loss over words": audio(replace(HEARS, loss=Loss("none", "clips", "words"))),
    **LOSSES,
    "encoder live, LoRA in it": audio(replace(HEARS, encoding="live", ears=replace(PLAIN, targets="all-linear"))),
    "encoder trained": audio(replace(HEARS, encoding="trained")),
    **{f"{name}, {which}": arm(name, which) for name in ("whisper-gemma", "emotion2vec-gemma") for which in ARMS},
    "qwen-audio, LoRA on c_attn": audio(
        replace(QWEN, adaptation=replace(PLAIN, targets="c_attn"), training=HEARS.training), "qwen-audio"
    ),
    "qwen-audio, labels": qwen_asked,
    "qwen-audio, answers": qwen_answering,
    "altered clips": altered_clips,
    **{f"frames of {kind}": frames(kind) for kind in ("whisper", "wavlm", "wav2vec2", "emotion2vec", "qwen-audio")},
}

NOT_COUNTED = {
    "emoser_lib.corpora": "clips, labels and words are in the key as token ids and waveforms",
    "emoser_lib.systems.prompts": "what they write is in the key as token ids",
    "emoser_lib.systems.reading.verbaliser": "what it chooses is in the key as token ids",
    "emoser_lib.systems.reading.agreement": "chooses between ways to batch that give the same numbers",
    "emoser_lib.systems.qwen_audio.chat": "what it writes is in the key as token ids",
    "emoser_lib.systems.qwen_audio.tokens": "what it cuts is in the key as token ids",
    "emoser_lib.systems.qwen_audio.conversion": "what it writes is in the key as the weights' sha256",
    "emoser_lib.systems.qwen_audio.layout": "what it writes is in the key as the weights' sha256",
    "emoser_lib.systems.checkpoints": "weights, configuration and precision are in the key",
    "emoser_lib.systems.hearing.encoders.loading": "weights, configuration and precision are in the key",
    "emoser_lib.systems.hearing.cache_contents": "says what lies in the cache",
    "emoser_lib.systems.device": "says where, not what",
    "emoser_lib.systems.finite": "refuses and changes nothing",
    "emoser_lib.systems.progress": "tells how far a training is",
    "emoser_lib.systems.classical": "nothing of it is kept",
    "emoser_lib.experiments.judging": "nothing of it is kept",
    "emoser_lib.experiments.training.evaluation": "nothing of it is kept",
    "emoser_lib.experiments.training.folds": "the clips of a cut are in the key",
    "emoser_lib.experiments.training.cells": "keeps what others compute",
    "emoser_lib.experiments.training.kept_lines": "keeps what others compute",
    **dict.fromkeys(
        (f"emoser_lib.{name}" for name in ("environment", "errors", "files", "source", "values", "versions")),
        "computes no scores",
    ),
}
"""Modules and rooms behind what is kept that have no number, and why."""


def measured(name: str, home: Path) -> Found:
    """What one case gives, as JSON keeps it."""
    torch.set_num_threads(1)
    found = CASES[name](Parts(home))
    rounded = json.dumps(found, default=float)
    return dict(json.loads(rounded, parse_float=lambda number: float(f"{float(number):.7g}")))


def complaint(name: str, found: Found, before: Found | None, changed: list[str]) -> str | None:
    """What is wrong with a case beside what was written down, in one sentence; ``None`` if nothing is."""
    if before is None:
        return f"'{name}' is new: write its numbers with `{COMMAND}`."
    same = found.keys() == before.keys() and all(alike(found[part], before[part]) for part in found.keys() - {"key"})
    if found["key"] == before["key"] and not same:
        whose = " or ".join(changed) or "the module that was changed"
        return (
            f"the numbers of '{name}' moved and its key did not: raise the number of {whose} in "
            f"emoser_lib/versions.py, then write them anew with `{COMMAND}`."
        )
    if found["key"] != before["key"]:
        moved = "did not move" if same else "moved too"
        return (
            f"the key of '{name}' moved, so what is kept on disk is computed anew (the numbers {moved}): if that is "
            f"meant, write it down with `{COMMAND}`."
        )
    return None


def alike(one: Any, other: Any) -> bool:
    """Texts the same, numbers to 1 in 10,000."""
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(alike, one, other))
    return one == other if isinstance(one, str) else one == pytest.approx(other, rel=1e-4, abs=1e-5)


def code() -> dict[str, str]:
    """The code of each module with a number, to name those that have changed."""
    return {name: code_sha256([file])[:12] for name in VERSIONS if (file := file_of(name))}


def changed_since(before: Mapping[str, str]) -> list[str]:
    """Modules that have changed and whose number may have to be raised."""
    return [name for name, sha256 in code().items() if before.get(name) != sha256]


def written() -> dict[str, Any]:
    return dict(json.loads(WRITTEN.read_text(encoding="utf-8")))


@pytest.mark.needs_pinned
@pytest.mark.parametrize("name", CASES)
def test_the_same_key_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    before = written()
    wrong = complaint(name, measured(name, tmp_path), before["cases"].get(name), changed_since(before["code"]))
    assert wrong is None, wrong


def test_what_was_written_is_of_the_pinned_versions_and_of_these_cases(root: Path) -> None:
    pins = dict(line.split("==") for line in (root / "constraints.txt").read_text().splitlines() if "==" in line)
    before = written()
    assert {name: version.split("+")[0] for name, version in before["packages"].items()} == {
        name: pins[name] for name in KEYED_PACKAGES
    }, f"written under other versions: `{COMMAND}`"
    assert before["cases"].keys() == CASES.keys(), f"other cases: `{COMMAND}`"


def test_moved_numbers_ask_for_another_version() -> None:
    before = {"key": "a", "losses": [1.0, 2.0], "answers": ["joy"]}
    assert complaint("x", {**before, "losses": [1.00005, 2.0]}, before, []) is None
    said = complaint("x", {**before, "losses": [1.0005, 2.0]}, before, ["emoser_lib.systems.reading.lora"])
    assert said and "raise the number of emoser_lib.systems.reading.lora in emoser_lib/versions.py" in said
    assert "key did not" in str(complaint("x", {**before, "answers": ["fear"]}, before, []))
    assert "numbers did not move" in str(complaint("x", {**before, "key": "b"}, before, []))
    assert "numbers moved too" in str(complaint("x", {**before, "key": "b", "losses": [3.0, 2.0]}, before, []))


KEPT = [
    *(
        f"emoser_lib.experiments.training.{name}"
        for name in ("text", "audio", "qwen_audio", "conditions", "written", "written_by_qwen")
    ),
    "emoser_lib.systems.hearing.encoders.loading",
    "emoser_lib.systems.hearing.speaker_normalisation",
]
"""What keeps, and what loads those whose frames are kept."""


def test_every_module_behind_what_is_kept_has_a_number_or_a_reason() -> None:
    behind = modules_behind(KEPT)
    assert VERSIONS.keys() <= set(behind), "a number of what does not compute anything that is kept: take it away"
    for name in behind:
        excused = name == "emoser_lib" or any(f"{name}.".startswith(f"{room}.") for room in NOT_COUNTED)
        assert name in VERSIONS or excused, f"{name}: give it a number in emoser_lib/versions.py"


@pytest.mark.parametrize(
    ("keeps", "raised", "another"),
    [
        ("text", "systems.reading.text_task", True),
        ("text", "systems.fitting", True),
        ("text", "systems.hearing.bridges", False),
        ("audio", "systems.hearing.assembly", True),
        ("audio", "systems.hearing.audio_task", True),
        ("audio", "systems.reading.text_task", False),
        ("qwen_audio", "systems.hearing.audio_answers", True),
        ("conditions", "corpora.altered", True),
        ("conditions", "systems.hearing.assembly", True),
    ],
)
def test_a_raised_number_is_another_key_of_what_uses_it(
    keeps: str, raised: str, another: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, name = f"emoser_lib.experiments.training.{keeps}", f"emoser_lib.{raised}"
    before = run_folder({}, module, tmp_path)
    monkeypatch.setattr(versions, "VERSIONS", {**VERSIONS, name: VERSIONS[name] + 1})
    versions.versions_behind.cache_clear()
    try:
        assert (run_folder({}, module, tmp_path) != before) == another
    finally:
        versions.versions_behind.cache_clear()


def test_frames_depend_on_their_own_encoder_and_not_on_the_training(encoder: Encoder) -> None:
    numbers = frames_depend_on(encoder, -1)["code"]
    assert numbers == {
        f"emoser_lib.systems.hearing.encoders.{name}": VERSIONS[f"emoser_lib.systems.hearing.encoders.{name}"]
        for name in ("encoder", "whisper")
    }


def test_a_key_knows_no_words_and_no_python(root: Path, tmp_path: Path) -> None:
    """Comments, docstrings and messages of every module are other ones, and so is the way Python writes its trees."""
    shutil.copytree(
        root / "emoser_lib", tmp_path / "emoser_lib", ignore=shutil.ignore_patterns("demo_*", "__pycache__")
    )
    for path in (tmp_path / "emoser_lib").rglob("*.py"):
        path.write_text(path.read_text().replace("there is no", "nowhere is a") + '\n# a comment\n"""A text."""\n')
    script = "from emoser_lib.versions import *; print(*(versions_behind(name) for name in sys.argv[1:]))"
    script = f"import ast, sys; ast.dump = lambda *_, **__: sys.version; {script}"
    said = []
    for where in (root, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", script, *KEPT],
            cwd=where,
            env=os.environ | {"PYTHONPATH": str(where)},
            capture_output=True,
            text=True,
            check=True,
        )
        said.append(done.stdout)
    assert said[0] == said[1] != ""


def main() -> None:
    """Write what the cases give now; refuse where numbers moved under the same key."""
    parser = argparse.ArgumentParser(description="The numbers of one tiny training of each kind.")
    parser.add_argument("--write", action="store_true", required=True, help=f"write {WRITTEN.name} anew")
    parser.parse_args()
    before = written() if WRITTEN.is_file() else {"cases": {}, "code": {}}
    changed, cases = changed_since(before["code"]), {}
    for name in CASES:
        with tempfile.TemporaryDirectory() as home:
            found, kept_before = measured(name, Path(home)), before["cases"].get(name)
        wrong = complaint(name, found, kept_before, changed)
        if wrong and kept_before and found["key"] == kept_before["key"]:
            sys.exit(wrong)
        cases[name] = found if wrong else kept_before  # written twice, numbers do not drift
    packages = {name: metadata.version(name) for name in KEYED_PACKAGES}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(found)}" for name, found in cases.items())
    head = ",\n".join(
        f'"{name}": {json.dumps(value, indent=1)}' for name, value in (("packages", packages), ("code", code()))
    )
    WRITTEN.write_text(f'{{{head},\n"cases": {{\n{lines}\n}}}}\n', encoding="utf-8")
    print(f"Written: {WRITTEN}")


if __name__ == "__main__":
    main()
