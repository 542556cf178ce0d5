"""How sure is a score? The papers' interval, the bootstrap by clip or by group, and two tests for two systems."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import special, stats

from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.experiments.judging.scoring import METRICS, Floats, Labelled, encode, in_order_of
from emoser_lib.values import Immutable

METHODS = ("percentile", "bca")

HELD = 2_000_000
"""Numbers held at a time, 16 MB: a batch has as many resamples as this allows. A seed means the same in any batch."""


HELD_OUT_SHARE = 1 / 4
"""Held-out clips for each training clip in five folds (THAU-UPM, section 4.2)."""


class Interval(Immutable):
    """An estimate with its bootstrap interval.

    Attributes:
        metric: ``macro_f1``, ``accuracy`` or ``uar``.
        estimate: the metric on all clips.
        low, high: the interval.
        level: its nominal coverage.
        method: how it was made, see `bootstrap_interval` for when this is not what was asked for.
        unit: what was resampled, ``clip`` or ``group``.
        units: how many of them there are.
        resamples: number of resamples.
        seed: seed of the resampling.
    """

    metric: str
    estimate: float
    low: float
    high: float
    level: float
    method: Literal["percentile", "bca"]
    unit: Literal["clip", "group"]
    units: int
    resamples: int
    seed: int

    @property
    def bounds(self) -> tuple[float, float]:
        """``(low, high)``."""
        return self.low, self.high


class ScoreDifference(Interval):
    """Difference of two systems' scores, first - second, with its interval and a two-sided p-value."""

    p: float


class Randomisation(Immutable):
    """Result of `approximate_randomisation`: the difference first - second and its two-sided p-value."""

    metric: str
    estimate: float
    p: float
    unit: Literal["clip", "group"]
    units: int
    resamples: int
    seed: int


def paper_interval(macro_f1: float, n: int) -> tuple[float, float]:
    """Return the ± of THAU-UPM, Table 3: ``F ± 1.96 sqrt(F (1 - F) / n)``.

    This is the normal 95 % interval of an accuracy over n clips; applied to macro-F1, as in the paper, it has
    no guarantee. Not cut to 0 … 1. The formula is unstated there; it gives all six rows to 0.0002.

    Args:
        macro_f1: F, 0 … 1.
        n: number of clips.

    Raises:
        UsageError: F outside 0 … 1 or n below 1.

    >>> low, high = paper_interval(0.5814, 750)
    >>> round(low, 4), round(high, 4)
    (0.5461, 0.6167)
    """
    if not 0 <= macro_f1 <= 1:
        raise UsageError(f"macro_f1 is {macro_f1}: it must be between 0 and 1.")
    if n < 1:
        raise UsageError(f"n is {n}: the interval needs at least one clip.")
    half = 1.96 * float(np.sqrt(macro_f1 * (1 - macro_f1) / n))
    return macro_f1 - half, macro_f1 + half


