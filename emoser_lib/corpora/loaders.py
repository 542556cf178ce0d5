"""The corpora this project knows by name, and a user's own folder."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Protocol

import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError

from emoser_lib.corpora.audio import is_file
from emoser_lib.corpora.corpus import COLUMNS, LABELS, TIME_COLUMNS, Corpus, build_frame, label_set
from emoser_lib.corpora.mapping import TableMapping, likely_columns
from emoser_lib.corpora.published import load_iemocap, load_meld
from emoser_lib.corpora.tables import read_table
from emoser_lib.errors import DataError, UsageError, did_you_mean

DEMO_CORPUS_FOLDER = Path(__file__).parent / "demo_data"

PUBLIC_TABLE = "spanish-meacorpus-2023-dataset.csv"

VIDEO_KEYS = "dataset-with-video-keys.csv"

CHALLENGE_TRAIN = "EmoSPeech_phase_2_train.csv"

CHALLENGE_TEST = "EmoSPeech_phase_2_test_public.csv"

LATEST_MS = 2**53
"""What a float still counts in whole milliseconds: far beyond any recording."""

GENDERS = {"F": "female", "M": "male"}


def cache_home() -> Path:
    """Return the folder for what can be had or made again: ``$EMOSER_CACHE``, default ``~/.cache/emoser``; absolute."""
    return absolute(os.environ.get("EMOSER_CACHE") or "~/.cache/emoser")


def data_home() -> Path:
    """Return the folder that holds the corpora: ``$EMOSER_DATA``, default ``data`` in `cache_home`; absolute."""
    return absolute(os.environ.get("EMOSER_DATA") or cache_home() / "data")


def absolute(path: str | Path) -> Path:
    """Make a path that a user gives, ``~`` and all, absolute.

    Raises:
        UsageError: it has no end or no beginning: a link to itself, a home folder that is not known.

    >>> absolute("/own/../mine")
    PosixPath('/mine')
    """
    try:
        return Path(path).expanduser().resolve()
    except (RuntimeError, OSError) as error:
        reason = str(error).rstrip(".")
        raise UsageError(f"{path} leads nowhere ({reason}): give the absolute path of a folder.") from None


def load_demo(folder: Path = DEMO_CORPUS_FOLDER) -> Corpus:
    """Load the synthetic corpus shipped in the package (``demo_data/README.md``)."""
    table = read_table(folder / "metadata.csv", need=COLUMNS)
    audio = [str(folder / name) for name in table["audio"]]
    return Corpus("demo", build_frame({**_columns(table), "audio": audio}))


def load_demo_own() -> Corpus:
    """Load 60 clips of the demo corpus from a table such as people bring: Spanish names, three labels, no split."""
    columns = {"audio": "archivo", "transcription": "texto", "label": "emoción", "speaker": "hablante"}
    labels = {"Alegría": "joy", "Ira": "anger", "Calma": "calm"}
    own = load_folder(DEMO_CORPUS_FOLDER, "own.csv", columns, labels)
    return replace(own, name="demo_own")


def load_demo_theirs() -> Corpus:
    """Load 60 other clips of it, of other speakers and with sadness besides, to test on what `load_demo_own` taught."""
    return replace(load_folder(DEMO_CORPUS_FOLDER, "theirs.csv"), name="demo_theirs")


def load_meacorpus(folder: Path) -> Corpus:
    """Load Spanish MEACorpus 2023 as published: 5,129 clips with its own split, joined with the video keys.

    The two public tables have the same rows in the same order; label and text are compared row by row.

    Raises:
        DataError: a table is missing, or the two do not match.
    """
    table = _table_with_videos(folder)
    return Corpus("meacorpus", build_frame(_columns(table)))


def load_emospeech(folder: Path) -> Corpus:
    """Load EmoSPeech 2024 as the participants had it: 3,000 training clips and 750 test clips without labels.

    The split is the challenge's (the public table has another one, which has 600 of the 750 test clips
    in its training part). Video, gender and times come from the public table. Test labels are in
    ``gold_labels()`` only.

    Raises:
        DataError: a table is missing, or an id of the challenge is not in the public table.
    """
    public = _table_with_videos(folder).set_index("id")
    train = _read(folder, CHALLENGE_TRAIN, ("id", "label", "transcription"))
    test = _read(folder, CHALLENGE_TEST, ("id", "transcription"))
    rows = pd.concat([train.assign(split="train"), test.assign(label="", split="test")], ignore_index=True)
    unknown = sorted(set(rows["id"]) - set(public.index))
    if unknown:
        raise DataError(f"{folder / PUBLIC_TABLE} has no clip '{unknown[0]}' of the challenge: fetch both again.")
    known = public.loc[rows["id"]].reset_index()
    frame = build_frame({**_columns(known), **_columns(rows)})
    held_out = dict(public.loc[test["id"], "label"])
    return Corpus("emospeech", frame, held_out=held_out)


def load_elicited_es(folder: Path) -> Corpus:
    """Load elicited Spanish emotions, a raw part of EmoMatchSpanishDB: 16 speakers, 12 sentences, no split.

    Clips without a label of the six (surprise) are left out and counted in ``left_out``.
    """
    table = _read(folder, "metadata.csv", ("file", "label", "speaker", "gender", "transcription"))
    kept = table[table["label"].isin(LABELS)]
    frame = build_frame(
        {
            "id": kept["file"],
            "audio": [str(folder / name) for name in kept["file"]],
            "transcription": kept["transcription"],
            "label": kept["label"],
            "speaker": kept["speaker"],
            "gender": kept["gender"].map(GENDERS),
        }
    )
    left_out = {"without a label of the six": len(table) - len(kept)}
    return Corpus("elicited_es", frame, left_out=left_out)


def load_folder(
    root: str | Path,
    table: str | Path = "metadata.csv",
    columns: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    quoted: bool | None = None,
) -> Corpus:
    """Load a user's own recordings, described by a table; no code needed.

    Args:
        root: the folder that holds the table.
        table: CSV or TSV file, relative to ``root``.
        columns: our column name -> the table's; those not named are taken by our names where present.
            ``audio`` paths are relative to the table; ``id`` is the table's, else the audio path.
        labels: the table's label -> ours. Without it a label outside the six becomes a label of its own;
            with it such a label is an error. An empty label means none. Labels are compared in one Unicode form
            (NFC), without marks that do not show and without blanks around them.
        quoted: see `read_table`.

    Raises:
        UsageError: the folder does not exist, or a column is not one of ours.
        DataError: the table is missing or lacks a column, or a label is not mapped.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "metadata.csv").write_text("file,emotion\\na.wav,Ira\\nb.wav,\\n")
    >>> own = load_folder(folder, columns={"audio": "file", "label": "emotion"}, labels={"Ira": "anger"})
    >>> own.labels, list(own.frame.id)
    (('anger',), ['a.wav', 'b.wav'])
    """
    root, columns = _own_root(root, columns), dict(columns or {})
    path = root / table
    tables = sorted(file.name for file in root.iterdir() if file.suffix.lower() in (".csv", ".tsv"))
    named = f", such as --table {quote(tables[0])}" if tables else ""
    how = f"write one with a line per clip, or name yours with table (--table){named}"
    theirs = read_table(path, how_to_get=how, quoted=quoted)
    known: dict[str, pd.Series] = {
        name: theirs[columns.get(name, name)] for name in COLUMNS if columns.get(name, name) in theirs
    }
    mapped = {name: columns.get(name, name) for name in known}
    unused = tuple(name for name in theirs.columns if name and name not in mapped.values())
    lacking = [name for name in columns.values() if name not in theirs]
    if lacking or not {"audio", "transcription"} & set(known) or not {"id", "audio"} & set(known):
        lacks = f"'{lacking[0]}'" if lacking else "'audio' (nor 'id' and 'transcription')"
        alike = likely_columns(unused, besides=known) or {"audio": "…"}
        options = " ".join(f"--column {ours}={name}" for ours, name in alike.items())
        raise DataError(
            f"{path} has no column {lacks}: it has {', '.join(theirs.columns)}; say which is which with columns "
            f"({options})."
        )
    for name in set(known) - {"transcription"}:
        known[name] = known[name].map(plain)
    if "split" in known:
        known["split"] = known["split"].replace({"Train": "train", "TRAIN": "train", "Test": "test", "TEST": "test"})
    if "id" not in known:
        known["id"] = known["audio"]
    if "audio" in known:
        known["audio"] = pd.Series(_audio_paths(path.parent, known["audio"]), dtype=str)
    told = {plain(name): plain(ours) for name, ours in (labels or {}).items()}
    there = set(known.get("label", ()))
    if "label" in known:
        known["label"] = _map_labels(known["label"], told if labels is not None else None, path)
    for name in set(TIME_COLUMNS) & set(known):
        known[name] = _milliseconds(known[name], path)
    frame = build_frame(known)
    short = tuple(frame["id"][row] for row in theirs.attrs["short_rows"])
    mapping = TableMapping(
        columns=mapped,
        unused=unused,
        empty=tuple(name for name in columns if (theirs[columns[name]].str.strip() == "").all()),
        labels={name: ours for name, ours in told.items() if name in there},
        unused_labels=tuple(name for name in told if name not in there),
    )
    found = label_set(frame["label"]) or LABELS
    return Corpus("folder", frame, labels=found, short_rows=short, mapping=mapping)


def plain(text: str) -> str:
    """Return a name or label without what does not show: composed (NFC), no control or zero-width marks, single blanks.

    >>> plain(" Alegri\u0301a\u200b ") == "Alegría"
    True
    """
    shown = "".join(
        char for char in unicodedata.normalize("NFC", text) if unicodedata.category(char) not in ("Cf", "Cc")
    )
    return re.sub(r"\s+", " ", shown).strip()


def _audio_paths(folder: Path, names: pd.Series) -> list[str]:
    """The file of each name: also where the disk has it in another Unicode form, or the table in Windows' writing."""
    listed: dict[Path, dict[str, Path]] = {}

    def find(name: str) -> str:
        # Not resolve(): it stops at a link that leads to itself, where `check` can name the clip.
        if is_file(path := os.path.normpath(folder / name)):
            return path
        other = Path(os.path.normpath(folder / name.replace("\\", "/")))
        if other.parent not in listed:
            there = other.parent.iterdir() if other.parent.is_dir() else ()
            listed[other.parent] = {unicodedata.normalize("NFC", file.name): file for file in there}
        return str(listed[other.parent].get(unicodedata.normalize("NFC", other.name), path))

    return [find(name) if name else "" for name in names]


