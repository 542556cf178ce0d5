"""A 3 × 3 sweep of the LoRA chapter on a Slurm of its own, disturbed in every way, beside the same one undisturbed.

    python -m tests.cluster            all of it
    python -m tests.cluster --quick    1 × 2 cells and a cancelled job, no record: what CI can wait for

`make test-cluster` does it; the record is `book/checks/cluster.json`, which the status page shows.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import yaml

from emoser_lib.environment import ROOT
from emoser_lib.experiments.runs.records import Record, RunStatus
from emoser_lib.experiments.runs.settling import settle
from emoser_lib.reporting.book.checks import write_check
from tests.cluster.stand import NODES, SlurmStand

CHAPTER = "05-gemma-lora"
SWEEP = {"ranks": [2, 4, 8], "alphas": [8, 16, 32], "folds": [0], "seed": [0]}
FEW = SWEEP | {"ranks": [2], "alphas": [8, 16]}
SMALL = {"train_clips": 32, "epochs": 1, "resamples": 100, "refit": False}
"""As little as shows a grid: 32 clips, once."""

LONG = {"train_clips": 160, "epochs": 100, "resamples": 100, "refit": False}
"""Longer than the two minutes that its job is given."""

LONGER = "a job longer than its two minutes, which Slurm sends SIGTERM"

OF_THE_MACHINE = ("seconds", "seconds_per_step", "steps", "threads")
"""Of what a chapter reports, what differs from one training to the next."""

COVERS = (
    "emoser_lib.experiments.runs.sweeps",
    "emoser_lib.experiments.planning.jobs",
    "emoser_lib.cli.sweep",
    "emoser_lib.systems.progress",
)

RECORD = ROOT / "book" / "checks" / "cluster.json"

PATIENCE = 1800.0
"""Seconds for anything that is waited for."""


class Checkout:
    """A checkout with the chapter and a profile of its own.

    Args:
        home: an empty folder.
        stand: the Slurm that its sweeps are sent to.
        over: what the sweep varies.
    """

    def __init__(self, home: Path, stand: SlurmStand, over: dict[str, list[int]]) -> None:
        self.home, self.stand = home, stand
        for name in ("emoser_lib", "book", "scripts"):
            shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("_build", "__pycache__"))
        (home / "notebooks" / "profiles").mkdir(parents=True)
        shutil.copy(ROOT / "notebooks" / "Snakefile", home / "notebooks")
        shutil.copy(ROOT / "notebooks" / f"{CHAPTER}.ipynb", home / "notebooks")
        shutil.copytree(ROOT / "notebooks" / "places", home / "notebooks" / "places")
        runs = {"small": SMALL, "long": LONG}
        sweeps = {
            "grid": {"chapter": CHAPTER, "run": "small", "over": over},
            "long": {"chapter": CHAPTER, "run": "long", "over": {"ranks": [2], "alphas": [8]}},
        }
        profile = yaml.safe_dump({CHAPTER: runs, "sweeps": sweeps})
        (home / "notebooks" / "profiles" / "demo.yaml").write_text(profile)
        self.place("slurm-test", runtime=30)
        self.place("slurm-short", runtime=2, signal_at=30)

    def place(self, name: str, runtime: int, signal_at: int = 90) -> None:
        """Add a place: the project's own for Slurm, with what this one has instead of a GPU and a database."""
        place = yaml.safe_load((self.home / "notebooks/places/slurm/config.yaml").read_text())
        place["default-resources"] = ["slurm_partition=main", f"runtime={runtime}"]
        place["set-resources"] = [part for part in place["set-resources"] if "gpu" not in part]
        place["set-resources"] = [part.replace("TERM@90", f"TERM@{signal_at}") for part in place["set-resources"]]
        place |= {
            "slurm-status-command": "squeue",
            "slurm-init-seconds-before-status-checks": 3,
            "latency-wait": 5,
            "retries": 20,
        }
        (self.home / "notebooks" / "places" / name).mkdir()
        (self.home / "notebooks" / "places" / name / "config.yaml").write_text(yaml.safe_dump(place))

    def sweep(self, name: str, place: str) -> subprocess.Popen[bytes]:
        """Start a sweep, in a session of its own."""
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.home), os.environ.get("PYTHONPATH")))),
            "EMOSER_CACHE": str(self.home / "cache"),
        }
        environment = os.environ | self.stand.environment | own
        command = [sys.executable, "-m", "emoser_lib.cli", "sweep", name, "--place", place, "--cores", "2"]
        with (self.home / "log.txt").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.home, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def records(self) -> dict[str, Record]:
        """The records, by key."""
        return {folder.name: record for folder, record in settle(self.home / "runs").items()}

    def ok(self) -> int:
        """How many runs have ended well."""
        return sum(record.status is RunStatus.OK for record in self.records().values())

    def scores(self) -> dict[str, dict[str, Any]]:
        """What the runs reported, without what is the machine's."""
        return {
            key: without_the_machine(record.metrics)
            for key, record in self.records().items()
            if record.status is RunStatus.OK
        }


def without_the_machine(reported: Any) -> Any:
    """Leave out what differs from one training to the next, at any depth."""
    if isinstance(reported, list):
        return [without_the_machine(part) for part in reported]
    if isinstance(reported, dict):
        kept = {name: value for name, value in reported.items() if name not in OF_THE_MACHINE}
        return {name: without_the_machine(value) for name, value in kept.items()}
    return reported


