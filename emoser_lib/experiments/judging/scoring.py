"""Score predictions over a fixed label set, so that a label nobody predicts still counts."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.values import Immutable

Labelled = Sequence[str] | npt.NDArray[np.object_] | pd.Series
"""Labels in the clips' order, or a Series indexed by clip id."""

Floats = npt.NDArray[np.float64]


class LabelScore(Immutable):
    """Scores of one label; ``n`` is its number of clips in gold."""

    precision: float
    recall: float
    f1: float
    n: int


class Score(Immutable):
    """Scores of a set of predictions. All values but counts are in 0 … 1.

    Attributes:
        macro_f1: mean of the labels' F1, every label weighing the same.
        accuracy: share of clips that are right.
        uar: unweighted average recall, the mean of the labels' recalls.
        per_class: scores of each label, in the label set's order.
        labels: the label set.
        confusion: counts [gold, predicted] in the order of ``labels``.
        n: number of clips.
    """

    macro_f1: float
    accuracy: float
    uar: float
    per_class: dict[str, LabelScore]
    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    n: int


def score(gold: Labelled, predicted: Labelled, labels: Sequence[str]) -> Score:
    """Score predictions against gold labels.

    With TP, FP and FN the counts of label c:
    ``precision_c = TP / (TP + FP)``, ``recall_c = TP / (TP + FN)``, ``F1_c = 2 TP / (2 TP + FP + FN)``,
    ``macro_f1 = mean over labels of F1_c``, ``uar = mean over labels of recall_c``,
    ``accuracy = sum of TP / n``. A quotient without clips (0 / 0) is 0, and the means are over the whole
    label set, also over a label that no gold clip has (scikit-learn's ``labels=…, zero_division=0``).

    Args:
        gold: true labels [n].
        predicted: predicted labels [n]. Two Series are aligned by id, anything else by position.
        labels: the fixed label set [K].

    Raises:
        UsageError: no clips, unequal lengths, ids that do not match or occur twice, or a label outside the set.

    >>> result = score(["joy", "joy", "fear"], ["joy", "fear", "fear"], ["joy", "fear", "anger"])
    >>> round(result.macro_f1, 4), round(result.accuracy, 4), result.uar
    (0.4444, 0.6667, 0.5)
    >>> result.per_class["fear"].n, result.confusion[0]
    (1, (1, 1, 0))
    """
    names = list(labels)
    codes = encode(names, gold=gold, predicted=predicted)
    index = np.arange(len(names))
    # scikit-learn gets positions, not names: it orders numbers and never mixes up types.
    precision, recall, f1, support = precision_recall_fscore_support(
        codes["gold"], codes["predicted"], labels=index, zero_division=0
    )
    return Score(
        macro_f1=float(np.mean(f1)),
        accuracy=float(accuracy_score(codes["gold"], codes["predicted"])),
        uar=float(np.mean(recall)),
        per_class={
            name: LabelScore(precision=float(p), recall=float(r), f1=float(f), n=int(n))
            for name, p, r, f, n in zip(names, precision, recall, f1, support, strict=True)
        },
        labels=tuple(names),
        confusion=tuple(map(tuple, confusion_matrix(codes["gold"], codes["predicted"], labels=index).tolist())),
        n=len(codes["gold"]),
    )


def macro_f1_from_confusion(confusion: npt.ArrayLike) -> Floats:
    """Compute macro-F1 of many confusion matrices at once, as scikit-learn with ``zero_division=0``.

    Args:
        confusion: counts [..., K gold, K predicted].

    Returns:
        Macro-F1 [...].

    >>> macro_f1_from_confusion([[1, 1], [0, 1]]).round(4).item()
    0.6667
    """
    counts, hits = _counts_and_hits(confusion)
    # 2 TP + FP + FN is the row's sum plus the column's.
    return _mean_share(2 * hits, counts.sum(-1) + counts.sum(-2))


def accuracy_from_confusion(confusion: npt.ArrayLike) -> Floats:
    """Compute the accuracy of many confusion matrices [..., K, K] at once.

    >>> accuracy_from_confusion([[1, 1], [0, 2]]).item()
    0.75
    """
    counts, hits = _counts_and_hits(confusion)
    return hits.sum(-1) / counts.sum((-2, -1))


def uar_from_confusion(confusion: npt.ArrayLike) -> Floats:
    """Compute the unweighted average recall of many confusion matrices [..., K gold, K predicted] at once.

    >>> uar_from_confusion([[1, 1], [0, 2]]).item()
    0.75
    """
    counts, hits = _counts_and_hits(confusion)
    return _mean_share(hits, counts.sum(-1))


METRICS: Mapping[str, Callable[[npt.ArrayLike], Floats]] = MappingProxyType(
    {"macro_f1": macro_f1_from_confusion, "accuracy": accuracy_from_confusion, "uar": uar_from_confusion}
)
"""Metric name -> function of confusion matrices [..., K, K]; names as in `Score`."""


def encode(labels: Sequence[str], **columns: Labelled) -> dict[str, npt.NDArray[np.intp]]:
    """Turn label columns into positions in the label set, all in the first column's order.

    Raises:
        UsageError: as in `score`; the column is named as its keyword.

    >>> encode(["joy", "fear"], gold=["fear", "joy"])["gold"].tolist()
    [1, 0]
    """
    names = list(labels)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"the label set {names} is empty or names a label twice: give each label once.")
    (first, reference), *_ = columns.items()
    if len(reference) == 0:
        raise UsageError(f"{first} has no clips: there is nothing to score.")
    codes = {}
    for name, column in columns.items():
        values = in_order_of(reference, column, first, name)
        position = pd.Index(names, dtype=object).get_indexer(pd.Index(values))
        if (position < 0).any():
            where = int(np.argmax(position < 0))
            wrong = values[where]
            clip = f"id '{reference.index[where]}'" if isinstance(reference, pd.Series) else f"position {where}"
            raise UsageError(
                f"{name} has the label '{wrong}' at {clip}{did_you_mean(str(wrong), names)}: "
                f"the labels are {', '.join(names)}."
            )
        codes[name] = position
    return codes


def in_order_of(reference: Labelled, column: Labelled, first: str, name: str) -> npt.NDArray[np.object_]:
    """Put ``column`` in the order of ``reference``: by id where both are Series, else by position.

    Raises:
        UsageError: ids that do not match or occur twice, or unequal lengths. ``first`` and ``name`` are
            what the two are called in that sentence.
    """
    if isinstance(reference, pd.Series) and isinstance(column, pd.Series):
        for called, series in ((first, reference), (name, column)):
            if series.index.has_duplicates:
                twice = series.index[series.index.duplicated()][0]
                raise UsageError(f"{called} has the id '{twice}' more than once: give every clip once.")
        for here, there, short in ((reference, column, name), (column, reference, first)):
            missing = here.index[~here.index.isin(there.index)]
            if len(missing):
                raise UsageError(f"{short} has no id '{missing[0]}': {first} and {name} must have the same ids.")
        column = column.loc[reference.index]
    if len(reference) != len(column):
        raise UsageError(f"{first} has {len(reference)} clips and {name} {len(column)}: they must have the same.")
    return np.asarray(column, dtype=object)


def _counts_and_hits(confusion: npt.ArrayLike) -> tuple[Floats, Floats]:
    counts = np.asarray(confusion, dtype=np.float64)
    return counts, np.diagonal(counts, axis1=-2, axis2=-1)


def _mean_share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0).mean(-1)
