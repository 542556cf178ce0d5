"""The rules that make a verdict of what was measured.

No width of our interval makes up for a score that is further away than the paper's own ±; within that, read the width.

A score is the paper's if it is as near as the paper's own ± and not told apart by ours. A statement's direction holds
if the interval of the *difference* leaves out zero. Whether two intervals overlap is asked nowhere: it is no test.
"""

from collections.abc import Mapping, Sequence
from math import hypot, nan
from typing import Any, NamedTuple

from scipy.stats import binomtest

from emoser_lib.errors import DataError
from emoser_lib.experiments import paper_interval
from emoser_lib.experiments.judging.intervals import fold_interval
from emoser_lib.experiments.runs.records import Record
from emoser_lib.reporting.ledger.claims import IMPRECISE, Named, Verdict, at

UNPAIRED = "Unpaired: found from both scores' intervals, where a paired test of answers clip by clip could tell more."
"""What is said of differences between scores of the same clips."""


class Estimate(NamedTuple):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


class Judged(NamedTuple):
    """What a rule finds: verdict and reason, what was measured, and its estimate, where there is one."""

    verdict: Verdict
    reason: str
    measured: str
    estimate: Estimate = Estimate(nan, nan, nan)


def judged_score(stated: float, n: int, ours: Estimate) -> Judged:
    """Judge a score of ours, of the paper's own model and setting, against the paper's.

    Reproduced: nearer than the paper's own ±, that is 1.96 sqrt(F (1 - F) / n), and the paper's value is in our
    interval. Differs: it is outside. Else our interval is too wide to say which.

    Args:
        stated: F, the paper's.
        n: clips that it is of; for a mean over folds, those of one.
        ours: with its interval.

    >>> judged_score(0.6094, 750, Estimate(0.62, 0.58, 0.66)).verdict
    'reproduced'
    >>> wide = Estimate(0.649, 0.553, 0.719)
    >>> [judged_score(stated, 750, wide).verdict for stated in (0.5814, 0.6094, 0.6719, 0.8248)]
    ['too imprecise to tell', 'too imprecise to tell', 'reproduced', 'differs']
    """
    tolerance = paper_interval(stated, n)[1] - stated
    distance = abs(ours.value - stated)
    verdict: Verdict
    if not ours.low <= stated <= ours.high:
        verdict, reason = "differs", "The paper's value is outside the 95 % interval of ours."
    elif distance <= tolerance:
        verdict = "reproduced"
        reason = f"Not further away ({distance:.4f}) than the paper's own ± ({tolerance:.4f}), and inside our interval."
    else:
        verdict = IMPRECISE
        reason = f"Inside our interval, but further away ({distance:.4f}) than the paper's own ± ({tolerance:.4f})."
    return Judged(verdict, reason, str(ours), ours)


def judged_together(readings: Mapping[str, Judged]) -> Judged:
    """Judge a system that can be read in several ways, where the paper does not say in which: all must say the same.

    Args:
        readings: the system's row -> what is found of it; the first one's estimate is shown.

    >>> one, other = Judged("reproduced", "Near.", ".61"), Judged("differs", "Far.", ".48")
    >>> judged_together({"likeliest": one, "written": other}).verdict
    'too imprecise to tell'
    """
    first = next(iter(readings.values()))
    if len(readings) == 1:
        return first
    told = " ".join(f"{row}: {found.reason}" for row, found in readings.items())
    measured = "; ".join(f"{row}: {found.measured}" for row, found in readings.items())
    alike = len({found.verdict for found in readings.values()}) == 1
    said = "" if alike else "It depends on how answers are read, and the paper does not say. "
    return Judged(first.verdict if alike else IMPRECISE, f"{said}{told}", measured, first.estimate)


