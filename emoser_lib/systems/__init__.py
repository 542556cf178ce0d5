"""The papers' classifiers: what they are (declared, without torch), and the rooms that make them.

The names here need no torch. What loads or trains a model is imported from its room: `checkpoints`, `reading`,
`hearing`, `qwen_audio`, `classical.estimators`.
"""

from emoser_lib.systems.classical.baselines import BASELINES, parts_of
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.declared import AudioSystem, Linear, Lora, Loss, Own, Queries, TextSystem, Training

__all__ = [
    "BASELINES",
    "AudioSystem",
    "Clips",
    "Linear",
    "Lora",
    "Loss",
    "Own",
    "Queries",
    "TextSystem",
    "Training",
    "parts_of",
]
