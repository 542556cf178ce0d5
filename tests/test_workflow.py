"""The front of Snakemake: what a stopped call left on a Slurm cluster is cancelled or waited for."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def workflow(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("workflow", root / "scripts/workflow.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_a_place_with_slurm_has_jobs_there(workflow: ModuleType, root: Path) -> None:
    for place, many in (("cores", 0), ("gpus", 0), ("slurm", 2)):
        arguments = [f"--workflow-profile={root}/notebooks/places/{place}", "--cores", "2", "--", "sweep"]
        assert len(workflow.on_slurm(arguments)) == many
    assert workflow.on_slurm(["--executor", "slurm"])[1].startswith("emoser-")
    assert workflow.on_slurm(["--cores", "1", "book"]) == []


SQUEUE = """#!/bin/sh
case "$*" in
  *PENDING*) [ -e cancelled ] || echo "7 emoser-ours-1"; echo "8 somebody-else" ;;
  *RUNNING*) [ -e asked ] || echo "9 emoser-ours-2"; touch asked ;;
esac
"""


def test_jobs_of_a_stopped_call_are_cancelled_or_waited_for(
    workflow: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in (("squeue", SQUEUE), ("scancel", '#!/bin/sh\necho "$@" >> cancelled\n')):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    waited: list[float] = []
    monkeypatch.setattr(workflow.time, "sleep", waited.append)
    workflow.end_slurm_jobs("emoser-ours")
    assert (tmp_path / "cancelled").read_text() == "7\n"
    assert len(waited) == 1
    (tmp_path / "squeue").write_text("#!/bin/sh\necho no controller >&2\nexit 1\n")
    with pytest.raises(SystemExit, match=r"Slurm does not answer \(no controller\): try again"):
        workflow.end_slurm_jobs("emoser-ours")
