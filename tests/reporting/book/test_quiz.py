"""The quiz: what is asked in the chapters, and that a mistake in its file is named."""

import re
from pathlib import Path

import nbformat
import pytest

from emoser_lib.errors import DataError
from emoser_lib.reporting.book.quiz import quiz_section, read_quiz, with_quiz
from tests.book.test_prose import typed_numbers

QUESTION = "01-corpus:\n- id: one\n  question: Why?\n  options:\n  - right: So\n    because: A reason\n  - {}\n"


def test_every_chapter_asks_five_questions(root: Path) -> None:
    quiz = read_quiz(root / "book" / "quiz.yaml")
    assert list(quiz) == sorted(path.stem for path in (root / "notebooks").glob("[0-9]*.ipynb"))
    assert {chapter: len(questions) for chapter, questions in quiz.items()} == dict.fromkeys(quiz, 5)


def test_its_words_are_prose_without_typed_numbers_and_the_right_one_is_not_always_first(root: Path) -> None:
    quiz = read_quiz(root / "book" / "quiz.yaml")
    asked = [question for questions in quiz.values() for question in questions]
    assert [found for questions in quiz.values() for found in typed_numbers(quiz_section(questions))] == []
    places = [[option.right for option in question.options].index(True) for question in asked]
    assert max(places.count(place) for place in set(places)) < len(places) / 2
    longest = [max(question.options, key=lambda option: len(option.text)).right for question in asked]
    assert sum(longest) < 0.5 * len(longest), "the longest option is too often the right one"
    for question in asked:
        reasons = [option.because for option in question.options]
        assert len(set(reasons)) == len(reasons) >= 3, question.id


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("right: Or so\n    because: Another", "one option is right"),
        ("wrong: Not so", "because"),
        ("wrong: Not so\n    because: ''", "at least 1 character"),
        ("perhaps: Not so\n    because: Another", "`right` or `wrong`"),
    ],
)
def test_a_mistake_in_the_file_is_named(tmp_path: Path, option: str, said: str) -> None:
    (tmp_path / "quiz.yaml").write_text(QUESTION.format(option))
    with pytest.raises(DataError, match=re.escape(said)):
        read_quiz(tmp_path / "quiz.yaml")


def test_two_questions_of_one_id_are_refused(tmp_path: Path) -> None:
    one = QUESTION.format("wrong: Not so\n    because: Another")
    (tmp_path / "quiz.yaml").write_text(one + one.replace("01-corpus", "02-scoring"))
    with pytest.raises(DataError, match="the id one"):
        read_quiz(tmp_path / "quiz.yaml")


def test_it_stands_before_the_summary(tmp_path: Path) -> None:
    (tmp_path / "quiz.yaml").write_text(QUESTION.format("wrong: Not so\n    because: Another"))
    questions = read_quiz(tmp_path / "quiz.yaml")["01-corpus"]
    cells = [nbformat.v4.new_markdown_cell("## Exercises\n\nOne.\n\n## Summary\n\n- Enough.")]
    page = with_quiz(nbformat.v4.new_notebook(cells=cells), questions)
    assert re.findall(r"^## (.*)$", page.cells[0].source, re.M) == ["Exercises", "Quiz", "Summary"]
    with pytest.raises(DataError, match="Summary"):
        with_quiz(nbformat.v4.new_notebook(cells=[]), questions)
