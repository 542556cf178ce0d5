"""The kind of an exercise, *Find the mistake*, in the language of the page.

Sphinx would translate the title as one text, of which sphinx-exercise shows no kind.
"""

from typing import Any

from docutils.nodes import Text
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.transforms import SphinxTransform
from sphinx_exercise.nodes import exercise_title

from emoser_lib.reporting.book.languages import CODE

_ = get_translation(CODE)


def kinds() -> dict[str, str]:
    """By what the chapters call them."""
    return {
        "Predict, then run": _("Predict, then run"),
        "Complete the code": _("Complete the code"),
        "Find the mistake": _("Find the mistake"),
        "Go further": _("Go further"),
        "Think": _("Think"),
    }


class Kinds(SphinxTransform):
    """Before Sphinx translates what else is on the page, at 20."""

    default_priority = 19

    def apply(self, **options: Any) -> None:
        words = kinds()
        for title in self.document.findall(exercise_title):
            title["translatable"] = False
            for kind in title[1:]:
                said = kind.astext()
                kind.clear()
                kind += Text(str(words.get(said, said)))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Kinds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
