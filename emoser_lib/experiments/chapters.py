"""Which settings each chapter has."""

from emoser_lib.experiments.audio_settings import (
    AuditSettings,
    EmosllmSettings,
    Emotion2vecGemmaSettings,
    WhisperGemmaSettings,
)
from emoser_lib.experiments.qwen_settings import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.robustness_settings import RobustnessSettings
from emoser_lib.experiments.settings import (
    ClassicalSettings,
    CorpusSettings,
    GemmaLoraSettings,
    GemmaZeroShotSettings,
    ScoringSettings,
    Settings,
)

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
    )
}
"""By the name in a notebook's metadata, ``emoser.settings``."""
