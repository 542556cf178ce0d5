"""Scores of parts of the clips, made comparable: of each speaker, of each gender, of videos seen and unseen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import score
from emoser_lib.experiments.judging.scoring import Floats
from emoser_lib.reporting.scores import gold_for

GROUP_COLUMNS = ("speaker", "video", "gender")
"""What clips may be grouped by."""

TAILS = (0.025, 0.975)
"""Of the bootstrap: 95 %."""


@dataclass(frozen=True)
class _Group:
    """One group: its name, the ids of its clips, and right answers and clips by unit and label [2, units, labels]."""

    name: str
    ids: pd.Index
    counts: Floats


def by_group(
    corpus: Corpus,
    predicted: pd.Series,
    groups: str | pd.Series,
    resamples: int = 2000,
    seed: int = 0,
    by: str = "",
) -> pd.DataFrame:
    """Score one system on the clips of each group.

    Groups differ in their labels: whoever speaks more often in an easy emotion has a higher accuracy, and a label that
    a group has no clip of counts 0 in its macro-F1 and UAR. ``standardised`` can be compared: the accuracy that the
    group would have if its labels were as frequent as among all these clips. That is the mean of its labels' recalls,
    weighted by the labels' shares among all clips; a label that it has no clip of, also in a resample, counts with
    everybody's recall. So a group with few clips is drawn towards all the others.

    Args:
        corpus: gives the gold labels and the label set, and the groups where a column is named.
        predicted: labels by clip id.
        groups: "speaker", "video" or "gender"; or the name of each clip's group, by id.
        resamples: of the bootstrap (95 %, percentile) within each group; the weights stay as they are.
        seed: of the bootstrap.
        by: what is drawn: empty: clips; "speaker" or "video": all clips of one. Of a gender, draw speakers.

    Returns:
        One row per group: clips, labels (how many of the set it has), macro_f1, uar, accuracy, standardised,
        low, high, drawn (how many clips, speakers or videos the interval rests on).
        The interval is empty where a group has only one of what is drawn. Clips whose group is not known are the group
        "unknown"; where none is known the table is empty.

    Raises:
        UsageError: there is no such column.
    """
    gold, share, everyone = _whole(corpus, predicted)
    rng, rows = np.random.default_rng(seed), {}
    for group in _groups(corpus, predicted, groups, by):
        scored = score(gold[group.ids], predicted[group.ids], corpus.labels)
        low, high = np.nan, np.nan
        if group.counts.shape[1] > 1:
            low, high = np.quantile(_draws(group.counts, everyone, resamples, rng) @ share, TAILS)
        rows[group.name] = {
            "clips": scored.n,
            "labels": gold[group.ids].nunique(),
            "macro_f1": scored.macro_f1,
            "uar": scored.uar,
            "accuracy": scored.accuracy,
            "standardised": _standardised(group.counts, everyone, share),
            "low": float(low),
            "high": float(high),
            "drawn": group.counts.shape[1],
        }
    named = groups if isinstance(groups, str) else str(groups.name)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(named) if rows else pd.DataFrame()


def group_difference(
    corpus: Corpus, predicted: pd.Series, groups: pd.Series, resamples: int = 2000, seed: int = 0, by: str = ""
) -> dict[str, float]:
    """Compute the first group's standardised score less the second's, by their names, with its interval.

    Args and Raises: as `by_group`; also a UsageError where there are not two groups, or one has a single unit.

    Returns:
        ``difference``, ``low``, ``high``.
    """
    _, share, everyone = _whole(corpus, predicted)
    both = list(_groups(corpus, predicted, groups, by))
    if len(both) != 2 or any(group.counts.shape[1] < 2 for group in both):
        names = ", ".join(group.name for group in both) or "none"
        raise UsageError(f"a difference is that of two groups of two clips or more: here are {names}.")
    rng = np.random.default_rng(seed)
    first, second = (_draws(group.counts, everyone, resamples, rng) @ share for group in both)
    points = [_standardised(group.counts, everyone, share) for group in both]
    low, high = np.quantile(first - second, TAILS)
    return {"difference": points[0] - points[1], "low": float(low), "high": float(high)}


def _whole(corpus: Corpus, predicted: pd.Series) -> tuple[pd.Series, Floats, Floats]:
    """Gold labels by id, each label's share of the clips, and its recall."""
    gold = gold_for(corpus, predicted.index)
    scored = score(gold, predicted, corpus.labels)
    share = np.array([of.n for of in scored.per_class.values()]) / scored.n
    return gold, share, np.array([of.recall for of in scored.per_class.values()])


def _groups(corpus: Corpus, predicted: pd.Series, groups: str | pd.Series, by: str) -> Iterator[_Group]:
    for column in ([groups] if isinstance(groups, str) else []) + ([by] if by else []):
        if column not in GROUP_COLUMNS:
            raise UsageError(f"clips are not grouped by '{column}': choose one of {', '.join(GROUP_COLUMNS)}.")
    frame = corpus.frame.set_index("id").loc[predicted.index]
    named = frame[groups] if isinstance(groups, str) else groups[predicted.index]
    if (named == "").all():
        return
    gold = gold_for(corpus, predicted.index)
    number = {label: place for place, label in enumerate(corpus.labels)}
    place = gold.map(number)
    unit = frame[by] if by else pd.Series(frame.index, frame.index)
    for name, ids in named.groupby(named.replace("", "unknown")).groups.items():
        units = pd.factorize(unit[ids])[0]
        counts = np.zeros((2, units.max() + 1, len(corpus.labels)))
        np.add.at(counts[0], (units, place[ids]), (gold[ids] == predicted[ids]).to_numpy())
        np.add.at(counts[1], (units, place[ids]), 1)
        yield _Group(str(name), ids, counts)


def _standardised(counts: Floats, everyone: Floats, share: Floats) -> float:
    right, clips = counts.sum(axis=1)
    return float(_recalls(right, clips, everyone) @ share)


def _draws(counts: Floats, everyone: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Recalls of resampled units [resamples, labels]."""
    units = counts.shape[1]
    often = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(float)
    return _recalls(often @ counts[0], often @ counts[1], everyone)


def _recalls(right: Floats, clips: Floats, otherwise: Floats) -> Floats:
    """Recalls [..., labels]; of labels without clips as told."""
    return np.divide(right, clips, out=np.broadcast_to(otherwise, right.shape).copy(), where=clips > 0)
