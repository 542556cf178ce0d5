"""What a reader of the features relies on: known sounds give known numbers, odd sounds give finite ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from emoser_lib.errors import DataError
from emoser_lib.systems.classical.features import (
    ACOUSTIC_FEATURES,
    AcousticStatistics,
    LogMel,
    acoustic_statistics,
    log_mel,
)

RATE = 16_000
rng = np.random.default_rng


def voice(hertz, seconds=1.5, syllables=4.0):
    """A buzz with harmonics that swells and fades like syllables."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(hertz, time.shape)) / RATE
    buzz = sum(np.sin(k * phase) / k for k in range(1, 8))
    swell = 0.02 + np.sin(np.pi * syllables * time) ** 2
    return (0.1 * buzz * swell).astype(np.float32)


def named(waveform):
    return dict(zip(ACOUSTIC_FEATURES, acoustic_statistics(waveform), strict=True))


def test_an_octave_is_twelve_semitones():
    low, high = named(voice(100.0)), named(voice(200.0))
    assert high["pitch_level_st"] - low["pitch_level_st"] == pytest.approx(12.0, abs=0.5)
    assert abs(low["pitch_slope_st_per_s"]) < 0.5
    assert low["pitch_range_st"] < 0.5


def test_rising_and_lively_pitch_show():
    seconds = np.arange(int(1.5 * RATE)) / RATE
    rising = named(voice(120.0 * 2 ** (seconds * 6 / 12)))
    assert rising["pitch_slope_st_per_s"] == pytest.approx(6.0, abs=0.7)
    assert rising["pitch_range_st"] > 5.0


def test_syllables_and_voicing_are_counted():
    slow, fast = named(voice(150.0, 2.0, syllables=3.0)), named(voice(150.0, 2.0, syllables=6.0))
    assert slow["syllables_per_s"] == pytest.approx(3.0, abs=0.6)
    assert fast["syllables_per_s"] == pytest.approx(6.0, abs=0.6)
    assert slow["voiced_fraction"] > 0.8
    assert named(rng(0).normal(size=RATE).astype(np.float32))["voiced_fraction"] < 0.1


@settings(max_examples=10, deadline=None)
@given(st.floats(-30.0, 12.0), st.floats(80.0, 300.0))
def test_gain_moves_the_loudness_level_and_nothing_else(gain_db, hertz):
    quiet = voice(hertz, 0.5)
    loud = (quiet * 10 ** (gain_db / 20)).astype(np.float32)
    change = acoustic_statistics(loud) - acoustic_statistics(quiet)
    level = ACOUSTIC_FEATURES.index("loudness_level_db")
    assert change[level] == pytest.approx(gain_db, abs=0.05)
    np.testing.assert_allclose(np.delete(change, level), 0.0, atol=0.05)


def test_loudness_range_sees_dynamics():
    even, uneven = voice(150.0), voice(150.0) * np.linspace(1.0, 0.05, int(1.5 * RATE), dtype=np.float32)
    assert named(uneven)["loudness_range_db"] > named(even)["loudness_range_db"] + 3.0


@pytest.mark.filterwarnings("error")
@settings(max_examples=25, deadline=None)
@given(
    st.integers(480, 12_000),
    st.sampled_from(["noise", "silence", "click", "constant", "tone", "faint"]),
    st.integers(0, 99),
)
def test_any_sound_of_30_ms_gives_finite_numbers(samples, kind, seed):
    waveform = {
        "noise": rng(seed).normal(size=samples),
        "silence": np.zeros(samples),
        "click": np.eye(1, samples, seed)[0],
        "constant": np.ones(samples),
        "tone": np.sin(np.arange(samples) / 10),
        "faint": 1e-8 * rng(seed).normal(size=samples),
    }[kind].astype(np.float32)
    assert np.isfinite(acoustic_statistics(waveform)).all()
    mels = log_mel(waveform)
    assert mels.shape == (200, 64)
    assert np.isfinite(mels).all()
    assert mels.min() >= 0.0


def test_bad_audio_is_named():
    good = voice(100.0)
    for transformer in (AcousticStatistics(), LogMel()):
        with pytest.raises(DataError, match=r"clip 2 of the list: the audio lasts 20 ms, at least 30 ms"):
            transformer.transform([good, good[:320]])
        with pytest.raises(DataError, match="not finite"):
            transformer.transform([np.append(good, np.float32("nan"))])
        with pytest.raises(DataError, match="one channel"):
            transformer.transform([np.stack([good, good])])


def test_transformers_follow_scikit_learn():
    waveforms = [voice(100.0), voice(200.0, 0.8)]
    statistics = clone(AcousticStatistics()).fit(waveforms)
    assert statistics.transform(iter(waveforms)).shape == (2, len(statistics.get_feature_names_out()))
    assert len(set(ACOUSTIC_FEATURES)) == len(ACOUSTIC_FEATURES)
    mels = clone(LogMel(seconds=1.0, bands=40)).fit_transform(waveforms)
    assert (mels.shape, mels.dtype) == ((2, 50, 40), np.float32)


def test_log_mel_pads_with_zeros_cuts_and_keeps_the_level():
    short, long = voice(150.0, 1.0), voice(150.0, 6.0)
    assert not log_mel(short)[52:].any()
    assert (log_mel(short)[:45].max(axis=1) > 0).all()
    np.testing.assert_allclose(log_mel(long)[:190], log_mel(long[: 4 * RATE])[:190], atol=1e-3)
    louder = log_mel(2 * short) - log_mel(short)
    assert louder[:45].max() == pytest.approx(6.02, abs=0.05)
