"""Encode the clips of a corpus once, whole or in windows: from audio to cached frames."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emoser_lib.corpora import Corpus
from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.systems.declared import AudioSystem, Layer
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache, Features, frames_depend_on


@dataclass(frozen=True)
class Hearing:
    """What an encoder makes of a corpus's clips.

    Attributes:
        encoder: that one.
        windows: clip id -> the keys of its windows; of whole clips, the id itself.
        features: their frames; ``None`` where the encoder runs at each step.
        corpus: whose clips.
        seconds: of a window; 0: whole clips.
    """

    encoder: Encoder
    windows: Mapping[str, Sequence[str]]
    features: Features | None
    corpus: Corpus
    seconds: float

    def waveform(self, key: str) -> np.ndarray:
        """The waveform of a window, read anew."""
        clip, _, number = key.rpartition("#") if self.seconds else (key, "", "0")
        return windows_of(self.corpus.waveform(clip), self.seconds)[int(number)]

    def identity(self, keys: Sequence[str], layer: Layer) -> object:
        """Stands for the audio of these windows, the encoder, and what it gives or would give."""
        if self.features is not None:
            return self.features.of(keys).digest
        return [self.corpus.sha256, frames_depend_on(self.encoder, layer)]


def windows_of(waveform: np.ndarray, seconds: float) -> list[np.ndarray]:
    """Cut a waveform [samples] into windows of equal length, the last one ending where the clip does.

    A clip that is no longer than a window is one; 0 seconds: no cutting. Our choice: EmoSLLM does not say how.

    >>> [len(window) / 16_000 for window in windows_of(np.zeros(112_000, np.float32), 3.0)]
    [3.0, 3.0, 3.0]
    """
    size = round(seconds * SAMPLE_RATE)
    return [waveform[start : start + size] if size else waveform for start in window_starts(len(waveform), seconds)]


def window_starts(samples: int, seconds: float) -> list[int]:
    """The sample at which each window of `windows_of` begins.

    >>> window_starts(112_000, 3.0)
    [0, 48000, 64000]
    """
    size = round(seconds * SAMPLE_RATE)
    if not size or samples <= size:
        return [0]
    return [min(start, samples - size) for start in range(0, samples, size)]


def hear(
    encoder: Encoder, system: AudioSystem, corpus: Corpus, ids: Iterable[str], home: Path | None = None
) -> Hearing:
    """Encode clips once, or find them in the cache.

    Args:
        encoder: from `load_encoder`.
        system: says which layer, and whether clips are cut.
        corpus: has the audio.
        ids: of the clips.
        home: of the cache, see `FeatureCache`.

    Raises:
        DataError: a clip has no audio, cannot be read, or is too short or too long for the encoder.
    """
    seconds = system.window_seconds
    windows: dict[str, list[str]] = {}

    def cut() -> Iterator[tuple[str, np.ndarray]]:
        for clip in dict.fromkeys(ids):
            pieces = windows_of(corpus.waveform(clip), seconds)
            windows[clip] = [f"{clip}#{number}" if seconds else clip for number in range(len(pieces))]
            yield from zip(windows[clip], pieces, strict=True)

    if system.encoding != "cached":
        for key, waveform in cut():
            encoder.check(waveform, f"clip {key}")
        return Hearing(encoder, windows, None, corpus, seconds)
    features = FeatureCache(encoder, system.encoder_layer, home).add(cut())
    return Hearing(encoder, windows, features, corpus, seconds)
