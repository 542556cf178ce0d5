"""Recordings, transcripts, labels: every corpus in one shape."""

from emoser_lib.corpora.altered import AlteredCorpus, Condition, alter
from emoser_lib.corpora.audio import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.ceilings import ceilings
from emoser_lib.corpora.check import Finding, FindingKind, check
from emoser_lib.corpora.corpus import COLUMNS, LABELS, Corpus
from emoser_lib.corpora.describe import clip_seconds, describe
from emoser_lib.corpora.fetch import fetch
from emoser_lib.corpora.loaders import (
    SOURCES,
    absolute,
    cache_home,
    check_options,
    data_home,
    load_corpus,
    load_other,
    share_clips,
)
from emoser_lib.corpora.survey import Survey, survey

__all__ = [
    "COLUMNS",
    "LABELS",
    "SAMPLE_RATE",
    "SOURCES",
    "AlteredCorpus",
    "Condition",
    "Corpus",
    "Finding",
    "FindingKind",
    "Survey",
    "absolute",
    "alter",
    "cache_home",
    "ceilings",
    "check",
    "check_options",
    "clip_seconds",
    "data_home",
    "describe",
    "fetch",
    "load_corpus",
    "load_other",
    "read_waveform",
    "share_clips",
    "survey",
]
