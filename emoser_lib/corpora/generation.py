"""How the clips of the `demo` corpus are drawn: tables only, no audio.

The distributions are written down in ``demo_data/distributions.yaml``; ``scripts/make_demo_corpus.py``
turns the drawn table into audio, and `emoser_lib.corpora.ceilings` computes what can be known from it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import yaml
from pydantic import ValidationError, model_validator

from emoser_lib.corpora.corpus import LABELS
from emoser_lib.errors import DataError
from emoser_lib.values import Immutable

DEMO_DATA = Path(__file__).parent / "demo_data"
"""Folder of the shipped corpus: metadata.csv, latents.csv, distributions.yaml, audio/."""

PROSODY = ("pitch_level", "pitch_range", "rate", "loudness")
"""Gaussian latents: semitones, log factor, log factor, dB, each relative to the voice."""

QUALITIES = ("modal", "tense", "breathy")
"""Voice qualities."""

Probabilities = dict[str, float]


class Videos(Immutable):
    """Numbers that say how clips are grouped in videos."""

    sizes: dict[int, float]
    lean: float
    median_gap_s: float


class Duration(Immutable):
    """Bounds of a clip's length in seconds, of the audio and of its estimate."""

    seconds: tuple[float, float]
    estimate: tuple[float, float]


class Words(Immutable):
    """Sentences (carriers) and cue phrases."""

    cue_first: float
    subjects: list[str]
    predicates: list[str]
    cues: dict[str, list[str]]
    cue_given_label: dict[str, Probabilities]


class Correlation(Immutable):
    """Correlation of two prosody latents."""

    between: tuple[str, str]
    value: float


class Prosody(Immutable):
    """Means by label, a shared covariance, and P(voice quality | label)."""

    means: dict[str, dict[str, float]]
    sds: dict[str, float]
    correlations: list[Correlation]
    quality_given_label: dict[str, Probabilities]


class Voice(Immutable):
    """One speaker: own pitch in Hz and the lines of an espeak-ng voice file that make the timbre."""

    name: str
    gender: Literal["female", "male"]
    language: Literal["es", "es-419"]
    pitch_hz: float
    timbre: list[str]


class Distributions(Immutable):
    """The distributions that the demo corpus is drawn from.

    >>> distributions = load_distributions()
    >>> distributions.cue_matrix().shape, len(distributions.voices)
    ((6, 6), 12)
    """

    seed: int
    clips: dict[Literal["train", "test"], dict[str, int]]
    videos: Videos
    duration: Duration
    words: Words
    prosody: Prosody
    voices: list[Voice]

    @model_validator(mode="after")
    def _consistent(self) -> "Distributions":
        tables: dict[str, Mapping[str, Mapping[Any, float]]] = {
            "videos.sizes": {"sizes": self.videos.sizes},
            "words.cue_given_label": self.words.cue_given_label,
            "prosody.quality_given_label": self.prosody.quality_given_label,
        }
        for name, table in tables.items():
            for row, probabilities in table.items():
                values = list(probabilities.values())
                if min(values) < 0 or abs(sum(values) - 1) > 1e-9:
                    raise ValueError(f"{name}: the probabilities of '{row}' sum to {sum(values):g}, not to 1")
        words, prosody = self.words, self.prosody
        keys = [set(words.cues), set(words.cue_given_label), set(prosody.means), set(prosody.quality_given_label)]
        if any(names != set(LABELS) for names in keys + [set(counts) for counts in self.clips.values()]):
            raise ValueError(f"every table by label needs exactly the rows {', '.join(LABELS)}")
        if np.linalg.eigvalsh(self.covariance()).min() <= 0:
            raise ValueError("prosody: the sds and correlations do not make a covariance (positive definite)")
        return self

    def cue_matrix(self) -> np.ndarray:
        """Return P(cue | label), [label, cue], both in the order of ``LABELS``."""
        rows = self.words.cue_given_label
        return np.array([[rows[label].get(cue, 0.0) for cue in LABELS] for label in LABELS])

    def quality_matrix(self) -> np.ndarray:
        """Return P(voice quality | label), [label, quality], in the orders of ``LABELS`` and ``QUALITIES``."""
        rows = self.prosody.quality_given_label
        return np.array([[rows[label].get(quality, 0.0) for quality in QUALITIES] for label in LABELS])

    def mean_matrix(self) -> np.ndarray:
        """Return the means of the prosody latents, [label, latent]."""
        return np.array([[self.prosody.means[label][name] for name in PROSODY] for label in LABELS])

    def covariance(self) -> np.ndarray:
        """Return the covariance of the prosody latents, [latent, latent], the same for all labels."""
        correlation = np.eye(len(PROSODY))
        for pair in self.prosody.correlations:
            i, j = (PROSODY.index(name) for name in pair.between)
            correlation[i, j] = correlation[j, i] = pair.value
        sds = np.array([self.prosody.sds[name] for name in PROSODY])
        return correlation * np.outer(sds, sds)


