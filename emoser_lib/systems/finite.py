"""Numbers that are none: NaN and infinities are an error that names the clip, before anything is made of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from emoser_lib.errors import DataError


def check_finite(values: Tensor, clips: Sequence[str], what: str = "scores") -> Tensor:
    """Return the values of some clips as they are, if all are finite.

    Args:
        values: [clips, …].
        clips: their ids; what is beyond them is called by its number.
        what: how an error calls the values.

    Raises:
        DataError: those of a clip are not.

    >>> check_finite(torch.tensor([[0.1], [float("nan")]]), ["a", "b"])
    Traceback (most recent call last):
    emoser_lib.errors.DataError: the scores of clip b are not finite: use dtype float32 or a smaller learning_rate.
    """
    good = torch.isfinite(values).flatten(start_dim=1).all(dim=1)
    if not good.all():
        first = int((~good).nonzero()[0])
        clip = clips[first] if first < len(clips) else f"number {first + 1}"
        raise DataError(f"the {what} of clip {clip} are not finite: use dtype float32 or a smaller learning_rate.")
    return values