def wait_until(what: str, so: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that is to happen while a process lives."""
    said("waiting until " + what)
    until = time.monotonic() + PATIENCE
    while not so():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"it never came that {what}; the sweep ended with {process.poll()}")
        time.sleep(0.3)


def said(line: str) -> None:
    """Say how far it is."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for a driver and all that it started on this machine; jobs of Slurm are not of them."""
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait()


def cancelled(checkout: Checkout) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    """Start the sweep on Slurm and cancel a job of it; returns the driver, and what was done and what came of it."""
    stand, came = checkout.stand, {}
    driver = checkout.sweep("grid", "slurm-test")
    wait_until("two jobs run", lambda: len(stand.jobs("RUNNING")) == 2, driver)
    job = stand.jobs("RUNNING")[0]
    asked = re.search(r"asks for ([\d,]+) MB", (checkout.home / "log.txt").read_text())
    given = stand.call("squeue", "-h", "-j", job, "-o", "%m")
    same = asked is not None and given.strip() == f"{asked.group(1).replace(',', '')}M"
    came["memory of a job"] = f"{given.strip()}, {'as planned' if same else 'NOT what was planned'}"
    wait_until("a kernel works", lambda: list((checkout.home / "runs").glob("*/*/.partial-*/at-cell.json")), driver)
    stand.call("scancel", job)
    came["a job cancelled"] = "sent again by Snakemake"
    return driver, came


def ended(driver: subprocess.Popen[bytes]) -> None:
    """Wait for a sweep's end. Raises RuntimeError where it did not end well."""
    if code := driver.wait():
        raise RuntimeError(f"the sweep ended with {code}")


def disturbed(checkout: Checkout) -> dict[str, str]:
    """Run the sweep on Slurm, disturb it, and go on; returns what was done and what came of it."""
    stand = checkout.stand
    driver, came = cancelled(checkout)
    wait_until("a run is ok", checkout.ok, driver)
    wait_until("two jobs run", lambda: len(stand.jobs("RUNNING")) == 2, driver)
    stand.lose_node("n2")
    came["a node killed, with its slurmd and its job"] = "went on with the other node"
    more = checkout.ok() + 1
    wait_until("another run is ok", lambda: checkout.ok() >= more, driver)
    kill_all(driver)
    came["the driver killed with SIGKILL"] = "the same command went on"
    stand.start_node("n2")
    log = checkout.home / "log.txt"
    size = log.stat().st_size
    again = checkout.sweep("grid", "slurm-test")
    wait_until("it says what it waits for", lambda: log.stat().st_size > size, again)
    second = checkout.sweep("grid", "slurm-test")
    came["a second call beside it"] = "refused in one sentence" if second.wait() == 1 else "NOT refused"
    wait_until("the sweep has ended", lambda: again.poll() is not None or checkout.ok() == 10, again)
    ended(again)
    return came


def a_little(checkout: Checkout) -> dict[str, str]:
    """Run the sweep on Slurm with a job cancelled; returns what was done and what came of it."""
    driver, came = cancelled(checkout)
    ended(driver)
    return came


def over_time(checkout: Checkout) -> dict[str, str]:
    """A training that is longer than its job's time."""
    driver = checkout.sweep("long", "slurm-short")
    if code := driver.wait():
        raise RuntimeError(f"the sweep of the long training ended with {code}")
    ended = (one for one in checkout.records().values() if one.status is RunStatus.OK)
    [record] = [one for one in ended if one.run == "long"]
    steps, clips, batch = (record.metrics["steps"], record.parameters["train_clips"], record.parameters["batch_size"])
    needed = clips // batch * record.parameters["epochs"]
    if steps >= needed:
        raise RuntimeError("the long training came to its end in one go: this machine is too fast for it")
    return {LONGER: f"saved its training and was sent again, the last time for {steps} of {needed} steps"}


def main(quick: bool) -> int:
    """Do all of it, or a little; return 1 where anything did not come out well."""
    over = FEW if quick else SWEEP
    runs = len(over["ranks"]) * len(over["alphas"]) + 1
    with tempfile.TemporaryDirectory(prefix="emoser-", dir="/tmp") as folder:
        home = Path(folder)
        home.chmod(0o755)
        stand = SlurmStand(home / "slurm")
        rows: list[tuple[str | int, ...]] = []
        local = Checkout(home / "local", stand, over)
        said("the sweep on two cores")
        process = local.sweep("grid", "cores")
        if code := process.wait():
            print((local.home / "log.txt").read_text()[-3000:], file=sys.stderr)
            return code
        cluster = Checkout(home / "cluster", stand, over)
        try:
            stand.start()
            for what, came in (a_little(cluster) if quick else disturbed(cluster) | over_time(cluster)).items():
                rows.append((what, came))
                said(f"{what}: {came}")
        except RuntimeError as error:
            print((cluster.home / "log.txt").read_text()[-6000:], error, file=sys.stderr, sep="\n")
            return 1
        finally:
            stand.stop()
        expected, found = local.scores(), cluster.scores()
        same = sum(found.get(key) == scores for key, scores in expected.items())
        rows.append(("runs with the scores of the local sweep", f"{same} of {len(expected)}"))
        said(str(rows[-1]))
    well = same == len(expected) == runs and not any("NOT" in str(came) for _, came in rows)
    if quick:
        return int(not well)
    about = (
        f"A sweep of {len(SWEEP['ranks'])} × {len(SWEEP['alphas'])} cells of chapter {CHAPTER} on a Slurm of its own "
        f"with {len(NODES)} nodes, disturbed, beside the same sweep on two cores."
    )
    columns = ("what was done", "what came of it")
    write_check(RECORD, "A sweep on a cluster", about, "make test-cluster", columns, rows, COVERS)
    return int(not well)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A sweep on a Slurm of its own, disturbed.")
    parser.add_argument("--quick", action="store_true", help="a little of it, without a record")
    sys.exit(main(parser.parse_args().quick))
