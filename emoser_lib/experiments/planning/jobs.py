"""What a job of a cluster is to be given: memory and minutes, after the plan of the run it trains a cell of."""

from collections.abc import Sequence
from math import ceil

from emoser_lib.experiments.planning.dry_run import dry_run
from emoser_lib.experiments.runs.profiles import PlannedRun
from emoser_lib.experiments.runs.records import Record
from emoser_lib.values import Immutable

PROCESS_MB = 2_000
"""Of Python, torch, the kernel and the workflow's step beside the model (our choice: some 1,200 were seen)."""

ON_TOP = 1.25
"""On top of the planned memory, for what lies between tensors (our choice)."""

PATIENCE = 2.0
"""How much longer than the slowest training of its kind a job may take (our choice)."""


class JobNeeds(Immutable):
    """What one job asks of a cluster.

    Attributes:
        mem_mb: megabytes, of the machine and, where it trains on a GPU, of the GPU.
        runtime: minutes; ``None`` where this machine has no record of such a run.
    """

    mem_mb: int
    runtime: int | None

    @property
    def resources(self) -> dict[str, int]:
        """By Snakemake's names, without what is not known."""
        return {name: value for name, value in self.model_dump().items() if value is not None}


def needs_of_a_job(runs: Sequence[PlannedRun], profile: str, records: Sequence[Record] = ()) -> JobNeeds:
    """Work out what one training of these runs needs: the memory of the largest, the time of the slowest.

    Args:
        runs: those whose cells are trained, a job each.
        profile: their name, for errors.
        records: of this machine, as `hours_of` takes them.

    Raises:
        UsageError, DataError: see `dry_run`.
    """
    done = dry_run(runs, profile, records)
    paces = [need.hours / max(1, need.trainings) for need in done.runs if need.hours is not None]
    return JobNeeds(
        mem_mb=100 * ceil((done.memory_bytes / 1e6 * ON_TOP + PROCESS_MB) / 100),
        runtime=max(10, ceil(PATIENCE * 60 * max(paces))) if paces else None,
    )
