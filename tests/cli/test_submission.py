"""`emoser submission merge`: two runs' answers become the challenge's file, which the scorer accepts."""

import json
from pathlib import Path

import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments import score_submission, write_submission
from emoser_lib.experiments.judging.submission import Submission, read_submission
from tests.command import emoser


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.fixture
def files(demo: Corpus, tmp_path: Path) -> tuple[Path, Path]:
    """What a run that reads and a run that hears wrote for the demo corpus."""
    test = demo.test()["id"]
    reads = pd.Series("neutral", index=test)
    hears = pd.Series(["joy", "fear"] * (len(test) // 2), index=test)
    return write_submission(tmp_path / "text.csv", reads), write_submission(tmp_path / "audio.csv", task_2=hears)


def test_the_two_tasks_are_put_into_one_file_that_is_scored(
    demo: Corpus, files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "results.csv"
    merge = ["submission", "merge", *map(str, files), "--out", str(out), "--corpus", "demo", "--json"]
    done = emoser(*merge)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"file": str(out), "clips": 100}
    assert out.read_text().startswith("id,task_1,task_2\n")
    each = [read_submission(file, demo) for file in files]
    merged = read_submission(out, demo)
    expected = score_submission(Submission(each[0].task_1, each[1].task_2), demo, resamples=100)
    assert score_submission(merged, demo, resamples=100) == expected


def test_nothing_is_written_where_a_file_is_not_for_the_corpus(files: tuple[Path, Path], tmp_path: Path) -> None:
    reads, hears = files
    hears.write_text(hears.read_text().replace(",joy", ",glee", 1))
    out = tmp_path / "results.csv"
    done = emoser("submission", "merge", str(reads), str(hears), "--out", str(out), "--corpus", "demo")
    assert done.returncode == 1
    assert "label 'glee'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()
    done = emoser("submission", "merge", str(reads), str(tmp_path / "none.csv"), "--corpus", "demo")
    assert done.returncode == 2
    assert "there is no file" in done.stderr
