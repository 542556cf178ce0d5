"""A corpus under a condition that its systems were not trained for: noise, a telephone, lost words, nothing to hear.

Nothing that hears or reads a corpus knows of it: the table's transcriptions and the waveforms are other ones.
"""

import hashlib
import math
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import soxr
from scipy.signal import butter, sosfilt

from emoser_lib.corpora.audio import SAMPLE_RATE, duration_seconds
from emoser_lib.corpora.corpus import Corpus
from emoser_lib.errors import UsageError

TELEPHONE_HZ = (300.0, 3400.0)
"""What a telephone line lets through (ITU-T G.712)."""

TELEPHONE_RATE = 8_000
"""Samples a second of a telephone line (ITU-T G.711)."""

Noise = Literal["white", "speech"]
"""``white``: as loud at every frequency; ``speech``: with the clip's own long-term spectrum, as other voices have."""


@dataclass(frozen=True)
class Condition:
    """Alteration of clips, in this order: cut, speed, noise, telephone. The defaults change nothing.

    Attributes:
        seconds: only the beginning of a clip: its sound, and the words said until then, supposing that the clip's
            words take equal time (nobody noted when they are said).
        speed: so many times as fast; played faster, so the pitch moves too (Ko et al. 2015, who took 0.9 and 1.1).
        snr_db: noise is added, so many dB below the clip's mean power, pauses included.
        noise: what it sounds like.
        telephone: only a telephone's band and sampling rate; without the coding's own noise (our choice).
        words_deleted: share of the words that the transcription misses, each as likely as another (our choice).
        audio: ``False``: silence of the clip's length.
        transcript: ``False``: an empty transcription.

    Raises:
        UsageError: a value out of its range.

    >>> Condition(snr_db=10).name, Condition().name
    ('white noise, 10 dB', 'clean')
    """

    seconds: float | None = None
    speed: float = 1.0
    snr_db: float | None = None
    noise: Noise = "white"
    telephone: bool = False
    words_deleted: float = 0.0
    audio: bool = True
    transcript: bool = True

    def __post_init__(self) -> None:
        for name, there, rule in (
            ("seconds", self.seconds is None or 0 < self.seconds < math.inf, "above 0"),
            ("speed", 0.25 <= self.speed <= 4, "0.25 to 4"),
            ("snr_db", self.snr_db is None or -100 <= self.snr_db <= 100, "-100 to 100"),
            ("noise", self.noise in ("white", "speech"), "white or speech"),
            ("words_deleted", 0 <= self.words_deleted <= 1, "0 to 1"),
        ):
            if not there:
                raise UsageError(f"{name} of a condition is {getattr(self, name)}: it must be {rule}.")

    @property
    def name(self) -> str:
        """What is done, in words."""
        done = (
            "" if self.seconds is None else f"first {self.seconds:g} s",
            "" if self.speed == 1 else f"speed {self.speed:g}",
            "" if self.snr_db is None else f"{self.noise} noise, {self.snr_db:g} dB",
            "telephone" if self.telephone else "",
            f"{100 * self.words_deleted:g} % of words deleted" if self.words_deleted else "",
            "" if self.audio else "silence",
            "" if self.transcript else "no words",
        )
        return ", ".join(filter(None, done)) or "clean"

    @property
    def changes_sound(self) -> bool:
        """Whether what is heard is another thing than with the words left as they are."""
        return not self.audio or self.telephone or self.speed != 1 or (self.seconds, self.snr_db) != (None, None)

    def heard(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply this condition to a waveform (float32 [samples], 16 kHz); cut or sped up, it has another length."""
        sound = waveform if self.audio else np.zeros_like(waveform)
        if self.seconds is not None:
            sound = first_seconds(sound, self.seconds)
        sound = change_speed(sound, self.speed)
        if self.snr_db is not None:
            sound = add_noise(sound, self.snr_db, rng, self.noise)
        return telephone(sound) if self.telephone else sound

    def read(self, text: str, seconds: float, rng: np.random.Generator) -> str:
        """Apply this condition to the transcription of a clip of so many seconds."""
        if not self.transcript:
            return ""
        if self.seconds is not None:
            text = first_words(text, self.seconds / seconds if seconds else 1.0)
        return delete_words(text, self.words_deleted, rng)


@dataclass(frozen=True)
class AlteredCorpus(Corpus):
    """A corpus as it is heard and read under a condition; made by `alter`.

    Attributes:
        condition: that one.
        seed: of noise and deletions. A clip has the same noise each time, and at each level, whatever else is heard.
    """

    condition: Condition = field(default_factory=Condition)
    seed: int = 0

    def waveform(self, clip_id: str) -> np.ndarray:
        """Read the audio of one clip and apply the condition; see `Corpus.waveform`."""
        return self.condition.heard(super().waveform(clip_id), clip_rng(self.seed, clip_id, "sound"))

    @cached_property
    def sha256(self) -> str:
        """Another identity than the clean corpus has, and than that of any other condition or seed."""
        parts = (super().sha256, sorted(asdict(self.condition).items()), self.seed)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def alter(corpus: Corpus, condition: Condition, seed: int = 0) -> AlteredCorpus:
    """Put a corpus under a condition.

    Raises:
        DataError: the condition cuts clips, and how long one is cannot be read.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> clip = demo.frame["id"][0]
    >>> len(alter(demo, Condition(seconds=1)).waveform(clip))
    16000
    """
    frame = corpus.frame
    cut = condition.seconds is not None
    texts = [
        condition.read(text, duration_seconds(path) if cut else 0.0, clip_rng(seed, clip, "words"))
        for clip, path, text in zip(frame["id"], frame["audio"], frame["transcription"], strict=True)
    ]
    return AlteredCorpus(
        corpus.name,
        frame.assign(transcription=texts),
        corpus.labels,
        corpus.held_out,
        corpus.left_out,
        condition,
        seed,
    )


def clip_rng(seed: int, clip_id: str, what: str) -> np.random.Generator:
    """Return the random generator of one clip and purpose."""
    own = hashlib.sha256(f"{what} {clip_id}".encode()).digest()
    return np.random.default_rng([seed, *own])


def add_noise(waveform: np.ndarray, snr_db: float, rng: np.random.Generator, shape: Noise = "white") -> np.ndarray:
    """Add noise so that the waveform's mean power is ``snr_db`` above the noise's, exactly.

    Silence stays silence: no noise is below nothing. Values may go beyond 1, as nothing is clipped.

    >>> tone = np.sin(np.arange(16_000)).astype(np.float32)
    >>> noise = add_noise(tone, 20, np.random.default_rng(0)) - tone
    >>> round(float(10 * np.log10(np.mean(tone**2) / np.mean(noise**2))), 2)
    20.0
    """
    clean = waveform.astype(np.float64)
    if not clean.any():
        return waveform
    noise = rng.standard_normal(len(clean))
    if shape == "speech":
        # Noise's phases with the clip's own loudness at each frequency.
        phases = np.angle(np.fft.rfft(noise))
        noise = np.fft.irfft(np.abs(np.fft.rfft(clean)) * np.exp(1j * phases), len(clean))
    gain = math.sqrt(np.sum(clean**2) / np.sum(noise**2) / 10 ** (snr_db / 10))
    return (clean + gain * noise).astype(np.float32)


def telephone(waveform: np.ndarray) -> np.ndarray:
    """Keep a telephone's band (Butterworth, order 4: our choice) at its sampling rate; as long as before, at 16 kHz."""
    if not len(waveform):
        return waveform
    band = butter(4, TELEPHONE_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    narrow = soxr.resample(sosfilt(band, waveform.astype(np.float64)), SAMPLE_RATE, TELEPHONE_RATE)
    back = soxr.resample(narrow, TELEPHONE_RATE, SAMPLE_RATE)[: len(waveform)]
    return np.pad(back, (0, len(waveform) - len(back))).astype(np.float32)


def change_speed(waveform: np.ndarray, factor: float) -> np.ndarray:
    """Play so many times as fast: pitch and tempo move together (Ko et al. 2015).

    >>> len(change_speed(np.zeros(11_000, np.float32), 1.1))
    10000
    """
    if factor == 1:
        return waveform
    return soxr.resample(waveform, factor * SAMPLE_RATE, SAMPLE_RATE).astype(np.float32)


def first_seconds(waveform: np.ndarray, seconds: float) -> np.ndarray:
    """Keep the beginning; a shorter waveform is left as it is."""
    return waveform[: round(seconds * SAMPLE_RATE)]


def first_words(text: str, share: float) -> str:
    """Keep the first share of the words, a word that has begun included; of all of them, the text as it is.

    >>> first_words("no me lo creo", 0.3)
    'no me'
    """
    words = text.split()
    return text if share >= 1 else " ".join(words[: math.ceil(share * len(words))])


def delete_words(text: str, share: float, rng: np.random.Generator) -> str:
    """Delete each word with this probability; words deleted at one share are deleted at any higher one.

    >>> delete_words("no me lo creo", 0.5, np.random.default_rng(0))
    'no'
    """
    words = text.split()
    stays = rng.random(len(words)) >= share
    return text if stays.all() else " ".join(word for word, there in zip(words, stays, strict=True) if there)
