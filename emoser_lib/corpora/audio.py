"""Read a clip as 16 kHz mono float32: decoded to its end, whatever its header says of its length."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soxr

from emoser_lib.errors import DataError

SAMPLE_RATE = 16_000
"""Hz. What every encoder of the papers expects."""

CONTAINERS = ("wav", "w64", "flac", "mp3", "ogg", "mov", "matroska", "aac", "aiff", "amr", "au", "caf")
"""What FFmpeg may take a file for, in its words. Playlists are not among them: they name other files."""

ENDINGS = {
    "wav": (".wav", ".wave"),
    "w64": (".w64",),
    "flac": (".flac",),
    "mp3": (".mp3",),
    "ogg": (".ogg", ".oga", ".opus", ".spx"),
    "mov": (".m4a", ".mp4", ".mov", ".3gp", ".m4b"),
    "matroska": (".webm", ".mkv", ".mka"),
    "aac": (".aac",),
    "aiff": (".aiff", ".aif", ".aifc"),
    "amr": (".amr",),
    "au": (".au", ".snd"),
    "caf": (".caf",),
}
"""Container -> how its files are usually named."""

CALLED = {"mov": "MP4 (m4a)", "matroska": "Matroska (webm)"}
"""What people call a container, where it is not FFmpeg's word."""

CUT_SECONDS = 0.1
"""A file that holds this much less than its header says is cut short (our choice: an mp3 frame has up to 0.072 s)."""

TAGS = (b"ID3", b"TAG", b"APETAGEX")
"""How the tags of an mp3 begin; between two joined files they are no damage."""

RATES = (1_000, 1_000_000)
"""Hz: no recording has a lower or a higher rate (our choice)."""

SLACK_BYTES, UNKNOWN_BYTES = 1024, 0x7FFFF000
"""What a wav's header may be wrong by, and from which size on it means 'unknown' (sox; ffmpeg writes more); 0 is what a
recorder leaves that died."""

FULL_SCALE_OF = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "s64": 2**63, "flt": 1, "dbl": 1}
"""FFmpeg's sample formats -> the size of the largest sample."""

FIRST_BYTES = {
    b"\x1aE\xdf\xa3": "Matroska or WebM",
    b"OggS": "Ogg",
    b"RIFF": "RIFF",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"version https://git-lfs": "a git-lfs pointer, not the file itself (run `git lfs pull`)",
    b"%PDF": "PDF",
    b"PK\x03\x04": "a zip archive",
    b"Rar!": "a rar archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"#EXTM3U": "a playlist",
    b"ffconcat": "a playlist",
}
"""How files begin -> what they are."""


@dataclass(frozen=True)
class DecodedAudio:
    """A decoded file.

    Attributes:
        samples: float32 [samples, channels], 1 at full scale; floats as they are stored.
        rate: Hz.
        container: one of `CONTAINERS`.
        codec: in FFmpeg's words, such as "pcm_s16le" or "mp3float".
        lacks_sizes: whether the header does not say how much there is.
    """

    samples: np.ndarray
    rate: int
    container: str
    codec: str
    lacks_sizes: bool

    @property
    def seconds(self) -> float:
        """Length of what was decoded."""
        return len(self.samples) / self.rate


def read_waveform(path: str | Path) -> np.ndarray:
    """Read an audio file as a mono float32 waveform of shape [samples] at 16 kHz.

    Channels are averaged; other rates are resampled with soxr (high quality).

    Args:
        path: a wav, flac, mp3, ogg, m4a or webm file, or another of `CONTAINERS`.

    Raises:
        DataError: the file is missing, no audio, damaged, cut short, or holds values that are not numbers.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> read_waveform(demo.frame.audio[0]).dtype
    dtype('float32')
    """
    sound = read_sound(path)
    waveform = sound.samples.mean(axis=1)
    if sound.rate != SAMPLE_RATE:
        waveform = soxr.resample(waveform, sound.rate, SAMPLE_RATE)
    return np.ascontiguousarray(waveform, dtype=np.float32)


