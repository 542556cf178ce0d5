"""Exercises, questions of the quiz and asides as one line each, which opens on the rest: a page is read first.

An exercise's line says its kind, how hard it is and how long it takes; what follows it, up to the next one, opens with
it: its solution, the cell to complete and the checks. An aside is a section with a label that begins with ``fold-``.
"""

from collections.abc import Callable, Sequence

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_design.shared import create_component, is_component
from sphinx_exercise.nodes import exercise_enumerable_node
from sphinx_exercise.utils import get_node_number


class Folds(SphinxPostTransform):
    """Put each exercise, question and aside with what belongs to it into a dropdown of sphinx-design."""

    default_priority = 100
    """After sphinx-exercise has resolved its titles, and before sphinx-design writes dropdowns."""

    formats = ("html",)

    def run(self, **_: object) -> None:
        for section in list(self.document.findall(nodes.section)):
            if "quiz" in section["ids"]:
                self._fold(section, _is_question, self._question)
            elif any(map(_is_exercise, section.children)):
                self._fold(section, _is_exercise, self._exercise)
            elif any(name.startswith("fold-") for name in section["ids"]):
                heading, *body = section.children
                section.replace_self(_dropdown(heading.children, "emoser-aside", *body, ids=section["ids"]))

    def _fold(
        self,
        section: nodes.Element,
        begins: Callable[[nodes.Node], bool],
        folded: Callable[[nodes.Element], nodes.Element],
    ) -> None:
        """Every child that begins something takes those behind it along, up to the next of its kind."""
        kept: list[nodes.Node] = []
        for child in section.children:
            if begins(child):
                kept.append(folded(child))
            elif kept and is_component(kept[-1], "dropdown") and not isinstance(child, nodes.section):
                kept[-1] += child
            else:
                kept.append(child)
        section.children = []
        section += kept

    def _exercise(self, exercise: nodes.Element) -> nodes.Element:
        number = self.config.numfig_format["exercise"] % get_node_number(self.app, exercise, "exercise")
        kind, task = exercise.children[0], exercise.children[1]
        effort = _taken(task)
        title = [nodes.Text(number), *kind.children, *([nodes.Text(". "), effort] if effort else [])]
        exercise.remove(kind)
        return _dropdown(title, "emoser-exercise", exercise)

    def _question(self, question: nodes.Element) -> nodes.Element:
        return _dropdown(question.children, "emoser-question", ids=question["ids"])


def _is_exercise(node: nodes.Node) -> bool:
    return isinstance(node, exercise_enumerable_node)


def _is_question(node: nodes.Node) -> bool:
    return isinstance(node, nodes.paragraph) and any(name.startswith("quiz-") for name in node["ids"])


def _taken(task: nodes.Element) -> nodes.Node | None:
    """Take the words in italics that a task begins with: how hard it is, and how many minutes it takes."""
    first = next(iter(task.findall(nodes.paragraph)), None)
    if first is None or not first.children or not isinstance(first[0], nodes.emphasis):
        return None
    effort = first[0]
    first.remove(effort)
    if first.children and isinstance(first[0], nodes.Text):
        first[0] = nodes.Text(first[0].lstrip())
    return effort


def _dropdown(title: list[nodes.Node], name: str, *body: nodes.Node, ids: Sequence[str] = ()) -> nodes.Element:
    folded = create_component(
        "dropdown",
        opened=False,
        type="dropdown",
        has_title=True,
        icon=None,
        chevron=None,
        container_classes=[name],
        title_classes=[],
        body_classes=[],
    )
    folded += nodes.rubric("", "", *title, ids=list(ids))
    folded += list(body)
    return folded


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_post_transform(Folds)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
