"""The traditional path of seed 1, section 2: text, acoustic statistics and spectra with classical classifiers."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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

from emoser_lib.corpora import Corpus
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.systems.features import ACOUSTIC_FEATURES, acoustic_statistics, log_mel

PARTS = ("text", "audio", "log_mel")
"""What a clip can be read as."""


@dataclass(frozen=True)
class Clips:
    """What the baselines read of some clips, row by row; a part that is not needed stays None.

    Attributes:
        text: transcriptions, object [clips].
        audio: acoustic statistics, float [clips, features].
        log_mel: log-mel spectrograms, float32 [clips, frames, bands].

    >>> clips = Clips(text=["hola", "adiós", "gracias"])
    >>> len(clips), clips[[2, 0]].text.tolist()
    (3, ['gracias', 'hola'])
    """

    text: ArrayLike | None = None
    audio: ArrayLike | None = None
    log_mel: ArrayLike | None = None

    def __post_init__(self) -> None:
        if self.text is not None:
            object.__setattr__(self, "text", np.array(self.text, dtype=object))
        for name in ("audio", "log_mel"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name)))
        lengths = {name: len(part) for name, part in self._present().items()}
        if not lengths:
            raise UsageError(f"Clips without content: give at least one of {', '.join(PARTS)}.")
        if len(set(lengths.values())) > 1:
            raise UsageError(f"the parts of Clips have different lengths {lengths}: they must hold the same clips.")

    def _present(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in PARTS if getattr(self, name) is not None}

    def __len__(self) -> int:
        return len(next(iter(self._present().values())))

    def __getitem__(self, rows: Any) -> "Clips":
        """The same parts of some clips: rows are positions (as scikit-learn's splitters give), a mask or a slice."""
        rows = np.atleast_1d(np.arange(len(self))[rows])
        return Clips(**{name: part[rows] for name, part in self._present().items()})

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus,
        ids: Iterable[str],
        *,
        text: bool = False,
        audio: bool = False,
        log_mel: bool = False,
    ) -> "Clips":
        """Read the parts asked for, each clip's audio once.

        Raises:
            UsageError: no part is asked for, or an id is not in the corpus.
            DataError: no clip has a transcription, or audio is missing, cannot be read or is too short; the
                sentence names the clip.

        >>> from emoser_lib.corpora import load_corpus
        >>> demo = load_corpus("demo")
        >>> Clips.from_corpus(demo, demo.frame.id[:3], text=True, audio=True).audio.shape[0]
        3
        """
        ids = list(ids)
        texts = [corpus.row(clip)["transcription"] for clip in ids] if text else None
        if texts is not None and not any(texts):
            raise DataError(f"corpus '{corpus.name}' has no transcriptions: leave out the baselines that read text.")
        described = [_describe(corpus, clip, audio, log_mel) for clip in ids] if audio or log_mel else []
        return cls(
            text=texts,
            audio=np.array([row for row, _ in described]).reshape(-1, len(ACOUSTIC_FEATURES)) if audio else None,
            log_mel=np.array([mels for _, mels in described]) if log_mel else None,
        )


def _describe(corpus: Corpus, clip: str, audio: bool, mels: bool) -> tuple[Any, Any]:
    waveform = corpus.waveform(clip)
    try:
        return acoustic_statistics(waveform) if audio else None, log_mel(waveform) if mels else None
    except DataError as error:
        raise DataError(f"clip '{clip}' of corpus '{corpus.name}': {error}") from None


