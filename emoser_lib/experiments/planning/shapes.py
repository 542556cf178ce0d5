"""Modules with shapes and without numbers: counting needs no more, and drawing billions takes a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWN = {
    getattr(Tensor, name)
    for name in ("uniform_", "normal_", "trunc_normal_", "zero_", "fill_")
    if hasattr(Tensor, name)
}


class _Undrawn(TorchFunctionMode):
    """Leave the values of new parameters unset."""

    def __torch_function__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return args[0] if function in _DRAWN else function(*args, **(kwargs or {}))


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules on the meta device, without drawing their first values.

    >>> with shapes_only():
    ...     torch.nn.Linear(1_000_000, 1_000_000).weight.shape
    torch.Size([1000000, 1000000])
    """
    with torch.device("meta"), _Undrawn():
        yield
