"""The papers' classifiers.

So far: the classical baselines (`classical`, `features`, `networks`), and the systems that read: checkpoints, prompts,
verbalisers, answers, zero-shot, packed batches and LoRA. The latter need torch or transformers, which are slow to
import, and are imported from their modules.
"""

from emoser_lib.systems.classical import BASELINES, Clips, baseline, parts_of

__all__ = ["BASELINES", "Clips", "baseline", "parts_of"]