class Part(TransformerMixin, BaseEstimator):
    """First step of every baseline: take one part of `Clips`.

    >>> Part("text").fit_transform(Clips(text=["hola"])).tolist()
    ['hola']
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, X: Clips, y: object = None) -> Self:
        """Learn nothing."""
        return self

    def transform(self, X: Clips) -> NDArray[Any]:
        """The part.

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
    """k-means without labels; then each cluster answers with the commonest label among its clips.

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
        """Label of the nearest cluster.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` has not been called.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        return self.label_of_cluster_[self.kmeans_.predict(X)]


@dataclass(frozen=True)
class Baseline:
    """One declared baseline: what it reads ("text", "audio", "log_mel", "text+audio" or "labels"),
    what it is in words, and what builds it from a seed."""

    reads: str
    summary: str
    build: Callable[[int], BaseEstimator]

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of `Clips` it needs.

        >>> BASELINES["early-fusion"].parts
        ('text', 'audio')
        """
        return tuple(part for part in self.reads.split("+") if part in PARTS)


def _text(*steps: BaseEstimator) -> Pipeline:
    """TF-IDF of words and word pairs, and of the letters within words, which stand for endings and stems."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    return make_pipeline(Part("text"), FeatureUnion([("words", words), ("letters", letters)]), *steps)


def _audio(*steps: BaseEstimator) -> Pipeline:
    return make_pipeline(Part("audio"), StandardScaler(), *steps)


# torch takes a second to import, and only the networks need it.


def _cnn(random_state: int) -> Pipeline:
    from emoser_lib.systems.networks import CNNClassifier

    return make_pipeline(Part("log_mel"), CNNClassifier(random_state=random_state))


def _lstm(random_state: int) -> Pipeline:
    from emoser_lib.systems.networks import LSTMClassifier

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
    """One classifier a block, as strongly regularised as in early fusion; their probabilities are averaged."""
    audio = _audio(_logistic(C=1 / len(ACOUSTIC_FEATURES)))
    return VotingClassifier([("text", _text(_logistic())), ("audio", audio)], voting="soft")


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "majority": Baseline("labels", "the commonest label, whatever the clip", lambda seed: DummyClassifier()),
        "text-svm": Baseline(
            "text",
            "TF-IDF of words and letters, linear SVM (C 1, balanced)",
            lambda seed: _text(LinearSVC(class_weight="balanced", random_state=seed)),
        ),
        "audio-svm": Baseline(
            "audio",
            "acoustic statistics, SVM with RBF kernel (C 1, balanced)",
            lambda seed: _audio(SVC(class_weight="balanced", random_state=seed)),
        ),
        "audio-lda": Baseline(
            "audio",
            "acoustic statistics, linear discriminant analysis with Ledoit-Wolf shrinkage",
            lambda seed: _audio(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")),
        ),
        "audio-knn": Baseline(
            "audio",
            "acoustic statistics, the 5 nearest neighbours, nearer ones counting more",
            lambda seed: _audio(KNeighborsClassifier(n_neighbors=5, weights="distance")),
        ),
        "audio-kmeans": Baseline(
            "audio",
            "acoustic statistics, 30 k-means clusters, each named by its commonest label",
            lambda seed: _audio(ClusterClassifier(random_state=seed)),
        ),
        "cnn": Baseline(
            "log_mel",
            "log-mels, three convolutions, 20 epochs",
            _cnn,
        ),
        "lstm": Baseline(
            "log_mel",
            "log-mels, one LSTM layer, 20 epochs",
            _lstm,
        ),
        "early-fusion": Baseline(
            "text+audio", "TF-IDF and acoustic statistics in one logistic regression (balanced)", _early_fusion
        ),
        "late-fusion": Baseline(
            "text+audio", "one logistic regression (balanced) each, their probabilities averaged", _late_fusion
        ),
    }
)
"""The baselines by name. Every hyper-parameter is our choice, tuned on no test split."""


def baseline(name: str, random_state: int = 0) -> BaseEstimator:
    """A fresh, unfitted baseline: ``fit(clips, labels)``, ``predict(clips)`` -> labels, on `Clips`.

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
    return BASELINES[name].build(random_state)


def parts_of(names: Iterable[str]) -> dict[str, bool]:
    """What `Clips.from_corpus` has to read for these baselines, as its keyword arguments.

    >>> parts_of(["majority", "early-fusion"])
    {'text': True, 'audio': True}
    """
    parts = {part: True for name in names for part in BASELINES[name].parts}
    return parts or {"text": True}  # `majority` alone reads nothing, but somebody has to count the clips
