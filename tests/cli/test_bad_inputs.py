"""Bad inputs by the hundred: each ends in one sentence and exit code 1 or 2, none in a traceback, none hangs."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emoser_lib.corpora import load_corpus
from tests.command import emoser

pytestmark = pytest.mark.timeout(60)


def is_one_sentence(*arguments: str, **environment: str) -> str:
    """Call the command, which has to refuse; what it said."""
    done = emoser(*arguments, **environment)
    said = [line for line in done.stderr.splitlines() if not line.startswith("emoser: note:")]
    assert done.returncode in (1, 2), (done.stdout, done.stderr)
    assert len(said) == 1 and said[0].startswith("emoser: ") and said[0].endswith((".", "?")), done.stderr
    assert "Traceback" not in done.stderr and len(said[0]) < 1500
    assert not any(char < " " or "\x7f" <= char < "\xa0" for char in said[0]), repr(said[0])
    return said[0]


def wav(form: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, fmt: int = 16, data: int = 3200) -> bytes:
    """A wav of a tenth of a second, with a header that may say anything."""
    head = struct.pack("<4sIHHIIHH", b"fmt ", fmt, form, channels, rate, 32000, 2, bits)
    sound = b"data" + struct.pack("<I", data) + b"\x01\x02" * 1600
    return b"RIFF" + struct.pack("<I", 3236) + b"WAVE" + head + sound


AUDIO: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"R",
    "zeros": bytes(5000),
    "text": b"these are not the sounds you are looking for" * 30,
    "json": b'{"error": "not found"}',
    "page": b"<!DOCTYPE html><html><body>404</body></html>",
    "xml": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    "pdf": b"%PDF-1.7\n" + b"a" * 900,
    "zip": b"PK\x03\x04" + bytes(900),
    "gzip": b"\x1f\x8b\x08" + bytes(900),
    "rar": b"Rar!\x1a\x07" + bytes(900),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(900),
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(900),
    "elf": b"\x7fELF" + bytes(900),
    "playlist": b"#EXTM3U\n/etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "utf-16": "hola".encode("utf-16") * 50,
    "riff alone": wav()[:4],
    "riff and size": wav()[:12],
    "half a format": wav()[:25],
    "no data": wav()[:36],
    "no channels": wav(channels=0),
    "too many channels": wav(channels=65535),
    "no rate": wav(rate=0),
    "1 Hz": wav(rate=1),
    "4 GHz": wav(rate=4_000_000_000),
    "no bits": wav(bits=0),
    "unknown codec": wav(form=0x7777),
    "ogg in wav": wav(form=0x674F),
    "promises 2 GB": wav(data=0x7FFF0000),
    "promises 1 GB": wav(data=0x40000000),
    "huge format chunk": wav(fmt=0x7FFFFFFF),
    "avi": b"RIFF\xff\xff\xff\x7fAVI LIST" + bytes(900),
    "rifx": b"RIFX" + wav()[4:],
    "flac alone": b"fLaC",
    "flac and noise": b"fLaC\x00\x00\x00\x22" + bytes(range(256)) * 8,
    "flac promises": b"fLaC\x80\xff\xff\xff" + bytes(900),
    "ogg alone": b"OggS" + bytes(40),
    "opus head": b"OggS\x00\x02" + bytes(20) + b"\x01\x13OpusHead\x01\x02" + bytes(30),
    "mp3 tag": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(900),
    "mp3 frames of noise": b"\xff\xfb\x90\x00" + b"noise" * 900,
    "mp4 alone": b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00M4A mp42isom" + bytes(4),
    "mp4 promises": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom\0\0\0\0\x7f\xff\xff\xffmoov" + bytes(99),
    "webm": b"\x1aE\xdf\xa3\x01\x00\x00\x00\x00\x00\x00\x1fB\x86\x81\x01" + bytes(900),
    "aiff": b"FORM\x7f\xff\xff\xffAIFFCOMM" + bytes(90),
    "aiff of no channels": b"FORM\x00\x00\x00\x40AIFFCOMM\x00\x00\x00\x12\x00\x00" + bytes(60),
    "au promises": b".snd\x00\x00\x00\x18\x7f\xff\xff\xff\x00\x00\x00\x03\x00\x00\x3e\x80\x00\x00\x00\x01",
    "au of no rate": b".snd\0\0\0\x18\0\0\0\x20\0\0\0\x03\0\0\0\0\0\0\0\x01" + bytes(32),
    "caf": b"caff\x00\x01\x00\x00desc\x00\x00\x00\x00\x00\x00\x00\x20" + bytes(32),
    "amr": b"#!AMR\n" + b"\xff" * 90,
    "w64": b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00" + bytes(90),
    "noise": bytes((i * 7919 + (i >> 3) * 104729) % 256 for i in range(5000)),
}  # fmt: skip


@pytest.mark.parametrize("what", AUDIO)
def test_audio(what: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(AUDIO[what])
    (tmp_path / "metadata.csv").write_text("audio,transcription,label\na.wav,hola,joy\n")
    assert "a.wav" in is_one_sentence("corpus", "describe", "folder", "--root", str(tmp_path))


def fifo(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


NO_FILES: dict[str, Callable[[Path], object]] = {
    "nothing": Path.unlink, "folder": replaced_by_a_folder, "pipe": fifo, "loop": loop,
    "device": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
}  # fmt: skip


@pytest.mark.parametrize("what", NO_FILES)
@pytest.mark.parametrize("name", ["a.wav", "metadata.csv"])
def test_what_is_no_file(what: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav())
    (tmp_path / "metadata.csv").write_text("audio,transcription,label\na.wav,hola,joy\n")
    NO_FILES[what](tmp_path / name)
    assert name in is_one_sentence("corpus", "describe", "folder", "--root", str(tmp_path))


TABLES: dict[str, bytes] = {
    "empty": b"",
    "blanks": b"\n\n  \n",
    "byte-order mark": b"\xef\xbb\xbf",
    "header alone": b"id,transcription,label\n",
    "zero byte": b"id,transcription\na,ho\0la\n",
    "utf-16": "id,transcription\na,hola\n".encode("utf-16"),
    "no text": b"id,transcription\na,ma\x81ana\n",
    "excel": b"PK\x03\x04" + bytes(200),
    "sqlite": b"SQLite format 3\0" + bytes(200),
    "page": b"<!DOCTYPE html><html><body>404</body></html>",
    "json": b'[{"id": "a", "transcription": "hola"}]',
    "long row": b"id,transcription\na,hola,joy\n",
    "column twice": b"id,transcription,id\na,hola,b\n",
    "no columns of ours": b"name,mood\na,joy\n",
    "id twice": b"id,transcription\na,hola\na,adios\n",
    "no id": b"id,transcription\n,hola\n",
    "lone quote": b'id,transcription\na,"hola\nb,adios\nc,si\n',
    "quotes apart": b'id,transcription\na,"hola\nb,adios\nc,si"\n',
    "huge cell": b"id,transcription\na," + b"a" * 200_000 + b"\n",
    "time": b"id,transcription,start_ms\na,hola,soon\n",
    "endless time": b"id,transcription,start_ms\na,hola,inf\n",
    "huge time": b"id,transcription,start_ms\na,hola,1e300\n",
    "ends first": b"id,transcription,start_ms,end_ms\na,hola,5,1\n",
    "unmapped": b"id,transcription,label\na,hola,Ira\n",
    "control characters": b"id,transcription,label\na,hola,I\x1b[31mra\n",
    "endless id": b"id,transcription\n" + b"a" * 100_000 + b",hola\n" + b"a" * 100_000 + b",hola\n",
    "carriage returns": b"id,transcription\r\ra,hola,x\r",
}  # fmt: skip


@pytest.mark.parametrize("what", TABLES)
def test_tables(what: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes(TABLES[what])
    own = ["--root", str(tmp_path), "--label", "Wut=anger"]
    is_one_sentence("corpus", "describe", "folder", *own)


def test_what_a_corpus_holds_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    """Not in names, which lose what does not show, and not in messages that quote the table."""
    acting = "\x1b]0;title\x07 \x9b31m \u202e \x08"
    (tmp_path / "metadata.csv").write_text(f"id,transcription,label,split\na{acting},{acting},joy{acting},s{acting}\n")
    (tmp_path / "results.csv").write_text(f"id,task_1\nb{acting},joy\n")
    own = ["--root", str(tmp_path)]
    score = ["score", str(tmp_path / "results.csv"), "--corpus", "demo"]
    told = ["corpus", "describe", "folder", *own]
    for arguments in (["corpus", "check", "folder", *own], told, [*told, "--json"], score):
        done = emoser(*arguments)
        assert not [char for char in done.stdout + done.stderr if char != "\n" and not char.isprintable()], arguments
    assert "\\u001b]0;title" in done.stderr


GOLD = load_corpus("demo").gold_labels()


def rows(**changed: str) -> str:
    return "".join(f"{clip},{changed.get('label', label)}\n" for clip, label in GOLD.items())


SUBMISSIONS: dict[str, str] = {
    "empty": "",
    "header alone": "id,task_1\n",
    "no task": "id,label\n" + rows(),
    "misspelt": "id,task1\n" + rows(),
    "no id": "clip,task_1\n" + rows(),
    "one row": "id,task_1\n" + rows().splitlines()[0],
    "twice": "id,task_1\n" + rows() + rows(),
    "foreign id": "id,task_1\n" + rows() + "x,joy\n",
    "empty label": "id,task_1\n" + rows(label=""),
    "other label": "id,task_1\n" + rows(label="Joy"),
    "hostile label": "id,task_1\n" + rows(label="\x1b]0;x\x07\u202e"),
    "number": "id,task_1\n" + rows(label="1"),
    "quote": 'id,task_1\n"' + rows(),
    "long row": "id,task_1\n" + rows(label="joy,joy"),
    "zero byte": "id,task_1\n\0" + rows(),
    "no header": rows(),
}


@pytest.mark.parametrize("what", SUBMISSIONS)
def test_submissions(what: str, tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(SUBMISSIONS[what])
    is_one_sentence("score", str(tmp_path / "results.csv"), "--corpus", "demo")
    out = ["--out", str(tmp_path / "merged.csv")]
    is_one_sentence("submission", "merge", *[str(tmp_path / "results.csv")] * 2, "--corpus", "demo", *out)
    assert not (tmp_path / "merged.csv").exists()


BOMB = "{a: &a [x, x, x, x, x, x, x, x, x], " + ", ".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]" for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
) + "}"  # fmt: skip
YAML: dict[str, str] = {
    "bomb": BOMB,
    "holds itself": "&a [*a]",
    "deep": "[" * 500,
    "deep and closed": "[" * 600 + "]" * 600,
    "object": "!!python/object/apply:os.system ['touch INJECTED']",
    "name": "!!python/name:os.system",
    "alias of nothing": "*nothing",
    "date that is none": "[2026-99-99]",
    "date": "[2026-01-01]",
    "endless number": "[" + "9" * 5000 + "]",
    "not a number": "[.nan]",
    "infinite": "[.inf]",
    "bytes": "[!!binary aGk=]",
    "set": "!!set {a, b}",
    "tab": "\t- a",
    "unclosed": "[1, 2",
    "zero byte": "[\0]",
    "half a pair": '["\\ud800"]',
    "merge": "{<<: 1}",
    "list as key": "{[1]: 2}",
    "two documents": "--- 1\n--- 2",
}  # fmt: skip
CHAPTER = "01-corpus"


@pytest.mark.parametrize("what", YAML)
def test_yaml_in_a_parameter(what: str, tmp_path: Path, root: Path) -> None:
    runs = ["run", str(root / "notebooks" / f"{CHAPTER}.ipynb"), "--runs", str(tmp_path / "runs")]
    is_one_sentence(*runs, "-p", "corpus_options", YAML[what])
    assert not (tmp_path / "runs").exists()


PROFILES: dict[str, str] = {
    **{f"{name} as values": f"{CHAPTER}: {{one: {text}}}" for name, text in YAML.items() if "\n" not in text},
    **YAML,
    "text": "hola",
    "number": "1",
    "list": f"[{CHAPTER}]",
    "no runs": f"{CHAPTER}: 1",
    "run of a number": f"{CHAPTER}: {{1: {{}}}}",
    "run that is a path": f"{CHAPTER}: {{../../x: {{}}}}",
    "run of two words": f"{CHAPTER}: {{two words: {{}}}}",
    "run for a shell": f"{CHAPTER}: {{'$(touch INJECTED)': {{}}}}",
    "run that is an option": f"{CHAPTER}: {{--help: {{}}}}",
    "endless run": f"{CHAPTER}: {{{'a' * 300}: {{}}}}",
    "unknown parameter": f"{CHAPTER}: {{one: {{sede: 1}}}}",
    "wrong type": f"{CHAPTER}: {{one: {{seed: one}}}}",
    "wrong range": f"{CHAPTER}: {{one: {{seed: -1}}}}",
    "unknown corpus": f"{CHAPTER}: {{one: {{corpus: '\\x1b[31m'}}}}",
    "other chapters": "02-scoring: {one: {}}",
}


@pytest.mark.parametrize("what", PROFILES)
def test_profiles(what: str, tmp_path: Path, root: Path) -> None:
    (tmp_path / "profiles").mkdir()
    shutil.copy(root / "notebooks" / f"{CHAPTER}.ipynb", tmp_path)
    (tmp_path / "profiles/mine.yaml").write_text(PROFILES[what])
    runs = ["run", str(tmp_path / f"{CHAPTER}.ipynb"), "--profile", "mine", "--runs", str(tmp_path / "runs")]
    is_one_sentence(*runs)
    assert not (tmp_path / "runs").exists()


RECORDS: dict[str, dict[str, Any] | str | bytes] = {
    **{text[:9]: text for text in ("", "[]", "null", "[" * 100_000, "\0", "{}")},
    "not utf-8": b"\xff",
    **{
        f"{name} {value!r}": {name: value}
        for name in ("notebook", "profile", "run", "key")
        for value in ("../x", "a b", 1)
    },
    "date": {"date": "soonZ"},
    "date without a zone": {"date": "2026-01-01T00:00:00"},
    "half a pair": {"error": "\ud800"},
    "parameters": {"parameters": []},
    "machine": {"hardware": []},
    "scores": {"metrics": {"scores": 5}},
    "empty scores": {"metrics": {"scores": {"a": {}}}},
    "score": {"metrics": {"macro_f1": "x"}},
    "unknown field": {"x": 1},
}


@pytest.mark.parametrize("what", RECORDS)
def test_records(what: str, tmp_path: Path, root: Path) -> None:
    record, (path, *_) = RECORDS[what], sorted((root / "book/records").glob("*.json"))
    if isinstance(record, dict):
        record = json.dumps(json.loads(path.read_text()) | record)
    place = tmp_path / "01-corpus/demo-1/record.json"
    place.parent.mkdir(parents=True)
    place.write_bytes(record if isinstance(record, bytes) else record.encode())
    done = emoser("runs", "--runs", str(tmp_path))
    told = done.stderr.splitlines()
    assert (done.returncode, len(told)) == (0, 1) and "record.json is not a record" in told[0], done.stderr
    assert not any(char < " " or "\x7f" <= char < "\xa0" for char in told[0])


OWN = "corpus describe folder --root"
LONG = "x" * 5000
ROOTS = ("/nowhere", "~nobody/x", "a\nb", LONG, "/dev/null", "\x1b[2J")
PROFILE_NAMES = ("../profiles/demo", "/etc/passwd", "", ".", "..", "-x", "a b", "a\nb", "$(touch INJECTED)", LONG, "é")
ARGUMENTS: dict[str, list[str]] = {
    **{f"profile {name[:20]!r}": ["run", CHAPTER, "--profile", name] for name in PROFILE_NAMES},
    **{f"notebook {name[:20]!r}": ["run", name] for name in ("", ".", "/", LONG, "\x1b[2J", "/dev/null", "Makefile")},
    **{f"only {name[:20]!r}": ["run", CHAPTER, "--only", name] for name in ("../x", LONG, "\x1b[2J")},
    **{f"root {root[:20]!r}": [*OWN.split(), root] for root in ROOTS},
    "table above": [*OWN.split(), ".", "--table", "../../../../../etc/hostname"],
    "endless table": [*OWN.split(), ".", "--table", "x" * 5000],
    "parameter without value": ["run", CHAPTER, "-p", "seed"],
    "huge seed": ["run", CHAPTER, "-p", "seed", "9" * 5000],
    "float seed": ["run", CHAPTER, "-p", "seed", "1e3"],
    "timeout": ["run", CHAPTER, "--timeout", "nan"],
    "negative timeout": ["run", CHAPTER, "--timeout", "-1"],
    "unknown parameter": ["run", CHAPTER, "-p", "\x1b[31m", "1"],
    "longest": ["corpus", "check", "demo", "--longest", "nan"],
    "corpus": ["corpus", "describe", "\x1b[31mdemo"],
    "endless corpus": ["corpus", "describe", "x" * 5000],
    "scheme": ["folds", "demo", "--scheme", "\u202evideo"],
    "verdict": ["ledger", "--verdict", "\x1b[31m"],
    "score a folder": ["score", "/", "--corpus", "demo"],
    "convert a folder": ["checkpoint", "convert", "/", "new"],
    "convert nothing": ["checkpoint", "convert", "/dev/null", "new"],
    "audit": ["audit", "leakage", "--corpus", "folder", "--root", "/dev"],
    "column": [*OWN.split(), ".", "--column", "=x"],
    "label": [*OWN.split(), ".", "--label", "x"],
    "plan": ["plan", CHAPTER, "-p", "corpus_options", BOMB],
    "plan of an llm that is a file": ["plan", "05-gemma-lora", "-p", "llm", "/dev/null"],
    "plan of an llm with a control character": ["plan", "05-gemma-lora", "-p", "llm", "a/\x1b[31m"],
    "plan of an endless llm": ["plan", "05-gemma-lora", "-p", "llm", "a/" + "x" * 5000],
    "results that are no table": ["plan", "05-gemma-lora", "-p", "predictions", "~/.bashrc"],
}  # fmt: skip


@pytest.mark.parametrize("what", ARGUMENTS)
def test_arguments(what: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    is_one_sentence(*ARGUMENTS[what])
    assert not (root / "INJECTED").exists()
