"""Train on one part, predict the other: folds of the training clips, or the official split."""

from collections.abc import Sequence

import pandas as pd
from sklearn.base import BaseEstimator, clone

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments.training.folds import Fold, folds
from emoser_lib.systems.classical.clips import Clips

EVALUATIONS = ("folds", "test")


def evaluation_folds(corpus: Corpus, evaluate: str, scheme: str = "paper") -> list[Fold]:
    """What to train on and what to predict.

    Args:
        corpus: the corpus.
        evaluate: ``folds``: five folds of the training clips; ``test``: one fold, which trains on all
            training clips and predicts the test split: those of its clips whose label is known.
        scheme: fold scheme, for ``folds``.

    Raises:
        UsageError: the corpus has no labelled test split, or ``evaluate`` is neither.

    >>> from emoser_lib.corpora import load_corpus
    >>> [(len(f.train), len(f.validation)) for f in evaluation_folds(load_corpus("demo"), "test")]
    [(400, 100)]
    """
    if evaluate not in EVALUATIONS:
        raise UsageError(f"evaluate is '{evaluate}': choose one of {', '.join(EVALUATIONS)}.")
    if evaluate == "folds":
        return folds(corpus, scheme)
    test = corpus.labelled_test()
    if test.empty:
        raise UsageError(f"corpus '{corpus.name}' has no labelled test split: evaluate it with folds.")
    return [Fold(0, tuple(corpus.training()["id"]), tuple(test["id"]))]


def predict_by_folds(estimator: BaseEstimator, corpus: Corpus, clips: Clips, cuts: Sequence[Fold]) -> pd.Series:
    """Train a fresh copy on each fold's training part and predict its validation part.

    Args:
        estimator: an estimator that reads `Clips`.
        corpus: gives the training labels.
        clips: what is read of all clips of the corpus, in the frame's order.
        cuts: from `evaluation_folds`.

    Returns:
        Predicted labels by clip id, in the order of the validation parts.
    """
    position = {clip: row for row, clip in enumerate(corpus.frame["id"])}
    parts = []
    for fold in cuts:
        fitted = fit_on(estimator, corpus, clips[[position[c] for c in fold.train]], fold.train)
        predicted = fitted.predict(clips[[position[c] for c in fold.validation]])
        parts.append(pd.Series(predicted, index=pd.Index(fold.validation, name="id"), name="predicted", dtype=str))
    return pd.concat(parts)


def fit_on(estimator: BaseEstimator, corpus: Corpus, clips: Clips, ids: Sequence[str]) -> BaseEstimator:
    """Train a fresh copy on some training clips.

    Args:
        estimator: an estimator that reads `Clips`.
        corpus: gives the labels.
        clips: what is read of these clips.
        ids: of the clips, in the same order.
    """
    labels = corpus.training().set_index("id")["label"]
    return clone(estimator).fit(clips, labels[list(ids)].to_numpy())
