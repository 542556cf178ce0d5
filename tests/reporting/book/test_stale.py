"""What makes the book stale: a table of edits, and which chapters and pages each makes again."""

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.sweeps import plan_sweep
from emoser_lib.experiments.settings.chapters import CHAPTERS
from emoser_lib.reporting.book.pages import with_words
from emoser_lib.reporting.book.stale import READERS, Dependencies
from tests.reporting.book.test_pages import record

LIBRARY = "emoser_lib"
ALL = "01 02 03 04 05 06 07 08 09 10 11 12 13 14"


@pytest.fixture(scope="module")
def checkout(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies in a checkout, to be edited."""
    place = tmp_path_factory.mktemp("checkout")
    built = shutil.ignore_patterns("_build", "__pycache__", "vendor")
    for folder in (LIBRARY, "book", "notebooks"):
        shutil.copytree(root / folder, place / folder, copy_function=os.symlink, ignore=built)
    return place


def hashes(place: Path) -> dict[str, str]:
    """By chapter's number what its run depends on, and what the book does."""
    depend = Dependencies(place)
    return {path.stem[:2]: depend.of_run(path) for path in depend.notebooks} | {"book": depend.of_book()}


@pytest.fixture(scope="module")
def before(checkout: Path) -> dict[str, str]:
    return hashes(checkout)


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


def cell(kind: str, change: Callable[[Any], Any], tagged: str = "") -> Callable[[str], str]:
    """Change the first cell of a kind without a tag, or with this one."""

    def of_text(text: str) -> str:
        notebook = nbformat.reads(text, as_version=4)
        change(
            next(
                c
                for c in notebook.cells
                if c.cell_type == kind and c.metadata.get("tags", []) == ([tagged] if tagged else [])
            )
        )
        return str(nbformat.writes(notebook))

    return of_text


def more(what: str) -> Callable[[str], str]:
    return lambda text: text + what


def add(line: str) -> Callable[[Any], None]:
    return lambda cell: cell.update(source=f"{cell.source}\n{line}")


READING, HEARING = f"{LIBRARY}/systems/reading", f"{LIBRARY}/systems/hearing"
LORA, AUDIO = f"{READING}/lora.py", f"{LIBRARY}/systems/hearing/audio_llm.py"
WHISPER = "notebooks/08-whisper-gemma.ipynb"
TABLE = {
    "a comment in a module": (LORA, more("# a comment\n"), "", False),
    "a docstring in a module": (LORA, replaced('"""', '"""Words. '), "", True),
    "code in a module of training": (LORA, more("x = 1\n"), "05 06 07 08 09 10 11 12 13 14", True),
    "code of text systems": (f"{READING}/text_task.py", more("x = 1\n"), "05 06 07 08 09 10 11 12 14", True),
    "code of Qwen-Audio's frames": (f"{LIBRARY}/systems/qwen_audio/frames.py", more("x = 1\n"), "06 07 14", True),
    "code of the corpora": (f"{LIBRARY}/corpora/corpus.py", more("x = 1\n"), ALL, True),
    "code that only draws tables of robustness": (
        f"{LIBRARY}/reporting/robustness/robustness_tables.py", more("x = 1\n"), "13", True,
    ),
    "a name handed on": (f"{LIBRARY}/systems/__init__.py", more("# x\n"), "", False),
    "a help text of the command": (f"{LIBRARY}/cli/run.py", more("x = 1\n"), "", False),
    "the doctor": (f"{LIBRARY}/doctor.py", more("x = 1\n"), "", False),
    "the pages": (f"{LIBRARY}/reporting/book/pages.py", more("x = 1\n"), "", True),
    "what makes stale": (f"{LIBRARY}/reporting/book/stale.py", more("x = 1\n"), "", True),
    "an extension of the book": ("book/extensions/benchmark.py", more("x = 1\n"), "", True),
    "a comment in an extension": ("book/extensions/benchmark.py", more("# x\n"), "", False),
    "a style": ("book/static/emoser.css", more("a {}\n"), "", True),
    "prose of the book": ("book/index.md", more("Words.\n"), "", True),
    "the demo's weights": (
        f"{LIBRARY}/systems/checkpoints/demo_models/demo-gemma/model.safetensors", more(" "), ALL, False,
    ),
    "the demo's configuration": (
        f"{LIBRARY}/systems/checkpoints/demo_models/demo-whisper/config.json", more(" "), ALL, False,
    ),
    "a clip of the demo": (f"{LIBRARY}/corpora/demo_data/audio/0b*.mp3", more(" "), ALL, False),
    "the demo's table": (f"{LIBRARY}/corpora/demo_data/latents.csv", more("\n"), ALL, False),
    "what is said of the demo": (f"{LIBRARY}/corpora/demo_data/README.md", more("Words.\n"), "", False),
    "the papers' numbers": ("book/claims.yaml", more("# x\n"), "01 02 03 05 06 07 08 09 10 11 12", True),
    "a record": ("book/records/05-gemma-lora-small-*.json", more("\n"), "05 11 12", True),
    "a record that an audit shows by name": ("book/records/10-emosllm-small-*.json", more("\n"), "10 11 12", True),
    "a profile": ("notebooks/profiles/paper.yaml", more("# x\n"), "11", False),
    "prose of a chapter": (WHISPER, cell("markdown", add("Words.")), "", True),
    "a tag of a chapter": (WHISPER, cell("code", lambda c: c.metadata.update(tags=["hide-input"])), "", True),
    "an id of a chapter": (WHISPER, cell("code", lambda c: c.update(id="another")), "", True),
    "a comment in a chapter": (WHISPER, cell("code", add("# a comment")), "", True),
    "code of a chapter": (WHISPER, cell("code", add("x = 1")), "08", True),
    "a parameter's default": (WHISPER, cell("code", add("x: int = 1"), "parameters"), "08 11", True),
}  # fmt: skip


@pytest.mark.parametrize("edit", TABLE)
def test_an_edit_makes_again_what_depends_on_it(edit: str, checkout: Path, before: dict[str, str]) -> None:
    where, change, chapters, book = TABLE[edit]
    path = next(iter(sorted(checkout.glob(where))))
    original = path.resolve()
    path.unlink()
    try:
        path.write_text(change(original.read_bytes().decode("latin-1")), encoding="latin-1")
        after = hashes(checkout)
    finally:
        path.unlink()
        path.symlink_to(original)
    assert {name for name in before if before[name] != after[name]} == {*chapters.split(), *(["book"] if book else [])}


def test_a_touched_file_changes_nothing(checkout: Path, before: dict[str, str], root: Path) -> None:
    for path in (checkout / LORA, checkout / WHISPER):
        original = path.resolve()
        path.unlink()
        path.write_bytes(original.read_bytes())
    assert hashes(checkout) == before


def test_the_settings_of_a_chapter_are_behind_it(root: Path) -> None:
    depend = Dependencies(root)
    for path in depend.notebooks:
        settings = CHAPTERS[json.loads(path.read_text())["metadata"]["emoser"]["settings"]]
        assert settings.__module__ in depend.modules_of_run(path)


def test_every_file_that_is_read_has_its_reader(root: Path) -> None:
    """Modules that name a place beside them or in the checkout are in the table; what is shipped is read by one."""
    for path in (root / LIBRARY).rglob("*.py"):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        text = path.read_text()
        named = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
        if ("__file__" in named and path.name != "environment.py") or 'ROOT / "book" / "claims.yaml"' in text:
            assert name in READERS, f"{name} reads a file: say in READERS which"
    places = [root / place for place in READERS.values()]
    assert all(place.exists() for place in places)
    for path in (root / LIBRARY).rglob("*"):
        if path.is_file() and path.suffix not in (".py", ".pyc", ".typed"):
            assert any(place in path.parents for place in places), f"{path}: say in READERS who reads it"


def notebook(*cells: tuple[str, str], **outputs: str) -> nbformat.NotebookNode:
    """Cells from kind and source; outputs by the number of the code cell."""
    made = nbformat.v4.new_notebook()
    for kind, source in cells:
        made.cells.append({"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[kind](source))
    return made


def test_a_page_has_todays_words_and_the_runs_outputs() -> None:
    ran = notebook(("markdown", "# Old"), ("code", "x: int = 1"), ("code", "x: int = 2"), ("code", "x + 1"))
    ran.cells[1].metadata.tags, ran.cells[2].metadata.tags = ["parameters"], ["injected-parameters"]
    ran.cells[3].outputs, ran.cells[3].execution_count = [nbformat.v4.new_output("stream", text="3")], 3
    now = notebook(("markdown", "# New"), ("code", "x: int = 1  # help"), ("markdown", "More."), ("code", "x + 1  # y"))
    now.cells[1].metadata.tags = ["parameters"]
    now.cells[3].metadata.tags = ["hide-input"]
    page = with_words(ran, now, record())
    assert [c.source for c in page.cells] == ["# New", "x: int = 1  # help", "x: int = 2", "More.", "x + 1  # y"]
    assert page.cells[4].metadata.tags == ["hide-input"]
    assert (page.cells[4].outputs, page.cells[4].execution_count) == (ran.cells[3].outputs, 3)
    for other in (notebook(("code", "x: int = 1")), notebook(("code", "x: int = 1"), ("code", "x + 2"))):
        with pytest.raises(DataError, match="its code has changed since it was run: run `emoser run 09-try`"):
            with_words(ran, other, record())


FAKE = """#!{python}
import json, shutil, sys
from pathlib import Path
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.runs.profiles import plan
_, _, chapter, _, profile, _, name, *more = sys.argv
notebook = Path("notebooks") / f"{{chapter}}.ipynb"
changed = {{more[i + 1]: parameters_of(notebook)[more[i + 1]].parse(more[i + 2]) for i in range(0, len(more), 3)}}
[run] = plan(notebook, profile, name, changed)
folder = Path("runs") / run.chapter / run.key
folder.mkdir(parents=True, exist_ok=True)
shutil.copy(notebook, folder)
record = json.loads(sorted(Path("book/records").glob("03-*.json"))[0].read_text()) | {{"key": run.key}}
(folder / "record.json").write_text(json.dumps(record))
"""


@pytest.mark.slow
def test_snakemake_runs_what_is_stale(root: Path, tmp_path: Path) -> None:
    """In a folder with a blank in its path, which the interpreter's has too."""
    tmp_path = tmp_path / "Mis Documentos"
    (tmp_path / "scripts").mkdir(parents=True)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for folder in (LIBRARY, "book"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    (tmp_path / "notebooks").mkdir()
    for name in ("Snakefile", "profiles", "03-classical.ipynb"):
        copy = shutil.copytree if (root / "notebooks" / name).is_dir() else shutil.copy
        copy(root / "notebooks" / name, tmp_path / "notebooks" / name)
    (tmp_path / "bin").mkdir()
    runs = tmp_path / "bin/emoser"
    runs.write_text(FAKE.format(python=sys.executable))
    pages = tmp_path / "bin/jupyter-book"
    pages.write_text("#!/bin/sh\nmkdir -p book/_build/html && echo $* > book/_build/html/index.html\n")
    (tmp_path / "scripts/stage_book.py").write_text("import sys; from pathlib import Path; Path(sys.argv[1]).stat()")
    (tmp_path / "scripts/translations.py").write_text("import sys; assert sys.argv[1:] == ['build']")
    for program in (runs, pages):
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{runs.parent}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)}

    def workflow(*options: str, code: int = 0, target: str = "runs") -> str:
        python = str(tmp_path / ".venv/bin/python")
        command = [python, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", "--cores", "1", *options, target]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == code, done.stderr[-2000:]
        return done.stdout + done.stderr

    workflow()
    chapter = tmp_path / "notebooks/03-classical.ipynb"
    chapter.write_text(cell("markdown", add("More words."))(chapter.read_text()))
    assert "Nothing to be done" in workflow("--dry-run")
    weights = next((tmp_path / LIBRARY).rglob("demo-gemma/model.safetensors"))
    weights.write_bytes(weights.read_bytes() + b" ")
    assert "rule run" in workflow("--dry-run")
    hostile = tmp_path / "notebooks/profiles/mine.yaml"
    hostile.write_text(
        "03-classical:\n  \"$(touch INJECTED) two 'words' `touch INJECTED`; touch INJECTED\": {seed: 1}\n"
    )
    refused = workflow("--config", "profile=mine", "--", code=1)
    assert "emoser: notebooks/profiles/mine.yaml: the run" in refused and "File " not in refused
    assert not (tmp_path / "INJECTED").exists(), "a run's name reached the shell as more than text"
    workflow(target="book")
    assert (tmp_path / "book/_build/html/index.html").is_file()
    (tmp_path / "notebooks/profiles/mine.yaml").write_text("03-classical:\n  two_words: {seed: 1}\n")
    workflow("--config", "profile=mine", "--", target="records")
    assert (tmp_path / "book/records/03-classical-mine-two_words.json").is_file()
    over = "{chapter: 03-classical, run: two_words, over: {baselines: [majority, text-svm]}}"
    (tmp_path / "notebooks/profiles/grid.yaml").write_text(
        f"03-classical:\n  two_words: {{seed: 1}}\nsweeps:\n  both: {over}\n"
    )
    sweep = ("--config", "profile=grid", "sweep=both", "--")
    assert workflow(*sweep, target="sweep").count("rule run:") == 3
    [whole] = plan_sweep(tmp_path / "notebooks", "both", "grid").runs
    os.utime(tmp_path / f"runs/03-classical/{whole.key}/03-classical.ipynb", (0, 0))
    again = workflow("--dry-run", *sweep, target="sweep")
    assert "rule run:" not in again, "a clock that was set back makes nothing stale"
    assert "rule sweep:" in again
    (tmp_path / "notebooks/profiles/few.yaml").write_text("{}\n")
    said = workflow("--config", "profile=few", "--", code=1, target="book")
    assert "profile 'few' names no run of 03-classical, and the book shows every chapter: add them to" in said
