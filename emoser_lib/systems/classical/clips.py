"""What the classical baselines read of clips: text, acoustic statistics, log-mel spectrograms."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoser_lib.corpora import Corpus
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.classical.baselines import PARTS
from emoser_lib.systems.classical.features import ACOUSTIC_FEATURES, acoustic_statistics, log_mel


@dataclass(frozen=True)
class Clips:
    """Parts that the baselines read of some clips, row by row; a part that is not needed stays None.

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
        """Select clips: rows are positions (as scikit-learn's splitters give), a mask or a slice."""
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
        """Read the parts asked for, each clip's audio once; where none is, the texts are empty, for who only counts.

        Raises:
            UsageError: an id is not in the corpus.
            DataError: no clip has a transcription, or audio is missing, cannot be read or is too short; the
                sentence names the clip.

        >>> from emoser_lib.corpora import load_corpus
        >>> demo = load_corpus("demo")
        >>> Clips.from_corpus(demo, demo.frame.id[:3], text=True, audio=True).audio.shape[0]
        3
        """
        ids = list(ids)
        rows = [corpus.row(clip) for clip in ids]
        texts = [row["transcription"] for row in rows] if text else None
        if texts is not None and not any(texts):
            raise DataError(f"corpus '{corpus.name}' has no transcriptions: leave out the baselines that read text.")
        if not (text or audio or log_mel):
            return cls(text=[""] * len(ids))
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
