"""Build the classical baselines: scikit-learn estimators that read `Clips`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.cluster import KMeans
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from emoser_lib.errors import UsageError, did_you_mean
from emoser_lib.systems.classical.baselines import BASELINES
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.features import ACOUSTIC_FEATURES
from emoser_lib.systems.classical.networks import CNNClassifier, LSTMClassifier


class Part(TransformerMixin, BaseEstimator):
    """First step of every baseline: it takes one part of `Clips`.

    >>> Part("text").fit_transform(Clips(text=["hola"])).tolist()
    ['hola']
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, X: Clips, y: object = None) -> Self:
        """Learn nothing."""
        return self

    def transform(self, X: Clips) -> NDArray[Any]:
        """Take the part.

        Raises:
            UsageError: X is not `Clips` or has not got this part.
        """
        part = getattr(X, self.name) if isinstance(X, Clips) else None
        if part is None:
            raise UsageError(f"this baseline reads {self.name}: give it Clips with {self.name}.")
        return part

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True
        tags.requires_fit = False
        return tags


class ClusterClassifier(ClassifierMixin, BaseEstimator):
    """Classifier by k-means without labels; each cluster answers with the commonest label among its clips.

    Args:
        n_clusters: clusters (30, our choice: five for each of six labels), or as many as there are clips, if fewer.
        random_state: seed of k-means.

    >>> X = [[0.0], [0.1], [5.0], [5.1]]
    >>> ClusterClassifier(n_clusters=2, random_state=0).fit(X, ["sad", "sad", "glad", "glad"]).predict([[4.9]])
    array(['glad'], dtype='<U4')
    """

    def __init__(self, n_clusters: int = 30, random_state: int | np.random.RandomState | None = None) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Cluster X (float [clips, features]), then name the clusters by y."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        clusters = min(self.n_clusters, len(targets))
        self.kmeans_ = KMeans(clusters, n_init=10, random_state=self.random_state).fit(X)
        counts = np.zeros((clusters, len(self.classes_)), dtype=int)
        np.add.at(counts, (self.kmeans_.labels_, targets), 1)
        self.label_of_cluster_ = self.classes_[counts.argmax(axis=1)]
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the label of the nearest cluster.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.label_of_cluster_[self.kmeans_.predict(X)]


def _text(*steps: BaseEstimator) -> Pipeline:
    """TF-IDF of words and word pairs, and of the letters within words, which stand for endings and stems."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(Part("text"), FeatureUnion([("words", words), ("letters", letters)]), *steps)


def _audio(*steps: BaseEstimator) -> Pipeline:
    return make_pipeline(Part("audio"), StandardScaler(), *steps)


def _cnn(random_state: int) -> Pipeline:
    return make_pipeline(Part("log_mel"), CNNClassifier(random_state=random_state))


def _lstm(random_state: int) -> Pipeline:
    return make_pipeline(Part("log_mel"), LSTMClassifier(random_state=random_state))


def _logistic(C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, class_weight="balanced", max_iter=1000)


def _early_fusion(random_state: int) -> Pipeline:
    """Both blocks side by side; the audio block is scaled to the length of a TF-IDF row, so that both count."""
    blocks = FeatureUnion(
        [("text", _text()), ("audio", _audio())], transformer_weights={"audio": len(ACOUSTIC_FEATURES) ** -0.5}
    )
    return make_pipeline(blocks, _logistic())


def _late_fusion(random_state: int) -> VotingClassifier:
    """One classifier per block, as strongly regularised as in early fusion; their probabilities are averaged."""
    audio = _audio(_logistic(C=1 / len(ACOUSTIC_FEATURES)))
    return VotingClassifier([("text", _text(_logistic())), ("audio", audio)], voting="soft")


BUILD: Mapping[str, Callable[[int], BaseEstimator]] = MappingProxyType(
    {
        "majority": lambda seed: DummyClassifier(),
        "text-svm": lambda seed: _text(LinearSVC(class_weight="balanced", random_state=seed)),
        "audio-svm": lambda seed: _audio(SVC(class_weight="balanced", random_state=seed)),
        "audio-lda": lambda seed: _audio(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        "audio-knn": lambda seed: _audio(KNeighborsClassifier(n_neighbors=5, weights="distance")),
        "audio-kmeans": lambda seed: _audio(ClusterClassifier(random_state=seed)),
        "cnn": _cnn,
        "lstm": _lstm,
        "early-fusion": _early_fusion,
        "late-fusion": _late_fusion,
    }
)
"""What builds each of `BASELINES`, from a seed."""


def baseline(name: str, random_state: int = 0) -> BaseEstimator:
    """Build a fresh, unfitted baseline: ``fit(clips, labels)``, ``predict(clips)`` -> labels, on `Clips`.

    Args:
        name: one of ``BASELINES``.
        random_state: seed of whatever is random in it.

    Raises:
        UsageError: there is no such baseline.

    >>> clips = Clips(text=["qué bien", "qué mal", "muy bien", "muy mal"])
    >>> model = baseline("text-svm").fit(clips, ["joy", "anger", "joy", "anger"])
    >>> model.predict(Clips(text=["todo mal"])).tolist()
    ['anger']
    """
    if name not in BASELINES:
        hint = did_you_mean(name, list(BASELINES))
        raise UsageError(f"there is no baseline '{name}'{hint}: choose one of {', '.join(BASELINES)}.")
    return BUILD[name](random_state)
