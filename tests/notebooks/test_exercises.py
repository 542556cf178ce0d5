"""The code of the solutions runs. A few are executed here; of all, `make exercises` leaves what came out."""

import importlib
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from emoser_lib.cli.run import planned_runs
from emoser_lib.environment import ROOT
from emoser_lib.teaching.markers import SOLUTION_LINES, for_students

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

SHORT = {"ex-scoring-seed", "ex-corpus-own"}
"""Executed each time: those that train nothing."""


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("exercises")


def test_what_the_solutions_show_was_executed_as_it_stands(script: ModuleType, root: Path) -> None:
    """Whoever changes a solution's code executes it: `make exercises`."""
    kept = json.loads((root / "book" / "exercises.json").read_text(encoding="utf-8"))
    shown = {label: code for path in NOTEBOOKS for label, _, code in script.solutions(path)}
    assert len(shown) > 20
    assert {label: of["code"] for label, of in kept.items()} == shown


def test_the_parameters_of_each_command_pass_their_checks(script: ModuleType) -> None:
    commands = [
        shlex.split(line.replace("$k", "4").removeprefix("for k in 1 4 16; do ").removesuffix("; done"))
        for path in NOTEBOOKS
        for _, language, code in script.solutions(path)
        if language == "bash"
        for line in code.splitlines()
    ]
    assert commands
    for command in commands:
        assert command[:2] == ["emoser", "run"]
        options = command[3:]
        assert set(options[::3]) <= {"-p"}
        assert planned_runs(command[2], "demo", None, list(zip(options[1::3], options[2::3], strict=True)), {})


@pytest.mark.parametrize("label", sorted(SHORT))
def test_short_solutions_run(script: ModuleType, label: str) -> None:
    [(path, language, code)] = [
        (path, language, code)
        for path in NOTEBOOKS
        for named, language, code in script.solutions(path)
        if named == label
    ]
    assert script.commanded(code) if language == "bash" else script.at_the_end(path, [code]) == [{}]


def test_a_solution_that_fails_is_not_kept(script: ModuleType) -> None:
    with pytest.raises(script.subprocess.CalledProcessError):
        script.commanded("emoser run 05-gemma-lora -p ranks nonsense")


STUBS = [
    (path.stem, cell.id, nbformat.v4.new_notebook(cells=[cell]), check.source)
    for path in NOTEBOOKS
    for cell, check in pairwise(nbformat.read(path, as_version=4).cells)
    if cell.cell_type == "code" and SOLUTION_LINES.search(cell.source)
]
"""Chapter, exercise, the cell that students complete, and the checks after it."""


@pytest.mark.parametrize(("chapter", "label", "asked", "checks"), STUBS, ids=[stub[1] for stub in STUBS])
def test_checks_fail_before_a_stub_is_completed_and_pass_after(
    chapter: str, label: str, asked: nbformat.NotebookNode, checks: str
) -> None:
    text = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
    assert f":label: {label}\\n" in text, "the cell's id is the exercise's label"
    with pytest.raises(NotImplementedError):
        exec(f"{for_students(asked).cells[0].source}\n{checks}", {})
    exec(f"{asked.cells[0].source}\n{checks}", {})


KINDS = ("Predict, then run", "Complete the code", "Find the mistake", "Go further")
"""Each chapter has one of each at least."""

OLDER = {"01-corpus", "02-scoring", "03-classical", "06-qwen-audio-zero-shot", "07-qwen-audio-lora"}
"""Chapters whose exercises are still to be made so."""

EXERCISE = re.compile(r"`{3,}\{exercise\} ?(.*)\n:label: (\S+)\n(.*)")


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem not in OLDER], ids=lambda path: path.stem)
def test_a_chapter_has_exercises_of_each_kind_that_its_notebook_can_answer(script: ModuleType, path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    found = EXERCISE.findall("\n".join(cell.source for cell in cells if cell.cell_type == "markdown"))
    assert set(KINDS) <= {kind for kind, _, _ in found} <= {*KINDS, "Think"}
    for _, label, text in found:
        assert re.match(r"\*(Easy|Middling|Hard), [^.]+\.\*", text), f"{label}: how hard, how long"
    assert {language for _, language, _ in script.solutions(path)} == {"python"}
    completed = [label for kind, label, _ in found if kind == "Complete the code"]
    assert [label for chapter, label, _, _ in STUBS if chapter == path.stem] == completed
