"""Is a system as often right as it says? Calibration, one temperature for all clips, and answers that are left out.

What a system says is a frame of log-probabilities, one row per clip and one column per label; gold labels are a Series
by the same clip ids.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from emoser_lib.errors import UsageError

TEMPERATURES = (0.01, 100.0)
"""Where a temperature is looked for (our choice)."""


def surest(said: pd.DataFrame) -> pd.DataFrame:
    """Return the likeliest label of each clip, ``answer``, and its probability, ``confidence``."""
    return pd.DataFrame({"answer": said.idxmax(axis=1), "confidence": np.exp(said.max(axis=1))})


def reliability(said: pd.DataFrame, gold: pd.Series, bins: int = 15) -> pd.DataFrame:
    """Count how often answers of about the same confidence are right.

    Args:
        said: log-probabilities.
        gold: the labels.
        bins: of equal width; a confidence on a border belongs to the bin below it (15, as Guo et al. 2017).

    Returns:
        One row per bin that has clips: ``low``, ``high``, ``clips``, ``confidence`` (mean), ``accuracy``.

    >>> said = np.log(pd.DataFrame({"joy": [0.9, 0.8], "fear": [0.1, 0.2]}, index=["a", "b"]))
    >>> reliability(said, pd.Series({"a": "joy", "b": "fear"}), bins=2)[["clips", "accuracy"]].values.tolist()
    [[2.0, 0.5]]
    """
    if bins < 1:
        raise UsageError(f"bins is {bins}: at least one is needed.")
    told = surest(said)
    told["right"] = told["answer"] == _of(gold, said)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, told["confidence"]) - 1, 0, bins - 1)
    by = told.groupby(place)
    table = pd.DataFrame({"clips": by.size(), "confidence": by["confidence"].mean(), "accuracy": by["right"].mean()})
    table.insert(0, "low", edges[table.index])
    table.insert(1, "high", edges[table.index + 1])
    return table.reset_index(drop=True)


def expected_calibration_error(said: pd.DataFrame, gold: pd.Series, bins: int = 15) -> float:
    """Compute the ECE: the gap between confidence and accuracy of each bin, weighted by its clips.

    With few clips it is above 0 even for perfect probabilities: bins are small, and gaps do not cancel.
    """
    table = reliability(said, gold, bins)
    return float((table["clips"] * (table["confidence"] - table["accuracy"]).abs()).sum() / table["clips"].sum())


def negative_log_likelihood(said: pd.DataFrame, gold: pd.Series) -> float:
    """Average ``-log p`` of the gold label, in nats; unlike the ECE it is lowest for the true probabilities."""
    return -float(_at_gold(said, gold).mean())


def brier_score(said: pd.DataFrame, gold: pd.Series) -> float:
    """Average the clips' squared distance to certainty of the gold label, 0 … 2 (Brier 1950)."""
    certain = pd.get_dummies(_of(gold, said)).reindex(columns=said.columns, fill_value=False)
    return float(((said.apply(np.exp) - certain) ** 2).sum(axis=1).mean())


def tempered(said: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """Divide log-probabilities by a temperature and normalise them: above 1 less sure, below 1 surer.

    >>> said = np.log(pd.DataFrame({"joy": [0.8], "fear": [0.2]}))
    >>> np.exp(tempered(said, 2.0)).round(2).values.tolist()
    [[0.67, 0.33]]
    """
    scaled = said / temperature
    return scaled.sub(logsumexp(scaled, axis=1), axis=0)


def fit_temperature(said: pd.DataFrame, gold: pd.Series) -> float:
    """Find the temperature with the lowest `negative_log_likelihood` on these clips (Guo et al. 2017).

    It changes no answer. If all answers are right it goes to the lowest value that is looked at.

    Raises:
        UsageError: no clips, or a gold label whose probability is 0.
    """
    if said.empty or not np.isfinite(_at_gold(said, gold)).all():
        raise UsageError("a temperature needs clips, and a probability above 0 for each one's label.")
    # Convex in 1/T: one minimum.
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(tempered(said, np.exp(log_t)), gold),
        bounds=np.log(TEMPERATURES),
        method="bounded",
    )
    return float(np.exp(found.x))


