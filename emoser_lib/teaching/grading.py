"""Checks of students' notebooks, run again: their code in our notebook, in a fresh kernel, in a scratch folder.

What a student's notebook shows as printed is never read. This is no sandbox: a student's code can do what the
teacher's account can.
"""

import csv
import io
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from pydantic import Field

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.execute import KERNEL, OwnPython
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.values import Immutable

FORMULA = ("=", "+", "-", "@")
"""What a text begins with that a spreadsheet would compute."""


class Grade(Immutable):
    """What became of one student's notebook.

    Attributes:
        file: the notebook, below the folder.
        assignment: which one it is; empty where that cannot be told.
        checks: check -> why it was not passed; empty where it was.
        problem: why there are no checks.
    """

    file: str
    assignment: str = ""
    checks: dict[str, str] = Field(default_factory=dict)
    problem: str = ""


def read_assignments(folder: Path) -> dict[str, nbformat.NotebookNode]:
    """Read the assignments with their solutions, by name.

    Raises:
        DataError: there is none.
    """
    found = {path.stem: read_notebook(path) for path in sorted(folder.glob("*.ipynb"))}
    if not found:
        raise DataError(f"{folder} has no assignment: name the folder of their sources with --assignments.")
    return found


def grade_folder(
    folder: Path, assignments: Mapping[str, nbformat.NotebookNode], seconds: float = 60
) -> Iterator[Grade]:
    """Grade every notebook below a folder, one after the other.

    Args:
        folder: students' notebooks, at any depth.
        assignments: of `read_assignments`.
        seconds: what all checks of a notebook may take together, its kernel's start left out.

    Raises:
        DataError: there is no notebook.
    """
    paths = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        raise DataError(f"{folder} has no notebook: name the folder that the students' .ipynb files are in.")
    for path in paths:
        file = str(path.relative_to(folder))
        try:
            notebook = read_notebook(path)
        except DataError as error:
            yield Grade(file=file, problem=str(error))
            continue
        name = str(_named(notebook.metadata, "emoser").get("assignment", ""))
        if name in assignments:
            yield Grade(file=file, assignment=name, checks=_checked(_put_in(assignments[name], notebook), seconds))
        else:
            yield Grade(file=file, problem="it is no assignment that is known here")


def grades_table(grades: Iterable[Grade]) -> str:
    """Write grades as CSV, one row a notebook.

    >>> print(grades_table([Grade(file="ana.ipynb", assignment="a1", checks={"one": "", "two": "0 is not 1"})]).strip())
    file,assignment,passed,checks,not passed
    ana.ipynb,a1,1,2,two: 0 is not 1
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["file", "assignment", "passed", "checks", "not passed"])
    for grade in grades:
        failed = [f"{check}: {why}" for check, why in grade.checks.items() if why]
        row = [grade.file, grade.assignment, len(grade.checks) - len(failed), len(grade.checks)]
        table.writerow([_inert(str(cell)) for cell in [*row, grade.problem or "; ".join(failed)]])
    return text.getvalue()


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _put_in(source: nbformat.NotebookNode, given: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Return the code cells of an assignment, with the student's in the place of the solutions."""
    cells = [cell for cell in given.cells if cell.cell_type == "code" and _role(cell, "solution")]
    counted = Counter(_id(cell) for cell in cells)
    theirs = {_id(cell): cell.source for cell in cells if counted[_id(cell)] == 1}
    graded = [cell for cell in nbformat.from_dict(source).cells if cell.cell_type == "code"]
    for cell in graded:
        cell.metadata["tags"] = []  # a check that fails has to be seen
        if _role(cell, "solution"):
            there = "there twice" if counted[_id(cell)] else "not there"
            cell.source = theirs.get(_id(cell), f'raise NotImplementedError("the cell {_id(cell)} is {there}")')
    return graded


def _id(cell: nbformat.NotebookNode) -> str:
    return str(_named(cell.metadata, "nbgrader").get("grade_id", ""))


def _role(cell: nbformat.NotebookNode, role: str) -> bool:
    return bool(_named(cell.metadata, "nbgrader").get(role))


def _named(metadata: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of what a student's notebook says of itself, which may be anything."""
    part = metadata.get(name)
    return part if isinstance(part, Mapping) else {}


def _checked(cells: Sequence[nbformat.NotebookNode], seconds: float) -> dict[str, str]:
    """Run the cells in a fresh kernel; check -> why it was not passed."""
    found: dict[str, str] = {}
    over = f"over the {seconds:.0f} seconds that all checks may take"
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    with (
        tempfile.TemporaryDirectory(prefix="emoser-grade-") as scratch,
        tempfile.TemporaryDirectory(prefix="emoser-kernel-") as sockets,
    ):
        manager = AsyncKernelManager(
            kernel_name=KERNEL,
            kernel_spec_manager=OwnPython(),
            transport="ipc",
            connection_file=f"{sockets}/kernel.json",
        )
        resources = {"metadata": {"path": scratch}}
        client = NotebookClient(notebook, km=manager, resources=resources, shutdown_kernel="immediate")
        stopped = ""
        # Its kernel ends with it, a loop without end too; and the teacher's terminal is not theirs.
        with client.setup_kernel(cleanup_kc=True, stdout=DEVNULL, stderr=DEVNULL):
            end = time.monotonic() + seconds
            for place, cell in enumerate(notebook.cells):
                why = stopped = stopped or (over if end <= time.monotonic() else "")
                if not stopped:
                    client.timeout = max(1, int(end - time.monotonic()))
                    try:
                        client.execute_cell(cell, place)
                    except CellExecutionError as error:
                        why = f"{error.ename}: {error.evalue}".strip(": ")
                    except CellTimeoutError:
                        why = stopped = over
                    except DeadKernelError:
                        why = stopped = "the kernel died"
                if _role(cell, "grade"):
                    found[_id(cell)] = _one_line(why)
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
