"""What a user's machine does to a run: other kernels, a long TMPDIR, a file system without locks."""

import errno
import fcntl
import json
from pathlib import Path

import nbformat
import pytest

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.runner import run

CODE = """
import os
from IPython.display import publish_display_data
numba = os.environ["NUMBA_CACHE_DIR"] == os.path.join(os.environ["EMOSER_CACHE"], "numba")
told = {"metrics": {"numba": numba}}
publish_display_data({"text/plain": ""}, metadata={"emoser": told})
"""


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook that tells which environment it runs in."""
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
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    [planned] = plan(notebook, "demo")
    record, _ = run(planned, tmp_path / "runs")
    assert (record.status, record.error) == ("ok", None)
    assert record.metrics["numba"] is True


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
