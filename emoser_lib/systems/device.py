"""Where a model computes: one declared device for a process, for loading, training and scoring alike."""

import os
from typing import Any

import torch
from torch import distributed

from emoser_lib.errors import UsageError

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