class FolderOptions(BaseModel):
    """Options of `load_folder`, as they come from a command line or a notebook."""

    model_config = ConfigDict(extra="forbid")

    root: Path
    table: Path = Path("metadata.csv")
    columns: Mapping[str, str] | None = None
    labels: Mapping[str, str] | None = None
    quoted: bool | None = None


@dataclass(frozen=True)
class Source:
    """Origin of a named corpus."""

    about: str
    licence: str
    load: Callable[..., Corpus]
    folder: str | None = None
    """Below ``data_home()``; ``None``: shipped, or named by the caller."""
    part_of: str | None = None
    """The corpus that it is cut from."""


SOURCES: dict[str, Source] = {
    "demo": Source("500 synthetic Spanish clips, shipped in the package", "CC0 1.0", load_demo),
    "demo_own": Source(
        "60 of them as a folder of one's own, with a table in Spanish", "CC0 1.0", load_demo_own, part_of="demo"
    ),
    "demo_theirs": Source(
        "60 others as somebody else's, of other speakers", "CC0 1.0", load_demo_theirs, part_of="demo"
    ),
    "emospeech": Source(
        "EmoSPeech-IberLEF 2024: 3,000 + 750 clips, the challenge's split", "CC BY-NC 4.0", load_emospeech, "meacorpus"
    ),
    "meacorpus": Source(
        "Spanish MEACorpus 2023: 5,129 clips, its own split", "CC BY-NC 4.0", load_meacorpus, "meacorpus"
    ),
    "elicited_es": Source(
        "elicited emotions, 16 speakers of Spanish, 12 sentences", "none stated", load_elicited_es, "elicited_es"
    ),
    "folder": Source("your own recordings, described by a table", "yours", load_folder),
    "iemocap": Source("IEMOCAP, 12 hours of acted dialogue", "on request, USC SAIL", load_iemocap, "iemocap"),
    "meld": Source("MELD, dialogues of a television series", "GPL-3.0", load_meld, "meld"),
}


