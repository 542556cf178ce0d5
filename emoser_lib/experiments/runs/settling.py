"""The folder of a run: record and notebook come and go together, and a run whose runner was killed has a record too."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.answers import ANSWERS
from emoser_lib.experiments.runs.records import Record, RunStatus, read_record, write_record
from emoser_lib.files import MANIFEST, damage, locked, remove, seal, write_whole

RECORD_FILE = "record.json"

PLANNED_RECORD = "planned.json"
"""The record that a run has if its runner is killed, written when it begins."""

OWN_PARAMETERS = "parameters.json"
"""The parameters with the paths of this machine: records have none, and what asks a run's system needs its corpus."""


class _Running(Exception):
    """The run is going on."""


def notebook_of(folder: Path, ok: bool) -> Path:
    """Return where a run's executed notebook is: ``<chapter>.ipynb`` if it is ok, else ``<chapter>.failed.ipynb``."""
    return folder / f"{folder.parent.name}{'' if ok else '.failed'}.ipynb"


def begin(folder: Path, record: Record) -> None:
    """Begin a run in its folder, whose lock is held: what an earlier one left goes, notebook and record.

    Args:
        folder: of the run.
        record: what is known of it now; it stands if the runner is killed.
    """
    lost = {"status": RunStatus.KILLED, "error": "it came to no end: its runner was killed, or could not write."}
    remove(folder / PLANNED_RECORD)
    write_record(folder / PLANNED_RECORD, record.model_copy(update=lost))
    _clear(folder)


def finish(folder: Path, record: Record, notebook: str | None, answers: str | None = None) -> Path:
    """Write the executed notebook, the answers clip by clip of an ok run, the record, and that all belong together.

    Returns:
        The record's path.
    """
    parts = [RECORD_FILE]
    if notebook is not None:
        path = notebook_of(folder, record.status is RunStatus.OK)
        write_whole(path, notebook)
        parts.append(path.name)
    if answers is not None and record.status is RunStatus.OK:
        write_whole(folder / ANSWERS, answers)
        parts.append(ANSWERS)
    write_record(folder / RECORD_FILE, record)
    seal(folder, parts)
    return folder / RECORD_FILE


def settle(runs: Path, again: Collection[Path] = ()) -> dict[Path, Record]:
    """Return the records of all runs, by folder, those of runs that are going on left out.

    A run whose runner was killed has its record written, and one whose notebook or record is gone or changed becomes
    a failed one, with a warning. Runs of before there was a manifest are taken as they are.

    Args:
        runs: the folder of all runs.
        again: folders of runs that are about to be executed, whatever they hold; they are left out.
    """
    found = {}
    for folder in sorted(set(runs.glob("*/*")).difference(again)):
        if folder.is_dir() and (record := _settled(folder)) is not None:
            found[folder] = record
    return found


def _settled(folder: Path) -> Record | None:
    try:
        if os.path.lexists(folder / MANIFEST):
            if not damage(folder):
                return read_record(folder / RECORD_FILE)
        elif not os.path.lexists(folder / PLANNED_RECORD):
            return _of_before(folder)
        with locked(folder / ".lock", _Running()):
            return _mended(folder)
    except _Running:
        return None
    except DataError as error:
        warnings.warn(f"{error}", stacklevel=4)
        return None


def _of_before(folder: Path) -> Record | None:
    """The record of a run that has no manifest, as those of earlier versions."""
    record = read_record(folder / RECORD_FILE) if os.path.lexists(folder / RECORD_FILE) else None
    if record and record.status is RunStatus.OK and not notebook_of(folder, ok=True).is_file():
        raise DataError(f"the run in {folder} has no notebook any more: run it again.")
    return record


def _mended(folder: Path) -> Record | None:
    """Make of a run that is not whole a failed one."""
    wrong = os.path.lexists(folder / MANIFEST) and damage(folder)
    if not wrong and os.path.lexists(folder / MANIFEST):
        return read_record(folder / RECORD_FILE)  # it ended just now
    if wrong:
        warnings.warn(f"the run in {folder} is not whole ({wrong}): it counts as failed, run it again", stacklevel=5)
    notebook = notebook_of(folder, ok=True)
    if notebook.is_file() and not os.path.lexists(notebook_of(folder, ok=False)):
        notebook.rename(notebook_of(folder, ok=False))  # somebody may have written into it
    _clear(folder, but=notebook_of(folder, ok=False))
    try:
        record = read_record(folder / PLANNED_RECORD)
    except DataError:
        remove(folder / PLANNED_RECORD)
        return None
    if wrong:
        lost = {"status": RunStatus.FAILED, "error": f"its folder is not whole any more ({wrong}): run it again."}
        record = record.model_copy(update=lost)
    finish(folder, record, None)
    return record


def _clear(folder: Path, but: Path | None = None) -> None:
    notebooks = (notebook_of(folder, ok) for ok in (True, False))
    for path in (folder / MANIFEST, folder / RECORD_FILE, folder / ANSWERS, *notebooks):
        if path != but:
            remove(path)
