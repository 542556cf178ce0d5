"""Read a clip as 16 kHz mono float32."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from emoser_lib.errors import DataError

SAMPLE_RATE = 16_000
"""Hz. What every encoder of the papers expects."""

READABLE = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus")
"""File types that libsndfile reads without ffmpeg."""

CUT_SECONDS = 0.1
"""A file that holds this much less than its header says is damaged (our choice: an mp3 frame has up to 0.072 s)."""

WAV_SLACK_BYTES, WAV_UNKNOWN_BYTES = 1024, 0x7FFFF000
"""What a wav's header may be wrong by, and from which size on it means 'unknown' (sox; ffmpeg writes more)."""

_STDERR = threading.Lock()
"""Two threads that turn stderr off at once would leave it off."""


def read_waveform(path: str | Path) -> np.ndarray:
    """Read an audio file as a mono float32 waveform of shape [samples] at 16 kHz.

    Channels are averaged; other rates are resampled with soxr (high quality).

    Args:
        path: a wav, flac, mp3 or ogg file.

    Raises:
        DataError: the file is missing, of another type, damaged, or holds values that are not numbers.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> read_waveform(demo.frame.audio[0]).dtype
    dtype('float32')
    """
    samples, rate = read_samples(path)
    waveform = samples.mean(axis=1)
    if rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, rate, SAMPLE_RATE)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def read_samples(path: str | Path) -> tuple[np.ndarray, int]:
    """Read samples as they are stored, float32 [samples, channels], and their rate in Hz.

    Raises:
        DataError: the file is missing, of another type, damaged, or holds values that are not numbers.
    """
    path = Path(path)
    _require(path)
    if path.suffix.lower() not in READABLE:
        raise DataError(
            f"{path} is not a {', '.join(s[1:] for s in READABLE[:4])} file: "
            f"convert it, for example with `ffmpeg -i {path.name} {path.stem}.wav`."
        )
    try:
        with _quiet_decoder(), soundfile.SoundFile(path) as file:
            samples, rate, promised = file.read(dtype="float32", always_2d=True), file.samplerate, file.frames
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio ({_reason(error)}): replace the file.") from None
    if promised - len(samples) > CUT_SECONDS * rate or _wav_lacks_its_end(path):
        raise DataError(f"{path} is cut short, only {len(samples) / rate:.2f} s of it are there: replace the file.")
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are not finite numbers: export the file again.")
    return samples, rate


def duration_seconds(path: str | Path) -> float:
    """Read the length of an audio file in seconds from its header alone.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    _require(path)
    try:
        with _quiet_decoder():
            return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise DataError(f"{path} cannot be read as audio ({_reason(error)}): replace the file.") from None


def is_file(path: str | Path) -> bool:
    """Say whether a file is there; also where ``Path.is_file`` raises (a name too long, a folder without access)."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def _require(path: str | Path) -> None:
    if not is_file(path):
        raise DataError(f"{path} is not there: put the audio file in place or correct the table's path.")


def _wav_lacks_its_end(path: Path) -> bool:
    """Whether a wav announces more bytes than it has: libsndfile reads what is there and says nothing."""
    with path.open("rb") as file:
        head = file.read(8)
    announced = 8 + int.from_bytes(head[4:8], "little")
    # A wav that was written into a pipe announces the most that the field holds, or nearly so.
    return head[:4] == b"RIFF" and path.stat().st_size + WAV_SLACK_BYTES < announced < WAV_UNKNOWN_BYTES


def _reason(error: Exception) -> str:
    reason = str(error).split(": ", 1)[-1].strip().rstrip(".")
    # libsndfile's words for an mp3 without a single frame.
    return "no sound in it" if reason.startswith("File does not exist") else reason


@contextmanager
def _quiet_decoder() -> Iterator[None]:
    """Keep off stderr what libmpg123 writes there about a damaged file: the error says it in one sentence."""
    with _STDERR, Path(os.devnull).open("wb") as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