def load_corpus(name: str, **options: object) -> Corpus:
    """Load a corpus by name.

    Args:
        name: one of ``SOURCES``.
        options: for ``folder``: root, table, columns, labels (see `load_folder`); the others take none.

    Raises:
        UsageError: the name or an option is unknown.
        DataError: the data are not there or not well formed.

    >>> len(load_corpus("demo"))
    500
    """
    check_options(name, options)
    source = SOURCES[name]
    return source.load(**options) if source.folder is None else source.load(source_folder(name))


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Check a corpus's name and options, before anything is read.

    Args:
        name: as for `load_corpus`.
        options: as for `load_corpus`.

    Raises:
        UsageError: the name or an option is unknown, an option has the wrong type, or the user's folder is not there.

    >>> check_options("demo", {})
    """
    if name not in SOURCES:
        hint = did_you_mean(name, list(SOURCES))
        raise UsageError(f"there is no corpus '{name}'{hint}: known are {', '.join(SOURCES)}.")
    if name != "folder":
        if options:
            raise UsageError(f"corpus '{name}' takes no option '{next(iter(options))}': only 'folder' takes options.")
        return
    known = list(FolderOptions.model_fields)
    for option in options:
        if option not in known:
            hint = did_you_mean(option, known)
            raise UsageError(f"corpus 'folder' has no option '{option}'{hint}: known are {', '.join(known)}.")
    if "root" not in options:
        raise UsageError("corpus 'folder' needs to know where it is: give root (--root DIR).")
    try:
        checked = FolderOptions.model_validate(dict(options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"option '{where}' of corpus 'folder' cannot be {first['input']!r}: give a text there."
        ) from None
    _own_root(checked.root, checked.columns)
    for theirs, ours in (checked.labels or {}).items():
        near = did_you_mean(ours, list(LABELS), 0.8)  # Ärger is no slip for anger, angre is
        if ours not in LABELS and near:
            raise UsageError(f"--label {theirs}={ours}: '{ours}' is no label of the six{near}: correct it.")


def load_other(name: str, labels: Mapping[str, str] | None = None, **options: object) -> Corpus:
    """Load a corpus that a system is tested on, with its labels named as the system's are.

    Args:
        name: as for `load_corpus`.
        labels: the corpus's label -> ours, of any corpus; those that are not named stay.
        options: as for `load_corpus`.

    Raises:
        UsageError: a label is none of the corpus's; or as `load_corpus`.
        DataError: as `load_corpus`.

    >>> load_other("demo_theirs", {"joy": "Gioia"}).labels
    ('anger', 'sadness', 'Gioia', 'calm')
    """
    if name == "folder" or not labels:
        return load_corpus(name, **options, **({"labels": labels} if labels else {}))
    corpus = load_corpus(name, **options)
    if unknown := [theirs for theirs in labels if theirs not in corpus.labels]:
        hint = did_you_mean(unknown[0], list(corpus.labels))
        raise UsageError(
            f"corpus '{name}' has no label '{unknown[0]}'{hint}: it has {', '.join(corpus.labels)} (--label "
            "THEIRS=OURS)."
        )
    held_out = {clip: labels.get(label, label) for clip, label in corpus.held_out.items()}
    frame = corpus.frame.assign(label=corpus.frame["label"].replace(dict(labels)))
    found = label_set(labels.get(label, label) for label in corpus.labels)
    return replace(corpus, frame=frame, held_out=held_out, labels=found)


class Identified(Protocol):
    """A corpus, or what a record says of one."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str: ...


