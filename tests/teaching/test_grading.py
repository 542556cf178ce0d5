"""Grading: what counts is what a student's code does in a fresh kernel, and never what was printed."""

import csv
import io
from pathlib import Path

import nbformat
import pytest

from emoser_lib.teaching.grading import Grade, grade_folder, grades_table, read_assignments
from emoser_lib.teaching.markers import for_students
from tests.command import emoser

pytestmark = pytest.mark.slow  # eight kernels: that they are fresh is the point

NAMES = ("a1-inside-the-model", "a2-honest-scores")


@pytest.fixture(scope="module")
def assignments(root: Path) -> dict[str, nbformat.NotebookNode]:
    return read_assignments(root / "notebooks" / "assignments")


def code_cell(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name)


def forged(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook whose checks are emptied, and say that all is well."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade"):
            cell.source = "print('✓')"
            cell.outputs = [nbformat.v4.new_output("stream", text="✓\n")]
    return notebook


@pytest.fixture(scope="module")
def grades(assignments: dict[str, nbformat.NotebookNode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Grade]:
    folder = tmp_path_factory.mktemp("handed-in")
    a1, a2 = (assignments[name] for name in NAMES)
    half = for_students(a1)
    half.cells.append(nbformat.v4.new_code_cell("raise SystemExit", metadata={"nbgrader": "mine"}))
    code_cell(half, "splice").source = code_cell(a1, "splice").source
    code_cell(half, "lora").source = "def lora(x, W, A, B, alpha):\n    return x @ W.T + alpha * (x @ A.T @ B.T)"
    endless = for_students(a2)
    code_cell(endless, "folds").source = "def video_folds(videos, folds):\n    while True: pass"
    odd = nbformat.from_dict(a2)
    odd.cells.append(code_cell(nbformat.from_dict(a2), "bootstrap") | {"id": "again"})
    code_cell(odd, "ece").source = "import os\nos._exit(0)"
    handed_in = {
        "60/stub/a1": forged(for_students(a1)), "60/stub/a2": for_students(a2), "60/half": half, "60/odd": odd,
        "60/whole/a1": a1, "60/whole/a2": a2, "5/endless": endless, "60/other": nbformat.v4.new_notebook(),
        "60/odd-metadata": nbformat.v4.new_notebook(metadata={"emoser": {"assignment": ["a1", {}]}}),
        "60/no-metadata": nbformat.v4.new_notebook(metadata={"emoser": "a1"}),
    }  # fmt: skip
    for name, notebook in handed_in.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.from_dict(notebook), folder / f"{name}.ipynb")
    (folder / "60" / "broken.ipynb").write_text("{")
    found = (grade for limit in (5, 60) for grade in grade_folder(folder / str(limit), assignments, limit))
    return {grade.file.removesuffix(".ipynb"): grade for grade in found}


def passed(grade: Grade) -> list[str]:
    return [check for check, why in grade.checks.items() if not why]


def test_checks_fail_before_and_pass_after_the_solution(grades: dict[str, Grade]) -> None:
    for name, count in (("a1", 7), ("a2", 6)):
        assert passed(grades[f"stub/{name}"]) == [], "what a student's notebook prints is not believed"
        assert len(grades[f"stub/{name}"].checks) >= count
        assert "write your code here" in next(iter(grades[f"stub/{name}"].checks.values()))
        assert passed(grades[f"whole/{name}"]) == list(grades[f"whole/{name}"].checks), grades[f"whole/{name}"].checks


def test_a_wrong_solution_fails_the_check_that_is_about_it(grades: dict[str, Grade]) -> None:
    checks = grades["half"].checks
    assert checks["check-splice-place"] == checks["check-splice-gradient"] == checks["check-lora-start"] == ""
    assert checks["check-lora-scale"] == "AssertionError: alpha is to be divided by r"
    assert "write your code" in checks["check-labels"]


def test_what_never_ends_or_kills_the_kernel_costs_the_rest_only(grades: dict[str, Grade]) -> None:
    assert "5 seconds" in grades["endless"].checks["check-folds-video"]
    assert "5 seconds" in grades["endless"].checks["check-ece-sure"]
    assert {check for check, why in grades["odd"].checks.items() if why == "the kernel died"} == {
        "check-ece-sure",
        "check-ece-bins",
    }
    assert passed(grades["odd"]) == ["check-folds-video", "check-folds-size"]


def test_a_cell_that_is_there_twice_is_not_guessed(grades: dict[str, Grade]) -> None:
    assert "is not defined" in grades["odd"].checks["check-bootstrap-pairs"]


def test_what_is_no_assignment_is_told(grades: dict[str, Grade]) -> None:
    for name in ("other", "odd-metadata", "no-metadata"):
        assert "no assignment" in grades[name].problem
    assert grades["broken"].problem and not grades["broken"].checks


def test_the_table_has_a_row_a_notebook_and_nothing_a_spreadsheet_would_compute() -> None:
    hostile = Grade(file="=cmd|' /C calc'!A1.ipynb", assignment="a1", checks={"one": "", "two": 'a, "b"\nc'})
    (row,) = csv.DictReader(io.StringIO(grades_table([hostile])))
    assert row["file"].startswith("'=") and row["passed"] == "1" and row["checks"] == "2"
    assert row["not passed"].startswith("two: a, ")


def test_the_command_writes_the_table_or_says_why_not(root: Path, tmp_path: Path) -> None:
    empty = emoser("grade", str(tmp_path))
    assert empty.returncode == 1 and "has no notebook" in empty.stderr
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "ana.ipynb")
    done = emoser("grade", str(tmp_path), "--out", str(tmp_path / "grades.csv"))
    assert done.returncode == 0 and "1 notebooks" in done.stdout
    assert (tmp_path / "grades.csv").read_text().startswith("file,assignment,passed,checks,not passed\nana.ipynb,")
    assert emoser("grade", str(tmp_path), "--assignments", str(tmp_path / "none")).returncode == 2
