"""What a corpus holds, counted by split."""

import pandas as pd
from pydantic import BaseModel

from emoser_lib.corpora.audio import duration_seconds
from emoser_lib.corpora.corpus import Corpus


class SplitCounts(BaseModel):
    """Counts of one split; what the corpus does not know is ``None``."""

    clips: int
    labels: dict[str, int]
    videos: int | None
    speakers: int | None
    hours: float | None


class Description(BaseModel):
    """A corpus in numbers. Clips without a split count as split ``all``.

    Attributes:
        columns, renamed, unused_columns: how a user's table was read: our column -> the table's, the table's label ->
            ours, and the columns that nothing is read from; empty where a corpus is not a user's.
    """

    name: str
    labels: list[str]
    splits: dict[str, SplitCounts]
    left_out: dict[str, int]
    columns: dict[str, str]
    renamed: dict[str, str]
    unused_columns: list[str]


def describe(corpus: Corpus) -> Description:
    """Count clips, labels, videos, speakers and hours by split.

    Labels that the frame hides (the official EmoSPeech test) are not counted.

    >>> from emoser_lib.corpora import load_corpus
    >>> describe(load_corpus("demo")).splits["test"].clips
    100
    """
    split = corpus.frame["split"].replace("", "all")
    seconds = clip_seconds(corpus)
    return Description(
        name=corpus.name,
        labels=list(corpus.labels),
        left_out=dict(corpus.left_out),
        columns=dict(corpus.mapping.columns),
        renamed=dict(corpus.mapping.labels),
        unused_columns=list(corpus.mapping.unused),
        splits={
            name: SplitCounts(
                clips=len(rows),
                labels={x: int(n) for x in corpus.labels if (n := (rows["label"] == x).sum())},
                videos=_distinct(rows["video"]),
                speakers=_distinct(rows["speaker"]),
                hours=None if seconds is None else round(sum(seconds[i] for i in rows.index) / 3600, 4),
            )
            for name, rows in corpus.frame.groupby(split, sort=False)
        },
    )


def clip_seconds(corpus: Corpus) -> list[float] | None:
    """Return every clip's length in seconds, from its times or else its audio; ``None`` where it has neither."""
    times = corpus.frame["end_ms"] - corpus.frame["start_ms"]
    if times.notna().all():
        return [float(ms) / 1000 for ms in times]
    if (corpus.frame["audio"] == "").any():
        return None
    return [duration_seconds(path) for path in corpus.frame["audio"]]


def _distinct(values: pd.Series) -> int | None:
    found = set(values) - {""}
    return len(found) if found else None
