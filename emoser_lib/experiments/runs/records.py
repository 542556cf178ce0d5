"""Records: one small JSON per run, status included."""

import json
import re
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator

from emoser_lib.environment import shipped_files
from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.names import RunName
from emoser_lib.files import write_whole
from emoser_lib.visible import visible

NOT_RECORDED = "not recorded"
"""What pages show where a record of schema 1 does not say it."""

HOME = re.compile(
    r"(?<![\w.~…/\\-])(?:[A-Za-z]:)?(?:\\+|/)(?:home|Users)(?:\\+|/)[^\\/\s'\"]+|(?<![\w.~…/-])/root(?![\w.-])"
)
"""A home folder, whoever's: its name is a person's."""

ABSOLUTE = re.compile(r"(?<![\w.~…:/\\-])(?:[A-Za-z]:[\\/]|/)(?:[^\\/\s'\"<>|,;:()\[\]{}]+[\\/])+(?=[^\\/\s])")
"""An absolute path up to its last name."""


def portable(value: Any) -> Any:
    r"""Return a value whose texts may be published: paths without the folders of a machine, nothing that acts unseen.

    >>> portable({"error": "/scratch/ana/x/a.wav is not there", "root": "C:\\Users\\ana\\my clips"})
    {'error': '…/a.wav is not there', 'root': '~\\my clips'}
    """
    if isinstance(value, dict):
        return {portable(name): portable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [portable(inner) for inner in value]
    return visible(ABSOLUTE.sub("…/", HOME.sub("~", value))) if isinstance(value, str) else value


def _is_a_date(text: str) -> str:
    datetime.fromisoformat(text)
    return text


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


class Hardware(BaseModel):
    """Machine that a run was executed on."""

    cpu: str = NOT_RECORDED
    cores: int | None = None
    memory_gb: float | None = None
    system: str = NOT_RECORDED


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


class _Scored(BaseModel):
    macro_f1: float


class _KnownMetrics(BaseModel):
    macro_f1: float | None = None
    seconds: float | None = None
    scores: dict[str, _Scored] = {}


def _readable(metrics: dict[str, Any]) -> dict[str, Any]:
    """Lists and tables read these of any record, whoever wrote it."""
    _KnownMetrics.model_validate(metrics)
    return metrics


Metrics = Annotated[dict[str, Any], AfterValidator(_readable)]
"""What a notebook reported; a number that is not finite is ``None``, as strict JSON has none."""


class Record(BaseModel):
    """One execution of a notebook with its parameters. The schema of ``record.json``.

    Its names are `RunName`, as they become files and links; all its other texts are `portable`.
    """

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1, 2] = 2
    notebook: RunName
    profile: RunName
    run: RunName
    key: RunName
    command: str
    status: RunStatus
    error: str | None = None
    parameters: dict[str, Any]
    corpus: CorpusUsed | None = None
    notes: list[str] = []
    """What was derived from the corpus, left out, cut or found in it."""
    checkpoints: list[Checkpoint] = []
    metrics: Metrics = {}
    computing: Computing | None = None
    """``None`` where no cell came to tell it, and in records of schema 1."""
    seconds: float
    peak_memory_mb: float
    versions: dict[str, str]
    hardware: Hardware
    commit: str | None
    date: Annotated[str, StringConstraints(pattern=r"Z$"), AfterValidator(_is_a_date)]

    @model_validator(mode="before")
    @classmethod
    def _portable(cls, given: Any) -> Any:
        return portable(given)

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

    metrics: Metrics = {}
    corpus: CorpusUsed | None = None
    notes: list[str] = []
    checkpoints: list[Checkpoint] = []
    computing: Computing | None = None


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        DataError: the file is not there or not a record.
    """
    if not path.is_file():  # a folder, a link without end, a pipe
        raise DataError(f"{path} is not a file: run it again.")
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        said = ": ".join(filter(None, (".".join(map(str, first["loc"])), first["msg"])))
        raise DataError(f"{path} is not a record ({said}): run it again.") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a record (it is not UTF-8): run it again.") from None


def read_records(folder: Path) -> list[Record]:
    """Read all records below a folder, oldest first."""
    paths = (p for pattern in ("**/record.json", "*.json") for p in folder.glob(pattern))
    return sorted(map(read_record, sorted(set(paths))), key=lambda r: r.date)


def published_records(notebook: str | None = None) -> list[Record]:
    """Read the committed records of ``book/records``: what was measured on real data.

    Args:
        notebook: only those of this chapter.
    """
    return [r for r in read_records(shipped_files() / "book" / "records") if notebook in (None, r.notebook)]


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_whole(path, json.dumps(record.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
