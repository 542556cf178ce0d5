"""Waveforms to numbers: statistics for the classical classifiers, log-mel spectra for the networks."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags

from emoser_lib.corpora import SAMPLE_RATE
from emoser_lib.errors import DataError
from emoser_lib.systems.classical.compiled import load_librosa

SHORTEST_MS = 30
"""A clip needs this much sound: one analysis window and a little more (our choice)."""

HOP_LENGTH = 160
"""Samples between two frames of the statistics: 10 ms, as in most MFCC front ends."""

WINDOW = 512
"""Samples of a spectral frame: 32 ms (our choice)."""

PITCH_WINDOW = 1024
"""Samples of a pitch or loudness frame: 64 ms, almost four periods of the lowest pitch."""

PITCH_HZ = (60.0, 500.0)
"""Where pitch is looked for: low men's voices to agitated women's (our choice)."""

VOICED_FROM = 0.7
"""Correlation of a frame with itself one period later, from which it passes for voiced (our choice)."""

SEMITONES_FROM_HZ = 27.5
"""Zero of the semitone scale, as in eGeMAPS (Eyben et al. 2016)."""

SILENCE_DB = -100.0
"""What silence counts as, against full scale. log(0) is no number."""

N_MFCC = 20

STATISTICS = ("mean", "sd", "p10", "p90")

CONTOURS = (
    *(f"mfcc_{i}" for i in range(N_MFCC)),
    *(f"mfcc_delta_{i}" for i in range(N_MFCC)),
    *("centroid_hz", "bandwidth_hz", "rolloff_hz", "flatness", "flux", "zero_crossings", "loudness_db"),
)

GLOBALS = (
    *("loudness_level_db", "loudness_range_db"),
    *("pitch_level_st", "pitch_sd_st", "pitch_range_st", "pitch_slope_st_per_s"),
    *("syllables_per_s", "voiced_fraction", "duration_s"),
)

ACOUSTIC_FEATURES = (*(f"{contour}_{statistic}" for statistic in STATISTICS for contour in CONTOURS), *GLOBALS)
"""Names of the columns of `AcousticStatistics`, in order."""


def acoustic_statistics(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Describe one clip by the numbers named in ``ACOUSTIC_FEATURES``.

    Everything but ``loudness_level_db`` is measured on the clip scaled to a peak of 1, so a change of gain
    moves that one number only. Contours are summarised (mean, standard deviation,
    10th and 90th percentile) over the active frames, those within 40 dB of the loudest.
    Pitch comes from YIN on frames that pass for voiced: within 25 dB of the loudest, and correlated with
    themselves one period later. That is rougher than pYIN, which would take about a second a clip. Without a
    voiced frame the pitch features are 0. Syllables are counted as voiced loudness peaks that stand out by 2 dB
    (after de Jong & Wempe 2009). Thresholds and the choice of statistics are our choice.

    Args:
        waveform: float [samples], 16 kHz mono.

    Returns:
        float64 [features], always finite.

    Raises:
        DataError: the waveform is not one channel of finite numbers, or is shorter than 30 ms.

    >>> tone = np.sin(2 * np.pi * 220 * np.arange(16_000) / 16_000).astype("float32")
    >>> features = dict(zip(ACOUSTIC_FEATURES, acoustic_statistics(tone)))
    >>> round(features["pitch_level_st"]), round(features["duration_s"])
    (36, 1)
    """
    samples = _checked(waveform)
    peak = float(np.abs(samples).max())
    scaled = samples / peak if peak > 0 else samples
    scaled = np.pad(scaled, (0, max(0, PITCH_WINDOW - len(scaled))))
    loudness_db = _decibels(load_librosa().feature.rms(y=scaled, frame_length=PITCH_WINDOW, hop_length=HOP_LENGTH)[0])
    active = loudness_db >= loudness_db.max() - 40.0
    contours = _contours(scaled, loudness_db)
    semitones, periodicity = _pitch_track(scaled)
    voiced = (loudness_db >= loudness_db.max() - 25.0) & (periodicity >= VOICED_FROM)
    seconds = len(samples) / SAMPLE_RATE
    of_clip = (
        _decibels(np.sqrt(np.mean(np.square(samples)))),
        np.ptp(np.percentile(loudness_db[active], (5, 95))),
        *_intonation(semitones, voiced),
        _syllables(loudness_db, voiced) / seconds,
        voiced.sum() / active.sum(),
        seconds,
    )
    contours = contours[:, active]
    percentiles = np.percentile(contours, (10, 90), axis=1)
    return np.concatenate([contours.mean(axis=1), contours.std(axis=1), *percentiles, of_clip])


