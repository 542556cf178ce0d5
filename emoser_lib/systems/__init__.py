"""The papers' classifiers. So far: the classical baselines."""

from emoser_lib.systems.classical import BASELINES, Clips, baseline, parts_of

__all__ = ["BASELINES", "Clips", "baseline", "parts_of"]