def share_clips(one: Identified, other: Identified) -> bool:
    """Say whether two corpora are the same, or cut from the same recordings as far as their names tell.

    >>> demo, own, theirs = map(load_corpus, ("demo", "demo_own", "demo_theirs"))
    >>> share_clips(own, demo), share_clips(own, theirs)
    (True, False)
    """
    if one.sha256 == other.sha256:
        return True
    if not {one.name, other.name} <= SOURCES.keys():
        return False
    ours, theirs = SOURCES[one.name], SOURCES[other.name]
    return (
        ours.folder == theirs.folder is not None
        or other.name == ours.part_of
        or one.name == theirs.part_of
        or one.name == other.name != "folder"
    )


def source_folder(name: str) -> Path:
    """Return the folder of a named corpus below `data_home`.

    Raises:
        DataError: it is not there.
    """
    folder = data_home() / str(SOURCES[name].folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is not there: run `emoser corpus fetch {name}`, or set EMOSER_DATA to the folder that holds it."
        )
    return folder


def _own_root(root: str | Path, columns: Mapping[str, str] | None) -> Path:
    root = absolute(root)
    if not root.is_dir():
        raise UsageError(f"the folder {root} is not there: correct root (--root).")
    for ours in columns or {}:
        if ours not in COLUMNS:
            hint = did_you_mean(ours, list(COLUMNS))
            raise UsageError(f"'{ours}' is not a column of ours{hint}: use one of {', '.join(COLUMNS)}.")
    return root


