"""Execute a notebook, own its status, write its record.

papermill's own output cannot be trusted for the status: after a killed kernel its metadata say that every
cell completed. Here a run is ``ok`` only if its last cell was reached.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import nbformat
import psutil
from pydantic import ValidationError

from emoser_lib.corpora import absolute, cache_home, data_home
from emoser_lib.doctor import SOCKETS_BYTES, obstacle
from emoser_lib.environment import ROOT, RUN_FOLDER, commit, hardware, now, shipped_files, versions
from emoser_lib.errors import DataError, EmoserError, UsageError, did_you_mean
from emoser_lib.experiments.runs.answers import ANSWERS
from emoser_lib.experiments.runs.execute import FULL_CODE
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.experiments.runs.profiles import PlannedRun
from emoser_lib.experiments.runs.records import Hardware, Record, RunStatus, Told, portable
from emoser_lib.experiments.runs.settling import OWN_PARAMETERS, begin, finish
from emoser_lib.files import locked, make_folder, remove, write_whole, writing

POLL_SECONDS = 0.2

SAVE_SECONDS = 25.0
"""For a training to save itself after SIGTERM: less than the 30 that Slurm leaves by default before SIGKILL."""


class Stopped(EmoserError):
    """Error: the runner was asked to stop (SIGINT, SIGTERM); the record of what was running is written."""


class _Signal(BaseException):
    """A signal came. Not an Exception: nothing on the way up may take it for an error of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


@dataclass(frozen=True)
class Outcome:
    """Ending of the executing process, and what it left."""

    status: RunStatus
    error: str | None
    seconds: float
    peak_memory_mb: float
    notebook: nbformat.NotebookNode | None
    answers: str | None = None
    stopped: bool = False
    """A signal to the runner ended it, not to be followed by the profile's other runs."""


def notebook_folders() -> list[Path]:
    """Return ``notebooks/`` of the current folder and of this checkout, if profiles lie in it: others are no book."""
    return [folder for folder in (Path("notebooks"), shipped_files() / "notebooks") if (folder / "profiles").is_dir()]


def find_notebook(name: str) -> Path:
    """Find a notebook by path, or by name below ``notebooks/`` of the current folder or of this checkout.

    Raises:
        UsageError: there is none.
    """
    folders = notebook_folders()
    for path in (Path(name), *(folder / one for folder in folders for one in (name, f"{name}.ipynb"))):
        if path.is_file():
            return path.resolve()
    known = sorted({path.stem for folder in folders for path in folder.glob("*.ipynb")})
    hint = did_you_mean(Path(name).stem, known)
    raise UsageError(
        f"there is no notebook '{name}'{hint}: give its path, or its name in the folder that holds notebooks/."
    )


def check_places(runs: Path) -> None:
    """Refuse places that a run could not write to, before it begins.

    Args:
        runs: the folder of all runs.

    Raises:
        DataError: the folder of runs, or the cache folder, may only be read or has no room.
    """
    for folder, way in ((runs.absolute(), "--runs"), (cache_home(), "EMOSER_CACHE")):
        if said := obstacle(folder):
            raise DataError(f"{folder} cannot be written ({said}): make room there, or name another folder ({way}).")


def _unwatched(folder: Path) -> None:
    pass


def run(
    planned: PlannedRun,
    runs: Path = Path("runs"),
    timeout: float | None = None,
    watch: Callable[[Path], None] = _unwatched,
) -> tuple[Record, Path]:
    """Execute a planned run and write ``record.json`` and the executed notebook to ``runs/<chapter>/<key>/``.

    The executed notebook is ``<chapter>.ipynb`` if the run is ok, else ``<chapter>.failed.ipynb``;
    what the kernel printed is in ``run.log``.

    Args:
        planned: what to run, already checked.
        runs: the folder of all runs.
        timeout: seconds for the whole run; default: none.
        watch: is called again and again while it runs, with the folder that its progress is told in.

    Returns:
        The record and its path.

    Raises:
        UsageError: the same run is going on now.
        DataError: what it has to write cannot be written.
        Stopped: a signal ended it; its record is written, no other run is to follow.
    """
    check_places(runs)
    runs = absolute(runs)
    folder = make_folder(runs / planned.chapter / planned.key, runs)
    busy = UsageError(f"{planned.chapter} {planned.key} is running already: wait for it or stop it.")
    # A second: another call may just be writing the record of one that was killed.
    with writing(folder), locked(folder / ".lock", busy, seconds=1):
        begin(folder, _record(planned, Outcome(RunStatus.KILLED, None, 0, 0, None)))
        write_whole(folder / OWN_PARAMETERS, json.dumps(dict(planned.parameters), ensure_ascii=False) + "\n")
        outcome = _execute(planned, folder, timeout, watch)
        record, executed = _record(planned, outcome), outcome.notebook
        text = nbformat.writes(executed) + "\n" if executed is not None else None
        path = finish(folder, record, text and _without_paths(text, planned), outcome.answers)
    if outcome.stopped:
        raise Stopped(f"stopped by a signal: {path} records the run, the same command starts it again.")
    return record, path