def read_sound(path: str | Path) -> DecodedAudio:
    """Decode an audio file to its end.

    What it is follows from its bytes, not from its name. It is cut short only where a header promises more than was
    decoded (wav, mp3 with a Xing frame, flac, m4a, aiff), where an ogg lacks its last page, or where the last packet
    cannot be decoded.

    Raises:
        DataError: as `read_waveform`.
    """
    path = Path(path)
    _require(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}): give yourself access to it.") from None
    content = _without_leading_zeros(content)
    try:
        sound, broken, packets, stated = _decoded(content)
    except (av.error.FFmpegError, LookupError, MemoryError) as error:
        raise DataError(f"{path} cannot be read as audio ({what_it_is(content, error)}): replace the file.") from None
    if not RATES[0] <= sound.rate <= RATES[1]:
        raise DataError(f"{path} has a rate of {sound.rate} Hz in its header, which no recording has: export it again.")
    promised = _promised_seconds(content, sound, stated)
    if promised - sound.seconds > CUT_SECONDS or (broken and broken[-1] >= packets - 1) or _lacks_its_end(content):
        raise DataError(f"{path} is cut short, only {sound.seconds:.2f} s of it are there: replace the file.")
    if broken:
        raise DataError(f"{path} is damaged after {broken[0]} of {packets} pieces: replace the file.")
    if not np.isfinite(sound.samples).all():
        raise DataError(f"{path} holds samples that are not finite numbers: export the file again.")
    return sound


def duration_seconds(path: str | Path) -> float:
    """Measure the length of an audio file in seconds, by decoding it.

    Raises:
        DataError: as `read_waveform`.
    """
    return read_sound(path).seconds


