"""The classical baselines, declared: what each reads and what it is. `estimators` builds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

PARTS = ("text", "audio", "log_mel")
"""What a clip can be read as."""


@dataclass(frozen=True)
class Baseline:
    """A declared baseline.

    Attributes:
        reads: "text", "audio", "log_mel", "text+audio" or "labels".
        summary: what it is, in words.
    """

    reads: str
    summary: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of `Clips` it needs.

        >>> BASELINES["early-fusion"].parts
        ('text', 'audio')
        """
        return tuple(part for part in self.reads.split("+") if part in PARTS)


BASELINES: Mapping[str, Baseline] = MappingProxyType(
    {
        "majority": Baseline("labels", "the commonest label, whatever the clip"),
        "text-svm": Baseline("text", "TF-IDF of words and letters, linear SVM (C 1, balanced)"),
        "audio-svm": Baseline("audio", "acoustic statistics, SVM with RBF kernel (C 1, balanced)"),
        "audio-lda": Baseline("audio", "acoustic statistics, linear discriminant analysis with Ledoit-Wolf shrinkage"),
        "audio-knn": Baseline("audio", "acoustic statistics, the 5 nearest neighbours, nearer ones counting more"),
        "audio-kmeans": Baseline(
            "audio", "acoustic statistics, 30 k-means clusters, each named by its commonest label"
        ),
        "cnn": Baseline("log_mel", "log-mels, three convolutions, 20 epochs"),
        "lstm": Baseline("log_mel", "log-mels, one LSTM layer, 20 epochs"),
        "early-fusion": Baseline("text+audio", "TF-IDF and acoustic statistics in one logistic regression (balanced)"),
        "late-fusion": Baseline("text+audio", "one logistic regression (balanced) each, their probabilities averaged"),
    }
)
"""The baselines by name. Every hyper-parameter is our choice, tuned on no test split."""


def parts_of(names: Iterable[str]) -> dict[str, bool]:
    """Return what `Clips.from_corpus` has to read for these baselines, as its keyword arguments.

    >>> parts_of(["majority", "early-fusion"])
    {'text': True, 'audio': True}
    """
    return {part: True for name in names for part in BASELINES[name].parts}