def cross_tempered(
    said: pd.DataFrame, gold: pd.Series, parts: pd.Series
) -> tuple[pd.DataFrame, Mapping[object, float]]:
    """Temper each part's clips with the temperature that fits the other parts: no clip helps to judge itself.

    Args:
        said, gold: of all clips.
        parts: which part each clip is of; see `halves`.

    Returns:
        The log-probabilities, and the temperature that each part got.
    """
    parts = _of(parts, said)
    temperatures = {part: fit_temperature(said[parts != part], gold) for part in sorted(set(parts))}
    each = [tempered(said[parts == part], t) for part, t in temperatures.items()]
    return pd.concat(each).loc[said.index], temperatures


def halves(units: pd.Series, seed: int = 0) -> pd.Series:
    """Deal clips into two parts of about the same size; all clips of a unit (such as a speaker) stay together.

    Args:
        units: unit of each clip, by clip id.
        seed: of the dealing.

    Raises:
        UsageError: there is only one unit.

    >>> halves(pd.Series({"a": "ana", "b": "ana", "c": "luis"})).nunique()
    2
    """
    sizes = units.value_counts().sort_index()
    if len(sizes) < 2:
        raise UsageError("all clips are of one unit: they cannot be dealt into two halves.")
    order = sizes.sample(frac=1, random_state=seed).sort_values(ascending=False, kind="stable")
    dealt, total = {}, [0, 0]
    for unit, size in order.items():  # the largest first, each to the smaller half
        dealt[unit] = int(total[1] < total[0])
        total[dealt[unit]] += size
    return units.map(dealt).rename("half")


def risk_coverage(confidence: pd.Series, right: pd.Series) -> pd.DataFrame:
    """Score a system that answers only the clips it is surest of (Geifman & El-Yaniv 2017).

    Of clips with the same confidence none comes first: each counts with their mean.

    Args:
        confidence: of each answer; any order-preserving number, such as a margin.
        right: whether it is right, by the same ids.

    Returns:
        One row per number of answered clips, from 1 to all: ``coverage`` (their share) and ``risk`` (share of wrong
        answers among them).

    >>> sure = pd.Series({"a": 0.9, "b": 0.6, "c": 0.5})
    >>> risk_coverage(sure, pd.Series({"a": True, "b": True, "c": False}))["risk"].round(2).tolist()
    [0.0, 0.0, 0.33]
    """
    wrong = 1.0 - right.loc[confidence.index].astype(float)
    wrong = wrong.groupby(confidence).transform("mean")[confidence.sort_values(ascending=False).index]
    answered = np.arange(1, len(wrong) + 1)
    return pd.DataFrame({"coverage": answered / len(wrong), "risk": wrong.cumsum().to_numpy() / answered})


def risk_area(curve: pd.DataFrame) -> float:
    """Compute the area under a risk-coverage curve, its mean risk. A random order has the risk at full coverage."""
    return float(curve["risk"].mean())


def _of(series: pd.Series, frame: pd.DataFrame) -> pd.Series:
    missing = frame.index.difference(series.index)
    if len(missing):
        raise UsageError(f"clip '{missing[0]}' has probabilities and nothing beside them: give both the same clips.")
    return series.loc[frame.index]


def _at_gold(frame: pd.DataFrame, gold: pd.Series) -> np.ndarray:
    places = frame.columns.get_indexer(pd.Index(_of(gold, frame)))
    if (places < 0).any():
        raise UsageError(f"the label '{_of(gold, frame)[places < 0].iloc[0]}' has no column: give each label one.")
    return frame.to_numpy()[np.arange(len(frame)), places]
