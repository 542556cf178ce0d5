"""Figures, tables, run cards and pages."""

from emoser_lib.reporting.hearing.listening import listen, one_clip_a_label
from emoser_lib.reporting.ledger.claims import claims
from emoser_lib.reporting.recorded_tables import recorded
from emoser_lib.reporting.report import introduce, introduce_encoder, introduce_llm, report
from emoser_lib.reporting.scores import (
    drawn_by,
    gold_for,
    interval_table,
    keep_answers,
    paired_table,
    per_class_table,
    per_label_table,
    rarest_label_swing,
    scheme_table,
    score_on,
    score_table,
)
from emoser_lib.reporting.tables import show

__all__ = [
    "claims",
    "drawn_by",
    "gold_for",
    "interval_table",
    "introduce",
    "introduce_encoder",
    "introduce_llm",
    "keep_answers",
    "listen",
    "one_clip_a_label",
    "paired_table",
    "per_class_table",
    "per_label_table",
    "rarest_label_swing",
    "recorded",
    "report",
    "scheme_table",
    "score_on",
    "score_table",
    "show",
]
