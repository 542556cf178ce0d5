"""Cut a corpus's training clips into folds: by clip as in THAU-UPM, by video or by speaker."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from emoser_lib.corpora import Corpus
from emoser_lib.errors import DataError, UsageError, did_you_mean

SCHEMES = ("paper", "video", "speaker", "session")
"""``paper`` may put clips of one video on both sides; ``video`` and ``speaker`` never share one, and ``session`` keeps
speakers together who talk with each other in a video."""

N_FOLDS = 5
"""As in THAU-UPM, section 4.2; fewer where a corpus has not so many speakers, videos or clips of a label."""


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


def folds(corpus: Corpus, scheme: str = "paper", n_splits: int | None = None, seed: int = 42) -> list[Fold]:
    """Cut the training clips of a corpus into stratified folds.

    Only `Corpus.training` rows are used, in the frame's order (for ``emospeech`` the train file's), so the
    test split is in no fold. The validation sets are disjoint and together are all training clips.

    Args:
        corpus: the corpus.
        scheme: ``paper`` = StratifiedKFold (THAU-UPM's released code); ``video`` or ``speaker`` =
            StratifiedGroupKFold over that column (our choice); ``session`` = the same over speakers who share videos:
            with IEMOCAP's five sessions, one is held out each time.
        n_splits: number of folds; by default 5 as in THAU-UPM, or as many as `most_folds` says.
        seed: shuffles before the cut; 42 as in THAU-UPM's released code.

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
    if n_splits is not None and (
        isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 2
    ):
        raise UsageError(f"n_splits is {n_splits!r}: it must be a whole number of at least 2.")
    rows = corpus.training()
    if rows.empty:
        splits = ", ".join(f"'{split}'" for split in corpus.frame["split"].unique() if split)
        found = f"the rows to train on are those of the split 'train', it has {splits}" if splits else "no row has one"
        raise DataError(f"corpus '{corpus.name}' has no labelled training clips, folds need some: {found}.")
    n_splits = n_splits if n_splits is not None else max(2, most_folds(corpus, scheme))
    groups = None if scheme == "paper" else _groups(corpus.name, rows, scheme, n_splits)
    _check_labels(corpus.name, rows["label"], n_splits)
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(n_splits, shuffle=True, random_state=seed)
    ids = rows["id"].to_numpy()
    with warnings.catch_warnings():
        # _check_labels has said it, with the label's name.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        cuts = list(splitter.split(ids, rows["label"].to_numpy(), groups))
    return [Fold(index, tuple(ids[train]), tuple(ids[held])) for index, (train, held) in enumerate(cuts)]


def most_folds(corpus: Corpus, scheme: str = "paper") -> int:
    """Count the folds that a corpus can be cut into: five, or as many as it has speakers, videos or clips of a label.

    >>> from emoser_lib.corpora.corpus import build_frame
    >>> table = {"id": list("abcd"), "label": ["joy", "fear"] * 2, "speaker": list("xxyz")}
    >>> most_folds(Corpus("mine", build_frame(table))), most_folds(Corpus("mine", build_frame(table)), "speaker")
    (2, 2)
    """
    rows = corpus.training()
    column = {"paper": "id", "session": "speaker"}.get(scheme, scheme)
    groups = rows[column][rows[column] != ""]
    if scheme == "session" and len(groups):
        groups = pd.Series(_sessions(rows.loc[groups.index]))
    return int(min(N_FOLDS, groups.nunique(), rows["label"].value_counts().max() if len(rows) else 0))


def alike_by(corpus: Corpus) -> str:
    """Name the column that says which clips are alike: their video, else who speaks, else "id", each clip alone.

    It is known of every clip that is learnt from or scored, and two folds can be cut by it.

    >>> from emoser_lib.corpora import load_corpus
    >>> alike_by(load_corpus("demo")), alike_by(load_corpus("demo_own"))
    ('video', 'speaker')
    """
    rows = pd.concat([corpus.training(), corpus.labelled_test()])
    known = (unit for unit in ("video", "speaker") if (rows[unit] != "").all() and most_folds(corpus, unit) > 1)
    return next(known, "id")


def _groups(name: str, rows: pd.DataFrame, scheme: str, n_splits: int) -> np.ndarray:
    column = "speaker" if scheme == "session" else scheme
    empty = rows["id"][rows[column] == ""]
    if len(empty):
        raise DataError(
            f"corpus '{name}': {len(empty)} of {len(rows)} training clips (first '{empty.iloc[0]}') have an empty "
            f"'{column}': fill that column or choose another fold scheme, 'paper' needs none."
        )
    groups = _sessions(rows) if scheme == "session" else rows[column].to_numpy()
    found = len(np.unique(groups))
    if found < n_splits:
        raise DataError(
            f"corpus '{name}': its training clips have {found} different values of '{scheme}', fewer than {n_splits} "
            f"folds: use fewer folds, or the scheme 'paper'."
        )
    return groups


def _sessions(rows: pd.DataFrame) -> np.ndarray:
    """A number for each clip: speakers who occur in one video, directly or through others, have the same."""
    speaker, video = (pd.factorize(rows[column])[0] for column in ("speaker", "video"))
    video = np.where(rows["video"] == "", -1, video) + speaker.max() + 1
    known = video > speaker.max()
    size = int(max(speaker.max(), video.max())) + 1
    together = coo_array((np.ones(known.sum()), (speaker[known], video[known])), shape=(size, size))
    return np.asarray(connected_components(together, directed=False)[1][speaker])


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


def check_speakers(corpus: Corpus) -> None:
    """Say what is wrong before anything is heard.

    Raises:
        DataError: somebody's clip does not say who speaks.
    """
    unknown = corpus.frame["id"][corpus.frame["speaker"] == ""]
    if len(unknown):
        raise DataError(
            f"corpus '{corpus.name}': {len(unknown)} of {len(corpus.frame)} clips (first '{unknown.iloc[0]}') have an "
            "empty 'speaker', so no voice can be taken out: fill that column or leave normalised_by empty."
        )


def chosen_folds(corpus: Corpus, scheme: str, which: Iterable[int], clips: int = 0) -> list[Fold]:
    """Some of the folds of a scheme, each with all its training clips or, drawn by `fewer_clips`, at most so many.

    Raises:
        UsageError: there is no such fold; or as `folds` and `fewer_clips`.

    >>> from emoser_lib.corpora import load_corpus
    >>> [(cut.index, len(cut.train)) for cut in chosen_folds(load_corpus("demo"), "video", [1, 3], clips=50)]
    [(1, 50), (3, 50)]
    """
    cuts, which = folds(corpus, scheme), list(which)
    if missing := [fold for fold in which if fold >= len(cuts)]:
        raise UsageError(
            f"corpus '{corpus.name}' has {len(cuts)} folds by '{scheme}', 0 to {len(cuts) - 1}, not {missing[0]}: set "
            "folds to some of these."
        )
    return [fewer_clips(corpus, cuts[fold], clips or len(cuts[fold].train)) for fold in which]


def fewer_clips(corpus: Corpus, cut: Fold, clips: int, seed: int = 0) -> Fold:
    """The cut with at most so many training clips, drawn with the labels' proportions kept.

    Where fewer than all are asked for but more than can be drawn with a clip of each label left over, so many are drawn
    as can be.

    Raises:
        UsageError: fewer are asked for than there are labels.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> len(fewer_clips(demo, folds(demo)[0], 100).train), len(fewer_clips(demo, folds(demo)[0], 1000).train)
    (100, 320)
    """
    every = len(cut.train)
    if clips >= every:
        return cut
    labels = corpus.training().set_index("id")["label"][list(cut.train)]
    counts = labels.value_counts()
    # A label with a single clip cannot be on both sides: it is drawn together with the next rarest.
    strata = labels.where(labels.map(counts) > 1, counts[counts > 1].index[-1] if (counts > 1).any() else "")
    least, most = strata.nunique(), every - strata.nunique()
    if clips < least or most < least:
        raise UsageError(
            f"train_clips is {clips}, too few to draw one of each label: ask for at least {least}, or for 0, which is "
            "all of them."
        )
    kept, _ = train_test_split(np.array(cut.train), train_size=min(clips, most), stratify=strata, random_state=seed)
    chosen = set(kept)
    return replace(cut, train=tuple(clip for clip in cut.train if clip in chosen))
