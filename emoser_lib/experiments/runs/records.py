"""Records: one small JSON per run, status included."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError
from emoser_lib.files import write_whole

NOT_RECORDED = "not recorded"
"""What pages show where a record of schema 1 does not say it."""


class RunStatus(StrEnum):
    """Way in which a run ended. Only the runner sets it."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    KILLED = "killed"
    SKIPPED = "skipped"


class CorpusUsed(BaseModel):
    """Corpus that a run read; two with the same sha256 are the same."""

    name: str
    sha256: str
    clips: int


class Checkpoint(BaseModel):
    """Weights that a run read, and their device and precision; other bytes are another model."""

    name: str
    sha256: str
    note: str = ""
    device: str | None = None
    dtype: str | None = None


class Computing(BaseModel):
    """Devices, memory and processes that the kernel computed with.

    Attributes:
        accelerator: name of the GPU; ``None`` where none was used.
        accelerator_memory_mb: most memory of it that tensors took.
        processes: how many computed together.
    """

    accelerator: str | None
    accelerator_memory_mb: float | None
    processes: int


class Record(BaseModel):
    """One execution of a notebook with its parameters. The schema of ``record.json``."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1, 2] = 2
    notebook: str
    profile: str
    run: str
    key: str
    command: str
    status: RunStatus
    error: str | None = None
    parameters: dict[str, Any]
    corpus: CorpusUsed | None = None
    notes: list[str] = []
    """What was derived from the corpus, left out, cut or found in it."""
    checkpoints: list[Checkpoint] = []
    metrics: dict[str, Any] = {}
    """What the notebook reported; a number that is not finite is ``null``, as strict JSON has none."""
    computing: Computing | None = None
    """``None`` where no cell came to tell it, and in records of schema 1."""
    seconds: float
    peak_memory_mb: float
    versions: dict[str, str]
    hardware: dict[str, Any]
    commit: str | None
    date: str

    @property
    def name(self) -> str:
        """What it is called among the committed records: notebook, profile and run."""
        return f"{self.notebook}-{self.profile}-{self.run}"

    @property
    def devices(self) -> str:
        """Where its models were and in which precision, for pages: "cuda, bfloat16"."""
        if self.schema_version == 1:
            return NOT_RECORDED
        return "; ".join(dict.fromkeys(f"{used.device}, {used.dtype}" for used in self.checkpoints)) or "no model"

    @property
    def accelerator(self) -> str:
        """The GPU and its peak memory, for pages."""
        if self.computing is None:
            return NOT_RECORDED
        name, peak = self.computing.accelerator, self.computing.accelerator_memory_mb
        return f"{name}, {peak:,.0f} MB at most" if name else "none"


class Told(BaseModel):
    """Metadata ``emoser`` of a notebook's outputs: what they tell the record."""

    model_config = ConfigDict(extra="forbid")

    metrics: dict[str, Any] = {}
    corpus: CorpusUsed | None = None
    notes: list[str] = []
    checkpoints: list[Checkpoint] = []
    computing: Computing | None = None


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        DataError: the file is not a record.
    """
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a record ({str(error).splitlines()[0]}): run it again.") from None


def read_records(folder: Path) -> list[Record]:
    """Read all records below a folder, oldest first."""
    paths = (p for pattern in ("**/record.json", "*.json") for p in folder.glob(pattern))
    return sorted(map(read_record, sorted(set(paths))), key=lambda r: r.date)


def published_records(notebook: str | None = None) -> list[Record]:
    """Read the committed records of ``book/records``: what was measured on real data.

    Args:
        notebook: only those of this chapter.
    """
    return [r for r in read_records(ROOT / "book" / "records") if notebook in (None, r.notebook)]


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_whole(path, json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