def _execute(planned: PlannedRun, folder: Path, timeout: float | None, watch: Callable[[Path], None]) -> Outcome:
    for left_over in folder.glob(".partial-*"):
        remove(left_over)
    remove(folder / "run.log")
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial,
        tempfile.TemporaryDirectory(dir=_short_folder(), prefix="emoser-") as sockets,
    ):
        output = Path(partial) / planned.notebook.name
        job = {
            "input": str(planned.notebook),
            "output": str(output),
            "parameters": dict(planned.parameters),
            "cwd": str(planned.notebook.parent),
            "connection_file": f"{sockets}/kernel.json",
        }
        started = time.monotonic()
        with (folder / "run.log").open("w", encoding="utf-8") as log:
            status, peak, stopped, full = _supervise(job, log.fileno(), timeout, Path(partial), watch)
        seconds = time.monotonic() - started
        notebook = _read_output(output)
        error = _failure(notebook, status, timeout)
        if status is RunStatus.OK and (notebook is None or not _reached_the_end(notebook)):
            status, error = RunStatus.FAILED, error or "the notebook ended before its last cell: see run.log."
        elif full is not None:
            error = (
                f"{folder} cannot be written ({os.strerror(full)}): make room there, or name another folder (--runs)."
            )
        elif status is RunStatus.FAILED and error and "Kernel died" in error:
            status = RunStatus.KILLED
        kept = Path(partial) / ANSWERS
        answers = kept.read_text(encoding="utf-8") if kept.is_file() else None
        return Outcome(status, None if status is RunStatus.OK else error, seconds, peak, notebook, answers, stopped)


def _short_folder() -> str:
    """Where the kernel's sockets stand: the path of a socket may have about a hundred bytes, no more."""
    folders = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"]
    for folder in folders:
        if folder and len(os.fsencode(folder)) <= SOCKETS_BYTES and not obstacle(Path(folder), 0.1):
            return folder
    raise DataError(
        f"{folders[0]} is full or has too long a path for the sockets of a kernel, and /tmp cannot be written to: set "
        f"TMPDIR to a folder of at most {SOCKETS_BYTES} bytes."
    )


def _supervise(
    job: Mapping[str, object], log: int, timeout: float | None, kept: Path, watch: Callable[[Path], None]
) -> tuple[RunStatus, float, bool, int | None]:
    """Run the executing process to its end.

    Returns:
        How it ended, its peak memory in MB, whether a signal came, and why it could not write its notebook.
    """
    environment = os.environ | {
        "EMOSER_DATA": str(data_home()),
        RUN_FOLDER: str(kept),
        # For run.log and what the notebook writes, whatever the terminal is.
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "emoser_lib.experiments.runs.execute"],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    watched = psutil.Process(process.pid)
    deadline = None if timeout is None else time.monotonic() + timeout
    peak = 0.0
    try:
        with _stop_signals():
            with suppress(BrokenPipeError):  # it ended before it read: its exit code and run.log say why
                process.stdin.write(json.dumps(dict(job)) + "\n")
                process.stdin.flush()
            while process.poll() is None:
                peak = max(peak, _memory_mb(watched))
                watch(kept)
                if deadline is not None and time.monotonic() > deadline:
                    return RunStatus.TIMEOUT, peak, False, None
                time.sleep(POLL_SECONDS)
    except _Signal as came:
        if came.number == signal.SIGTERM:
            _let_save(process, watched)
        return RunStatus.KILLED, peak, True, None
    finally:
        _end(watched)
        process.wait()
        with suppress(BrokenPipeError):
            process.stdin.close()
    code = process.returncode
    if code < 0:
        return RunStatus.KILLED, peak, False, None
    return (
        (RunStatus.OK if code == 0 else RunStatus.FAILED),
        peak,
        False,
        code - FULL_CODE if code > FULL_CODE else None,
    )


