"""The teacher's notes on each chapter: minutes, what to ask the room, usual mistakes (``book/teacher.yaml``)."""

from collections.abc import Mapping
from pathlib import Path

import nbformat
import yaml
from pydantic import Field, TypeAdapter, ValidationError

from emoser_lib.errors import DataError
from emoser_lib.teaching.markers import teacher_box
from emoser_lib.values import Immutable


class Notes(Immutable):
    """What a teacher wants to know of one chapter.

    Attributes:
        minutes: part of the lesson -> how long it takes.
        ask: questions for the room.
        mistakes: what students often take for true, and what to answer.
    """

    minutes: dict[str, int]
    ask: tuple[str, ...] = Field(min_length=1)
    mistakes: tuple[str, ...] = Field(min_length=1)


def read_notes(path: Path) -> Mapping[str, Notes]:
    """Read the notes, by chapter.

    Raises:
        DataError: a chapter's notes lack a part, or have one that is unknown.
    """
    try:
        return TypeAdapter(dict[str, Notes]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {', '.join(map(str, first['loc']))}: {first['msg']}.") from None


def notes_text(notes: Notes) -> str:
    """Write the notes in Markdown.

    >>> print(notes_text(Notes(minutes={"talk": 20, "exercises": 25}, ask=("Why?",), mistakes=("That it is so.",))))
    **Minutes** (45 in all): talk 20, exercises 25.
    <BLANKLINE>
    **Ask the room**
    <BLANKLINE>
    - Why?
    <BLANKLINE>
    **Usual mistakes**
    <BLANKLINE>
    - That it is so.
    """
    parts = ", ".join(f"{part} {minutes}" for part, minutes in notes.minutes.items())
    lists = {"Ask the room": notes.ask, "Usual mistakes": notes.mistakes}
    text = [f"**Minutes** ({sum(notes.minutes.values())} in all): {parts}."]
    for title, lines in lists.items():
        text += [f"**{title}**", "\n".join(f"- {line}" for line in lines)]
    return "\n\n".join(text)


def with_notes(notebook: nbformat.NotebookNode, notes: Notes) -> nbformat.NotebookNode:
    """Copy a chapter with the notes in a box below its first cell."""
    page = nbformat.from_dict(notebook)
    page.cells.insert(1, nbformat.v4.new_markdown_cell(teacher_box(notes_text(notes)), id="teacher-notes"))
    return page
