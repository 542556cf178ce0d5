"""The runner, with real kernels: a run is ok only if its last cell was reached, and its record is whole."""

import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import read_record
from emoser_lib.experiments.runs.profiles import PlannedRun, plan
from emoser_lib.experiments.runs.records import Record
from emoser_lib.experiments.runs.runner import run
from emoser_lib.experiments.runs.settling import settle

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


def write_chapter(folder: Path) -> Path:
    """A notebook that ends as it is told, with a profile beside it."""
    cell = nbformat.v4.new_code_cell
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        cell(BODY),
        cell(LAST),
    ]
    path = folder / "notebooks" / "09-try.ipynb"
    (path.parent / "profiles").mkdir(parents=True)
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)
    (path.parent / "profiles" / "demo.yaml").write_text("09-try:\n  one: {}\n  two: {seed: 2}\n")
    return path


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    return write_chapter(tmp_path)


def planned(chapter: Path, **changed: object) -> PlannedRun:
    return plan(chapter, "demo", "one", changed)[0]


SECRETS = {
    name: f"planted-{number}-of-the-user"
    for number, name in enumerate(("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "PGPASSWORD"))
}
"""What people have in their environments."""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Record, Path]:
    """A run that came to its end, and where its record is: do not change it, copy it."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as environment:
        for name, secret in SECRETS.items():
            environment.setenv(name, secret)
        return run(planned(write_chapter(folder), seed=5), folder / "runs")


def holds_no_secret(folder: Path) -> None:
    for file in (path for path in folder.rglob("*") if path.is_file()):
        for name, secret in SECRETS.items():
            assert secret.encode() not in file.read_bytes(), f"{file.name} holds {name}"


def test_secrets_of_the_environment_are_in_nothing_that_a_run_writes(good: tuple[Record, Path]) -> None:
    assert {"record.json", "run.log", "09-try.ipynb"} <= {path.name for path in good[1].parent.iterdir()}
    holds_no_secret(good[1].parent)


def test_a_good_run_leaves_notebook_and_record(good: tuple[Record, Path]) -> None:
    record, path = good
    tmp_path = path.parents[3]
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
    there = {".lock", "09-try.ipynb", "parameters.json", "planned.json", "record.json", "run.log", "whole.json"}
    assert {p.name for p in path.parent.iterdir()} == there


@pytest.mark.parametrize(
    ("mode", "status", "words"),
    [("raise", "failed", "ValueError: first line"), ("die", "killed", "killed|Kernel died")],
)
def test_a_bad_run_is_recorded_as_what_it_was(
    mode: str, status: str, words: str, chapter: Path, good: tuple[Record, Path], tmp_path: Path
) -> None:
    record, path = run(planned(chapter, seed=5, mode=mode), tmp_path / "runs")
    assert record.status == status
    assert good[0].key != record.key
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
    assert settle(tmp_path / "runs")[folder].status == "killed", "the next call writes its record"
    assert "it came to no end" in (read_record(folder / "record.json").error or "")
    record, _ = run(planned(chapter, mode="sleep"), tmp_path / "runs", timeout=3)
    assert record.status == "timeout"
    assert not list(folder.glob(".partial-*"))


def test_an_ok_record_does_not_outlive_its_notebook(chapter: Path, good: tuple[Record, Path], tmp_path: Path) -> None:
    """Snakemake takes the notebook of a run away that it starts again, and may be killed then."""
    shutil.copytree(good[1].parents[2], tmp_path / "runs")
    folder = tmp_path / "runs" / "09-try" / good[0].key
    assert settle(tmp_path / "runs") == {folder: good[0]}
    (folder / "09-try.ipynb").unlink()
    with pytest.warns(UserWarning, match=r"is not whole \(09-try.ipynb is not there\): it counts as failed, run it"):
        [record] = settle(tmp_path / "runs").values()
    assert (record.status, read_record(folder / "record.json")) == ("failed", record)
    assert settle(tmp_path / "runs") == {folder: record}, "said once"


def test_a_run_of_before_there_was_a_manifest_is_read(good: tuple[Record, Path], tmp_path: Path) -> None:
    shutil.copytree(good[1].parents[2], tmp_path / "runs")
    folder = tmp_path / "runs" / "09-try" / good[0].key
    for name in ("whole.json", "planned.json"):
        (folder / name).unlink()
    assert settle(tmp_path / "runs") == {folder: good[0]}
    (folder / "09-try.ipynb").unlink()
    with pytest.warns(UserWarning, match="has no notebook any more: run it again"):
        assert settle(tmp_path / "runs") == {}


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
        subprocess.Popen([*command, str(seed)], cwd=tmp_path, stderr=subprocess.PIPE, text=True) for seed in range(2)
    ]
    errors = [process.communicate()[1] for process in together]
    assert [process.returncode for process in together] == [0] * 2, errors
    records = [read_record(path) for path in (tmp_path / "runs").rglob("record.json")]
    assert sorted(record.metrics["seed"] for record in records) == [0, 1]
    assert not list(tmp_path.rglob("kernel-ipc*"))


def test_a_failed_rerun_removes_the_notebook_of_the_good_one(
    chapter: Path, good: tuple[Record, Path], tmp_path: Path
) -> None:
    shutil.copytree(good[1].parents[2], tmp_path / "runs")
    path = tmp_path / good[1].relative_to(good[1].parents[3])
    assert (path.parent / "09-try.ipynb").exists()
    text = chapter.read_text()
    chapter.write_text(text.replace("publish_display_data({", "undefined({"))
    record, again = run(planned(chapter, seed=5), tmp_path / "runs")
    assert again == path
    assert record.status == "failed"
    assert not (path.parent / "09-try.ipynb").exists()


def test_peak_memory_is_the_kernels(chapter: Path, good: tuple[Record, Path], tmp_path: Path) -> None:
    small, _ = good
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


def test_the_record_is_strict_json(good: tuple[Record, Path]) -> None:
    json.loads(good[1].read_text(), parse_constant=lambda name: pytest.fail(name))


def told(chapter: Path, metadata: str) -> PlannedRun:
    """A run whose last cell tells the record something else."""
    chapter.write_text(chapter.read_text().replace('{\\"answer\\": 6 * 7, \\"seed\\": seed}', metadata))
    return planned(chapter)


def test_what_is_not_finite_is_null_and_a_reported_text_stays_a_text(chapter: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(chapter, as_version=4)
    report = "report(a=float('nan'), b=[1.5, float('inf')], word='nan')"
    notebook.cells[-1].source = f"from emoser_lib.reporting import report\n{report}"
    nbformat.write(notebook, chapter)
    record, path = run(planned(chapter), tmp_path / "runs")
    assert record.metrics == {"a": None, "b": [1.5, None], "word": "nan"}
    assert (record.computing.accelerator, record.computing.processes) == (None, 1)
    assert read_record(path) == record


def test_a_notebook_that_tells_nonsense_has_a_record_of_it(chapter: Path, tmp_path: Path) -> None:
    record, path = run(told(chapter, "[1]"), tmp_path / "runs")
    assert record.status == "failed"
    assert "tells the record what it has no place for" in (record.error or "")
    assert read_record(path) == record


def test_a_failed_notebook_names_no_folder_and_no_secret_of_this_machine(
    chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "import os, warnings; from emoser_lib.corpora import load_corpus; print(os.getcwd()); warnings.warn('x')"
    chapter.write_text(chapter.read_text().replace("import os, signal, time", f"{body}; load_corpus('nosuch')"))
    notebook = nbformat.read(chapter, as_version=4)
    notebook.cells[1].source += "\ncorpus_options: dict = {}"
    nbformat.write(notebook, chapter)
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    record, path = run(planned(chapter, corpus_options={"root": "/scratch/somebody/my clips"}), tmp_path / "runs")
    holds_no_secret(path.parent)
    assert record.parameters["corpus_options"] == {"root": "…/my clips"}
    assert record.command.endswith("""-p corpus_options '{"root": "…/my clips"}'""")
    assert (record.error or "").startswith("UsageError: there is no corpus 'nosuch'")
    text = (path.parent / "09-try.failed.ipynb").read_text()
    assert "emoser_lib/corpora/loaders.py" in text
    for folder in (
        ROOT,
        tmp_path,
        Path.home(),
        Path(sys.prefix),
        Path(tempfile.gettempdir()) / "ipykernel_",
        "somebody",
    ):
        assert str(folder) not in text


@pytest.mark.parametrize("home", ["/", ""])
def test_an_odd_home_folder_does_no_harm(
    home: str, chapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chapter.write_text(chapter.read_text().replace("import os, signal, time", "print('https://a.b/c')"))
    monkeypatch.setenv("HOME", home)
    record, path = run(planned(chapter), tmp_path / "runs")
    assert record.status == "ok"
    cells = nbformat.read(path.parent / "09-try.ipynb", as_version=4).cells
    assert "https://a.b/c\n" in [
        output.text for cell in cells for output in cell.get("outputs", []) if "text" in output
    ]


def test_a_signal_ends_all_runs_of_the_profile(chapter: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(chapter), "-p", "mode", "sleep"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    for _ in range(300):
        if list(tmp_path.glob("runs/*/*/.partial-*/*.ipynb")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "stopped by a signal" in errors
    assert len(list(tmp_path.rglob("record.json"))) == 1


@pytest.mark.parametrize("text", ["- a", "09-try: 3", "09-try: [1]", "09-try: {one: 3}", "\xff"])
def test_a_damaged_profile_is_one_sentence(text: str, chapter: Path) -> None:
    (chapter.parent / "profiles" / "demo.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"demo\.yaml is not"):
        plan(chapter)


def test_the_folder_of_own_recordings_is_checked_and_absolute(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = root / "notebooks" / "01-corpus.ipynb"
    own = {"corpus": "folder", "corpus_options": {"root": "mine"}}
    with pytest.raises(UsageError, match="is not there"):
        plan(notebook, changed=own)
    (tmp_path / "mine").mkdir()
    assert plan(notebook, changed=own)[0].parameters["corpus_options"] == {"root": str(tmp_path / "mine")}
    with pytest.raises(UsageError, match="takes no option 'root'"):
        plan(notebook, changed=own | {"corpus": "demo"})


def test_the_command_can_be_typed_as_it_stands(chapter: Path) -> None:
    command = planned(chapter, mode="it's").command
    assert shlex.split(command)[-3:] == ["-p", "mode", "it's"]
