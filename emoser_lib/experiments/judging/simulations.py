"""What chance alone does to a score: how well an interval covers, what a test can resolve, what choosing adds.

The systems here are made up: `knowing` says how. All of it is drawn from counts, no clip is read.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq

from emoser_lib.errors import UsageError
from emoser_lib.experiments.judging.intervals import paper_interval
from emoser_lib.experiments.judging.scoring import Floats, macro_f1_from_confusion

LEVEL = 0.95
"""Nominal coverage of the intervals, and 1 - the size of the tests (as in THAU-UPM, Table 3)."""

LIKELY = 0.9
"""Mean F1 of the other labels above which no system is taken to be (our choice): the challenge's best is below it."""

ALIKE = (0.0, 0.5, 1.0)
"""How alike two systems answer, see `joint_answers`: no paper says it, so all are shown."""


def knowing(macro_f1: float, counts: Sequence[int], never: int | None = None) -> Floats:
    """Make up how a system of a given macro-F1 answers: it knows the same share of each label's clips.

    The clips that it does not know it guesses, each label as often as the test has it. Real systems know some labels
    better than others; of the papers' no score by label is printed, so nothing closer can be made up.

    Args:
        macro_f1: of the expected confusion matrix.
        counts: clips of each label [K].
        never: a label that is never answered; ``None``: there is none.

    Returns:
        Probability of each answer, [K gold, K answers].

    Raises:
        UsageError: no such system has this macro-F1.

    >>> knowing(0.75, [50, 50]).round(2).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
    """
    clips = np.asarray(counts, dtype=np.float64)
    guess, known = clips.copy(), np.ones(len(clips))
    if never is not None:
        guess[never] = known[never] = 0

    def answers(share: float) -> Floats:
        right = share * known
        return np.diag(right) + (1 - right)[:, None] * guess / guess.sum()

    def reached(share: float) -> float:
        return float(macro_f1_from_confusion(clips[:, None] * answers(share)))

    lowest, highest = reached(0), reached(1)
    if not lowest <= macro_f1 <= highest:
        raise UsageError(f"macro_f1 is {macro_f1}: on these labels it must be from {lowest:.3f} to {highest:.3f}.")
    return answers(brentq(lambda share: reached(share) - macro_f1, 0, 1))


