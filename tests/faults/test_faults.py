"""A fixed sample of `make faults`, and its record: whole, of this code, and without a fault."""

from pathlib import Path
from types import MappingProxyType

import pytest

from emoser_lib.reporting.book import checks
from emoser_lib.reporting.book.checks import LongCheck, checks_section, read_checks, write_check
from emoser_lib.systems import fitting
from tests.faults.damage import TARGETS, damages, gone, judged

EACH = MappingProxyType(
    {"checkpoint": 19, "cell": 11, "answers": 5, "frames": 7, "converted checkpoint": 29, "record and notebook": 9}
)
"""Of how many damages one is done here; other than the number of ways, so that all of them come."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_damaged_is_made_again_or_passed_over(name: str, tmp_path: Path) -> None:
    found = list(damages(name, tmp_path, EACH[name]))
    assert len(found) >= 4
    assert [one for one in found if one.came != "well"] == []


def test_the_damages_show_what_is_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that is believed without its manifest goes on from another optimizer, to another result."""
    target = TARGETS["checkpoint"]
    for folder in (tmp_path / "one", tmp_path / "two"):
        target.make(folder)
    expected = target.ask(tmp_path / "one")
    gone(tmp_path / "two" / "cell" / "training" / "checkpoint-4" / "optimizer.pt")
    monkeypatch.setattr(fitting, "damage", lambda *_: "")
    assert judged(target, tmp_path / "two", expected) == "different results"


@pytest.fixture
def record(root: Path) -> LongCheck:
    [found] = [check for check in read_checks(root / "book") if check.command == "make faults"]
    return found


def test_the_record_is_of_this_code_and_without_a_fault(record: LongCheck) -> None:
    assert not record.is_stale, "what it covers has changed: `make faults`"
    counts = {str(row[0]): [int(cell) for cell in row[1:]] for row in record.rows}
    assert all(not any(of[1:]) for of in counts.values()), "something did not come out well"
    assert {f"{name}, damaged" for name in TARGETS} <= counts.keys()
    assert sum(of[0] for name, of in counts.items() if name.endswith("damaged")) >= 60
    assert sum(of[0] for name, of in counts.items() if name.endswith("killed")) > 0


def test_a_record_is_old_when_the_code_does_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "emoser_lib" / "one.py"
    code.parent.mkdir()
    code.write_text("x = 1\n")
    (tmp_path / "emoser_lib" / "__init__.py").touch()
    monkeypatch.setattr(checks, "ROOT", tmp_path)
    path = tmp_path / "checks" / "a.json"
    written = write_check(path, "A title", "<b>All</b> of it.", "make x", ["what"], [["<i>"]], ["emoser_lib.one"])
    assert read_checks(tmp_path) == [written]
    assert not written.is_stale
    code.write_text("x = 1  # said\n")
    assert not written.is_stale
    code.write_text("x = 2\n")
    assert written.is_stale
    page = checks_section([written])
    assert "The code has changed since." in page
    assert "&lt;i&gt;" in page and "<i>" not in page
    assert "<b>" not in page
