"""What a user's machine does to a run: other kernels, a long TMPDIR, no locks, full disks, folders only to be read."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.runner import run
from emoser_lib.files import remove

CODE = """
from IPython.display import publish_display_data
told = {"metrics": {"ran": True}}
publish_display_data({"text/plain": ""}, metadata={"emoser": told})
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook that tells that it ran."""
    cells = [
        nbformat.v4.new_code_cell("seed: int = 0  # any", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(CODE),
    ]
    path = tmp_path / "notebooks" / "09-try.ipynb"
    (path.parent / "profiles").mkdir(parents=True)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    (path.parent / "profiles" / "demo.yaml").write_text("09-try:\n  one: {}\n")
    return path


def test_a_run_has_this_environments_kernel_in_any_machine(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another kernel of the same name, a TMPDIR as clusters have it, and a home that is only read: all at once."""
    spec = tmp_path / "jupyter" / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", str(long))
    [planned] = plan(notebook, "demo")
    record, _ = run(planned, tmp_path / "runs")
    assert (record.status, record.error) == ("ok", None)
    assert record.metrics["ran"] is True


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK])
def test_a_file_system_without_locks_is_named(
    number: int, notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    [planned] = plan(notebook, "demo")
    with pytest.raises(DataError, match=r"09-try/demo-\w+ is on a file system without locks .*--runs"):
        run(planned, tmp_path / "runs")


def emoser_in(place: Path, mount: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where a file system of its own is mounted at a place."""
    place.mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    there = f"mount -t tmpfs -o {mount} tmpfs '{place}'"
    try:
        allowed = subprocess.run([*own, there], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("needs a system that lets a user mount a file system in a namespace of its own")
    command = [*own, f'{there} && exec "$@"', "sh", sys.executable, "-m", "emoser_lib.cli", *arguments]
    return subprocess.run(command, cwd=place.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("mount", "reason"), [("size=300k", "the disk has 0.3 MB left"), ("ro", "may only be read")])
def test_a_place_that_cannot_be_written_is_named_before_the_work(
    mount: str, reason: str, notebook: Path, tmp_path: Path
) -> None:
    """By `emoser plan` and `emoser run` alike."""
    place = tmp_path / "place"
    for number, command in enumerate(("plan", "run")):
        where = place.with_name(f"place-{number}")
        done = emoser_in(where, mount, command, str(notebook), "--runs", str(where / "runs"))
        assert done.returncode == 1
        assert f"emoser: {where}/runs cannot be written ({reason}" in done.stderr.replace(f"{where} may", "may")
        assert done.stderr.rstrip().endswith("make room there, or name another folder (--runs).")
        assert len(done.stderr.splitlines()) == 1


def test_a_disk_that_fills_up_meanwhile_is_named(notebook: Path, tmp_path: Path) -> None:
    made = nbformat.read(notebook, 4)
    made.cells[1].source = "print('x' * 40_000_000)"
    nbformat.write(made, notebook)
    done = emoser_in(tmp_path / "place", "size=24m", "run", str(notebook), "--runs", str(tmp_path / "place"))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"{tmp_path}/place/09-try/demo-" in last
    assert "cannot be written (No space left on device): make room there, or name another folder (--runs)." in last


def test_what_stands_in_a_runs_place_is_no_obstacle(notebook: Path, tmp_path: Path) -> None:
    """A file for the chapter's folder; then a folder, a link without end and a pipe for the run's files."""
    [planned] = plan(notebook, "demo")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "09-try").write_text("x")
    with pytest.warns(UserWarning, match="09-try is no folder: what was in it is made again"):
        _, path = run(planned, tmp_path / "runs")
    for name in (".lock", "record.json", "09-try.ipynb", "planned.json", "whole.json", "run.log"):
        remove(path.parent / name)
    (path / "folder").mkdir(parents=True)
    (path.parent / "09-try.ipynb").symlink_to(path.parent / "09-try.ipynb")
    for name in (".lock", "run.log", "planned.json"):
        os.mkfifo(path.parent / name)
    assert run(planned, tmp_path / "runs")[0].status == "ok"


def test_a_runs_folder_that_leads_nowhere_is_named(notebook: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(DataError, match=r"loop cannot be written \(.*loop is a link without end or no folder\)"):
        run(plan(notebook, "demo")[0], tmp_path / "loop")