class AcousticStatistics(TransformerMixin, BaseEstimator):
    """Transformer of waveforms to a matrix of `acoustic_statistics`, one row per clip.

    >>> noise = np.random.default_rng(0).normal(size=(2, 8_000)).astype("float32")
    >>> AcousticStatistics().fit_transform(noise).shape == (2, len(ACOUSTIC_FEATURES))
    True
    """

    def fit(self, X: Iterable[NDArray[np.float32]], y: object = None) -> Self:
        """Learn nothing: the statistics of a clip depend on that clip alone."""
        return self

    def transform(self, X: Iterable[NDArray[np.float32]]) -> NDArray[np.float64]:
        """Turn waveforms (float [samples], 16 kHz; a generator will do) into float64 [clips, features].

        Raises:
            DataError: see `acoustic_statistics`; the sentence names the clip by its place.
        """
        rows = [_named(acoustic_statistics, waveform, place) for place, waveform in enumerate(X, start=1)]
        return np.array(rows).reshape(-1, len(ACOUSTIC_FEATURES))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the columns: ``ACOUSTIC_FEATURES``."""
        return np.array(ACOUSTIC_FEATURES, dtype=object)

    def __sklearn_tags__(self) -> Tags:
        return _waveform_tags(super().__sklearn_tags__())


def log_mel(waveform: NDArray[np.float32], seconds: float = 4.0, bands: int = 64) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram of the first ``seconds`` of one clip, in dB above silence (-100 dB).

    Frames come every 20 ms. The floor is 0 and shorter clips are padded with it at the end, so padding is
    silence and a network can tell it by its zeros. The level is kept: loudness is part of emotion.

    Args:
        waveform: float [samples], 16 kHz mono.
        seconds: length of the result (4 s, our choice).
        bands: mel bands (64, our choice).

    Returns:
        float32 [50 * seconds, bands], never below 0.

    Raises:
        DataError: see `acoustic_statistics`.

    >>> log_mel(np.ones(8_000, dtype="float32")).shape
    (200, 64)
    """
    librosa, samples = load_librosa(), _checked(waveform)
    hop = 2 * HOP_LENGTH
    frames = round(seconds * SAMPLE_RATE / hop)
    samples = np.pad(samples[: frames * hop], (0, max(0, WINDOW - len(samples))))
    power = librosa.feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=hop, n_mels=bands)
    above_floor = librosa.power_to_db(power, amin=10 ** (SILENCE_DB / 10), top_db=None) - SILENCE_DB
    mels = above_floor.T[:frames]
    return np.pad(mels, ((0, frames - len(mels)), (0, 0))).astype(np.float32)


