"""IEMOCAP and MELD, read from the folders in which they are published."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from emoser_lib.corpora.corpus import LABELS, Corpus, build_frame, label_set
from emoser_lib.corpora.tables import read_table
from emoser_lib.errors import DataError

IEMOCAP_EMOTIONS = {
    "neu": "neutral",
    "dis": "disgust",
    "ang": "anger",
    "hap": "joy",
    "exc": "joy",
    "sad": "sadness",
    "fea": "fear",
    "sur": "surprise",
    "fru": "frustration",
    "oth": "",
    "xxx": "",
}
"""IEMOCAP's codes -> our labels. ``exc`` (excited) joins ``hap``, as is usual in the field; ``oth`` (other) and
``xxx`` (the annotators did not agree) are no label."""

IEMOCAP_LABELS = label_set([*LABELS, "surprise", "frustration"])

IEMOCAP_FOUR = label_set(["neutral", "anger", "joy", "sadness"])

MELD_LABELS = label_set([*LABELS, "surprise"])

MELD_SPLITS = {
    "train": ("train_sent_emo.csv", "train_splits"),
    "dev": ("dev_sent_emo.csv", "dev_splits_complete"),
    "test": ("test_sent_emo.csv", "output_repeated_splits_test"),
}
"""Split -> its table and its folder of clips, each below the release or below a folder named like the split."""

MELD_COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")

_EVALUATION = re.compile(r"\[(?P<start>[\d.]+) *- *(?P<end>[\d.]+)\]\s+(?P<turn>\S+)\s+(?P<code>\w+)\s+\[[^]]*\]\s*")

_TURN = re.compile(r"(?P<session>Ses\d\d)[FM]_\w+_(?P<who>[FM])\w*")

_TRANSCRIPT = re.compile(r"\S+\s+\[[^]]*\]:(?P<text>.*)")

_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})")

# MELD's UTF-8 tables hold some punctuation as the bare code of Windows-1252 (U+0092 for an apostrophe).
_WINDOWS_1252 = {code: bytes([code]).decode("cp1252", errors="ignore") for code in range(0x80, 0xA0)}


def load_iemocap(root: str | Path, every_emotion: bool = False) -> Corpus:
    """Load IEMOCAP (Busso et al. 2008) from its release folder; times in ms within the dialogue.

    ``speaker`` is the person who speaks (``Ses01M``): the first letter of a turn's name only says who wore
    the motion-capture markers. ``video`` is the dialogue. There is no split: use the scheme ``session``, which
    holds out one of the five sessions each time. By default only the clips of the four emotions are there on which most
    of the field scores (Antoniou et al. 2023, arXiv 2304.00860): ``IEMOCAP_FOUR``.

    Args:
        root: ``IEMOCAP_full_release``, or the folder that holds it. Sessions that are not there are left out.
        every_emotion: all clips; how the release's emotions become labels is then our choice (``IEMOCAP_EMOTIONS``).

    Raises:
        DataError: no session, or a file of one, is there; or a line is not as published.

    >>> IEMOCAP_EMOTIONS["exc"], IEMOCAP_FOUR, IEMOCAP_LABELS[6:]
    ('joy', ('neutral', 'anger', 'joy', 'sadness'), ('frustration', 'surprise'))
    """
    root = _release(root, "IEMOCAP_full_release", "iemocap")
    sessions = sorted(path for path in root.glob("Session[1-5]") if path.is_dir())
    if not sessions:
        raise DataError(f"{root} has no folder Session1: `emoser corpus fetch iemocap` says what belongs there.")
    turns = [turn for session in sessions for turn in _session(session)]
    if not turns:
        raise DataError(f"{root} has no turn in Session*/dialog/EmoEvaluation/*.txt: unpack the release again.")
    if every_emotion:
        return Corpus("iemocap", _frame(turns), labels=IEMOCAP_LABELS)
    kept = [turn for turn in turns if turn["label"] in IEMOCAP_FOUR]
    left_out = {"of another emotion than the usual four": len(turns) - len(kept)}
    return Corpus("iemocap", _frame(kept), labels=IEMOCAP_FOUR, left_out=left_out)


def load_meld(root: str | Path) -> Corpus:
    """Load MELD (Poria et al. 2019) from its release folder ``MELD.Raw``; splits train, dev and test.

    Ids are ``<split>_dia<D>_utt<U>``, since each split counts from 0. ``video`` is the dialogue within its
    split: one scene, the same voices and background, never cut by the published splits; an episode would be
    (scenes of one episode are in all three). Audio is the ``.wav`` beside each published ``.mp4``, made once
    with ffmpeg (``emoser corpus fetch meld`` prints how); without the folder of clips it is empty. The release
    lacks dev ``dia110_utt7``, and train ``dia125_utt3`` is damaged: ``emoser corpus check meld`` names both.
    Times are those of the subtitles; where they run backwards they are unknown.

    Args:
        root: ``MELD.Raw``, or the folder that holds it.

    Raises:
        DataError: a table is not there, or a line of it is not as published.

    >>> MELD_SPLITS["dev"], MELD_LABELS[6:]
    (('dev_sent_emo.csv', 'dev_splits_complete'), ('surprise',))
    """
    root = _release(root, "MELD.Raw", "meld")
    rows = [row for split in MELD_SPLITS for row in _meld_split(root, split)]
    return Corpus("meld", _frame(rows), labels=MELD_LABELS)


def _release(root: str | Path, inner: str, name: str) -> Path:
    root = Path(root).expanduser().resolve()
    if not root.is_dir():
        raise DataError(f"{root} is not there: `emoser corpus fetch {name}` says what belongs there.")
    return root / inner if (root / inner).is_dir() else root


def _frame(rows: list[dict[str, object]]) -> pd.DataFrame:
    return build_frame({name: [row[name] for row in rows] for name in (rows[0] if rows else ())})


def _session(session: Path) -> Iterator[dict[str, object]]:
    evaluations = session / "dialog" / "EmoEvaluation"
    if not evaluations.is_dir():
        raise DataError(f"{evaluations} is not there: unpack the release again.")
    # 'Ses*' passes over the '._Ses*.txt' that macOS left in the release.
    for path in sorted(evaluations.glob("Ses*.txt")):
        texts = _Transcripts(session / "dialog" / "transcriptions" / path.name)
        for number, line in _lines(path):
            if line.startswith("["):
                yield _turn(session, path, number, line, texts)


def _turn(session: Path, path: Path, number: int, line: str, texts: "_Transcripts") -> dict[str, object]:
    match = _EVALUATION.fullmatch(line)
    who = _TURN.fullmatch(match["turn"]) if match else None
    if not match or not who:
        raise DataError(f"{path}, line {number}: '{line.strip()}' is not '[start - end] turn emotion [v, a, d]'.")
    if match["code"] not in IEMOCAP_EMOTIONS:
        known = ", ".join(IEMOCAP_EMOTIONS)
        raise DataError(f"{path}, line {number}: the emotion '{match['code']}' is not one of {known}.")
    turn = match["turn"]
    return {
        "id": turn,
        "audio": str(session / "sentences" / "wav" / path.stem / f"{turn}.wav"),
        "transcription": texts.of(turn),
        "label": IEMOCAP_EMOTIONS[match["code"]],
        "speaker": who["session"] + who["who"],
        "video": path.stem,
        "gender": {"F": "female", "M": "male"}[who["who"]],
        "start_ms": _seconds(match["start"], path, number),
        "end_ms": _seconds(match["end"], path, number),
    }


class _Transcripts:
    """The timed lines of one dialogue. Lines without a turn's name (``M: [LAUGHTER]``) belong to no clip."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line_of = {line.split()[0]: (number, line) for number, line in _lines(path) if line.startswith("Ses")}

    def of(self, turn: str) -> str:
        if turn not in self._line_of:
            return ""
        number, line = self._line_of[turn]
        match = _TRANSCRIPT.fullmatch(line)
        if not match:
            raise DataError(f"{self._path}, line {number}: '{line.strip()}' is not 'turn [start-end]: text'.")
        return match["text"].strip()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise DataError(f"{path} is not there: unpack the release again.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: unpack the release again.") from None
    return enumerate(text.splitlines(), start=1)