def difference_of(first: Estimate, second: Estimate) -> Estimate:
    """Estimate first - second of two scores from their intervals, as if they were of different clips.

    The limits are recovered from both intervals (Zou & Donner 2008). Systems that answer the same clips mostly err
    on the same ones; a paired test finds smaller differences. So what is apart here is apart, and what is not is open.

    >>> difference_of(Estimate(0.8, 0.77, 0.83), Estimate(0.75, 0.71, 0.79)).low.__round__(4)
    0.0
    """
    value = first.value - second.value
    low = value - hypot(first.value - first.low, second.high - second.value)
    high = value + hypot(first.high - first.value, second.value - second.low)
    return Estimate(value, low, high)


def mean_of(estimates: Sequence[Estimate]) -> Estimate:
    """Estimate the mean over seeds of scores of the same clips.

    Its limits are the means of the limits: the clips are drawn alike for each seed, so the mean's interval is at most
    as wide as theirs on average. How far the seeds lie apart is not in it.

    >>> mean_of([Estimate(0.6, 0.5, 0.7), Estimate(0.7, 0.65, 0.8)]).low.__round__(3)
    0.575
    """
    return Estimate(*(sum(values) / len(estimates) for values in zip(*estimates, strict=True)))


def judged_order(differences: Sequence[Estimate], names: Sequence[str]) -> Judged:
    """Judge "the first is better" by the differences of all pairs that it is about.

    Consistent: each difference's interval is above zero. Differs: one is below. Else it is open. All are of
    `difference_of`, and the reason says that they are not paired.
    """
    verdict: Verdict
    verdict, reason = IMPRECISE, f"The 95 % interval of a difference holds zero. {UNPAIRED}"
    if all(difference.low > 0 for difference in differences):
        verdict, reason = "consistent", f"The 95 % interval of each difference is above zero. {UNPAIRED}"
    elif any(difference.high < 0 for difference in differences):
        verdict, reason = "differs", f"The 95 % interval of a difference is below zero. {UNPAIRED}"
    return Judged(verdict, reason, _listed(differences, names))


def judged_small_gain(gains: Sequence[Estimate], names: Sequence[str], margins: Sequence[float]) -> Judged:
    """Judge "hardly better" by gains and by how large each may be: the paper's own ± (our reading).

    Consistent: each gain's interval ends below its margin. Differs: one begins above it. Else it is open.
    """
    both = list(zip(gains, margins, strict=True))
    verdict: Verdict
    verdict, reason = IMPRECISE, "The 95 % interval of a gain holds the paper's own ±, our reading of a small one."
    if all(gain.high < margin for gain, margin in both):
        verdict, reason = "consistent", "Each gain is below the paper's own ±, our reading of a small one."
    elif any(gain.low > margin for gain, margin in both):
        verdict, reason = "differs", "A gain is above the paper's own ±, our reading of a small one."
    return Judged(verdict, reason, _listed(gains, names))


def _listed(differences: Sequence[Estimate], names: Sequence[str]) -> str:
    return "; ".join(f"{name}: {difference}" for name, difference in zip(names, differences, strict=True))


def row_of(record: Record, name: str) -> Mapping[str, Any]:
    """Find a row of a record's scores.

    Raises:
        DataError: there is none.
    """
    rows = at(record, "scores")
    if name not in rows:
        raise DataError(f"{record.name} has scores of {', '.join(rows)}, none of '{name}': mend the claim that asks.")
    found: Mapping[str, Any] = rows[name]
    return found


def estimate_of(row: Mapping[str, Any], metric: str = "macro_f1") -> Estimate:
    """Read a score and its interval from a row of scores or of a grid."""
    prefix = "uar_" if metric == "uar" else ""
    return Estimate(row[metric], row[f"{prefix}low"], row[f"{prefix}high"])


def cell_of(record: Record, named: Named) -> Mapping[str, Any]:
    """Find a cell of a record's grid by the values of its columns.

    Raises:
        DataError: there is none, or it is of one fold only.
    """
    for cell in at(record, "grid"):
        if all(cell.get(column) == value for column, value in named.items()):
            by_fold(cell, record)
            return cell
    raise DataError(f"the grid of {record.name} has no cell {named}: mend the claim that asks for it.")