def load_distributions(path: Path = DEMO_DATA / "distributions.yaml") -> Distributions:
    """Read and check the written-down distributions.

    Raises:
        DataError: the file is not there, or a value in it is missing, of the wrong type or inconsistent.

    >>> load_distributions().clips["test"]["fear"]
    3
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: it is part of the package, install it again.")
    try:
        return Distributions.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML ({' '.join(str(error).split())}): correct that line.") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}: correct it.") from None


def draw_latents(distributions: Distributions, labels: Iterable[str], rng: np.random.Generator) -> pd.DataFrame:
    """Draw what carries the emotion, one row per label: cue, the four prosody latents, quality.

    >>> draw_latents(load_distributions(), ["joy", "fear"], np.random.default_rng(0)).shape
    (2, 6)
    """
    label = np.array([LABELS.index(name) for name in labels], dtype=int)
    cue = _draw_categories(distributions.cue_matrix()[label], rng)
    # by Cholesky, not numpy's multivariate_normal: its default decomposition has signs that differ between machines
    noise = rng.standard_normal((len(label), len(PROSODY))) @ np.linalg.cholesky(distributions.covariance()).T
    latents = pd.DataFrame(distributions.mean_matrix()[label] + noise, columns=list(PROSODY))
    latents.insert(0, "cue", np.array(LABELS, dtype=object)[cue])
    quality = _draw_categories(distributions.quality_matrix()[label], rng)
    return latents.assign(quality=np.array(QUALITIES, dtype=object)[quality])


def draw_clips(distributions: Distributions) -> pd.DataFrame:
    """Draw the whole corpus: metadata without ``end_ms``, and latents, shuffled, train before test.

    The same distributions (with their seed) always give the same table.

    Returns:
        one row per clip: id, audio, transcription, label, split, speaker, video, gender, start_ms, cue,
        pitch_level, pitch_range, rate, loudness, quality.

    Raises:
        DataError: no sentence fits a clip's speaking rate and the bounds of its duration.

    >>> clips = draw_clips(load_distributions())
    >>> len(clips), clips.split[0]
    (500, 'train')
    """
    rng = np.random.default_rng(distributions.seed)
    clips = _draw_videos(distributions, rng)
    clips["split"] = _draw_split(distributions, clips["label"], rng)
    clips = pd.concat([clips, draw_latents(distributions, clips["label"], rng)], axis=1)
    clips[list(PROSODY)] = clips[list(PROSODY)].round(3)
    cues_and_rates = zip(clips["cue"], clips["rate"], strict=True)
    clips["transcription"] = [_draw_sentence(distributions, cue, rate, rng) for cue, rate in cues_and_rates]
    numbers = rng.choice(2**32, size=(len(clips), 2), replace=False)
    clips["id"] = [f"{a:08x}-{b:08x}.mp3" for a, b in numbers]
    clips["audio"] = "audio/" + clips["id"]
    shuffled = clips.iloc[rng.permutation(len(clips))]
    ordered = shuffled.sort_values("split", key=lambda split: split == "test", kind="stable")
    columns = ["id", "audio", "transcription", "label", "split", "speaker", "video", "gender", "start_ms"]
    return ordered[[*columns, "cue", *PROSODY, "quality"]].reset_index(drop=True)


def estimate_seconds(text: str, rate: float) -> float:
    """Estimate how long espeak-ng speaks a Spanish text, pauses included, at a log rate factor.

    A syllable is a run of vowels. The two constants are fitted to the demo corpus (225 words a minute).

    >>> 2 < estimate_seconds("El alcalde ha firmado el contrato, me da mucha pena.", 0.0) < 3
    True
    """
    syllables = len(re.findall(r"[aeiouáéíóúü]+", text.lower()))
    return SECONDS_ANYWAY + SECONDS_A_SYLLABLE * syllables / float(np.exp(rate))


SECONDS_ANYWAY = 0.48

SECONDS_A_SYLLABLE = 0.108


def _draw_categories(probabilities: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One category per row of ``probabilities`` [n, k], by inversion."""
    edges = probabilities.cumsum(axis=1)[:, :-1]
    return (rng.random((len(probabilities), 1)) >= edges).sum(axis=1)