def is_file(path: str | Path) -> bool:
    """Tell whether a file is there; also where ``Path.is_file`` raises (a name too long, a folder without access)."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def what_it_is(content: bytes, error: Exception | None = None) -> str:
    """Say what a file that is no readable audio is, by its first bytes.

    >>> what_it_is(b"<!DOCTYPE html><html>")
    'it is a web page'
    >>> what_it_is(b"")
    'it is empty'
    """
    head = content[:64].lstrip(b"\0 \t\r\n\xef\xbb\xbf")
    if not content:
        return "it is empty"
    if not head:
        return "it holds zeros only"
    if head[:1] == b"<":
        return "it is a web page" if b"html" in content[:512].lower() else "it is XML"
    for start, name in FIRST_BYTES.items():
        if head.startswith(start):
            return f"it is {name}" + (
                " without sound that can be decoded" if name in ("RIFF", "Ogg", "MP3", "FLAC") else ""
            )
    if content[4:8] == b"ftyp":
        return "it is MP4 without sound that can be decoded"
    if isinstance(error, MemoryError):
        return "its header asks for more memory than there is"
    shown = head[:16].decode("ascii", "replace")
    return f"it begins with {shown!r}, as no audio format does" if shown.isprintable() else "its format is not known"


def _require(path: Path) -> None:
    if not is_file(path):
        raise DataError(f"{path} is not there: put the audio file in place or correct the table's path.")


def _decoded(content: bytes) -> tuple[DecodedAudio, list[int], int, float]:
    """The sound, which of how many packets could not be decoded, and the seconds that a header states."""
    options = {"format_whitelist": ",".join(CONTAINERS)}
    pieces: list[np.ndarray] = []
    broken: list[int] = []
    with av.open(io.BytesIO(content), "r", options=options) as container:
        stream = container.streams.audio[0]
        if stream.codec_context is None:
            raise LookupError("no decoder for it")
        number = 0
        for number, packet in enumerate(container.demux(stream), start=1):
            try:
                pieces += [_as_floats(frame) for frame in packet.decode()]
            except av.error.FFmpegError:
                if not any(tag in bytes(packet)[:4096] for tag in TAGS):  # of files that were joined
                    broken.append(number)
        name = next(name for name in CONTAINERS if name in container.format.name.split(","))
        rate, codec = stream.codec_context.sample_rate, stream.codec_context.name
        stated = float(stream.duration * (stream.time_base or Fraction(0))) if stream.duration else 0.0
        channels = stream.codec_context.channels or 1
    samples = np.concatenate(pieces) if pieces else np.zeros((0, channels), np.float32)
    lacks = (
        name == "wav"
        and len(samples) > 0
        and any(size == 0 or size >= UNKNOWN_BYTES for kind, size, _ in _chunks(content) if kind == b"data")
    )
    return DecodedAudio(samples, rate, name, codec, lacks), broken, number, stated


def _as_floats(frame: av.AudioFrame) -> np.ndarray:
    """[samples, channels], float32, 1 at full scale."""
    values, channels = frame.to_ndarray(), frame.layout.nb_channels
    values = values.T if frame.format.is_planar else values.reshape(-1, channels)
    full = FULL_SCALE_OF[frame.format.name.removesuffix("p")]
    if values.dtype == np.uint8:
        values = values.astype(np.int16) - 128
    return values.astype(np.float32) if full == 1 else (values / full).astype(np.float32)


def _promised_seconds(content: bytes, sound: DecodedAudio, stated: float) -> float:
    """What a header says there is; 0 where it says nothing that can be relied on."""
    if sound.container == "mp3":  # without a Xing frame the length is guessed from the first bit rate
        return _xing_seconds(content)
    if sound.container == "wav":
        return 0.0  # see `_lacks_its_end`
    return stated if sound.container in ("flac", "mov", "aiff", "caf", "au", "w64") else 0.0


def _xing_seconds(content: bytes) -> float:
    """The length that an mp3's first frame states, if it is a Xing or Info frame."""
    start = 0
    while content[start : start + 3] == b"ID3" and len(content) >= start + 10:
        size = content[start + 6 : start + 10]
        start += 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    head = content[start : start + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0.0
    version, rate_index = head[1] >> 3 & 3, head[2] >> 2 & 3
    if version == 1 or rate_index == 3:
        return 0.0
    rate = (44_100, 48_000, 32_000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    side = (17 if head[3] >> 6 == 3 else 32) if version == 3 else (9 if head[3] >> 6 == 3 else 17)
    tag = content[start + 4 + side : start + 4 + side + 12]
    if tag[:4] not in (b"Xing", b"Info") or not tag[7] & 1:
        return 0.0
    frames = int.from_bytes(tag[8:12], "big")
    lame = content[start + 4 + side + 141 : start + 4 + side + 144] if tag[7] & 15 == 15 else b""
    padding = (lame[0] << 4 | lame[1] >> 4) + ((lame[1] & 15) << 8 | lame[2]) if len(lame) == 3 else 0
    return max(0.0, (frames * (1152 if version == 3 else 576) - padding) / rate)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, announced size and place of each chunk of a wav."""
    if content[:4] != b"RIFF":
        return
    place = 12
    while place + 8 <= len(content):
        name, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        yield name, size, place + 8
        if (size == 0 and name == b"data") or size >= UNKNOWN_BYTES:
            return
        place += 8 + size + size % 2


def _lacks_its_end(content: bytes) -> bool:
    """Whether a wav announces more bytes than it has, or an ogg has no last page: decoders say nothing of it."""
    if content[:4] == b"RIFF":
        return any(
            0 < size < UNKNOWN_BYTES and place + size > len(content) + SLACK_BYTES
            for _, size, place in _chunks(content)
        )
    if content[:4] == b"OggS":
        last = content.rfind(b"OggS")
        head = content[last : last + 27]
        segments = content[last + 27 : last + 27 + (head[26] if len(head) == 27 else 0)]
        whole = len(head) == 27 and len(segments) == head[26] and last + 27 + head[26] + sum(segments) <= len(content)
        return not (whole and head[5] & 4)
    return False


def _without_leading_zeros(content: bytes) -> bytes:
    """An mp3 that begins with zeros, as some recorders and cutters leave them."""
    rest = content.lstrip(b"\0") if content[:1] == b"\0" else content
    return rest if rest[:3] == b"ID3" or (rest[:1] == b"\xff" and rest[1:2] >= b"\xe0") else content
