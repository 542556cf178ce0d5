"""Editions: nothing of a solution reaches a student, and all of it a teacher."""

from pathlib import Path

import nbformat
import pytest

from emoser_lib.errors import DataError
from emoser_lib.teaching.editions import BuiltBook, Edition, copy_notebooks, stage_edition
from emoser_lib.teaching.markers import for_students, for_teachers, solution_lines
from emoser_lib.teaching.words import ROLE

LONGEST = {True: 30, False: 60}
"""Characters that a line of a solution, code or prose, may have and still stand in a student's edition by chance."""


@pytest.fixture(scope="module")
def source(root: Path) -> BuiltBook:
    if not (root / "book" / "_build" / "source" / "index.md").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    return BuiltBook(root)


@pytest.fixture(scope="module")
def editions(source: BuiltBook, tmp_path_factory: pytest.TempPathFactory) -> dict[Edition, Path]:
    folder = tmp_path_factory.mktemp("editions")
    handed_out = (Edition.STUDENT, Edition.INSTRUCTOR)
    for edition in handed_out:
        stage_edition(source, edition, folder / edition)
    return {edition: folder / edition for edition in handed_out}


def notebooks_of(root: Path) -> list[nbformat.NotebookNode]:
    paths = [*(root / "notebooks").glob("[0-9]*.ipynb"), *(root / "notebooks" / "assignments").glob("*.ipynb")]
    return [nbformat.read(path, as_version=4) for path in paths]


def texts(folder: Path) -> str:
    """All that a folder's files say; of a notebook the cells and what they put out."""
    found = []
    for path in (path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            found += [text for cell in cells for text in (cell.source, str(cell.get("outputs", "")))]
        elif path.suffix in {".md", ".yaml", ".yml", ".json", ".py", ".csv", ".html", ".js", ".txt"}:
            found.append(path.read_text(encoding="utf-8"))
    return "\n".join(found)


def test_no_line_of_a_solution_reaches_a_student(root: Path, editions: dict[Edition, Path]) -> None:
    notebooks = notebooks_of(root)
    lines = {(line, code) for notebook in notebooks for line, code in solution_lines(notebook)}
    secret = {line for line, code in lines if len(line) > LONGEST[code] and not line.startswith(("from ", "import "))}
    assert len(secret) > 100
    kept = "\n".join(cell.source for notebook in notebooks for cell in for_students(notebook).cells)
    pages = "\n".join(path.read_text() for path in (root / "book").glob("*.md"))
    elsewhere = {line for line in secret if line in kept or line in pages}
    shown = texts(editions[Edition.STUDENT])
    assert [line for line in secret - elsewhere if line in shown] == []
    assert len(elsewhere) < len(secret) / 20, elsewhere  # lines of a cell with a mistake, which the exercise shows
    for marker in ("{solution}", "    ### BEGIN SOLUTION", "For the teacher", "Usual mistake"):
        assert marker not in shown, marker


def test_a_built_students_edition_has_none_either(root: Path) -> None:
    html = root / "book" / "_build" / "student" / "html"
    if not html.is_dir():
        pytest.skip("no student's edition was built: `make student`")
    secret = {line for notebook in notebooks_of(root) for line, code in solution_lines(notebook) if not code}
    kept = "\n".join(cell.source for notebook in notebooks_of(root) for cell in for_students(notebook).cells)
    shown = texts(html)
    assert [line for line in secret if len(line) > LONGEST[False] and line not in kept and line in shown] == []
    assert 'admonition-title">Solution' not in shown and 'class="solution' not in shown


def test_exercises_quiz_and_checks_stay(editions: dict[Edition, Path]) -> None:
    source = texts(editions[Edition.STUDENT] / "source")
    lab = texts(editions[Edition.STUDENT] / "notebooks")
    assert source.count("{exercise}") == lab.count("### Exercise ") > 30
    assert source.count("**Right.**") == lab.count("**Right.**") == 70
    stubs = 7 + 4  # of the assignments, of the chapters
    assert source.count("YOUR CODE HERE\n") == lab.count("YOUR CODE HERE\n") == stubs
    assert lab.count('print("✓') == 14 + 4
    assert "a1-inside-the-model" in (editions[Edition.STUDENT] / "source" / "_toc.yml").read_text()


def test_a_teacher_sees_every_solution_and_the_notes(root: Path, editions: dict[Edition, Path]) -> None:
    shown = texts(editions[Edition.INSTRUCTOR] / "source")
    lines = {
        line for notebook in notebooks_of(root) for line, _ in solution_lines(notebook) if not line.startswith(":")
    }
    assert [line for line in lines if line not in shown] == []
    assert shown.count("{admonition} For the teacher") == 14 + 6
    assert "{solution}" in shown and ":class: dropdown\n" not in shown


def test_notebooks_for_lab_have_words_for_roles_and_no_outputs(editions: dict[Edition, Path]) -> None:
    for edition, folder in editions.items():
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            nbformat.validate(notebook)
            words = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
            assert not ROLE.search(words) and ":::" not in words and "{solution}" not in words, (edition, path.name)
            assert not any(cell.get("outputs") for cell in notebook.cells), path.name
    lora = texts(editions[Edition.STUDENT] / "notebooks")
    assert "Esteban-Romero et al. (2024)" in lora and "### Exercise 5.1 (Predict, then run)\n" in lora


def test_what_is_worked_in_is_never_overwritten(source: BuiltBook, tmp_path: Path) -> None:
    made = dict(source.lab_notebooks(Edition.READER))
    assert copy_notebooks(iter(made.items()), tmp_path) == []
    folded = texts(tmp_path)
    assert folded.count("<summary>Solution</summary>") == folded.count("### Exercise ") > 30
    assert "BEGIN SOLUTION" not in folded and folded.count("<summary>The code</summary>") == 4
    (tmp_path / "01-corpus.ipynb").write_text("mine")
    made["02-scoring.ipynb"] = nbformat.v4.new_notebook()
    for _ in range(2):
        assert copy_notebooks(iter(made.items()), tmp_path) == ["01-corpus.ipynb"]
    assert (tmp_path / "01-corpus.ipynb").read_text() == "mine"
    assert not nbformat.read(tmp_path / "02-scoring.ipynb", as_version=4).cells


def test_a_stub_takes_the_place_of_a_solution_inside_a_function() -> None:
    solution = "    ### BEGIN SOLUTION\n    y = 2\n\n    return y * x\n    ### END SOLUTION"
    code = f"def f(x):\n    '''Twice.'''\n{solution}\n\n\nf"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    stub = for_students(notebook).cells[0].source
    assert stub.startswith("def f(x):\n    '''Twice.'''\n    # YOUR CODE HERE\n    raise NotImplementedError")
    assert stub.endswith("\n\n\nf") and "y" not in stub.replace("YOUR", "").partition("raise")[0]
    compile(stub, "stub", "exec")
    assert for_teachers(notebook).cells[0].source == code


def test_without_a_book_there_is_no_edition(tmp_path: Path, root: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "01-corpus.ipynb").write_bytes((root / "notebooks" / "01-corpus.ipynb").read_bytes())
    with pytest.raises(DataError, match="make book"):
        BuiltBook(tmp_path)
