"""What is measured, phase by phase: which contenders, which clips at each step, what is looked at there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.contenders import CONTENDERS, MAIN, OURS, Clip
from benchmarks.workload import LENGTHS, Workload

Look = Literal["warm-up", "count", "memory", "step"]
"""What a step is for: only ``step`` is timed; ``count`` and ``memory`` slow it down, and warm up as well."""

EPOCH = "epoch"
OPTIONS = "options"
SIXTEEN = "batch-16"
LONG = "length"


@dataclass(frozen=True)
class Step:
    """One step of a training."""

    clips: Sequence[Clip]
    look: Look
    note: str = ""


@dataclass(frozen=True)
class Phase:
    """Contenders that take the same steps in turn."""

    name: str
    contenders: Sequence[str]
    steps: Sequence[Step]

    @property
    def batch_size(self) -> int:
        return len(self.steps[0].clips)


def phases(work: Workload, quick: bool) -> list[Phase]:
    """All phases. Batch sizes grow, so that the memory a process has had at most is that of its last one.

    The FLOPs and the memory of a step are those of the batch of median length.
    """
    few = 2 if quick else 5
    rest = [name for name in CONTENDERS if name not in MAIN]
    growth = [Phase(f"batch-{size}", MAIN, _some(work, size, few)) for size in (1, 2)]
    epoch = Phase(EPOCH, MAIN, [*_looks(work, 4), *(Step(clips, "step") for clips in _batches(work, 4))])
    options = Phase(OPTIONS, (OURS, *rest), _some(work, 4, few))
    fours = [work.long[start : start + 4] for start in range(0, len(work.long), 4)]
    lengths = [Step(clips, "step", str(length)) for clips, length in zip(fours, LENGTHS, strict=True)]
    long = Phase(LONG, MAIN, [Step(fours[0], "warm-up"), *lengths * (1 if quick else 3)])
    return [
        *growth,
        epoch,
        options,
        Phase("batch-8", MAIN, _some(work, 8, few)),
        long,
        Phase(SIXTEEN, MAIN, _some(work, 16, few)),
    ]


def _batches(work: Workload, size: int) -> list[Sequence[Clip]]:
    return [work.clips[start : start + size] for start in range(0, len(work.clips), size)]


def _looks(work: Workload, size: int) -> list[Step]:
    by_length = sorted(_batches(work, size), key=lambda clips: sum(len(clip.ids) for clip in clips))
    median = by_length[len(by_length) // 2]
    return [Step(median, "count"), Step(median, "memory")]


def _some(work: Workload, size: int, steps: int) -> list[Step]:
    batches = _batches(work, size)
    return [*_looks(work, size), *(Step(batches[i % len(batches)], "step") for i in range(steps))]
