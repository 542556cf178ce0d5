"""Folds, training, scoring, run records.

The runner (`runner`, `profiles`, `parameters`) is not handed on here: chapters do not need it, and it is
slow to import.
"""

from emoser_lib.experiments.audio_settings import (
    AuditSettings,
    EmosllmSettings,
    Emotion2vecGemmaSettings,
    WhisperGemmaSettings,
)
from emoser_lib.experiments.evaluation import evaluation_folds, predict_by_folds
from emoser_lib.experiments.folds import SCHEMES, Fold, folds
from emoser_lib.experiments.intervals import (
    approximate_randomisation,
    bootstrap_interval,
    paired_bootstrap,
    paper_interval,
)
from emoser_lib.experiments.qwen_settings import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.records import Record, published_records, read_record, read_records
from emoser_lib.experiments.robustness_settings import RobustnessSettings
from emoser_lib.experiments.scoring import macro_f1_from_confusion, score
from emoser_lib.experiments.settings import (
    ClassicalSettings,
    CorpusSettings,
    GemmaLoraSettings,
    GemmaZeroShotSettings,
    ScoringSettings,
)
from emoser_lib.experiments.submission import (
    merge_submissions,
    read_submission,
    score_submission,
    write_submission,
)

__all__ = [
    "SCHEMES",
    "AuditSettings",
    "ClassicalSettings",
    "CorpusSettings",
    "EmosllmSettings",
    "Emotion2vecGemmaSettings",
    "Fold",
    "GemmaLoraSettings",
    "GemmaZeroShotSettings",
    "QwenLoraSettings",
    "QwenZeroShotSettings",
    "Record",
    "RobustnessSettings",
    "ScoringSettings",
    "WhisperGemmaSettings",
    "approximate_randomisation",
    "bootstrap_interval",
    "evaluation_folds",
    "folds",
    "macro_f1_from_confusion",
    "merge_submissions",
    "paired_bootstrap",
    "paper_interval",
    "predict_by_folds",
    "published_records",
    "read_record",
    "read_records",
    "read_submission",
    "score",
    "score_submission",
    "write_submission",
]
