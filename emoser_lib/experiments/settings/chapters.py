"""Which settings each chapter has."""

from emoser_lib.experiments.settings.audit import AuditSettings
from emoser_lib.experiments.settings.base import ClassicalSettings, CorpusSettings, ScoringSettings, Settings
from emoser_lib.experiments.settings.hearing import EmosllmSettings, Emotion2vecGemmaSettings, WhisperGemmaSettings
from emoser_lib.experiments.settings.own import OwnSettings
from emoser_lib.experiments.settings.qwen_audio import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.settings.reading import GemmaLoraSettings, GemmaZeroShotSettings
from emoser_lib.experiments.settings.robustness import RobustnessSettings

CHAPTERS: dict[str, type[Settings]] = {
    s.__name__: s
    for s in (
        CorpusSettings,
        ScoringSettings,
        ClassicalSettings,
        GemmaZeroShotSettings,
        GemmaLoraSettings,
        QwenZeroShotSettings,
        QwenLoraSettings,
        WhisperGemmaSettings,
        Emotion2vecGemmaSettings,
        EmosllmSettings,
        AuditSettings,
        RobustnessSettings,
        OwnSettings,
    )
}
"""By the name in a notebook's metadata, ``emoser.settings``."""
