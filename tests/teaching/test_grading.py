"""Grading: what counts is what a student's code does in a fresh kernel, and never what was printed."""

import csv
import io
from pathlib import Path

import nbformat
import psutil
import pytest

from emoser_lib.teaching.grading import Grade, grade_folder, grades_table, read_assignments
from emoser_lib.teaching.markers import for_students
from tests.command import emoser

pytestmark = pytest.mark.slow  # six kernels: that they are fresh is the point

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


def tiny() -> nbformat.NotebookNode:
    """An assignment of three tasks without an import: its kernels start in a second."""
    cells = []
    for name in ("one", "two", "three"):
        code = {name: f"def {name}():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION"}
        for of, source in (code | {f"check-{name}": f"assert {name}() == 1"}).items():
            role = {"grade_id": of, "grade": of != name, "solution": of == name}
            cells.append(nbformat.v4.new_code_cell(source, metadata={"nbgrader": role}))
    return nbformat.v4.new_notebook(cells=cells, metadata={"emoser": {"assignment": "tiny"}})


@pytest.fixture(scope="module")
def grades(assignments: dict[str, nbformat.NotebookNode], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Grade]:
    folder = tmp_path_factory.mktemp("handed-in")
    a1, a2 = (assignments[name] for name in NAMES)
    half = forged(for_students(a1))
    half.cells.append(nbformat.v4.new_code_cell("raise SystemExit", metadata={"nbgrader": "mine"}))
    code_cell(half, "splice").source = code_cell(a1, "splice").source
    code_cell(half, "lora").source = "def lora(x, W, A, B, alpha):\n    return x @ W.T + alpha * (x @ A.T @ B.T)"
    endless, odd = tiny(), tiny()
    code_cell(endless, "two").source = "while True: pass"
    odd.cells.append(code_cell(tiny(), "one"))
    code_cell(odd, "three").source = "import os\nos._exit(0)"
    handed_in = {
        "60/half": half, "60/stub": forged(for_students(a2)), "60/whole/a1": a1, "60/whole/a2": a2,
        "60/odd": odd, "2/endless": endless, "60/other": nbformat.v4.new_notebook(),
        "60/odd-metadata": nbformat.v4.new_notebook(metadata={"emoser": {"assignment": ["a1", {}]}}),
        "60/no-metadata": nbformat.v4.new_notebook(metadata={"emoser": "a1"}),
    }  # fmt: skip
    for name, notebook in handed_in.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.from_dict(notebook), folder / f"{name}.ipynb")
    (folder / "60" / "broken.ipynb").write_text("{")
    known = assignments | {"tiny": tiny()}
    found = (grade for limit in (2, 60) for grade in grade_folder(folder / str(limit), known, limit))
    return {grade.file.removesuffix(".ipynb"): grade for grade in found}


def passed(grade: Grade) -> list[str]:
    return [check for check, why in grade.checks.items() if not why]


def test_checks_pass_with_the_solution(grades: dict[str, Grade]) -> None:
    for name, count in (("a1", 8), ("a2", 6)):
        assert passed(grades[f"whole/{name}"]) == list(grades[f"whole/{name}"].checks), grades[f"whole/{name}"].checks
        assert len(grades[f"whole/{name}"].checks) == count


def test_checks_fail_without_it_whatever_the_notebook_prints(grades: dict[str, Grade]) -> None:
    assert passed(grades["stub"]) == []
    assert all("write your code here" in why for why in grades["stub"].checks.values())
    for check in ("check-labels", "check-loss-next", "check-loss-mean"):
        assert "write your code here" in grades["half"].checks[check]


def test_a_wrong_solution_fails_the_check_that_is_about_it(grades: dict[str, Grade]) -> None:
    checks = grades["half"].checks
    assert checks["check-splice-place"] == checks["check-splice-gradient"] == checks["check-lora-start"] == ""
    assert checks["check-lora-scale"] == "AssertionError: alpha is to be divided by r"


def test_what_never_ends_or_kills_the_kernel_costs_the_rest_only(grades: dict[str, Grade]) -> None:
    over = "over the 2 seconds that all checks may take"
    assert grades["endless"].checks == {"check-one": "", "check-two": over, "check-three": over}
    assert grades["odd"].checks["check-three"] == "the kernel died"
    assert passed(grades["odd"]) == ["check-two"]
    left = [child for child in psutil.Process().children() if "ipykernel_launcher" in " ".join(child.cmdline())]
    assert left == [], "each notebook's kernel ends with it"


def test_a_cell_that_is_there_twice_is_not_guessed(grades: dict[str, Grade]) -> None:
    assert "is not defined" in grades["odd"].checks["check-one"]


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
    (tmp_path / "binary.ipynb").write_bytes(b"\xff\xfe")
    done = emoser("grade", str(tmp_path), "--out", str(tmp_path / "grades.csv"))
    assert done.returncode == 0 and "2 notebooks" in done.stdout
    assert (tmp_path / "grades.csv").read_text().splitlines()[:2] == [
        "file,assignment,passed,checks,not passed",
        "ana.ipynb,,0,0,it is no assignment that is known here",
    ]
    assert emoser("grade", str(tmp_path), "--assignments", str(tmp_path / "none")).returncode == 2