def _read(folder: Path, name: str, need: tuple[str, ...]) -> pd.DataFrame:
    return read_table(folder / name, need=need, how_to_get=f"run `emoser corpus fetch {folder.name}`")


def _table_with_videos(folder: Path) -> pd.DataFrame:
    table = _read(folder, PUBLIC_TABLE, ("filename", "label", "transcription", "split"))
    keys = _read(folder, VIDEO_KEYS, ("youtube_key", "label", "gender", "start_time", "end_time", "transcription"))
    if len(table) != len(keys):
        raise DataError(
            f"{folder}: {PUBLIC_TABLE} has {len(table)} rows and {VIDEO_KEYS} {len(keys)}: fetch both again."
        )
    differs = (table["label"] != keys["label"]) | (table["transcription"] != keys["transcription"])
    if differs.any():
        row = int(differs.to_numpy().argmax()) + 2
        raise DataError(
            f"{folder / VIDEO_KEYS}, row {row}: label or text differs from {PUBLIC_TABLE}: fetch both again."
        )
    audio = folder / "audio"
    return table.assign(
        id=table["filename"],
        audio=[str(audio / name) if audio.is_dir() else "" for name in table["filename"]],
        video=keys["youtube_key"],
        gender=keys["gender"],
        start_ms=_milliseconds(keys["start_time"], folder / VIDEO_KEYS),
        end_ms=_milliseconds(keys["end_time"], folder / VIDEO_KEYS),
    )


def _columns(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {name: table[name] for name in COLUMNS if name in table}


def _milliseconds(values: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(values.replace("", pd.NA), errors="coerce")
    wrong = values[(numbers.isna() | (numbers.abs() > LATEST_MS)) & (values != "")]
    if len(wrong):
        raise DataError(f"{path}: '{wrong.iloc[0]}' is not a time in milliseconds: correct that row.")
    return numbers


def _map_labels(theirs: pd.Series, labels: Mapping[str, str] | None, path: Path) -> pd.Series:
    if labels is not None:
        unmapped = sorted(set(theirs) - set(labels) - set(LABELS) - {""})
        if unmapped:
            raise DataError(
                f"{path}: the label '{unmapped[0]}' is not mapped: add it to labels (--label {unmapped[0]}=…)."
            )
    return theirs.replace(dict(labels or {}))
