"""A GPU for a run, where several runs share a machine with several."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from emoser_lib.corpora import cache_home
from emoser_lib.errors import UsageError
from emoser_lib.files import locked, make_folder

GPUS = "EMOSER_GPUS"
"""Environment variable that numbers those which runs may take, such as "0,1"; unset: a run sees all there are."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""CUDA's own, by which a process sees some GPUs only."""


@contextmanager
def own_gpu() -> Iterator[None]:
    """Keep the first GPU that no other run has taken, for as long as this one lasts; CUDA shows no other.

    Raises:
        UsageError: all of them are taken.
    """
    numbers = [number.strip() for number in os.environ.get(GPUS, "").split(",") if number.strip()]
    if not numbers:
        yield
        return
    folder = make_folder(cache_home() / "gpus", cache_home())
    with ExitStack() as kept:
        for number in numbers:
            try:
                kept.enter_context(locked(folder / f"{number}.lock", UsageError(f"GPU {number} is taken")))
            except UsageError:
                continue
            before = os.environ.get(VISIBLE)
            os.environ[VISIBLE] = number
            try:
                yield
            finally:
                os.environ.pop(VISIBLE)
                if before is not None:
                    os.environ[VISIBLE] = before
            return
    raise UsageError(f"all GPUs that {GPUS} names ({', '.join(numbers)}) are taken by other runs: start fewer at once.")
