"""Long work clip by clip: nothing done twice, nothing lost, nothing half-written believed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoser_lib.errors import DataError
from emoser_lib.experiments.training import kept_lines as module
from emoser_lib.experiments.training.kept_lines import kept_lines

MODULE = module.__name__
BATCHES = [["a", "b"], ["c"], ["d", "e"]]


class Counted:
    """Says a clip's name twice, and remembers who was asked for."""

    def __init__(self, stop_at: str = "") -> None:
        self.asked: list[str] = []
        self.stop_at = stop_at

    def __call__(self, clips: Sequence[str]) -> list[str]:
        if self.stop_at in clips:
            raise KeyboardInterrupt
        self.asked += clips
        return [2 * clip for clip in clips]


def lines(home: Path) -> Path:
    [path] = home.rglob("clips.jsonl")
    return path


def test_a_number_that_is_none_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the answer for clip b has a number that is not finite"):
        kept_lines({}, MODULE, [["a", "b"]], lambda clips: [0.5, float("nan")], tmp_path)
    assert not list(tmp_path.rglob("clips.jsonl"))


def test_what_was_stopped_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        kept_lines({"x": 1}, MODULE, BATCHES, Counted(stop_at="d"), tmp_path)
    again = Counted()
    assert kept_lines({"x": 1}, MODULE, BATCHES, again, tmp_path) == {clip: 2 * clip for clip in "abcde"}
    assert again.asked == ["d", "e"]
    assert list(kept_lines({"x": 1}, MODULE, [["e"], ["a"]], Counted(stop_at="a"), tmp_path)) == ["e", "a"]


def test_another_identity_is_another_run(tmp_path: Path) -> None:
    kept_lines({"x": 1}, MODULE, BATCHES, Counted(), tmp_path)
    other = Counted()
    kept_lines({"x": 2}, MODULE, BATCHES, other, tmp_path)
    assert other.asked == list("abcde")


@given(cut=st.integers(0, 200))
def test_a_line_that_was_cut_is_computed_again(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("runs")
    expected = kept_lines({}, MODULE, BATCHES, Counted(), home)
    whole = lines(home).read_bytes()
    os.truncate(lines(home), min(cut, len(whole)))
    assert kept_lines({}, MODULE, BATCHES, Counted(), home) == expected
    assert all(json.loads(line) for line in lines(home).read_text().splitlines())


def test_a_kill_loses_no_batch_that_was_there(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from emoser_lib.experiments.training import kept_lines as module\n"
        "def run(clips):\n"
        "    if 'd' in clips: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return [2 * clip for clip in clips]\n"
        "module.kept_lines({}, module.__name__, [['a', 'b'], ['c'], ['d', 'e']], run, Path(sys.argv[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    again = Counted()
    kept_lines({}, MODULE, BATCHES, again, tmp_path)
    assert again.asked == ["d", "e"]
