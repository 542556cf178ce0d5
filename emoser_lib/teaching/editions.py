"""Editions for readers, students and teachers, from one source: pages to be built, and notebooks to be worked in.

A student's has no solution in any file of it; a teacher's has them open, with notes.
"""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import nbformat
import yaml

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.files import file_sha256, remove, write_whole
from emoser_lib.reporting.book.quiz import read_quiz, with_quiz
from emoser_lib.teaching.markers import for_readers, for_students, for_teachers
from emoser_lib.teaching.notes import read_notes, with_notes
from emoser_lib.teaching.words import PlainWords, reported

OF_SOLUTIONS = "exercises.json"
"""What the solutions' commands gave: solutions too."""

NO_NUMBERS = "*Numbers in the text are those of the book's own run. Yours stand below the cells.*"


MADE = ".made.json"
"""Name of the file with the sha256 of each notebook as it was written."""


class Edition(StrEnum):
    """Whom an edition is for."""

    READER = "reader"  # learns alone: solutions folded
    STUDENT = "student"
    INSTRUCTOR = "instructor"


class BuiltBook:
    """What editions are made from.

    Args:
        root: the checkout, whose book was built.

    Raises:
        DataError: the book was not built.
    """

    def __init__(self, root: Path) -> None:
        self.book, self.notebooks = root / "book", root / "notebooks"
        self.staged = self.book / "_build" / "source"
        self.chapters = sorted(path.stem for path in self.notebooks.glob("[0-9]*.ipynb"))
        self.assignments = sorted((self.notebooks / "assignments").glob("*.ipynb"))
        lacking = [name for name in self.chapters if not (self.staged / f"{name}.ipynb").is_file()]
        if lacking:
            raise DataError(f"{self.staged} has no {lacking[0]}.ipynb: run `make book` first.")
        self.notes = read_notes(self.book / "teacher.yaml")
        self.quiz = read_quiz(self.book / "quiz.yaml")

    def page(self, notebook: nbformat.NotebookNode, name: str, edition: Edition) -> nbformat.NotebookNode:
        """Return a chapter or an assignment as an edition has it."""
        if edition is Edition.READER and name in self.chapters:
            return for_readers(notebook)
        if edition is not Edition.INSTRUCTOR:
            return for_students(notebook)
        page = for_teachers(notebook)
        return with_notes(page, self.notes[name]) if name in self.notes else page

    def lab_notebooks(self, edition: Edition) -> Iterator[tuple[str, nbformat.NotebookNode]]:
        """Make the notebooks of an edition to be worked in, without outputs, roles as words: file name, notebook."""
        staged = {name: read_notebook(self.staged / f"{name}.ipynb") for name in self.chapters}
        words = PlainWords(self.book, {name: reported(notebook) for name, notebook in staged.items()})
        for name in self.chapters:
            asked = with_quiz(read_notebook(self.notebooks / f"{name}.ipynb"), self.quiz.get(name, ()))
            asked.cells[0].source += f"\n\n{NO_NUMBERS}"
            yield f"{name}.ipynb", words.of(self.page(asked, name, edition), name)
        for path in self.assignments:
            yield path.name, words.of(self.page(read_notebook(path), path.stem, edition), path.stem)


def stage_edition(source: BuiltBook, edition: Edition, destination: Path) -> None:
    """Lay out an edition: ``source``, which Jupyter Book builds its pages from, and ``notebooks``.

    Args:
        source: the built book, and what it was made from.
        edition: whom it is for.
        destination: folder of the edition, whose old content goes.
    """
    for folder in (destination / "source", destination / "notebooks"):
        if folder.exists():
            remove(folder)
    for path in sorted(path for path in source.staged.rglob("*") if path.is_file()):
        relative = path.relative_to(source.staged)
        content: str | bytes = path.read_bytes()
        if path.suffix == ".ipynb":
            content = nbformat.writes(source.page(read_notebook(path), path.stem, edition))
        elif relative.name == "_toc.yml":
            content = _with_assignments(path, [assignment.stem for assignment in source.assignments])
        elif relative.name == "_config.yml":
            content = path.read_text(encoding="utf-8").replace(
                "title: emoser\n", f"title: emoser, {edition} edition\n", 1
            )
        elif relative.name == OF_SOLUTIONS and edition is Edition.STUDENT:
            continue
        write_whole(destination / "source" / relative, content)
    for path in source.assignments:
        page = source.page(read_notebook(path), path.stem, edition)
        write_whole(destination / "source" / path.name, nbformat.writes(page))
    for name, notebook in source.lab_notebooks(edition):
        write_whole(destination / "notebooks" / name, nbformat.writes(notebook))


def copy_notebooks(made: Iterator[tuple[str, nbformat.NotebookNode]], folder: Path) -> list[str]:
    """Write notebooks to be worked in, and leave those alone that were changed since; return their names.

    Args:
        made: of `BuiltBook.lab_notebooks`.
        folder: where they go. Its ``.made.json`` says what was written.
    """
    written = folder / MADE
    before: dict[str, str] = json.loads(written.read_text(encoding="utf-8")) if written.is_file() else {}
    now: dict[str, str] = {}
    changed: list[str] = []
    for name, notebook in made:
        path = folder / name
        if path.is_file() and file_sha256(path) != before.get(name):
            changed.append(name)
            now |= {name: before[name]} if name in before else {}
            continue
        write_whole(path, nbformat.writes(notebook))
        now[name] = file_sha256(path)
    write_whole(written, json.dumps(now, indent=1))
    return changed


def _with_assignments(contents: Path, names: list[str]) -> str:
    """The table of contents, with a part of assignments after that of the chapters."""
    toc = yaml.safe_load(contents.read_text(encoding="utf-8"))
    place = next(n for n, part in enumerate(toc["parts"], 1) if part["caption"] == "Chapters")
    toc["parts"].insert(place, {"caption": "Assignments", "chapters": [{"file": name} for name in names]})
    return yaml.safe_dump(toc, sort_keys=False, allow_unicode=True)
