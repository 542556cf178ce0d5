"""Progress of a training, told to who waits for it: a small file in the folder that a run is given."""

import json
import os
import time
from pathlib import Path

from emoser_lib.environment import RUN_FOLDER
from emoser_lib.values import Immutable

PROGRESS = "progress.json"
"""Its name in that folder."""

TOLD_SECONDS = 0.5
"""Between two of a training's steps that are told (our choice)."""


class TrainingProgress(Immutable):
    """How far a training is.

    Attributes:
        step, steps: done, and all.
        epoch: passes over the clips, such as 1.5.
        loss: the last one that was logged; ``None`` before the first.
        seconds_left: at the pace so far; ``None`` before the first step.
    """

    step: int
    steps: int
    epoch: float
    loss: float | None = None
    seconds_left: float | None = None

    def __str__(self) -> str:
        loss = "" if self.loss is None else f", loss {self.loss:.3f}"
        left = "" if self.seconds_left is None else f", {in_words(self.seconds_left)} left"
        return f"training step {self.step:,} of {self.steps:,}, epoch {self.epoch:.1f}{loss}{left}"


class Teller:
    """Write a training's progress where the runner reads it; nowhere if no runner asks for it (Lab, papermill)."""

    def __init__(self) -> None:
        folder = os.environ.get(RUN_FOLDER)
        self._path = Path(folder) / PROGRESS if folder else None
        self._began = self._told = time.monotonic()
        self._first: int | None = None

    def tell(self, step: int, steps: int, epoch: float, loss: float | None) -> None:
        """Write it down, at most every half second and at the last step."""
        passed = time.monotonic()
        if self._first is None:
            self._first, self._began = step, passed  # a training that goes on begins later
        if self._path is None or (passed - self._told < TOLD_SECONDS and step < steps):
            return
        self._told, done = passed, step - self._first
        left = (passed - self._began) / done * (steps - step) if done else None
        told = TrainingProgress(step=step, steps=steps, epoch=epoch, loss=loss, seconds_left=left)
        partial = self._path.with_suffix(".part")
        partial.write_text(told.model_dump_json(), encoding="utf-8")
        partial.replace(self._path)  # whole or not at all; it need not survive a power cut


def read_progress(folder: Path) -> TrainingProgress | None:
    """Read what a run's training tells; ``None`` where nothing is trained yet."""
    try:
        return TrainingProgress.model_validate(json.loads((folder / PROGRESS).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def in_words(seconds: float) -> str:
    """Write a duration in the unit that fits.

    >>> in_words(40), in_words(600), in_words(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
