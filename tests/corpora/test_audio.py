"""Reading sound: every format the same, and one sentence for what cannot be read."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser_lib.corpora import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.audio import duration_seconds
from emoser_lib.errors import DataError


def tone(rate: int, seconds: float = 1.0, pitch: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)).astype("float32")


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_becomes_16_khz_mono(ending: str, rate: int, channels: int, tmp_path: Path) -> None:
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, np.repeat(tone(rate)[:, None], channels, axis=1), rate)
    waveform = read_waveform(path)
    assert waveform.dtype == np.float32
    assert waveform.shape == (pytest.approx(SAMPLE_RATE, abs=1_300),)
    spectrum = np.abs(np.fft.rfft(waveform))
    assert spectrum.argmax() / len(waveform) * SAMPLE_RATE == pytest.approx(440, abs=2)
    assert np.abs(waveform).max() == pytest.approx(0.5, abs=0.08)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(16_000), -tone(16_000)], axis=1), 16_000)
    assert np.abs(read_waveform(path)).max() < 1e-4


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
def test_a_damaged_file_is_one_sentence(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"damaged.{ending}"
    path.write_bytes(b"this is not sound" * 40)
    with pytest.raises(DataError, match="cannot be read as audio") as caught:
        read_waveform(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_foreign_type_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_waveform(tmp_path / "none.wav")
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"ffmpeg -i clip\.mp4 clip\.wav"):
        read_waveform(tmp_path / "clip.mp4")


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.full(800, np.nan, "float32"), 16_000, subtype="FLOAT")
    with pytest.raises(DataError, match="not finite"):
        read_waveform(path)


@pytest.mark.parametrize("ending", ["wav", "mp3", "flac"])
def test_a_file_that_was_cut_off_is_refused(ending: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}"
    noise = np.random.default_rng(0).normal(0, 0.1, 80_000).astype("float32")
    soundfile.write(whole, noise, 16_000)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert len(read_waveform(whole)) == 80_000
    with pytest.raises(DataError, match="replace the file"):
        read_waveform(cut)


def test_a_wav_that_was_written_into_a_pipe_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read_waveform(path)) == 16_000


def test_the_decoder_writes_nothing_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.mp3"
    path.write_text("<!DOCTYPE html><html><body>404</body></html>")
    for read in (read_waveform, duration_seconds):
        with pytest.raises(DataError, match="no sound in it"):
            read(path)
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"


def test_a_length_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("none.wav", "x" * 300 + ".wav"):
        with pytest.raises(DataError, match="is not there"):
            duration_seconds(tmp_path / name)