class LogMel(TransformerMixin, BaseEstimator):
    """Transformer of waveforms to one array of `log_mel` spectrograms.

    >>> LogMel(seconds=2.0).fit_transform([np.ones(8_000, dtype="float32")]).shape
    (1, 100, 64)
    """

    def __init__(self, seconds: float = 4.0, bands: int = 64) -> None:
        self.seconds = seconds
        self.bands = bands

    def fit(self, X: Iterable[NDArray[np.float32]], y: object = None) -> Self:
        """Learn nothing: the spectrogram of a clip depends on that clip alone."""
        return self

    def transform(self, X: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Turn waveforms (float [samples], 16 kHz; a generator will do) into float32 [clips, frames, bands].

        Raises:
            DataError: see `acoustic_statistics`; the sentence names the clip by its place.
        """
        mels = [_named(self._one, waveform, place) for place, waveform in enumerate(X, start=1)]
        frames = round(self.seconds * SAMPLE_RATE / (2 * HOP_LENGTH))
        return np.array(mels, dtype=np.float32).reshape(-1, frames, self.bands)

    def _one(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        return log_mel(waveform, self.seconds, self.bands)

    def __sklearn_tags__(self) -> Tags:
        return _waveform_tags(super().__sklearn_tags__())


def _waveform_tags(tags: Tags) -> Tags:
    """Tell scikit-learn that the input is no matrix and that there is nothing to fit."""
    tags.input_tags.two_d_array = False
    tags.no_validation = True
    tags.requires_fit = False
    return tags


def _named(
    describe: Callable[[NDArray[np.float32]], NDArray[Any]], waveform: NDArray[np.float32], place: int
) -> NDArray[Any]:
    try:
        return describe(waveform)
    except DataError as error:
        raise DataError(f"clip {place} of the list: {error}") from None


def _checked(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    samples = np.asarray(waveform, dtype=np.float64)
    if samples.ndim != 1:
        raise DataError(f"the waveform has the shape {samples.shape}: give one channel, [samples].")
    if not np.isfinite(samples).all():
        raise DataError("the waveform holds values that are not finite numbers: export the audio again.")
    milliseconds = 1000 * len(samples) / SAMPLE_RATE
    if milliseconds < SHORTEST_MS:
        raise DataError(f"the audio lasts {milliseconds:.0f} ms, at least {SHORTEST_MS} ms are needed: leave it out.")
    return samples


def _decibels(amplitude: Any) -> Any:
    return 20.0 * np.log10(np.maximum(amplitude, 10 ** (SILENCE_DB / 20)))


def _contours(scaled: NDArray[np.float64], loudness_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """``CONTOURS`` over time, [contours, frames], from one spectrum."""
    librosa = load_librosa()
    spectrum = np.abs(librosa.stft(scaled, n_fft=WINDOW, hop_length=HOP_LENGTH))
    shape = {"S": spectrum, "sr": SAMPLE_RATE}
    mel_db = librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=SAMPLE_RATE, n_mels=64))
    mfcc = librosa.feature.mfcc(S=mel_db, n_mfcc=N_MFCC)
    return np.vstack(
        [
            mfcc,
            librosa.feature.delta(mfcc, mode="nearest"),
            librosa.feature.spectral_centroid(**shape),
            librosa.feature.spectral_bandwidth(**shape),
            librosa.feature.spectral_rolloff(**shape),
            librosa.feature.spectral_flatness(S=spectrum),
            librosa.onset.onset_strength(S=mel_db, sr=SAMPLE_RATE, center=False),
            librosa.feature.zero_crossing_rate(scaled, frame_length=WINDOW, hop_length=HOP_LENGTH),
            loudness_db,
        ]
    )


def _pitch_track(scaled: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pitch in semitones by YIN, and how well each frame repeats after one such period (correlation), [frames]."""
    (low, high), librosa = PITCH_HZ, load_librosa()
    hertz = librosa.yin(scaled, fmin=low, fmax=high, sr=SAMPLE_RATE, frame_length=PITCH_WINDOW, hop_length=HOP_LENGTH)
    half = PITCH_WINDOW // 2
    padded = np.pad(scaled, (half, half))
    first = HOP_LENGTH * np.arange(len(hertz))[:, None] + np.arange(half)
    here, later = padded[first], padded[first + np.rint(SAMPLE_RATE / hertz).astype(int)[:, None]]
    energy = np.square(here).sum(axis=1) * np.square(later).sum(axis=1)
    periodicity = (here * later).sum(axis=1) / np.sqrt(np.maximum(energy, 1e-12))
    return 12.0 * np.log2(hertz / SEMITONES_FROM_HZ), periodicity


def _intonation(semitones: NDArray[np.float64], voiced: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Median, sd and range (p10 to p90) in semitones, slope in semitones per second; zeros if nothing is voiced."""
    if not voiced.any():
        return 0.0, 0.0, 0.0, 0.0
    heard = semitones[voiced]
    time = np.flatnonzero(voiced) * HOP_LENGTH / SAMPLE_RATE
    slope = np.polyfit(time, heard, 1)[0] if len(time) > 2 else 0.0
    return np.median(heard), heard.std(), np.ptp(np.percentile(heard, (10, 90))), slope


def _syllables(loudness_db: NDArray[np.float64], voiced: NDArray[np.bool_]) -> int:
    peaks, _ = find_peaks(loudness_db, prominence=2.0)
    return int(voiced[peaks].sum())
