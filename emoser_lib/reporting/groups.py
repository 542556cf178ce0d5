"""Scores by group: of each speaker, of each gender."""

import numpy as np
import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import score
from emoser_lib.reporting.scores import gold_for

COLUMNS = ("speaker", "video", "gender")
"""What clips may be grouped by."""


def by_group(
    corpus: Corpus, predicted: pd.Series, column: str, resamples: int = 2000, seed: int = 0, by: str = ""
) -> pd.DataFrame:
    """Scores of one system on the clips of each group.

    Groups differ in their labels: whoever speaks more often in an easy emotion has a higher accuracy, and a label that
    a group has no clip of counts 0 in its macro-F1 and UAR. ``standardised`` can be compared: the accuracy that the
    group would have if its labels were as frequent as among all these clips. That is the mean of its labels' recalls,
    weighted by the labels' shares among all clips; a label that it has no clip of, also in a resample, counts with
    everybody's recall. So a group with few clips is drawn towards all the others.

    Args:
        corpus: gives the groups, the gold labels and the label set.
        predicted: labels by clip id.
        column: "speaker", "video" or "gender".
        resamples: of the bootstrap (95 %, percentile) within each group; the weights stay as they are.
        seed: of the bootstrap.
        by: what is drawn: empty: clips; "speaker" or "video": all clips of one. Of a gender, draw speakers.

    Returns:
        One row a group: clips, labels (how many of the set it has), macro_f1, uar, accuracy, standardised,
        low, high, drawn (how many clips, speakers or videos the interval rests on).
        The interval is empty where a group has only one of what is drawn. Clips whose group is not known are the group
        "unknown"; where none is known the table is empty.

    Raises:
        UsageError: there is no such column.
    """
    for name in (column, by):
        if name not in (*COLUMNS, "") or not column:
            raise UsageError(f"clips are not grouped by '{name}': choose one of {', '.join(COLUMNS)}.")
    frame = corpus.frame.set_index("id").loc[predicted.index]
    if not (frame[column] != "").any():
        return pd.DataFrame()
    gold = gold_for(corpus, predicted.index)
    place = pd.Index(corpus.labels).get_indexer(pd.Index(gold))
    share = np.bincount(place, minlength=len(corpus.labels)) / len(gold)
    unit = frame[by] if by else pd.Series(frame.index, frame.index)
    right = (gold == predicted).to_numpy()
    counts = _counts(place, right, np.zeros(len(gold), int), len(corpus.labels))
    everyone = _recalls(counts.sum(axis=1), np.zeros(len(corpus.labels)))
    rng, rows = np.random.default_rng(seed), {}
    for name, group in frame.groupby(frame[column].replace("", "unknown")):
        here = predicted.index.isin(group.index)
        units = pd.factorize(unit[here])[0]
        counts = _counts(place[here], right[here], units, len(corpus.labels))
        scored = score(gold[here], predicted[here], corpus.labels)
        low, high = _interval(counts, share, everyone, resamples, rng)
        rows[name] = {
            "clips": scored.n,
            "labels": len(set(gold[here])),
            "macro_f1": scored.macro_f1,
            "uar": scored.uar,
            "accuracy": scored.accuracy,
            "standardised": float(_recalls(counts.sum(axis=1), everyone) @ share),
            "low": low,
            "high": high,
            "drawn": counts.shape[1],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(column)


def _counts(place: np.ndarray, right: np.ndarray, units: np.ndarray, labels: int) -> np.ndarray:
    """Right answers and clips, float [2, units, labels]."""
    counts = np.zeros((2, units.max() + 1, labels))
    np.add.at(counts[0], (units, place), right)
    np.add.at(counts[1], (units, place), 1)
    return counts


def _recalls(counts: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Recalls [..., labels] from right answers and clips [2, ..., labels]; of labels without clips as told."""
    right, clips = counts
    return np.divide(right, clips, out=np.broadcast_to(otherwise, right.shape).copy(), where=clips > 0)


def _interval(
    counts: np.ndarray, share: np.ndarray, everyone: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    units = counts.shape[1]
    if units < 2:
        return np.nan, np.nan
    often = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(float)
    draws = _recalls(often @ counts, everyone) @ share
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)
