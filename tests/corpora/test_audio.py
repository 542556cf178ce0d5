"""Reading sound: every format the same, and one sentence for what cannot be read."""

import io
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from emoser_lib.corpora import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.audio import duration_seconds, read_sound
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


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"\0" * 999, "it holds zeros only"),
        (b"\xef\xbb\xbf<!DOCTYPE html><html>404</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a git-lfs pointer"),
        (b"PK\x03\x04" + b"a" * 99, "it is a zip archive"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "it is a playlist"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", "it is a playlist"),
        (b"Hola, que tal estas?", "it begins with 'Hola, que tal es'"),
    ],
)
def test_what_is_no_audio_is_called_what_it_is(content: bytes, what: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        read_waveform(tmp_path / "none.wav")
    (tmp_path / "clip.wav").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_waveform(tmp_path / "clip.wav")
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)


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
    path.write_bytes(b"\xff\xfb\x90\x00" + b"not a frame" * 40)
    for read in (read_waveform, duration_seconds):
        with pytest.raises(DataError, match="replace the file"):
            read(path)
    print("still here", file=sys.stderr)
    assert capfd.readouterr().err == "still here\n"


def test_a_length_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("none.wav", "x" * 300 + ".wav"):
        with pytest.raises(DataError, match="is not there"):
            duration_seconds(tmp_path / name)


def encoded(path: Path, samples: np.ndarray, rate: int, container: str, codec: str, **options: str) -> Path:
    """Write a file as FFmpeg does, mono; into a pipe where ``container`` cannot go back to its header."""
    pipe = io.BytesIO()
    pipe.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(pipe if options.pop("piped", "") else str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono", options=options)
        frame = av.AudioFrame.from_ndarray(samples[None].astype("float32"), format="fltp", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or None
        )
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    if pipe.getvalue():
        path.write_bytes(pipe.getvalue())
    return path


def id3(size: int) -> bytes:
    return b"ID3\x03\x00\x00" + bytes((size >> shift) & 127 for shift in (21, 14, 7, 0)) + bytes(size)


def without_xing(content: bytes) -> bytes:
    """An mp3 from its second frame on: what a recorder that writes into a pipe leaves."""
    return content[content.index(content[:2], 4) :]


def speechlike(seconds: float, rate: int) -> np.ndarray:
    """Silence, then noise: at a variable bit rate the first frames say little of the others."""
    noise = np.random.default_rng(0).normal(0, 0.2, round(seconds * rate)).astype("float32")
    noise[: rate // 2] = 0
    return noise


def test_an_mp3_is_read_to_its_end_whatever_its_first_frames_promise(tmp_path: Path) -> None:
    path = tmp_path / "vbr.mp3"
    soundfile.write(path, speechlike(13, 44_100), 44_100, bitrate_mode="VARIABLE", compression_level=0.5)
    assert read_sound(path).seconds == pytest.approx(13, abs=0.001)
    path.write_bytes(without_xing(path.read_bytes()))
    assert abs(soundfile.info(path).duration - 13) > 1, "the case is not made: libsndfile's guess is right"
    assert read_sound(path).seconds == pytest.approx(13, abs=0.1)
    assert len(read_waveform(path)) == pytest.approx(13 * SAMPLE_RATE, abs=1_600)


@pytest.mark.parametrize("tags", [b"", id3(500)])
def test_joined_mp3_are_read_whole(tags: bytes, tmp_path: Path) -> None:
    one = tmp_path / "one.mp3"
    soundfile.write(one, speechlike(2, 16_000), 16_000)
    (tmp_path / "two.mp3").write_bytes(2 * (tags + one.read_bytes()))
    assert read_sound(tmp_path / "two.mp3").seconds == pytest.approx(4, abs=0.2)


@pytest.mark.parametrize("before", [id3(400_000), bytes(3_000)])
def test_what_stands_before_the_first_frame_does_no_harm(before: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.mp3"
    soundfile.write(path, speechlike(2, 16_000), 16_000)
    plain = read_sound(path).samples
    path.write_bytes(before + path.read_bytes())
    assert np.array_equal(read_sound(path).samples, plain)


@pytest.mark.parametrize("ending", ["ogg", "wav", "flac", "mp3", "m4a"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.95])
def test_a_cut_file_is_refused_and_a_whole_one_is_not(ending: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{ending}"
    if ending == "m4a":
        encoded(path, speechlike(5, 16_000), 16_000, "mp4", "aac", movflags="faststart")
    else:
        soundfile.write(path, speechlike(5, 16_000), 16_000)
    assert read_sound(path).seconds == pytest.approx(5, abs=0.15)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"cut short|cannot be read"):
        read_sound(path)


def test_a_wav_whose_riff_size_was_patched_is_cut_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, speechlike(5, 16_000), 16_000)
    content = path.read_bytes()[:100_000]
    path.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    with pytest.raises(DataError, match="cut short"):
        read_sound(path)


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
def test_a_wav_without_sizes_is_read_to_its_end(size: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(16_000), 16_000)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = size
    path.write_bytes(content)
    sound = read_sound(path)
    assert (len(sound.samples), sound.lacks_sizes) == (16_000, True)


@pytest.mark.parametrize(
    ("subtype", "tolerance"),
    [
        ("PCM_U8", 0.01),
        ("PCM_16", 1e-4),
        ("PCM_24", 1e-6),
        ("PCM_32", 1e-6),
        ("FLOAT", 0),
        ("DOUBLE", 1e-7),
        ("ULAW", 0.03),
        ("GSM610", 0.4),
    ],
)
def test_every_sample_format_of_wav_has_the_same_loudness(subtype: str, tolerance: float, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(8_000), 8_000, subtype=subtype)
    samples = read_sound(path).samples[:8_000, 0]
    assert np.abs(samples).max() == pytest.approx(0.5, abs=max(tolerance, 1e-6))
    if tolerance < 0.1:
        assert np.abs(samples - tone(8_000)).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "container", "codec", "rate"), [("a.m4a", "mp4", "aac", 16_000), ("a.webm", "webm", "libopus", 48_000)]
)
def test_what_a_browser_or_a_telephone_records_is_read_by_its_content(
    name: str, container: str, codec: str, rate: int, tmp_path: Path
) -> None:
    encoded(tmp_path / name, tone(rate), rate, container, codec)
    misnamed = (tmp_path / name).rename(tmp_path / "clip.mp3")
    assert len(read_waveform(misnamed)) == pytest.approx(SAMPLE_RATE, abs=2_500)


@pytest.mark.parametrize("rate", [1, 999, 2_000_000])
def test_a_rate_that_no_recording_has_is_refused(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    soundfile.write(path, tone(16_000), rate)
    with pytest.raises(DataError, match=f"a rate of {rate} Hz"):
        read_waveform(path)