def by_fold(cell: Mapping[str, Any], record: Record) -> list[float]:
    """List a cell's scores by fold.

    Raises:
        DataError: they are not in the record.
    """
    found = [cell[name] for name in sorted(cell) if name.startswith("fold ")]
    if len(found) < 2:
        raise DataError(f"{record.name} has no scores by fold: run it again, older records have the mean only.")
    return found


def fold_difference(record: Record, first: Mapping[str, Any], second: Mapping[str, Any]) -> Estimate:
    """Estimate how much better the first cell is, fold by fold, see `intervals.fold_interval`."""
    gaps = [a - b for a, b in zip(by_fold(first, record), by_fold(second, record), strict=True)]
    return Estimate(sum(gaps) / len(gaps), *fold_interval(gaps))


def judged_best(record: Record, column: str, stated: float) -> Judged:
    """Judge which value of a column the best cell has.

    The best cell that has the stated value is compared, fold by fold, with the best that has another. Reproduced: it
    is better; differs: it is worse; else the grid does not tell the two apart.
    """
    cells = sorted(at(record, "grid"), key=lambda cell: -cell["macro_f1"])
    with_it = [cell for cell in cells if cell.get(column) == stated]
    others = [cell for cell in cells if cell.get(column) != stated]
    if not with_it or not others:
        raise DataError(f"the grid of {record.name} has not {column} {stated:g} and others: mend the claim or the run.")
    lead = fold_difference(record, with_it[0], others[0])
    measured = f"best {column}: {cells[0][column]:g}"
    told = f"{column} {stated:g} less {column} {others[0][column]:g}, by fold: {lead}"
    if lead.low > 0:
        return Judged("reproduced", f"Better than the best cell of another value; {told}.", measured)
    if lead.high < 0:
        return Judged("differs", f"Worse than the best cell of another value; {told}.", measured)
    return Judged(IMPRECISE, f"The folds do not tell the two apart; {told}.", measured)


def judged_share(record: Record, kinds: Sequence[str], above: float) -> Judged:
    """Judge "often" by the share of answers of some kinds, with its Clopper-Pearson interval."""
    counted = at(record, "answers")["lenient"]
    n = at(record, "n")
    many = sum(counted[kind] for kind in kinds)
    interval = binomtest(many, n).proportion_ci()
    share = Estimate(many / n, float(interval.low), float(interval.high))
    told = f"{', '.join(kinds)}: {many} of {n} answers"
    reading = f"more than {above:g} of the answers, which is our reading of the word"
    if share.low > above:
        return Judged("consistent", f"It is {reading}.", told, share)
    if share.high < above:
        return Judged("differs", f"It is not {reading}.", told, share)
    return Judged(IMPRECISE, f"Whether it is {reading}, these answers do not tell.", told, share)


def judged_recalls(record: Record, above: float) -> Judged:
    """Judge "consistent across the labels" by each label's recall, with its Clopper-Pearson interval."""
    found = {}
    for label, of in at(record, "per_label").items():
        interval = binomtest(round(of["recall"] * of["n"]), of["n"]).proportion_ci()
        found[label] = Estimate(of["recall"], float(interval.low), float(interval.high))
    told = ", ".join(f"{label} {recall.value:.2f}" for label, recall in found.items())
    reading = f"each label's recall is above {above:g}, which is our reading of the word"
    if all(recall.low > above for recall in found.values()):
        return Judged("consistent", f"By its interval {reading}.", told)
    if failed := [label for label, recall in found.items() if recall.high < above]:
        return Judged("differs", f"Not {reading}: {', '.join(failed)} is below.", told)
    return Judged(IMPRECISE, f"Whether {reading}, the clips of a label are too few to tell.", told)
