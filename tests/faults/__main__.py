"""Damage everything that is kept in every way, kill a run fifty times, and write down what came of it.

    python -m tests.faults [--kills 50]

`make faults` does it; the record is `book/checks/faults.json`, which the status page shows.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

from emoser_lib.environment import ROOT
from emoser_lib.reporting.book.checks import write_check
from tests.faults.damage import TARGETS, Damage, counted, damages
from tests.faults.kills import killed

OUTCOMES = ("losses", "false ok", "without a record", "different results", "tracebacks", "hangs", "manual steps")

COVERS = (
    "emoser_lib.files",
    "emoser_lib.systems.fitting",
    "emoser_lib.systems.hearing.feature_cache",
    "emoser_lib.systems.qwen_audio.conversion",
    "emoser_lib.experiments.training.cells",
    "emoser_lib.experiments.training.kept_lines",
    "emoser_lib.experiments.runs.execute",
    "emoser_lib.experiments.runs.runner",
    "emoser_lib.experiments.runs.settling",
)
"""The modules that keep something on disk."""

RECORD = ROOT / "book" / "checks" / "faults.json"


def main() -> int:
    """Do all of it; return 1 where anything did not come out well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    kills = parser.parse_args().kills
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        found: list[Damage] = []
        for name in TARGETS:
            found += damages(name, home / name.replace(" ", "-"))
            print(f"{name}: {counted(found)[name]}", file=sys.stderr, flush=True)
        for one in found:
            if one.came != "well":
                print(one, file=sys.stderr)
        (home / "checkout").mkdir()
        came = killed(home / "checkout", kills).came if kills else {}
    return write(counted(found), came)


def write(of_damages: Mapping[str, Mapping[str, int]], of_kills: Mapping[str, Mapping[str, int]]) -> int:
    """Write the record; return 1 where anything did not come out well."""
    rows: list[tuple[str | int, ...]] = []
    for name, of in of_damages.items():
        rows.append((f"{name}, damaged", sum(of.values()), *(of.get(outcome, 0) for outcome in OUTCOMES)))
    for name, of in of_kills.items():
        rows.append((f"{name}, killed", of.get("kills", 0), *(of.get(outcome, 0) for outcome in OUTCOMES)))
    about = (
        "Each file of everything that is kept is damaged in up to eleven ways (gone, emptied, cut, one bit, edited, a "
        "folder, a pipe or a link without end in its place …), and a chapter that trains is killed at moments drawn "
        "at random; then it is asked for again."
    )
    columns = ("what was damaged or killed", "times", *OUTCOMES)
    write_check(RECORD, "Damage and kills", about, "make faults", columns, rows, COVERS)
    return int(any(cell for row in rows for cell in row[2:]))


if __name__ == "__main__":
    sys.exit(main())