@contextmanager
def _stop_signals() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Signal(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _let_save(process: subprocess.Popen[str], watched: psutil.Process) -> None:
    """Ask what trains to save itself and end; a kernel that trains nothing ends at once."""
    for member in _family(watched)[1:]:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(SAVE_SECONDS)


def _family(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def _memory_mb(process: psutil.Process) -> float:
    total = 0
    for member in _family(process):
        with suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total / 2**20


def _end(process: psutil.Process) -> None:
    for member in _family(process):
        with suppress(psutil.NoSuchProcess):
            member.kill()


def _read_output(path: Path) -> nbformat.NotebookNode | None:
    """The executed notebook without the machine's paths and times that papermill adds."""
    try:
        notebook = read_notebook(path)
    except DataError:  # not there yet, or the process was ended while it wrote
        return None
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    return notebook


def _reached_the_end(notebook: nbformat.NotebookNode) -> bool:
    return all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip())


def _failure(notebook: nbformat.NotebookNode | None, status: RunStatus, timeout: float | None) -> str | None:
    """One sentence on what went wrong."""
    if status is RunStatus.TIMEOUT:
        return f"stopped after the time limit of {timeout:g} s."
    if status is RunStatus.KILLED:
        return "the run was killed."
    for cell in notebook.cells if notebook else []:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                said = next((line for line in output.evalue.splitlines() if line.strip()), "")
                return f"{output.ename}: {said.strip()}" if said else output.ename
    return None if status is RunStatus.OK else "Kernel died or could not start: see run.log."


def _told(notebook: nbformat.NotebookNode | None) -> Told:
    """What all outputs together tell the record.

    Raises:
        DataError: one is not of the form of `Told`.
    """
    metrics: dict[str, object] = {}
    corpus, notes, checkpoints, computing = None, [], [], None
    for number, cell in enumerate(notebook.cells if notebook else [], start=1):
        for output in cell.get("outputs", []):
            try:
                told = Told.model_validate(output.get("metadata", {}).get("emoser", {}))
            except ValidationError:
                raise DataError(
                    f"cell {number} tells the record what it has no place for: see Told in records."
                ) from None
            metrics |= told.metrics
            corpus = told.corpus or corpus
            notes += told.notes
            checkpoints += told.checkpoints
            computing = told.computing or computing  # the last one knows the peak
    return Told(metrics=metrics, corpus=corpus, notes=notes, checkpoints=checkpoints, computing=computing)


def _record(planned: PlannedRun, outcome: Outcome) -> Record:
    told, status, error = Told(), outcome.status, outcome.error
    try:
        told = _told(outcome.notebook)
    except DataError as wrong:
        status, error = (RunStatus.FAILED, str(wrong)) if status is RunStatus.OK else (status, error)
    return Record(
        notebook=planned.chapter,
        profile=planned.profile,
        run=planned.name,
        key=planned.key,
        command=planned.command,
        status=status,
        error=error,
        parameters=dict(planned.parameters),
        corpus=told.corpus,
        notes=told.notes,
        checkpoints=told.checkpoints,
        metrics=told.metrics,
        computing=told.computing,
        seconds=round(outcome.seconds, 1),
        peak_memory_mb=round(outcome.peak_memory_mb),
        versions=versions(),
        hardware=Hardware(**hardware()),
        commit=commit(),
        date=now(),
    )


def _without_paths(text: str, planned: PlannedRun) -> str:
    """Replace the folders of this machine, which parameters, a traceback or a warning may name."""
    text = re.sub(re.escape(tempfile.gettempdir()) + r"/ipykernel_\d+/\d+\.py", "cell.py", text)
    library = Path(sys.prefix, "lib")
    named = {
        data_home(): "$EMOSER_DATA",
        planned.notebook.parent: ".",
        ROOT: ".",
        library: "$VIRTUAL_ENV/lib",
        Path.home(): "~",
    }
    for folder in sorted(named, key=lambda path: len(path.parts), reverse=True):
        # Not the root, nor an empty home: they would match in every address.
        if folder.is_absolute() and len(folder.parts) > 1:
            # At the start of a path, which in a traceback follows a colour code such as \x1b[32m.
            start = r"(?:(?<![\w.~/-])|(?<=\dm))"
            text = re.sub(rf"{start}{re.escape(str(folder))}(?![\w.-])", named[folder], text)
    for given in (planned.parameters.get("corpus_options", {}).get("root"), planned.parameters.get("predictions")):
        text = text.replace(given, portable(given)) if given else text
    return text
