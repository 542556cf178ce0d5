"""Folds, training, scoring, run records.

The runner (`runner`, `profiles`, `parameters`) is not handed on here: chapters do not need it, and it is
slow to import.
"""

from emoser_lib.experiments.judging.intervals import (
    approximate_randomisation,
    bootstrap_interval,
    paired_bootstrap,
    paper_interval,
)
from emoser_lib.experiments.judging.scoring import macro_f1_from_confusion, score
from emoser_lib.experiments.judging.submission import (
    merge_submissions,
    read_submission,
    score_submission,
    write_submission,
)
from emoser_lib.experiments.runs.records import Record, published_records, read_record, read_records
from emoser_lib.experiments.settings.audit import AuditSettings
from emoser_lib.experiments.settings.base import ClassicalSettings, CorpusSettings, ScoringSettings
from emoser_lib.experiments.settings.hearing import EmosllmSettings, Emotion2vecGemmaSettings, WhisperGemmaSettings
from emoser_lib.experiments.settings.own import OwnSettings
from emoser_lib.experiments.settings.prepare import Prepared, prepare
from emoser_lib.experiments.settings.qwen_audio import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.settings.reading import GemmaLoraSettings, GemmaZeroShotSettings
from emoser_lib.experiments.settings.robustness import RobustnessSettings
from emoser_lib.experiments.training.evaluation import evaluation_folds, predict_by_folds
from emoser_lib.experiments.training.folds import SCHEMES, Fold, folds

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
    "OwnSettings",
    "Prepared",
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
    "prepare",
    "published_records",
    "read_record",
    "read_records",
    "read_submission",
    "score",
    "score_submission",
    "write_submission",
]