def joint_answers(a: Floats, b: Floats, alike: float) -> Floats:
    """Make up how two systems answer the same clips.

    Args:
        a, b: how each answers, [K gold, K answers].
        alike: 0: a label's clips that one gets right say nothing of the other's; 1: they agree wherever they can;
            between: so large a share of the clips is answered in the second way.

    Returns:
        Probabilities [K gold, K answers of a, K answers of b].

    >>> both = joint_answers(np.array([[0.5, 0.5]]), np.array([[0.5, 0.5]]), 1.0)
    >>> both[0].tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    apart = a[:, :, None] * b[:, None, :]
    same = np.minimum(a, b)
    left_a, left_b = a - same, b - same
    rest = left_a.sum(axis=1)[:, None, None]
    agreeing = same[:, :, None] * np.eye(a.shape[1])
    agreeing = agreeing + np.divide(
        left_a[:, :, None] * left_b[:, None, :], rest, out=np.zeros_like(agreeing), where=rest > 0
    )
    return (1 - alike) * apart + alike * agreeing


def power(
    a: float,
    b: float,
    counts: Sequence[int],
    alike: float,
    never: int | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> float:
    """Estimate how often a paired test would find the difference of two systems, if it were what is printed.

    The test is that of `approximate_randomisation`: answers are exchanged clip by clip. Its critical value comes from
    as many draws of two systems whose answers are exchangeable.

    Args:
        a, b: macro-F1 of the two.
        counts: clips of each label.
        alike: see `joint_answers`.
        never: see `knowing`.
        draws: of a test split (our choice: 2,000, good to about .01).
        seed: of the draws.

    Returns:
        Share of the draws.

    >>> power(0.9, 0.5, [50, 50], alike=0.5, draws=200) > 0.9
    True
    """
    rng = np.random.default_rng(seed)
    both = joint_answers(knowing(a, counts, never), knowing(b, counts, never), alike)
    exchangeable = (both + both.transpose(0, 2, 1)) / 2
    critical = np.quantile(np.abs(_differences(exchangeable, counts, draws, rng)), LEVEL)
    return float(np.mean(np.abs(_differences(both, counts, draws, rng)) > critical))


def can_have(macro_f1: float, labels: int, never: int | None) -> bool:
    """Say whether a system that never answers one label can well have a score: the other labels' mean F1 is `LIKELY`.

    >>> can_have(0.8248, 6, never=2), can_have(0.8248, 6, never=None), can_have(0.6094, 6, never=2)
    (False, True, True)
    """
    return never is None or macro_f1 * labels / (labels - 1) <= LIKELY


def coverage(
    macro_f1: float,
    counts: Sequence[int],
    never: int | None = None,
    draws: int = 400,
    resamples: int = 400,
    seed: int = 0,
) -> dict[str, float]:
    """Estimate how often an interval holds a system's score on all possible clips, test splits being drawn.

    Args:
        macro_f1: that score.
        counts: clips of each label in a test split, on average.
        never: see `knowing`.
        draws: test splits.
        resamples: of each one's bootstrap (percentile, over clips).
        seed: of all draws.

    Returns:
        ``formula`` and ``bootstrap``: coverage of the paper's interval and of the bootstrap's; ``formula width`` and
        ``bootstrap width``: how wide they are on average; ``width of 95 %``: how wide the middle 95 % of the drawn
        scores are; ``mean``: of the drawn scores.
    """
    rng = np.random.default_rng(seed)
    size, labels = int(sum(counts)), len(counts)
    cells = (np.asarray(counts)[:, None] * knowing(macro_f1, counts, never) / size).ravel()
    drawn = rng.multinomial(size, cells, size=draws)
    scores = macro_f1_from_confusion(drawn.reshape(draws, labels, labels))
    formula = np.array([paper_interval(float(score), size) for score in scores])
    again = np.array([rng.multinomial(size, one / size, size=resamples) for one in drawn])
    resampled = macro_f1_from_confusion(again.reshape(draws, resamples, labels, labels))
    tail = (1 - LEVEL) / 2
    bootstrap = np.quantile(resampled, [tail, 1 - tail], axis=1).T
    middle = np.quantile(scores, [tail, 1 - tail])
    return {
        "formula": _held(formula, macro_f1),
        "bootstrap": _held(bootstrap, macro_f1),
        "formula width": float(np.mean(formula[:, 1] - formula[:, 0])),
        "bootstrap width": float(np.mean(bootstrap[:, 1] - bootstrap[:, 0])),
        "width of 95 %": float(middle[1] - middle[0]),
        "mean": float(scores.mean()),
    }


def own_noise(by_fold: pd.DataFrame) -> tuple[float, float]:
    """Estimate how much a system's score on a fold varies, and which share of it all systems have in common.

    A two-way analysis of variance without replication: what is left when each system's mean and each fold's mean are
    taken off is a system's own noise. Hard folds are hard for all systems, and cannot decide which is the best.

    Args:
        by_fold: one row per system, one column per fold.

    Returns:
        The standard deviation over the folds of one system, on average; the share.

    Raises:
        UsageError: fewer than two systems or folds.

    >>> own_noise(pd.DataFrame([[0.5, 0.7], [0.6, 0.8]]))[1]
    1.0
    """
    if min(by_fold.shape) < 2:
        raise UsageError(f"there are {by_fold.shape[0]} systems and {by_fold.shape[1]} folds: give two of each.")
    scores = by_fold.to_numpy(dtype=np.float64)
    systems, folds = scores.shape
    rest = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    own = (rest**2).sum() / ((systems - 1) * (folds - 1))
    whole = scores.var(axis=1, ddof=1).mean()
    return float(np.sqrt(whole)), float(np.clip(1 - own / whole, 0, 1)) if whole > 0 else 0.0


def selection_optimism(
    sd: float, shared: float, systems: int, folds: int = 5, draws: int = 2000, seed: int = 0
) -> float:
    """Simulate how far the best mean over the folds lies above the truth, if all systems are equally good.

    Args:
        sd: standard deviation of one system's score over the folds.
        shared: share of its variance that all systems have in common.
        systems: cells of the grid.
        folds: whose mean chooses (THAU-UPM: 5).
        draws: of a grid.
        seed: of the draws.

    Returns:
        The mean of the best system's mean, less the true score.

    >>> selection_optimism(0.05, shared=1.0, systems=25) < 0.002
    True
    """
    rng = np.random.default_rng(seed)
    common = rng.normal(0, sd * np.sqrt(shared), size=(draws, 1, folds))
    own = rng.normal(0, sd * np.sqrt(1 - shared), size=(draws, systems, folds))
    return float((common + own).mean(axis=2).max(axis=1).mean())


def _differences(both: Floats, counts: Sequence[int], draws: int, rng: np.random.Generator) -> Floats:
    """Macro-F1 of the first less that of the second, of each drawn test split."""
    labels = len(counts)
    drawn = np.stack(
        [
            rng.multinomial(clips, cells.ravel() / cells.sum(), size=draws).reshape(draws, labels, labels)
            for clips, cells in zip(counts, both, strict=True)
        ],
        axis=1,
    )
    return macro_f1_from_confusion(drawn.sum(axis=3)) - macro_f1_from_confusion(drawn.sum(axis=2))


def _held(intervals: npt.NDArray[np.float64], value: float) -> float:
    return float(np.mean((intervals[:, 0] <= value) & (value <= intervals[:, 1])))
