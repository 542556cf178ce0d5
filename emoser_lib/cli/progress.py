"""How far a run is, on standard error: one line that changes on a terminal, elsewhere a line a minute."""

import json
import os
import sys
import time
from pathlib import Path

from emoser_lib.experiments.runs.execute import AT_CELL
from emoser_lib.systems.progress import read_progress

EVERY_SECONDS = 60.0
"""Between two lines where there is no terminal."""

LIVE_SECONDS = 0.5
"""Between two changes of the line on a terminal (our choice)."""

MARK = "EMOSER_WORKFLOW"
"""Set where a workflow runs several at a time, which would write over each other's line (scripts/workflow.py)."""


class ProgressLine:
    """Say how far a run is, when it is called (`runner.run`).

    Args:
        name: of the run.
    """

    def __init__(self, name: str) -> None:
        self._name, self._said, self._width = name, time.monotonic(), 0
        self._live = sys.stderr.isatty() and MARK not in os.environ

    def __call__(self, folder: Path) -> None:
        passed = time.monotonic()
        if passed - self._said < (LIVE_SECONDS if self._live else EVERY_SECONDS):
            return
        self._said = passed
        if not (line := progress_of(folder)):
            return
        if self._live:
            most = os.get_terminal_size(sys.stderr.fileno()).columns - 1
            shown = line[:most]
            print(f"\r{shown.ljust(self._width)}", end="", file=sys.stderr, flush=True)
            self._width = len(shown)
        else:
            print(f"{self._name}: {line}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away from the terminal."""
        if self._width:
            print(f"\r{' ' * self._width}\r", end="", file=sys.stderr, flush=True)


def progress_of(folder: Path) -> str:
    """Say which cell of the notebook is executed and how far its training is; empty before the first cell.

    Args:
        folder: that the run's kernel is given.
    """
    try:
        cell, cells = json.loads((folder / AT_CELL).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    training = read_progress(folder)
    going_on = training is not None and training.step < training.steps
    return f"cell {cell} of {cells}" + (f", {training}" if going_on else "")
