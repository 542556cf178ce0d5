"""Cells: trained once, kept whole, gone on with after a kill, and never taken for another's."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.corpora import load_corpus
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import evaluation_folds, folds
from emoser_lib.experiments.training.cells import kept_cell
from emoser_lib.experiments.training.folds import Fold, fewer_clips
from emoser_lib.experiments.training.text import train_cell, untrained
from emoser_lib.experiments.training.written import can_write, written_by_cell
from emoser_lib.systems.declared import Lora, TextSystem, Training
from emoser_lib.systems.fitting import Trained
from emoser_lib.systems.reading.answers import parse_answer
from emoser_lib.systems.reading.llm import LLM

DEMO = load_corpus("demo")


def cut(number: int, clips: int) -> Fold:
    """A fold in little."""
    whole = folds(DEMO)[number]
    return replace(fewer_clips(DEMO, whole, clips), validation=whole.validation[::4])


CUT = cut(0, 40)
QUICK = TextSystem(lora=Lora(4, 8), training=Training(epochs=2, learning_rate=3e-3))


def test_a_finished_cell_is_read_not_trained_again(llm: LLM, tmp_path: Path) -> None:
    cell = train_cell(llm, QUICK, DEMO, CUT, tmp_path)
    assert cell.steps == 20
    assert cell.ids == CUT.validation
    assert set(cell.predicted()) <= set(DEMO.labels)
    assert cell.scores(0).shape == (20, 6)
    assert not cell.scores(0).equals(cell.scores(1))
    folder = tmp_path / cell.key
    written = (folder / "cell.json").stat().st_mtime_ns
    assert train_cell(llm, QUICK, DEMO, CUT, tmp_path) == cell
    assert (folder / "cell.json").stat().st_mtime_ns == written
    assert {path.name for path in folder.iterdir()} == {".lock", "adapter", "cell.json", "whole.json"}
    # What it writes is mostly the label that it finds likeliest, in the words of the prompt or of the label.
    said = written_by_cell(llm, QUICK, DEMO, cell, home=tmp_path)
    assert tuple(said.index) == CUT.validation
    read = said.map(lambda text: parse_answer(text, DEMO.labels, "lenient").label)
    assert (read == cell.predicted()).mean() > 0.5
    assert can_write(cell, tmp_path)
    shutil.rmtree(folder / "adapter")
    assert not can_write(cell, tmp_path)
    with pytest.raises(DataError, match="delete the cell's folder"):
        written_by_cell(llm, QUICK, DEMO, cell, home=tmp_path)


def test_whatever_changes_the_result_is_another_cell(llm: LLM, tmp_path: Path) -> None:
    training = QUICK.training
    quick = replace(QUICK, training=replace(training, epochs=1))
    others = [
        quick,
        replace(quick, prompt="gemma-six"),
        replace(quick, words="adjectives"),
        replace(quick, end=True),
        quick.with_adapter(4, 16),
        replace(quick, lora=Lora(4, 8, "q,v")),
        replace(quick, training=replace(quick.training, seed=1)),
        replace(quick, training=replace(quick.training, batch_size=8)),
    ]
    small = fewer_clips(DEMO, CUT, 12)
    cells = [train_cell(llm, system, DEMO, small, tmp_path) for system in others]
    cells += [train_cell(llm, quick, DEMO, fewer_clips(DEMO, CUT, 12, seed=1), tmp_path)]
    assert len({cell.key for cell in cells}) == len(cells)
    assert len({cell.epochs for cell in cells}) == len(cells)


def test_a_cell_with_a_score_that_is_no_number_is_not_written(tmp_path: Path) -> None:
    """JSON has null for it, and the cell would be damaged for ever."""
    scores = np.zeros((1, 2, 6), np.float32)
    scores[0, 1, 3] = -np.inf
    with pytest.raises(DataError, match="the scores of clip b are not finite"):
        kept_cell({}, __name__, ["a", "b"], DEMO.labels, lambda folder: Trained(scores, [], 1, 1), tmp_path)
    assert not list(tmp_path.rglob("cell.json"))
    good = Trained(0 * np.exp(scores), [], 1, 1)
    cell = kept_cell({}, __name__, ["a", "b"], DEMO.labels, lambda folder: good, tmp_path)
    assert (cell.device, cell.processes) == ("cpu", 1)


def test_the_untrained_system_is_the_adapter_at_its_start(llm: LLM) -> None:
    answers = untrained(llm, QUICK, DEMO, CUT)
    assert list(answers.index) == list(CUT.validation)
    # B is zero at first: whatever rank and alpha, the same answers.
    assert answers.equals(untrained(llm, QUICK.with_adapter(64, 4096), DEMO, CUT))


def test_the_official_test_is_predicted_without_its_labels(llm: LLM, tmp_path: Path) -> None:
    cut = fewer_clips(DEMO, evaluation_folds(DEMO, "test")[0], 40)
    blind = replace(DEMO, frame=DEMO.frame.assign(label=DEMO.frame["label"].mask(DEMO.frame["split"] == "test", "")))
    assert train_cell(llm, QUICK, blind, cut, tmp_path).ids == tuple(DEMO.test()["id"])


@settings(max_examples=40, deadline=None)
@given(clips=st.integers(6, 314) | st.just(320), seed=st.integers(0, 5))
def test_fewer_clips_keep_the_proportions(clips: int, seed: int) -> None:
    whole = folds(DEMO)[0]
    some = fewer_clips(DEMO, whole, clips, seed)
    label = DEMO.training().set_index("id")["label"]
    assert len(some.train) == clips
    assert [clip for clip in whole.train if clip in set(some.train)] == list(some.train)
    before, after = Counter(label[list(whole.train)]), Counter(label[list(some.train)])
    # Each label is on both sides; apart from that the numbers are those of the proportions, rounded.
    assert all(abs(after[name] - clips * before[name] / len(whole.train)) <= 1.01 for name in before)


def test_a_label_with_a_single_clip_is_no_obstacle() -> None:
    label = DEMO.training().set_index("id")["label"]
    rare = [clip for clip in CUT.train if label[clip] == "fear"]
    single = replace(CUT, train=tuple(clip for clip in CUT.train if clip not in rare[1:]))
    assert len(fewer_clips(DEMO, single, 20).train) == 20


@pytest.mark.parametrize(("asked", "drawn"), [(318, 314), (320, 320), (500, 320)])
def test_more_clips_than_can_be_drawn_are_as_many_as_can(asked: int, drawn: int) -> None:
    assert len(fewer_clips(DEMO, folds(DEMO)[0], asked).train) == drawn


@pytest.mark.parametrize("clips", [0, 3])
def test_fewer_clips_than_labels_cannot_be_drawn(clips: int) -> None:
    with pytest.raises(UsageError, match=f"train_clips is {clips}, too few .*at least 6, or for 0"):
        fewer_clips(DEMO, folds(DEMO)[0], clips)


def two_folds(llm: LLM, home: Path) -> Iterator[str]:
    """A short training, and one that is long enough for a checkpoint on its way."""
    for number, epochs in ((0, 1), (1, 4)):
        system = replace(QUICK, training=replace(QUICK.training, epochs=epochs))
        cell = train_cell(llm, system, DEMO, cut(number, 60), home)
        yield cell.model_dump_json(include={"key", "epochs", "ids"})


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_text
from emoser_lib.systems.reading.llm import load_llm
for line in test_text.two_folds(load_llm("emoser/demo-gemma"), Path(sys.argv[2])):
    print(line, flush=True)
"""


def process(home: Path) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(here.parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(here), str(home)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_in_the_middle_of_a_fold(tmp_path: Path) -> None:
    """SIGKILL in the second fold: the first stays as it is, the second ends as if nothing had been."""
    whole, _ = process(tmp_path / "whole").communicate()
    home, killed = tmp_path / "killed", process(tmp_path / "killed")
    assert killed.stdout is not None
    first = killed.stdout.readline()
    deadline = time.monotonic() + 120
    while not list(home.glob("*/training/checkpoint-50/trainer_state.json")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = {path: path.stat().st_mtime_ns for path in home.glob("*/cell.json")}
    assert len(done) == 1
    again, _ = process(home).communicate()
    assert again == whole and again.splitlines()[0] == first.rstrip("\n")
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
