"""Cut a corpus's training clips into folds: by clip as in seed 1, by video or by speaker."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from emoser_lib.corpora.corpus import Corpus
from emoser_lib.errors import DataError, UsageError, did_you_mean

SCHEMES = ("paper", "video", "speaker")
"""``paper`` may put clips of one video on both sides; ``video`` and ``speaker`` never share one."""

N_FOLDS = 5
"""As in seed 1, section 4.2."""


@dataclass(frozen=True)
class Fold:
    """One cut: ids to train on and ids to validate on, both in the corpus's order.

    Attributes:
        index: 0 … n_splits-1.
        train: ids to learn from.
        validation: ids to score.
    """

    index: int
    train: tuple[str, ...]
    validation: tuple[str, ...]


def folds(corpus: Corpus, scheme: str = "paper", n_splits: int = N_FOLDS, seed: int = 42) -> list[Fold]:
    """Cut the training clips of a corpus into stratified folds.

    Only `Corpus.training` rows are used, in the frame's order (for ``emospeech`` the train file's), so the
    test split is in no fold. The validation sets are disjoint and together are all training clips.

    Args:
        corpus: the corpus.
        scheme: ``paper`` = StratifiedKFold (seed 1's released code); ``video`` or ``speaker`` =
            StratifiedGroupKFold over that column (our choice).
        n_splits: number of folds; 5 as in seed 1.
        seed: shuffles before the cut; 42 as in seed 1's released code.

    Raises:
        UsageError: unknown scheme, or fewer than two folds.
        DataError: the grouping column has an empty cell, or there are too few clips or groups.

    Warns:
        UserWarning: a label has fewer clips than there are folds, so some folds validate without it.

    >>> from emoser_lib.corpora.corpus import Corpus, build_frame
    >>> corpus = Corpus("mine", build_frame({"id": list("abcd"), "label": ["joy", "fear"] * 2}))
    >>> [fold.validation for fold in folds(corpus, n_splits=2)]
    [('b', 'c'), ('a', 'd')]
    """
    if scheme not in SCHEMES:
        hint = did_you_mean(str(scheme), list(SCHEMES))
        raise UsageError(f"'{scheme}' is not a fold scheme{hint}: choose one of {', '.join(SCHEMES)}.")
    if isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 2:
        raise UsageError(f"n_splits is {n_splits!r}: it must be a whole number of at least 2.")
    rows = corpus.training()
    if rows.empty:
        splits = ", ".join(f"'{split}'" for split in corpus.frame["split"].unique() if split)
        found = f"the rows to train on are those of the split 'train', it has {splits}" if splits else "no row has one"
        raise DataError(f"corpus '{corpus.name}' has no labelled training clips, folds need some: {found}.")
    groups = None if scheme == "paper" else _groups(corpus.name, rows, scheme, n_splits)
    _check_labels(corpus.name, rows["label"], n_splits)
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(n_splits, shuffle=True, random_state=seed)
    ids = rows["id"].to_numpy()
    with warnings.catch_warnings():
        # _check_labels has said it, with the label's name.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        cuts = list(splitter.split(ids, rows["label"].to_numpy(), groups))
    return [Fold(index, tuple(ids[train]), tuple(ids[held])) for index, (train, held) in enumerate(cuts)]


def _groups(name: str, rows: pd.DataFrame, column: str, n_splits: int) -> np.ndarray:
    empty = rows["id"][rows[column] == ""]
    if len(empty):
        raise DataError(
            f"corpus '{name}': {len(empty)} of {len(rows)} training clips (first '{empty.iloc[0]}') have an empty "
            f"'{column}': fill that column or choose another fold scheme, 'paper' needs none."
        )
    found = rows[column].nunique()
    if found < n_splits:
        raise DataError(
            f"corpus '{name}': its training clips have {found} different values of '{column}', fewer than {n_splits} "
            f"folds: use fewer folds or another scheme."
        )
    return rows[column].to_numpy()


def _check_labels(name: str, labels: pd.Series, n_splits: int) -> None:
    counts = labels.value_counts()
    if counts.max() < n_splits:
        raise DataError(
            f"corpus '{name}': no label has {n_splits} training clips (the most, '{counts.index[0]}', has "
            f"{counts.max()}): use fewer folds or add clips."
        )
    rare = counts[counts < n_splits]
    if len(rare):
        listed = ", ".join(f"'{label}' ({count})" for label, count in rare.items())
        warnings.warn(
            f"corpus '{name}': fewer training clips than {n_splits} folds for {listed}, some folds validate without.",
            UserWarning,
            stacklevel=3,
        )
