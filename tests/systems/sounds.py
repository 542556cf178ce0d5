"""Clips of noise and the entries a feature cache makes of them, for the cache's tests."""

from pathlib import Path

import numpy as np
from torch import Tensor

Clips = list[tuple[str, np.ndarray]]


def sounds(n: int, samples: int = 3_000) -> Clips:
    """Clips of different lengths."""
    rng = np.random.default_rng(0)
    return [(f"clip-{i}", rng.standard_normal(samples + 400 * i).astype(np.float32)) for i in range(n)]


def entries(home: Path) -> list[Path]:
    """The files of a cache's clips."""
    return sorted(home.glob("*/*/*.safetensors"))


def never(*_: object) -> list[Tensor]:
    """In the place of an encoder that has nothing left to do."""
    raise AssertionError("encoded again")
