"""The runner, with real kernels: a run is ok only if its last cell was reached, and its record is whole."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from emoser_lib.errors import UsageError
from emoser_lib.experiments import read_record
from emoser_lib.experiments.profiles import PlannedRun, plan
from emoser_lib.experiments.runner import run

PARAMETERS = "mode: str = 'ok'  # how to end\nseed: int = 0  # any"
BODY = """
import os, signal, time
if mode == "raise":
    raise ValueError("first line\\nsecond line")
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "sleep":
    time.sleep(600)
if mode == "memory":
    block = bytearray(400 * 2**20)
    time.sleep(1)
"""
LAST = """
from IPython.display import publish_display_data
publish_display_data({"text/plain": ""}, metadata={"emoser": {"metrics": {"answer": 6 * 7, "seed": seed}}})
"""


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """A notebook that ends as it is told, with a profile beside it."""
    cell = nbformat.v4.new_code_cell
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        cell(BODY),
        cell(LAST),
    ]
    path = tmp_path / "notebooks" / "09-try.ipynb"
    (path.parent / "profiles").mkdir(parents=True)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    (path.parent / "profiles" / "demo.yaml").write_text("09-try:\n  one: {}\n  two: {seed: 2}\n")
    return path


def planned(chapter: Path, **changed: object) -> PlannedRun:
    return plan(chapter, "demo", "one", changed)[0]


def test_a_good_run_leaves_notebook_and_record(chapter: Path, tmp_path: Path) -> None:
    record, path = run(planned(chapter, seed=5), tmp_path / "runs")
    assert path == tmp_path / "runs" / "09-try" / record.key / "record.json"
    assert read_record(path) == record
    assert (record.status, record.error) == ("ok", None)
    assert record.metrics == {"answer": 42, "seed": 5}
    assert record.parameters == {"mode": "ok", "seed": 5}
    assert record.command == "emoser run 09-try --profile demo --only one -p seed '5'"
    assert record.peak_memory_mb > 20
    executed = nbformat.read(path.parent / "09-try.ipynb", as_version=4)
    assert all(c.execution_count for c in executed.cells if c.cell_type == "code")
    assert str(tmp_path) not in (path.parent / "09-try.ipynb").read_text()
    assert sorted(p.name for p in path.parent.iterdir()) == [".lock", "09-try.ipynb", "record.json", "run.log"]


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [("raise", "failed", "ValueError: first line"), ("die", "killed", "killed|Kernel died")],
)
def test_a_bad_run_is_recorded_as_what_it_was(
    mode: str, status: str, words: str, chapter: Path, tmp_path: Path
) -> None:
    good, _ = run(planned(chapter), tmp_path / "runs")
    record, path = run(planned(chapter, mode=mode), tmp_path / "runs")
    assert record.status == status
    assert good.key != record.key
    assert re.search(words, record.error or "")
    assert "\n" not in (record.error or "")
    assert read_record(path) == record
    assert not (path.parent / "09-try.ipynb").exists()
    assert (path.parent / "09-try.failed.ipynb").exists()


def test_a_time_limit_ends_the_kernel_too(chapter: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    record, _ = run(planned(chapter, mode="sleep"), tmp_path / "runs", timeout=6)
    assert record.status == "timeout"
    assert record.error == "stopped after the time limit of 6 s."
    assert time.monotonic() - started < 60
    assert not left_over(tmp_path)


def left_over(folder: Path) -> list[str]:
    """Command lines of living processes that work below a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and str(folder) in process.cwd():
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_a_stopped_run_is_recorded_as_killed(chapter: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(chapter), "--only", "one", "-p", "mode", "sleep"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "runs" / "09-try" / planned(chapter, mode="sleep").key
    for _ in range(300):
        if list(folder.glob(".partial-*/*.ipynb")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert read_record(folder / "record.json").status == "killed"
    assert not left_over(tmp_path)


def test_a_killed_runner_takes_its_kernel_along_and_the_next_run_clears_up(chapter: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(chapter), "--only", "one", "-p", "mode", "sleep"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    folder = tmp_path / "runs" / "09-try" / planned(chapter, mode="sleep").key
    for _ in range(300):
        if list(folder.glob(".partial-*/*.ipynb")):
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    for _ in range(150):
        if not left_over(tmp_path):
            break
        time.sleep(0.1)
    assert not left_over(tmp_path)
    assert not (folder / "record.json").exists()
    record, _ = run(planned(chapter, mode="sleep"), tmp_path / "runs", timeout=3)
    assert record.status == "timeout"
    assert not list(folder.glob(".partial-*"))


def test_the_same_run_twice_at_once_is_refused(chapter: Path, tmp_path: Path) -> None:
    one = planned(chapter)
    folder = tmp_path / "runs" / "09-try" / one.key
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="running already"):
            run(one, tmp_path / "runs")


def test_runs_that_start_together_do_not_disturb_each_other(chapter: Path, tmp_path: Path) -> None:
    # Without a connection file of its own, each kernel would open the same sockets in the current folder.
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(chapter), "--only", "one", "-p", "seed"]
    together = [
        subprocess.Popen([*command, str(seed)], cwd=tmp_path, stderr=subprocess.PIPE, text=True) for seed in range(4)
    ]
    errors = [process.communicate()[1] for process in together]
    assert [process.returncode for process in together] == [0] * 4, errors
    records = [read_record(path) for path in (tmp_path / "runs").rglob("record.json")]
    assert sorted(record.metrics["seed"] for record in records) == [0, 1, 2, 3]
    assert not list(tmp_path.rglob("kernel-ipc*"))


def test_a_failed_rerun_removes_the_notebook_of_the_good_one(chapter: Path, tmp_path: Path) -> None:
    _, path = run(planned(chapter), tmp_path / "runs")
    text = chapter.read_text()
    chapter.write_text(text.replace("publish_display_data({", "undefined({"))
    record, again = run(planned(chapter), tmp_path / "runs")
    assert again == path
    assert record.status == "failed"
    assert not (path.parent / "09-try.ipynb").exists()


def test_peak_memory_is_the_kernels(chapter: Path, tmp_path: Path) -> None:
    small, _ = run(planned(chapter), tmp_path / "runs")
    large, _ = run(planned(chapter, mode="memory"), tmp_path / "runs")
    assert large.peak_memory_mb > small.peak_memory_mb + 300


def test_a_plan_is_checked_before_a_kernel_starts(chapter: Path) -> None:
    assert [p.name for p in plan(chapter)] == ["one", "two"]
    assert plan(chapter, only="two")[0].parameters["seed"] == 2
    for arguments, words in (
        ({"profile": "dmo"}, "did you mean 'demo'"),
        ({"only": "three"}, "has no run 'three'"),
        ({"changed": {"moed": "ok"}}, "did you mean 'mode'"),
        ({"changed": {"seed": "1"}}, "takes int"),
    ):
        with pytest.raises(UsageError, match=words):
            plan(chapter, **arguments)


def test_the_record_is_strict_json(chapter: Path, tmp_path: Path) -> None:
    _, path = run(planned(chapter), tmp_path / "runs")
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