def fold_interval(scores: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a mean over folds, or of the mean of two systems' differences on the same folds.

    Student's t over the folds. Their training parts overlap, so the variance of the mean is taken as
    ``s² (1 / k + 1 / 4)``: k folds were run, each holding out one clip for four that train, as in five-fold
    cross-validation (the corrected resampled t-test of Nadeau & Bengio 2003).

    Args:
        scores: of each fold, or differences.
        level: nominal coverage.

    Raises:
        UsageError: fewer than two folds.

    >>> low, high = fold_interval([0.6, 0.62, 0.64, 0.62, 0.62])
    >>> round(low, 3), round(high, 3)
    (0.594, 0.646)
    """
    if len(scores) < 2:
        raise UsageError("there is only one fold: an interval over folds needs at least two.")
    spread = float(np.std(scores, ddof=1)) * float(np.sqrt(1 / len(scores) + HELD_OUT_SHARE))
    half = float(stats.t.ppf(0.5 + level / 2, len(scores) - 1)) * spread
    mean = float(np.mean(scores))
    return mean - half, mean + half


def bootstrap_interval(
    gold: Labelled,
    predicted: Labelled,
    labels: list[str] | tuple[str, ...],
    groups: Labelled | None = None,
    method: str = "percentile",
    metric: str = "macro_f1",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap the interval of one system's score, over clips or over whole groups (videos, speakers).

    Clips of one video are alike, so resampling clips makes the interval too narrow; with ``groups`` whole groups
    are drawn. ``scipy.stats.bootstrap`` resamples; each resample is scored from its confusion matrix, over the
    whole label set.

    BCa has no value where every resample scores the same, where the estimate lies outside all resamples, or
    where leaving out any one unit changes nothing. The percentile interval is then returned, and ``method`` of
    the result says ``percentile``; if all is right (or all wrong) it is the point itself.

    Args:
        gold, predicted: labels [n], as in `scoring.score`.
        labels: the fixed label set.
        groups: group of each clip [n], aligned like ``predicted``; None resamples clips.
        method: ``percentile`` or ``bca`` (Efron & Tibshirani 1993, 14.3).
        metric: ``macro_f1``, ``accuracy`` or ``uar``.
        resamples: number of resamples (2,000: our choice).
        level: nominal coverage.
        seed: seed of the resampling.

    Raises:
        UsageError: as in `scoring.score`; an unknown method or metric; fewer than two clips or groups; an
            empty group; resamples below 1 or level outside 0 … 1.

    >>> interval = bootstrap_interval(["joy", "fear"] * 20, ["joy"] * 20 + ["fear"] * 20, ["joy", "fear"])
    >>> interval.estimate, interval.low < 0.5 < interval.high
    (0.5, True)
    """
    codes = encode(labels, gold=gold, predicted=predicted)
    table = _Units(codes["gold"], [codes["predicted"]], len(labels), _group_codes(gold, groups))
    return _bootstrap(table, metric, method, resamples, level, seed)[0]


def paired_bootstrap(
    gold: Labelled,
    a: Labelled,
    b: Labelled,
    labels: list[str] | tuple[str, ...],
    groups: Labelled | None = None,
    method: str = "percentile",
    metric: str = "macro_f1",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> ScoreDifference:
    """Bootstrap the interval of the difference ``metric(a) - metric(b)`` on the same resampled clips or groups.

    The p-value inverts the percentile interval: ``p = min(1, 2 min(1 + #{d* <= 0}, 1 + #{d* >= 0}) / (R + 1))``
    over the R resampled differences d*. Identical systems have difference 0 and p 1.

    Args and Raises: as in `bootstrap_interval`; ``a`` and ``b`` are the two systems' predictions.

    >>> gold = ["joy", "fear"] * 20
    >>> paired_bootstrap(gold, gold, gold, ["joy", "fear"]).p
    1.0
    """
    codes = encode(labels, gold=gold, a=a, b=b)
    table = _Units(codes["gold"], [codes["a"], codes["b"]], len(labels), _group_codes(gold, groups))
    interval, draws = _bootstrap(table, metric, method, resamples, level, seed)
    tail = 1 + min(np.count_nonzero(draws <= _ROUNDING), np.count_nonzero(draws >= -_ROUNDING))
    return ScoreDifference(**interval.model_dump(), p=min(1.0, 2 * tail / (resamples + 1)))


def approximate_randomisation(
    gold: Labelled,
    a: Labelled,
    b: Labelled,
    labels: list[str] | tuple[str, ...],
    groups: Labelled | None = None,
    metric: str = "macro_f1",
    resamples: int = 10_000,
    seed: int = 0,
) -> Randomisation:
    """Test, two-sided, that a and b are exchangeable: their answers are swapped by clip or by group.

    ``p = (1 + #{|d*| >= |d|}) / (R + 1)`` with d the observed difference and d* that after each unit's answers
    were swapped with probability 1/2 (Noreen 1989; Yeh 2000, arXiv cs/0008005).

    Args and Raises: as in `paired_bootstrap`; ``resamples`` 10,000 is our choice.

    >>> gold = ["joy", "fear"] * 20
    >>> approximate_randomisation(gold, gold, ["joy"] * 40, ["joy", "fear"]).p < 0.001
    True
    """
    codes = encode(labels, gold=gold, a=a, b=b)
    table = _Units(codes["gold"], [codes["a"], codes["b"]], len(labels), _group_codes(gold, groups))
    _check(table.size, metric, "percentile", resamples, 0.95)
    measure, rng = METRICS[metric], np.random.default_rng(seed)
    total = table.total()
    # Of m units that look the same, a binomial number is swapped; each moves its b - a from b's matrix to a's.
    change = table.kinds[:, 1] - table.kinds[:, 0]
    differ = change.any(axis=(1, 2))
    counts, change = table.counts[differ], change[differ]
    step = _batch(max(1, len(counts)))
    draws = np.empty(resamples)
    for start in range(0, resamples, step):
        swapped = rng.binomial(counts, 0.5, size=(min(step, resamples - start), len(counts)))
        moved = np.tensordot(swapped.astype(np.float64), change, axes=1)
        draws[start : start + step] = measure(total[0] + moved) - measure(total[1] - moved)
    observed = float(measure(total[0]) - measure(total[1]))
    extreme = np.count_nonzero(np.abs(draws) >= abs(observed) - _ROUNDING)
    return Randomisation(
        metric=metric,
        estimate=observed,
        p=(1 + extreme) / (resamples + 1),
        unit=table.unit,
        units=table.size,
        resamples=resamples,
        seed=seed,
    )


_ROUNDING = 1e-12


class _Units:
    """What is resampled: clips or groups, each as the confusion matrices it adds, one per system.

    Units that add the same matrices are one kind: 750 clips of six labels are at most 36 kinds for one system,
    so a resample is scored from how often each kind was drawn.
    """

    kinds: Floats
    """[kinds, systems, K, K]"""
    counts: npt.NDArray[np.intp]
    """Number of units of each kind."""
    of_unit: npt.NDArray[np.intp]
    """[units] -> kind"""

    def __init__(
        self,
        gold: npt.NDArray[np.intp],
        systems: list[npt.NDArray[np.intp]],
        k: int,
        groups: npt.NDArray[np.intp] | None,
    ) -> None:
        self.unit: Literal["clip", "group"] = "clip" if groups is None else "group"
        if groups is None:
            # Clips with the same labels are one kind: the clips of few answers stand for all. In the order that the
            # rows of their matrices have below, in which a seed's numbers are given to kinds.
            answers = np.ravel_multi_index((gold, *systems), (k,) * (1 + len(systems)))
            _, first, of_unit, self.counts = np.unique(
                -answers, return_index=True, return_inverse=True, return_counts=True
            )
            self.kinds = _matrices(np.arange(len(first)), gold[first], [of[first] for of in systems], k)
        else:
            matrices = _matrices(groups, gold, systems, k)
            rows, of_unit, self.counts = np.unique(
                matrices.reshape(len(matrices), -1), axis=0, return_inverse=True, return_counts=True
            )
            self.kinds = rows.reshape(-1, *matrices.shape[1:])
        self.of_unit = of_unit.reshape(-1)
        self.size = len(self.of_unit)

    def total(self) -> Floats:
        """Confusion matrices of all clips [systems, K, K]."""
        return np.tensordot(self.counts.astype(np.float64), self.kinds, axes=1)

    def resampled(self, drawn: npt.NDArray[np.intp]) -> Floats:
        """Confusion matrices [..., systems, K, K] of resamples given as kinds [..., units]."""
        flat = drawn.reshape(-1, drawn.shape[-1])
        width = len(self.counts)
        shifted = flat + width * np.arange(len(flat))[:, None]
        often = np.bincount(shifted.ravel(), minlength=width * len(flat)).reshape(len(flat), width)
        return np.tensordot(often.astype(np.float64), self.kinds, axes=1).reshape(
            *drawn.shape[:-1], *self.kinds.shape[1:]
        )


def _matrices(
    member: npt.NDArray[np.intp], gold: npt.NDArray[np.intp], systems: list[npt.NDArray[np.intp]], k: int
) -> Floats:
    """The confusion matrices of each member (clip or group), [members, systems, K, K]."""
    shape = (int(member.max()) + 1, len(systems), k, k)
    cells = [np.ravel_multi_index((member, np.full_like(gold, s), gold, p), shape) for s, p in enumerate(systems)]
    counted = np.bincount(np.concatenate(cells), minlength=int(np.prod(shape)))
    return counted.reshape(shape).astype(np.float64)


def _batch(numbers: int) -> int:
    """How many resamples of so many numbers are held at a time."""
    return max(1, HELD // numbers)


def _bootstrap(
    table: _Units, metric: str, method: str, resamples: int, level: float, seed: int
) -> tuple[Interval, Floats]:
    """The interval (of the difference, where there are two systems) and all resampled values."""
    _check(table.size, metric, method, resamples, level)

    def statistic(drawn: npt.NDArray[np.intp], axis: int = -1) -> Floats:
        values = METRICS[metric](table.resampled(np.moveaxis(drawn, axis, -1)))
        return values[..., 0] if values.shape[-1] == 1 else values[..., 0] - values[..., 1]

    drawn = stats.bootstrap(
        (table.of_unit,),
        statistic,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
        vectorized=True,
        batch=_batch(table.size),
        confidence_level=level,
    )
    low, high = drawn.confidence_interval
    draws = drawn.bootstrap_distribution
    used: Literal["percentile", "bca"] = "percentile"
    if method == "bca" and np.ptp(draws) > 0:
        # What a sample without one unit scores depends on the unit's kind alone: scipy's own would score them all.
        without = METRICS[metric](table.total() - table.kinds)
        values = without[..., 0] if without.shape[-1] == 1 else without[..., 0] - without[..., 1]
        tails = _bca_tails(draws, float(statistic(table.of_unit)), values[table.of_unit], (1 - level) / 2)
        if np.isfinite(tails).all():
            (low, high), used = np.quantile(draws, tails), "bca"
    interval = Interval(
        metric=metric,
        estimate=float(statistic(table.of_unit)),
        low=float(low),
        high=float(high),
        level=level,
        method=used,
        unit=table.unit,
        units=table.size,
        resamples=resamples,
        seed=seed,
    )
    return interval, draws


def _bca_tails(draws: Floats, estimate: float, without: Floats, tail: float) -> Floats:
    """The quantiles of the resampled values that BCa takes (Efron & Tibshirani 1993, 14.3), as scipy computes them.

    Args:
        draws: the resampled values.
        estimate: the value of the sample.
        without: the value of the sample without each of its units.
        tail: the nominal one.
    """
    with np.errstate(all="ignore"):
        below = (np.count_nonzero(draws < estimate) + np.count_nonzero(draws <= estimate)) / (2 * len(draws))
        bias = special.ndtri(below)
        moved = (len(without) - 1) * (without.mean() - without)
        acceleration = 1 / 6 * (moved**3).sum() / (moved**2).sum() ** 1.5
        shifted = bias + special.ndtri(tail) * np.array([1, -1])
        return special.ndtr(bias + shifted / (1 - acceleration * shifted))


def _check(units: int, metric: str, method: str, resamples: int, level: float) -> None:
    for what, name, known in (("metric", metric, list(METRICS)), ("method", method, list(METHODS))):
        if name not in known:
            raise UsageError(f"'{name}' is not a {what}{did_you_mean(name, known)}: choose one of {', '.join(known)}.")
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}: it must be at least 1.")
    if not 0 < level < 1:
        raise UsageError(f"level is {level}: it must be between 0 and 1, for example 0.95.")
    if units < 2:
        raise UsageError("there is only one clip or group: resampling needs at least two.")


def _group_codes(gold: Labelled, groups: Labelled | None) -> npt.NDArray[np.intp] | None:
    if groups is None:
        return None
    values = in_order_of(gold, groups, "gold", "groups")
    empty = np.flatnonzero(pd.isna(values) | (values == ""))
    if len(empty):
        clip = gold.index[empty[0]] if isinstance(gold, pd.Series) else empty[0]
        raise UsageError(f"groups is empty at '{clip}': give every clip a group, or resample clips (groups=None).")
    return pd.factorize(values)[0]
