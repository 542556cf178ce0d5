"""The one shape every corpus has: a validated table of clips and a lazy audio reader."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from emoser_lib.corpora.audio import read_waveform
from emoser_lib.corpora.mapping import TableMapping
from emoser_lib.errors import DataError, UsageError, did_you_mean

LABELS = ("neutral", "disgust", "anger", "joy", "sadness", "fear")
"""The six labels, in the order of THAU-UPM, section 1 and Table 1."""

TEXT_COLUMNS = ("id", "audio", "transcription", "label", "split", "speaker", "video", "gender")

TIME_COLUMNS = ("start_ms", "end_ms")

COLUMNS = TEXT_COLUMNS + TIME_COLUMNS
"""Columns of ``Corpus.frame``. An unknown text is ``""``, an unknown time ``<NA>``."""


@dataclass(frozen=True)
class Corpus:
    """A corpus: the table of its clips, and the reader of their audio.

    Attributes:
        name: the corpus's name.
        frame: one row per clip, columns ``COLUMNS``, index 0 … n-1. Labels that must not be seen in
            training (the official EmoSPeech test) are empty here.
        labels: the ordered label set. Scores are always over all of it.
        held_out: id -> label of clips whose labels the frame hides.
        left_out: reason -> number of rows of the source that are not in the frame.
        short_rows: ids of clips whose row of the source has fewer cells than its header.
        mapping: how a user's table was read.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> demo.labels
    ('neutral', 'disgust', 'anger', 'joy', 'sadness', 'fear')
    >>> demo.waveform(demo.frame.id[0]).ndim
    1
    """

    name: str
    frame: pd.DataFrame
    labels: tuple[str, ...] = LABELS
    held_out: Mapping[str, str] = field(default_factory=dict, repr=False)
    left_out: Mapping[str, int] = field(default_factory=dict)
    short_rows: tuple[str, ...] = field(default=(), kw_only=True)
    mapping: TableMapping = field(default=TableMapping(), kw_only=True, repr=False)

    def __post_init__(self) -> None:
        _validate(self.name, self.frame, self.labels)

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {clip: row for row, clip in enumerate(self.frame["id"])}

    def row(self, clip_id: str) -> pd.Series:
        """Return the frame's row of one clip.

        Raises:
            UsageError: no clip has this id.
        """
        if clip_id not in self._row_of:
            hint = did_you_mean(clip_id, list(self._row_of))
            raise UsageError(f"corpus '{self.name}' has no clip '{clip_id}'{hint}: see the column id of its frame.")
        return self.frame.iloc[self._row_of[clip_id]]

    def waveform(self, clip_id: str) -> np.ndarray:
        """Read the audio of one clip: float32 [samples], 16 kHz mono.

        Raises:
            UsageError: no clip has this id.
            DataError: its audio is missing or cannot be read.
        """
        path = self.row(clip_id)["audio"]
        if not path:
            raise DataError(
                f"clip '{clip_id}' of corpus '{self.name}' has no audio here: "
                f"`emoser corpus fetch {self.name}` says how to get it."
            )
        return read_waveform(path)

    def waveforms(self, clip_ids: Iterable[str]) -> Iterator[np.ndarray]:
        """Read the audio of several clips, one after the other."""
        return (self.waveform(clip) for clip in clip_ids)

    def training(self) -> pd.DataFrame:
        """Return the labelled rows a system may learn from: the train split, or all where there is no split."""
        rows = self.frame[self.frame["label"] != ""]
        return rows[rows["split"] == "train"] if (self.frame["split"] != "").any() else rows

    def test(self) -> pd.DataFrame:
        """Return the rows of the test split; their labels come from `gold_labels`."""
        return self.frame[self.frame["split"] == "test"]

    def labelled_test(self) -> pd.DataFrame:
        """Return the rows of the test split that can be scored: those whose label is known, hidden or not."""
        test = self.test()
        return test[(test["label"] != "") | test["id"].isin(list(self.held_out))]

    def gold_labels(self) -> pd.Series:
        """Return the labels of the test split by id: for scoring, audit and reporting only, never for training.

        Raises:
            UsageError: the corpus has no test split with labels.
        """
        test = self.test()
        gold = test.set_index("id")["label"]
        gold = gold.mask(gold == "", pd.Series(dict(self.held_out), dtype="object"))
        gold = gold[gold.notna() & (gold != "")].astype(str)
        if gold.empty:
            raise UsageError(f"corpus '{self.name}' has no labelled test split: use its folds instead.")
        return gold.rename("label")

    @cached_property
    def sha256(self) -> str:
        """Identity of the content: the table (audio by file name), hidden labels and every audio file's bytes."""
        digest = hashlib.sha256()
        table = self.frame.assign(audio=[Path(p).name for p in self.frame["audio"]])
        digest.update(table.to_csv(index=False).encode())
        digest.update(repr(sorted(self.held_out.items())).encode())
        for path in self.frame["audio"]:
            if path and Path(path).is_file():
                digest.update(Path(path).read_bytes())
        return digest.hexdigest()


def build_frame(columns: Mapping[str, Iterable[object]]) -> pd.DataFrame:
    """Build a frame with all of ``COLUMNS`` from those that are known.

    >>> frame = build_frame({"id": ["a"], "label": ["joy"]})
    >>> list(frame.columns) == list(COLUMNS), frame.speaker[0]
    (True, '')
    """
    frame = pd.DataFrame({name: list(values) for name, values in columns.items()})
    for name in TEXT_COLUMNS:
        values = frame[name] if name in frame else pd.Series("", index=frame.index)
        frame[name] = values.fillna("").astype(str)
    for name in TIME_COLUMNS:
        values = frame[name] if name in frame else pd.Series(pd.NA, index=frame.index)
        frame[name] = pd.to_numeric(values).round().astype("Int64")
    return frame[list(COLUMNS)].reset_index(drop=True)


def label_set(labels: Iterable[str]) -> tuple[str, ...]:
    """Order the labels that occur: the six first, in their order, then others by name.

    >>> label_set(["surprise", "joy", "", "neutral", "boredom"])
    ('neutral', 'joy', 'boredom', 'surprise')
    """
    found = set(labels) - {""}
    return tuple(x for x in LABELS if x in found) + tuple(sorted(found - set(LABELS)))


def _validate(name: str, frame: pd.DataFrame, labels: tuple[str, ...]) -> None:
    if tuple(frame.columns) != COLUMNS:
        raise DataError(f"corpus '{name}': the columns are {list(frame.columns)}, they must be {list(COLUMNS)}.")
    if frame.empty:
        raise DataError(f"corpus '{name}' has no clips: its table is empty.")
    if (frame["id"] == "").any():
        row = int(np.flatnonzero(frame["id"] == "")[0])
        raise DataError(f"corpus '{name}': row {row + 1} has no id: give every clip one.")
    if frame["id"].duplicated().any():
        twice = frame["id"][frame["id"].duplicated()].iloc[0]
        raise DataError(f"corpus '{name}': the id '{twice}' occurs more than once: ids must be unique.")
    unknown = sorted(set(frame["label"]) - set(labels) - {""})
    if unknown:
        raise DataError(f"corpus '{name}': the label '{unknown[0]}' is not one of {', '.join(labels)}.")
    backwards = (frame["end_ms"] < frame["start_ms"]).fillna(False)
    if backwards.any():
        clip = frame["id"][backwards].iloc[0]
        raise DataError(f"corpus '{name}': clip '{clip}' ends before it starts: correct start_ms and end_ms.")
