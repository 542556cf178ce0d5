"""How long a run will take, after what runs like it took on this machine."""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any

from emoser_lib.environment import hardware
from emoser_lib.experiments.runs.profiles import PlannedRun
from emoser_lib.experiments.runs.records import Hardware, Record, RunStatus, portable

GRID_PARAMETERS = (
    *("ranks", "alphas", "folds", "batch_sizes", "learning_rates", "weights"),
    *("arms", "queries", "speech_weights"),
)
"""Parameters that multiply the trainings of a run."""

NO_MATTER = (*GRID_PARAMETERS, "seed", "refit", "resamples", "predictions")
"""In which runs may differ and still train at one pace."""


def hours_of(planned: PlannedRun, records: Iterable[Record]) -> float | None:
    """Estimate the hours of a run: the slowest pace of runs like it, for as many trainings as it has.

    The slowest, since a run whose cells were in the cache already took no time for them. Runs are like each other if
    they differ in their grid and seed only.

    Args:
        planned: the run.
        records: those of this machine count.

    Returns:
        Hours; ``None`` where there is no such record.
    """
    here = Hardware(**hardware())
    wanted = _pace(portable(dict(planned.parameters)))
    like = [
        record.seconds / trainings_of(record.parameters)
        for record in records
        if record.notebook == planned.chapter and record.status is RunStatus.OK
        if record.hardware == here and _pace(record.parameters) == wanted
    ]
    return max(like) * trainings_of(planned.parameters) / 3600 if like else None


def trainings_of(parameters: Mapping[str, Any]) -> int:
    """Count a run's trainings, one at least: its grid by its folds, and the refit.

    >>> trainings_of({"ranks": [4, 16], "alphas": [8], "folds": [0, 1], "refit": True})
    5
    """
    lists = [values for name in GRID_PARAMETERS if isinstance(values := parameters.get(name), list) and values]
    return prod(map(len, lists)) + bool(parameters.get("refit"))


def _pace(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if name not in NO_MATTER}
