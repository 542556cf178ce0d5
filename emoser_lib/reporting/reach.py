"""How far few clips reach: scores by the number of training clips, and the clips that a comparison would need."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.judging.intervals import bootstrap_interval
from emoser_lib.experiments.training.folds import Fold, fewer_clips
from emoser_lib.reporting.scores import gold_for, score_on, units_for

FAR = 100_000
"""More clips than this are told as "more than" it."""


def smaller_cuts(corpus: Corpus, cuts: Sequence[Fold], sizes: Sequence[int]) -> dict[int, list[Fold]]:
    """Return the cuts with so many training clips, and last as they are: number of training clips -> cuts.

    What is held out stays the same. The number of the whole ones is the smallest of their training parts.

    >>> from emoser_lib.corpora import load_corpus
    >>> from emoser_lib.experiments import folds
    >>> own = load_corpus("demo_own")
    >>> list(smaller_cuts(own, folds(own, "speaker"), [12, 24]))
    [12, 24, 46]
    """
    made = {size: [fewer_clips(corpus, cut, size) for cut in cuts] for size in sorted(sizes)}
    return made | {min(len(cut.train) for cut in cuts): list(cuts)}


def curve_table(
    corpus: Corpus,
    answers: Mapping[str, Mapping[int, pd.Series]],
    resamples: int = 2000,
    seed: int = 0,
    by: str = "",
) -> pd.DataFrame:
    """Score systems that learnt from few and from more clips, on the same held-out clips.

    Args:
        corpus: gives the gold labels and the label set.
        answers: system -> number of training clips -> labels by clip id.
        resamples, seed: of the bootstrap (95 %, percentile).
        by: what is drawn, see `score_table`.

    Returns:
        One row per system and number of training clips: macro_f1, low, high.
    """
    rows = []
    for system, points in answers.items():
        for size, predicted in points.items():
            gold = gold_for(corpus, predicted.index)
            groups = units_for(corpus, predicted.index, by)
            between = bootstrap_interval(gold, predicted, corpus.labels, groups=groups, resamples=resamples, seed=seed)
            told = {"macro_f1": score_on(corpus, predicted).macro_f1, "low": between.low, "high": between.high}
            rows.append({"system": system, "training clips": size, **told})
    return pd.DataFrame(rows).set_index(["system", "training clips"])


def clips_needed(difference: Mapping[str, Any]) -> str:
    """Estimate with how many clips a paired difference's interval would leave out zero, if the difference stayed.

    An interval narrows with the square root of the clips: half the width takes four times as many.

    Args:
        difference: a row of `paired_table`: difference, low, high, n.

    >>> clips_needed({"difference": 0.1, "low": -0.1, "high": 0.3, "n": 60})
    'about 240'
    >>> clips_needed({"difference": 0.3, "low": 0.1, "high": 0.5, "n": 60})
    'no more than these 60'
    """
    if difference["low"] > 0 or difference["high"] < 0:
        return f"no more than these {difference['n']:.0f}"
    half, size = (difference["high"] - difference["low"]) / 2, abs(difference["difference"])
    needed = difference["n"] * (half / size) ** 2 if size else float("inf")
    return f"more than {FAR:,}" if needed > FAR else f"about {float(f'{needed:.2g}'):,.0f}"


def rise(points: pd.DataFrame) -> str:
    """Say how a curve ends: from its second-last point to its last, in words with numbers.

    Args:
        points: one system's rows of `curve_table`, by training clips.

    >>> rise(pd.DataFrame({"macro_f1": [0.5, 0.625]}, index=[24, 48]))
    'goes from 0.50 to 0.62 (with 24 and 48 clips)'
    """
    (fewer, before), (more, after) = list(points["macro_f1"].items())[-2:] if len(points) > 1 else [(0, 0.0)] * 2
    return f"goes from {before:.2f} to {after:.2f} (with {fewer} and {more} clips)" if more else "has one point only"
