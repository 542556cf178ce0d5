"""Cells that are committed with the book: read as those of the cache are, and never more than scores."""

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emoser_lib.corpora import LABELS
from emoser_lib.errors import DataError
from emoser_lib.experiments.training import cells
from emoser_lib.experiments.training.cells import Cell, commit_cell, committed_cells, kept_cell, weights_of
from emoser_lib.files import damage, seal
from emoser_lib.systems.fitting import Trained

SCORES = np.log(np.random.default_rng(0).dirichlet(np.ones(3), (2, 4)))
"""Of two epochs, four clips, three labels."""

Make = Callable[..., Cell]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Asks for a cell in a cache of a name, and counts the trainings; what is committed is a folder of the test's."""
    monkeypatch.setattr(cells, "committed_cells", lambda: tmp_path / "committed")

    def make(cache: str, **asked: bool) -> Cell:
        def run(folder: Path) -> Trained:
            make.trainings += 1  # type: ignore[attr-defined]
            (folder / "adapter").mkdir()
            (folder / "adapter" / "weights").write_text("1")
            return Trained(SCORES, [{"loss": 1.0}], 7, 3)

        return kept_cell({"a": 1}, __name__, ["a", "b", "c", "d"], LABELS[:3], run, tmp_path / cache, **asked)

    make.trainings = 0  # type: ignore[attr-defined]
    return make


def test_a_new_machine_trains_nothing_that_is_committed(made: Make, tmp_path: Path) -> None:
    cell = made("one")
    there = commit_cell(tmp_path / "one" / cell.key)
    assert sorted(path.name for path in there.iterdir()) == ["cell.json", "whole.json"]
    assert made("another") == cell
    assert made.trainings == 1  # type: ignore[attr-defined]


def test_what_was_trained_is_not_committed(made: Make, tmp_path: Path) -> None:
    """Who asks for weights is told that there are none, or has them trained; the committed scores stay as they are."""
    cell = made("one")
    there = commit_cell(tmp_path / "one" / cell.key)
    assert weights_of(cell, "adapter", tmp_path / "one").is_dir()
    with pytest.raises(DataError, match=f"read from {there}, which has scores and no weights; delete that folder"):
        weights_of(made("another"), "adapter", tmp_path / "another")
    again = made("another", with_weights=True)
    assert made.trainings == 2  # type: ignore[attr-defined]
    assert again.epochs == cell.epochs and weights_of(again, "adapter", tmp_path / "another").is_dir()
    assert damage(there, cell.key) == ""
    shutil.rmtree(there)
    with pytest.raises(DataError, match="delete the cell's folder, it is then trained again"):
        weights_of(cell, "adapter", tmp_path / "a third")


def _digit(there: Path) -> None:
    path = there / "cell.json"
    path.write_text(path.read_text().replace("-", "+", 1))


def _foreign(there: Path) -> None:
    seal(there, ["cell.json"], "0123456789abcdef")


DAMAGES = {
    "a digit": (_digit, "cell.json is not what was written"),
    "cut short": (lambda there: (there / "cell.json").write_text("{"), "cell.json is not what was written"),
    "no manifest": (lambda there: (there / "whole.json").unlink(), "whole.json is not there"),
    "another cell's": (_foreign, "it is of 0123456789abcdef"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_committed_cell_is_checked_and_left_alone(made: Make, tmp_path: Path, what: str) -> None:
    cell = made("one")
    there = commit_cell(tmp_path / "one" / cell.key)
    spoil, said = DAMAGES[what]
    spoil(there)
    before = {path.name: path.read_bytes() for path in there.iterdir()}
    with pytest.warns(UserWarning, match=rf"is not whole \({said}\): it is trained again"):
        made("another")
    assert made.trainings == 2  # type: ignore[attr-defined]
    assert {path.name: path.read_bytes() for path in there.iterdir()} == before


def test_only_a_finished_cell_of_its_name_is_committed(made: Make, tmp_path: Path) -> None:
    cell = made("one")
    folder = tmp_path / "one" / cell.key
    with pytest.raises(DataError, match="has no finished cell"):
        commit_cell(folder / "adapter")
    renamed = shutil.copytree(folder, tmp_path / "one" / ("f" * 16))
    with pytest.raises(DataError, match=f"it is of {cell.key}"):
        commit_cell(renamed)
    (folder / "adapter" / "weights").unlink()
    with pytest.raises(DataError, match="adapter/weights is not there"):
        commit_cell(folder)
    (folder / "whole.json").unlink()  # of before cells had a manifest
    assert commit_cell(folder).name == cell.key


def test_what_the_book_has_is_whole_and_holds_scores_only() -> None:
    """No transcription, no file that is not asked for; each below 300 kB."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folders = [path for path in committed_cells().iterdir() if path.is_dir()]
        assert folders
        for folder in folders:
            assert damage(folder, folder.name) == ""
            assert {path.name for path in folder.iterdir()} == {"cell.json", "whole.json"}
            text = (folder / "cell.json").read_text()
            cell = Cell.model_validate_json(text)
            assert cell.key == folder.name and len(text) < 300_000
            assert json.loads(text).keys() == Cell.model_fields.keys()
            assert all(len(clips) == len(cell.ids) for clips in cell.epochs)
