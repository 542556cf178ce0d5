"""The quiz at a chapter's end: read from ``book/quiz.yaml``, and written as lines that open on a reason."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import nbformat
import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from emoser_lib.errors import DataError
from emoser_lib.values import Immutable

BEFORE = "## Summary\n"
"""The heading that the quiz stands before."""


class QuizOption(Immutable):
    """One option of a question: what it says, whether it is right, and why."""

    text: str
    right: bool
    because: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, given: Any) -> Any:
        """In the file the text stands under ``right`` or ``wrong``."""
        kinds = {"right", "wrong"} & set(given) if isinstance(given, dict) else set()
        if len(kinds) != 1:
            raise ValueError("it has `right` or `wrong`, and `because`")
        kind = kinds.pop()
        return {"text": given[kind], "right": kind == "right", **{k: v for k, v in given.items() if k != kind}}


class Question(Immutable):
    """One question, of whose options one is right."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    question: str
    options: Annotated[tuple[QuizOption, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _one_is_right(self) -> "Question":
        if sum(option.right for option in self.options) != 1:
            raise ValueError("one option is right, and one only")
        return self


Quiz = Mapping[str, tuple[Question, ...]]
"""Chapter -> its questions."""


def read_quiz(path: Path) -> Quiz:
    """Read the questions of all chapters.

    Args:
        path: ``quiz.yaml``; a book that has none asks nothing.

    Raises:
        DataError: a question has no right option, or several, or an option has no reason, or two have one id.
    """
    if not path.is_file():
        return {}
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
        quiz = TypeAdapter(dict[str, tuple[Question, ...]]).validate_python(listed)
    except (yaml.YAMLError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        place = ", ".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}.") from None
    ids = [question.id for questions in quiz.values() for question in questions]
    if twice := sorted({name for name in ids if ids.count(name) > 1}):
        raise DataError(f"{path}: two questions have the id {twice[0]}: give each its own.")
    return quiz


def quiz_section(questions: Sequence[Question]) -> str:
    """Write the section of a page in MyST Markdown: native disclosure elements, no script.

    >>> options = [{"right": "So.", "because": "A"}, {"wrong": "No.", "because": "B"}]
    >>> asked = Question(id="why", question="Why?", options=options)
    >>> print(quiz_section([asked]))
    ## Quiz
    <BLANKLINE>
    Open an option to see whether it is right, and why.
    <BLANKLINE>
    (quiz-why)=
    **Why?**
    <BLANKLINE>
    :::{dropdown} So.
    :class-container: emoser-quiz
    **Right.** A
    :::
    <BLANKLINE>
    :::{dropdown} No.
    :class-container: emoser-quiz
    **Wrong.** B
    :::
    """
    parts = ["## Quiz", "Open an option to see whether it is right, and why."]
    for question in questions:
        parts.append(f"(quiz-{question.id})=\n**{question.question}**")
        parts += [
            f":::{{dropdown}} {option.text}\n:class-container: emoser-quiz\n"
            f"**{'Right' if option.right else 'Wrong'}.** {option.because}\n:::"
            for option in question.options
        ]
    return "\n\n".join(parts)


def with_quiz(notebook: nbformat.NotebookNode, questions: Sequence[Question]) -> nbformat.NotebookNode:
    """Copy a notebook and put its quiz before the summary.

    Raises:
        DataError: there are questions, and no summary to put them before.
    """
    page = nbformat.from_dict(notebook)
    if questions:
        place = next((cell for cell in page.cells if cell.cell_type == "markdown" and BEFORE in cell.source), None)
        if place is None:
            raise DataError(f"a chapter with a quiz has no heading '{BEFORE.strip()}': write its summary.")
        place.source = place.source.replace(BEFORE, f"{quiz_section(questions)}\n\n{BEFORE}", 1)
    return page
