"""claims.yaml is consistent, and a page cannot cite a claim that it does not have."""

import csv
import re
import subprocess
import sys
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
import yaml

NONE_MEASURED = "**Not measured: the papers' own scores.**"

FIELDS = {"id", "paper", "place", "text", "value", "printed", "answer"}
OPTIONAL = {"interval", "note", "metric", "split", "n"}
TEST_CLIPS = 750


@pytest.fixture(scope="module")
def claims(root: Path) -> dict[str, dict[str, Any]]:
    listed = yaml.safe_load((root / "book" / "claims.yaml").read_text(encoding="utf-8"))
    by_id = {claim["id"]: claim for claim in listed}
    assert len(by_id) == len(listed), "two claims have the same id"
    return by_id


def test_entries_are_complete(claims: dict[str, dict[str, Any]]) -> None:
    for name, claim in claims.items():
        assert FIELDS <= set(claim) <= FIELDS | OPTIONAL, name
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name), name


def test_what_is_printed_is_the_value(claims: dict[str, dict[str, Any]]) -> None:
    words = {"six": 6.0}
    for name, claim in claims.items():
        if claim["value"] is not None:
            printed = str(claim["printed"]).replace(",", "")
            assert words.get(printed) or float(printed) == claim["value"], name


def numbers_of(claim: dict[str, Any]) -> set[float]:
    """What a claim has of numbers: its value, its interval, and those that its text names."""
    named = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", claim["text"])
    found = {float(number.replace(",", "")) for number in named}
    return found | {float(claim[part]) for part in ("value", "interval") if claim.get(part) is not None}


@pytest.fixture(scope="module")
def seed_numbers(root: Path) -> list[dict[str, str]]:
    """The list of the seeds' numbers, with their places."""
    with (root / "tests" / "book" / "seed_numbers.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_no_number_of_the_seeds_is_missing(
    claims: dict[str, dict[str, Any]], seed_numbers: list[dict[str, str]]
) -> None:
    assert len(seed_numbers) > 100
    for row in seed_numbers:
        number = float(row["number"].replace("10^-", "1e-").replace(",", ""))
        assert all(number in numbers_of(claims[name]) for name in row["claim"].split()), row


def test_no_number_is_invented(claims: dict[str, dict[str, Any]], seed_numbers: list[dict[str, str]]) -> None:
    """A claim with a value has it from a seed; those that come from elsewhere say so."""
    listed = {name for row in seed_numbers for name in row["claim"].split()}
    for name, claim in claims.items():
        elsewhere = claim["paper"] == "EmoSPeech 2024 overview" or claim["place"].startswith("public reviews")
        if claim["value"] is not None and not elsewhere:
            assert name in listed, name


def test_the_cells_of_figures_are_not_readable(claims: dict[str, dict[str, Any]]) -> None:
    """Their pictures have no printed numbers, so nobody may have read any."""
    for figure in (3, 4, 5):
        cells = claims[f"thau-figure{figure}-cells"]
        assert (cells["value"], cells["printed"]) == (None, "not readable")


def test_the_stated_intervals_are_those_of_an_accuracy(claims: dict[str, dict[str, Any]]) -> None:
    """1.96 · sqrt(F(1 − F) / 750), in all six rows of Table 3: a mistyped score or interval shows."""
    rows = [claim for claim in claims.values() if "interval" in claim]
    assert len(rows) == 6
    for row in rows:
        f1 = row["value"]
        assert row["interval"] == pytest.approx(1.96 * sqrt(f1 * (1 - f1) / TEST_CLIPS), abs=2.5e-4), row["id"]


def test_the_first_page_says_how_many_scores_were_measured(root: Path) -> None:
    """Its sentence holds as long as no run of the profile paper is recorded; then it has to be written anew."""
    recorded = list((root / "book" / "records").glob("*-paper-*.json"))
    assert (NONE_MEASURED in (root / "book" / "index.md").read_text(encoding="utf-8")) == (not recorded)


def build(root: Path, folder: Path, text: str) -> "subprocess.CompletedProcess[str]":
    """Build a book of one page with the extension."""
    source = folder / "source"
    source.mkdir()
    (source / "conf.py").write_text(
        f"import sys\nsys.path.append({str(root / 'book' / 'extensions')!r})\nextensions = ['myst_parser', 'claims']\n"
    )
    (source / "claims.yaml").write_text(
        "- {id: best, paper: P 2024, place: Table 3, value: 0.5, printed: '0.5000', interval: 0.1}\n"
        "- {id: bare, paper: P 2024, place: Table 3, value: 0.5, printed: '0.50'}\n"
    )
    (source / "index.md").write_text(f"# Page\n\n{text}\n")
    command = [sys.executable, "-B", "-m", "sphinx", "-q", "-b", "html", str(source), str(folder / "html")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_claim_is_printed_with_its_place(root: Path, tmp_path: Path) -> None:
    done = build(root, tmp_path, "It reached {claim}`best` ± {claim-interval}`best`.")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "html" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<abbr[^>]*title="P 2024, Table 3"[^>]*>0\.5000</abbr> ± <abbr[^>]*>0\.1</abbr>', page)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{claim}`bets`", "has no claim 'bets'. Did you mean 'best'?"),
        ("{claim-interval}`bare`", "claim 'bare' states no interval"),
    ],
)
def test_a_wrong_claim_ends_the_build(root: Path, tmp_path: Path, text: str, message: str) -> None:
    done = build(root, tmp_path, text)
    assert done.returncode != 0
    assert message in done.stderr
