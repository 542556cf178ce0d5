"""Read a clip as 16 kHz mono float32."""

from pathlib import Path

import numpy as np
import soundfile
import soxr

from emoser_lib.errors import DataError

SAMPLE_RATE = 16_000
"""Hz. What every encoder of the papers expects."""

READABLE = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus")
"""File types that libsndfile reads without ffmpeg."""


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
    """Samples as they are stored, float32 [samples, channels], and their rate in Hz.

    Raises:
        DataError: the file is missing, of another type, damaged, or holds values that are not numbers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} is not there: put the audio file in place or correct the table's path.")
    if path.suffix.lower() not in READABLE:
        raise DataError(
            f"{path} is not a {', '.join(s[1:] for s in READABLE[:4])} file: "
            f"convert it, for example with `ffmpeg -i {path.name} {path.stem}.wav`."
        )
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        reason = str(error).split(": ", 1)[-1].strip().rstrip(".")
        raise DataError(f"{path} cannot be read as audio ({reason}): replace the file.") from None
    if not np.isfinite(samples).all():
        raise DataError(f"{path} holds samples that are not finite numbers: export the file again.")
    return samples, rate


def duration_seconds(path: str | Path) -> float:
    """Length of an audio file in seconds, from its header alone.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return float(soundfile.info(path).duration)
    except (soundfile.SoundFileError, RuntimeError, OSError):
        raise DataError(f"{path} cannot be read as audio: replace the file.") from None
