"""A chapter that trains, killed at any moment: its kernel, its runner, all of it, the workflow. Nothing is lost by it.

A trial kills the same run again and again, then lets it end: the same numbers as in one go, and nothing was called ok
before that.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil

from emoser_lib.environment import ROOT
from emoser_lib.experiments.runs.records import Record, RunStatus
from emoser_lib.experiments.runs.settling import PLANNED_RECORD, notebook_of, settle
from emoser_lib.files import MANIFEST, remove
from tests.faults.damage import cell_of

NAME = "09-kills"
PARAMETERS = "seed: int = 0  # any"
BODY = """
from emoser_lib.corpora import cache_home
from emoser_lib.reporting import report
from tests.faults.damage import cell_of
"""
EPOCHS = 30
TRAIN = f"cells = [cell_of(cache_home() / 'runs', number, {EPOCHS}) for number in range(2)]"
LAST = "report(epochs=[cell.epochs for cell in cells])"

PARTS = ("kernel", "executing process", "runner", "all of the run", "workflow", "workflow and run")
"""What is killed; the last two where Snakemake started the run."""

STAGES = (
    f"runs/*/*/{PLANNED_RECORD}",
    "runs/*/*/.partial-*/*.ipynb",
    "cache/runs/*/training/checkpoint-*",
    f"cache/runs/*/training/checkpoint-*/{MANIFEST}",
    "cache/runs/*/cell.json",
    "runs/*/*/record.json",
)
"""A kill comes a moment after a file of this name was written: the machine's load does not change what is killed."""

MOMENT = 1.0
"""Seconds, at most."""


@dataclass
class Trials:
    """A checkout with one chapter that trains two tiny systems, and what came of killing it.

    Attributes:
        home: an empty folder.
        came: by part that was killed: ``kills``, and what went wrong.
    """

    home: Path
    came: dict[str, Counter[str]] = field(default_factory=lambda: {part: Counter() for part in PARTS})

    def __post_init__(self) -> None:
        for name in ("emoser_lib", "book", "scripts", "tests"):
            shutil.copytree(ROOT / name, self.home / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        (self.home / "notebooks" / "profiles").mkdir(parents=True)
        shutil.copy(ROOT / "notebooks" / "Snakefile", self.home / "notebooks")
        cell = nbformat.v4.new_code_cell
        cells = [cell(PARAMETERS, metadata={"tags": ["parameters"]}), cell(BODY), cell(TRAIN), cell(LAST)]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        nbformat.write(notebook, self.home / "notebooks" / f"{NAME}.ipynb")
        (self.home / "notebooks" / "profiles" / "demo.yaml").write_text(f"{NAME}:\n  one: {{}}\n")
        bin_folder = self.home / "bin"
        bin_folder.mkdir()
        (bin_folder / "emoser").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m emoser_lib.cli "$@"\n')
        (bin_folder / "emoser").chmod(0o755)
        cells = [cell_of(self.home / "undisturbed", number, EPOCHS) for number in range(2)]
        self.expected = json.loads(json.dumps({"epochs": [one.epochs for one in cells]}))
        self.environment = os.environ | {
            "EMOSER_CACHE": str(self.home / "cache"),
            "PYTHONPATH": str(self.home),
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }

    def start(self, by_workflow: bool) -> subprocess.Popen[bytes]:
        """Start the run, by hand or by the workflow, in a session of its own."""
        by_hand = [sys.executable, "-m", "emoser_lib.cli", "run", f"notebooks/{NAME}.ipynb"]
        snakemake = [
            sys.executable,
            "scripts/workflow.py",
            "--cores",
            "1",
            "--quiet",
            "rules",
            "host",
            "progress",
            "--",
            "runs",
        ]
        with (self.home / "log.txt").open("ab") as log:
            return subprocess.Popen(
                snakemake if by_workflow else by_hand,
                cwd=self.home,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def only_record(self) -> Record:
        """The record of the one run there is."""
        [record] = settle(self.home / "runs").values()
        return record

    def trial(self, part: str, kills: int, draw: random.Random) -> None:
        """Kill it so often, at moments drawn, then let it end."""
        came, by_workflow = self.came[part], part.startswith("workflow")
        for name in ("runs", "cache", ".snakemake"):
            remove(self.home / name)
        cells = 0
        for _ in range(kills):
            process = self.start(by_workflow)
            self.wait_for(draw.choice(STAGES), process, time.time())
            time.sleep(draw.uniform(0, MOMENT))
            if not self.kill(process, part):
                self.kill(process, "all of the run")  # that part was not there yet: no run may go on beside the next
                process.wait()
                continue
            came["kills"] += 1
            process.wait()
            if not by_workflow:
                self.wait_for_all()
            came["false ok"] += self.wrongly_ok()
            came["without a record"] += not by_workflow and self.without_record()
            left = len(list((self.home / "cache" / "runs").glob(f"*/{MANIFEST}")))
            came["losses"] += left < cells
            cells = left
        ended = self.start(by_workflow).wait()
        self.wait_for_all()
        record = self.only_record()
        came["manual steps"] += ended != 0 or record.status is not RunStatus.OK
        came["different results"] += record.status is RunStatus.OK and record.metrics != self.expected

    def kill(self, process: subprocess.Popen[bytes], part: str) -> bool:
        """Kill a part of it, if it lives."""
        if process.poll() is not None:
            return False
        told = {"kernel": "ipykernel_launcher", "executing process": "runs.execute"}
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        if part in told:
            family = [one for one in family if told[part] in " ".join(_said(one))][-1:]
        elif part in ("runner", "workflow"):
            family = family[:1]
        for one in family:
            try:
                one.send_signal(signal.SIGKILL)
            except psutil.NoSuchProcess:
                continue
        return bool(family)

    def wait_for(self, stage: str, process: subprocess.Popen[bytes], since: float) -> None:
        """Wait until a file of this name is written, or the process ends."""
        while process.poll() is None:
            for path in self.home.glob(stage):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime > since:
                        return
            time.sleep(0.02)

    def wrongly_ok(self) -> bool:
        """Whether something is called ok that is not the whole run."""
        for folder, record in settle(self.home / "runs").items():
            if record.status is RunStatus.OK:
                notebook = notebook_of(folder, ok=True)
                whole = notebook.is_file() and all(
                    cell.execution_count for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"
                )
                if not whole or record.metrics != self.expected:
                    return True
        return False

    def without_record(self) -> bool:
        """Whether a run that had begun has none at the next call."""
        begun = {path.parent for path in (self.home / "runs").glob(f"*/*/{PLANNED_RECORD}")}
        return not begun <= settle(self.home / "runs").keys()

    def wait_for_all(self) -> None:
        """Wait until no process of it lives."""
        while any(True for _ in self.living()):
            time.sleep(0.1)

    def living(self) -> Iterator[psutil.Process]:
        """Processes that work in the checkout."""
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get("PYTHONPATH") == str(self.home):
                    yield process
            except psutil.Error:
                continue


def _said(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def killed(home: Path, kills: int, seed: int = 0, parts: tuple[str, ...] = PARTS, each: int = 5) -> Trials:
    """Kill a run at least so often, ``each`` times a trial, the parts in turn."""
    trials, draw = Trials(home), random.Random(seed)
    turn = 0
    while sum(came["kills"] for came in trials.came.values()) < kills:
        trials.trial(parts[turn % len(parts)], each, draw)
        turn += 1
        print(json.dumps(trials.came), file=sys.stderr, flush=True)
    return trials
