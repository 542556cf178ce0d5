"""The page for teachers: its plans add up, and it says what the notes and the library say."""

import re
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from emoser_lib.teaching.notes import read_notes

HOURS = {"one hour": 60, "two hours": 120, "three hours": 180}


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "book" / "teach.md").read_text(encoding="utf-8")


def test_the_notes_have_every_chapter_and_its_minutes_are_those_of_the_page(root: Path, page: str) -> None:
    notes = read_notes(root / "book" / "teacher.yaml")
    assert list(notes) == sorted(path.stem for path in (root / "notebooks").glob("[0-9]*.ipynb"))
    said = dict(re.findall(r"^\| \[.*?\]\((\S+)\.ipynb\) \| ([a-z ]+) \|", page, re.M))
    assert {chapter: HOURS[hours] for chapter, hours in said.items()} == {
        chapter: sum(of.minutes.values()) for chapter, of in notes.items()
    }


@pytest.mark.parametrize(("plan", "hours"), [("Four weeks", 14), ("Eight weeks", 28)])
def test_the_weeks_add_up(page: str, plan: str, hours: int) -> None:
    _, _, text = page.partition(f"## {plan} ({hours} hours)")
    rows = re.findall(r"^\| (\d): .*?\((\d) h\) \|[^|]*\|([^|]*)\|", text.partition("\n## ")[0], re.M)
    assert [int(week) for week, _, _ in rows] == list(range(1, len(rows) + 1))
    assert sum(int(of) for _, of, _ in rows) == hours
    for week, of, parts in rows:
        if "as week" not in parts:
            assert sum(map(int, re.findall(r" (\d+)(?=[,;]| $)", parts))) == 60 * int(of), f"week {week}"


def test_the_day_adds_up(page: str) -> None:
    _, _, text = page.partition("## One day (6 hours)")
    assert sum(int(minutes) for minutes in re.findall(r"^\| (\d+) \|", text.partition("\n## ")[0], re.M)) == 6 * 60


def test_shares_of_an_assessment_add_up(page: str) -> None:
    lines = re.findall(r"^\*Assessment:\* (.*%.*)$", page, re.M)
    assert len(lines) == 2
    for line in lines:
        assert sum(map(int, re.findall(r"(\d+) %", line))) == 100


def test_the_targets_it_names_are_in_the_makefile(root: Path, page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z-]+)", page))
    assert named and named <= targets


def test_what_binder_reads_is_the_environment_that_is_tested(root: Path, page: str) -> None:
    """repo2docker takes environment.yml from the first of these folders that there is."""
    assert not (root / "binder").exists() and not (root / ".binder").exists()
    assert (root / "environment.yml").is_file() and not (root / "Dockerfile").exists()
    (link,) = re.findall(r"`https://HUB/hub/user-redirect/git-pull\?(\S+)`", page)
    assert set(parse_qs(link)) == {"repo", "branch", "urlpath"}
