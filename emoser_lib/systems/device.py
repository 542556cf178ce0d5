"""Where a model computes: one declared device for a process, for loading, training and scoring alike."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from emoser_lib.errors import DataError, UsageError

DEVICE = "EMOSER_DEVICE"
"""The environment variable that declares the device where a parameter says "auto"."""


def declared_device(name: str = "auto") -> torch.device:
    """Return the device on which this process loads, trains and scores.

    Args:
        name: "cpu", "cuda" (the first GPU, or under torchrun the process's own), "cuda:1", "mps"; "auto": what
            ``$EMOSER_DEVICE`` names, else the best there is: cuda, then mps, then cpu.

    Raises:
        UsageError: this machine does not have it.

    >>> declared_device("cpu")
    device(type='cpu')
    """
    variable = os.environ.get(DEVICE, "") if name == "auto" else ""
    here = _devices()
    asked = variable or name
    if asked == "auto":
        asked = here[0]
    if asked not in here:
        where = f" ({DEVICE})" if variable else ""
        known = ", ".join(dict.fromkeys([*here, "auto"]))
        raise UsageError(f"there is no device '{asked}'{where} on this machine: use {known}.")
    if asked == "cuda":
        asked = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return torch.device(asked)


def _devices() -> list[str]:
    """The names of what is here, the best first."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ["cuda", *(f"cuda:{number}" for number in range(gpus))] if gpus else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "ALLOC_FAILED")
"""What torch says where there is no exception of its own: on CPUs, on Apple's GPUs, in CUDA's libraries."""


@contextmanager
def enough_memory(device: torch.device | str, what: str, way_out: str) -> Iterator[None]:
    """Tell of too little memory as that, with what to lower.

    Args:
        device: whose memory it is.
        what: needs it.
        way_out: the settings that lower the need.

    Raises:
        DataError: the memory of the device, or of the machine, was too small.

    >>> with enough_memory("cpu", "a batch", "lower batch_size"):
    ...     _ = torch.empty(2**60)
    Traceback (most recent call last):
    emoser_lib.errors.DataError: the memory of cpu is too small for a batch: lower batch_size.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        known = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not known and not any(said in str(error) for said in NO_MEMORY):
            raise
        raise DataError(f"the memory of {device} is too small for {what}: {way_out}.") from None


def processes() -> int:
    """Return how many processes train together: what torchrun or accelerate started, else 1."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_process() -> bool:
    """Return whether this is the one of those that train together that writes files."""
    return os.environ.get("RANK", "0") == "0"


def agreed(value: Any) -> Any:
    """Return what the first of the processes that train together says; of a single one, its own value."""
    if processes() == 1:
        return value
    if not distributed.is_initialized():
        distributed.init_process_group()
    said = [value]
    distributed.broadcast_object_list(said)
    return said[0]
