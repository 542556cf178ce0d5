"""Clips that a trained system is asked about: from paths, words or a table to a corpus without labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emoser_lib.corpora import Corpus, load_corpus, read_waveform
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import DataError, UsageError


@dataclass(frozen=True)
class Clip:
    """One clip that a system is asked about.

    Attributes:
        path: of its audio file; empty for a system that only reads.
        transcription: what is said in it; empty for a system that only hears.
        id: what answers call it; by default its path, or its number.
    """

    path: str | Path = ""
    transcription: str = ""
    id: str = ""


@dataclass(frozen=True)
class Needs:
    """What a system is asked with, and answers.

    Attributes:
        name: of the system.
        labels: its answers.
        hears, reads: whether it needs a clip's audio, and its transcription.
    """

    name: str
    labels: tuple[str, ...]
    hears: bool
    reads: bool


AskedClips = Sequence[str | Path | Clip] | pd.DataFrame
"""What may be asked about: paths, `Clip` objects, or a table with the columns audio, transcription and id."""


def named_clips(clips: AskedClips) -> list[Clip]:
    """Give each clip an id of its own: its own, its path or its number.

    Raises:
        UsageError: it is a single path, there is no clip, or two have the same id.

    >>> [clip.id for clip in named_clips(["a.wav", Clip(transcription="hola")])]
    ['a.wav', 'clip 2']
    """
    if isinstance(clips, pd.DataFrame):
        columns = {name: clips[name] for name in ("audio", "transcription", "id") if name in clips}
        if not columns.keys() & {"audio", "transcription"}:
            raise UsageError("the table of clips has neither a column audio nor a column transcription: rename one.")
        rows = pd.DataFrame(columns).fillna("").to_dict("records")
        clips = [Clip(row.get("audio", ""), row.get("transcription", ""), str(row.get("id", ""))) for row in rows]
    if isinstance(clips, str | Path | Clip):
        raise UsageError("a system is asked about a list of clips: put the one you have in a list.")
    whole = [clip if isinstance(clip, Clip) else Clip(clip) for clip in clips]
    named = [
        Clip(clip.path, str(clip.transcription), clip.id or str(clip.path) or f"clip {number}")
        for number, clip in enumerate(whole, start=1)
    ]
    if not named:
        raise UsageError("there is no clip to ask about: name at least one.")
    seen: set[str] = set()
    for clip in named:
        if clip.id in seen:
            raise UsageError(f"clip '{clip.id}' is there twice: name it once, or give each an id of its own.")
        seen.add(clip.id)
    return named


def clips_of_table(path: Path, columns: dict[str, str] | None = None) -> list[Clip]:
    """Read a table of clips as a user's own corpus is read; labels in it are not looked at.

    Args:
        path: CSV or TSV; its audio paths are relative to it.
        columns: our column name -> the table's.

    Raises:
        DataError: it is not there or not well formed.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: name a table of clips (--table).")
    options = {"root": str(path.parent), "table": path.name} | ({"columns": columns} if columns else {})
    frame = load_corpus("folder", **options).frame
    return [Clip(row["audio"], row["transcription"], row["id"]) for row in frame.to_dict("records")]


def check_clips(clips: Iterable[Clip], needs: Needs) -> None:
    """Refuse clips that a system cannot be asked about, before any model is loaded: each audio file is decoded.

    Args:
        clips: from `named_clips`.
        needs: of the system.

    Raises:
        UsageError: a clip has no audio file or no transcription, and the system needs it.
        DataError: an audio file is missing or cannot be read.
    """
    for clip in clips:
        if needs.reads and not clip.transcription.strip():
            raise UsageError(
                f"{needs.name} reads what is said, and {clip.id} has no transcription: give it (--transcription, or a "
                "table's column transcription)."
            )
        if needs.hears and not str(clip.path):
            raise UsageError(f"{needs.name} hears, and {clip.id} has no audio file: name one.")
        if needs.hears:
            read_waveform(Path(clip.path).expanduser())


def asked_corpus(clips: Sequence[Clip], labels: tuple[str, ...]) -> Corpus:
    """Make the clips a corpus without labels, such as systems read and hear."""
    columns = {
        "id": [clip.id for clip in clips],
        "audio": [str(Path(clip.path).expanduser()) if str(clip.path) else "" for clip in clips],
        "transcription": [clip.transcription for clip in clips],
    }
    return Corpus("asked", build_frame(columns), labels=labels)