def _seconds(text: str, path: Path, number: int) -> float:
    try:
        return 1000 * float(text)
    except ValueError:
        raise DataError(f"{path}, line {number}: '{text}' is not a time in seconds.") from None


def _meld_split(root: Path, split: str) -> Iterator[dict[str, object]]:
    table_name, folder_name = MELD_SPLITS[split]
    how = "`emoser corpus fetch meld` says what belongs there"
    path = _either(root, split, table_name) or root / table_name
    clips = _either(root, split, folder_name)
    table = read_table(path, need=MELD_COLUMNS, how_to_get=how)
    for number, row in enumerate(table[list(MELD_COLUMNS)].to_dict("records"), start=2):
        where = f"{path}, line {number}"
        dialogue, utterance = row["Dialogue_ID"], row["Utterance_ID"]
        if not (dialogue.isdecimal() and utterance.isdecimal()):
            raise DataError(f"{where}: Dialogue_ID '{dialogue}' or Utterance_ID '{utterance}' is not a number.")
        label = row["Emotion"].strip().lower()
        if label not in MELD_LABELS:
            raise DataError(f"{where}: the emotion '{row['Emotion']}' is not one of {', '.join(MELD_LABELS)}.")
        start, end = _clock(row["StartTime"], where), _clock(row["EndTime"], where)
        yield {
            "id": f"{split}_dia{dialogue}_utt{utterance}",
            "audio": str(clips / f"dia{dialogue}_utt{utterance}.wav") if clips else "",
            "transcription": row["Utterance"].translate(_WINDOWS_1252).strip(),
            "label": label,
            "split": split,
            "speaker": row["Speaker"].translate(_WINDOWS_1252).strip(),
            "video": f"{split}_dia{dialogue}",
            "start_ms": start if end >= start else pd.NA,
            "end_ms": end if end >= start else pd.NA,
        }


def _either(root: Path, split: str, name: str) -> Path | None:
    """``root/name`` or ``root/split/name``: the archive of each split may be unpacked in place or beside."""
    return next((path for path in (root / name, root / split / name) if path.exists()), None)


def _clock(text: str, where: str) -> int:
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        raise DataError(f"{where}: '{text}' is not a time like 00:16:16,059.")
    hours, minutes, seconds, fraction = match.groups()
    return (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000 + int(fraction.ljust(3, "0"))