def _draw_videos(distributions: Distributions, rng: np.random.Generator) -> pd.DataFrame:
    """Group the fixed numbers of clips per label in videos, each with a voice and a label it leans to."""
    left = np.array([sum(counts[label] for counts in distributions.clips.values()) for label in LABELS])
    sizes, chances = zip(*distributions.videos.sizes.items(), strict=True)
    rows: list[tuple[str, int, str, str, str]] = []
    keys = iter(rng.permutation(1000))
    while left.sum():
        key, voice = f"video-{next(keys):03d}", distributions.voices[rng.integers(len(distributions.voices))]
        main, start = rng.choice(len(LABELS), p=left / left.sum()), float(rng.uniform(0, 60))
        for _ in range(min(int(rng.choice(sizes, p=chances)), left.sum())):
            stays = left[main] > 0 and rng.random() < distributions.videos.lean
            label = main if stays else rng.choice(len(LABELS), p=left / left.sum())
            left[label] -= 1
            rows.append((LABELS[label], round(1000 * start), voice.name, voice.gender, key))
            start += 5 + rng.lognormal(np.log(distributions.videos.median_gap_s - 5), 0.9)
    return pd.DataFrame(rows, columns=["label", "start_ms", "speaker", "gender", "video"])


def _draw_split(distributions: Distributions, labels: pd.Series, rng: np.random.Generator) -> np.ndarray:
    """A random split with the given counts per label, blind to videos, as the challenge's is."""
    split = np.full(len(labels), "train", dtype=object)
    for label, count in distributions.clips["test"].items():
        split[rng.choice(np.flatnonzero(labels == label), count, replace=False)] = "test"
    return split


def _draw_sentence(distributions: Distributions, cue: str, rate: float, rng: np.random.Generator) -> str:
    """A sentence with a phrase of the cue's category, redrawn until its estimated length is in bounds."""
    words, (shortest, longest) = distributions.words, distributions.duration.estimate
    for _ in range(200):
        carrier = f"{rng.choice(words.subjects)} {rng.choice(words.predicates)}"
        phrase = str(rng.choice(words.cues[cue]))
        parts = (phrase, carrier) if rng.random() < words.cue_first else (carrier, phrase)
        text = ", ".join(parts) + "."
        if shortest <= estimate_seconds(text, rate) <= longest:
            return text[0].upper() + text[1:]
    raise DataError(f"no sentence with a {cue} cue fits the bounds of duration at rate {rate:g}: widen them.")
