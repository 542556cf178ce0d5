"""An exercise's kind is one message for translators, "Exercise (Find the mistake)", and its title's second half again.

sphinx-exercise: a title that was translated is a text alone, and its page would not show the kind.
"""

import re
from typing import Any

from docutils.nodes import Text
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx_exercise.nodes import exercise_subtitle, exercise_title


class Joined(SphinxTransform):
    """Before Sphinx translates, at 20."""

    default_priority = 19

    def apply(self, **_: Any) -> None:
        for title in self.document.findall(exercise_title):
            if len(title) > 1:
                title.rawsource = f"{title[0].astext()} ({title[1].astext()})"


class Parted(SphinxTransform):
    """After it."""

    default_priority = 21

    def apply(self, **_: Any) -> None:
        for title in self.document.findall(exercise_title):
            if translated := re.fullmatch(r"(.+?) \((.+)\)", title.astext()):
                title.children = []
                title += [Text(translated[1]), exercise_subtitle("", translated[2])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Joined)
    app.add_transform(Parted)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
