"""A chapter as JupyterLab can show it: roles become words, exercises headings, solutions and captions what unfolds.

The book resolves ``{claim}`` and its like when it is built; Lab would show them as they are written.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import yaml
from pybtex.database import parse_file

from emoser_lib.errors import DataError
from emoser_lib.reporting.book.outcomes import outcome
from emoser_lib.reporting.book.recorded_numbers import recorded_number
from emoser_lib.reporting.report import GLUE

ROLE = re.compile(r"\{([\w:-]+)\}`([^`]+)`")

EXERCISE_BLOCK = re.compile(
    r"(?P<fence>`{3,})\{exercise\}(?: (?P<title>[^\n]+))?\n:label: (?P<label>\S+)\n(?P<task>.*?)\n(?P=fence)(?!`)",
    re.DOTALL,
)

FOLDED = (
    re.compile(r"(?P<fence>`{3,})\{solution\} \S+\n(?::class: dropdown\n)?(?P<body>.*?)\n(?P=fence)(?!`)", re.DOTALL),
    re.compile(
        r":::\{dropdown\} (?P<title>[^\n]*)\n:class-container: [^\n]*\n(?P<body>.*?)\n:::", re.MULTILINE | re.DOTALL
    ),
)
"""What unfolds: solutions, and the options of a quiz."""

BOX = re.compile(r":::\{admonition\} ([^\n]*)\n:class: [^\n]*\n\n(.*?)\n:::", re.DOTALL)


class PlainWords:
    """What the roles of the book stand for.

    Args:
        book: the book's source: ``claims.yaml``, ``references.bib``, ``exercises.json``.
        metrics: chapter -> what its run has reported, by name.
    """

    def __init__(self, book: Path, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        listed = yaml.safe_load((book / "claims.yaml").read_text(encoding="utf-8"))
        self._claims = {claim["id"]: claim for claim in listed}
        self._entries = parse_file(str(book / "references.bib")).entries
        self._outcomes = json.loads((book / "exercises.json").read_text(encoding="utf-8"))
        self._metrics = metrics

    def of(self, notebook: nbformat.NotebookNode, chapter: str) -> nbformat.NotebookNode:
        """Copy a chapter, its outputs left out, with plain Markdown in its cells and captions below its figures.

        Raises:
            DataError: a role stands for nothing.
        """
        page = nbformat.from_dict(notebook)
        page.cells = [new for cell in page.cells for new in self._cells(cell, chapter)]
        numbers = self._numbered(page, chapter)
        for cell in page.cells:
            if cell.cell_type == "markdown":
                cell.source = self.text(cell.source, chapter, numbers)
        return page

    def text(self, text: str, chapter: str, exercises: Mapping[str, str]) -> str:
        """Return a cell's text with roles as words, and blocks as what Lab knows.

        Args:
            text: MyST Markdown.
            chapter: whose values the role ``glue`` gives.
            exercises: label -> what it is called where it is referred to.
        """
        text = EXERCISE_BLOCK.sub(lambda found: _headed(found, exercises), text)
        for folded in FOLDED:
            text = folded.sub(_unfolding, text)
        text = BOX.sub(lambda found: "> **{}**\n>\n{}".format(found[1], re.sub(r"(?m)^", "> ", found[2])), text)
        text = re.sub(r"^\([\w-]+\)=\n", "", text, flags=re.MULTILINE)
        text = re.sub(r"\[([^\]]+)\]\([\w-]+\.md(?:#[\w-]+)?\)", r"\1", text)  # a page that is not in the folder
        return ROLE.sub(lambda found: self._word(found[1], found[2], chapter, exercises), text)

    def _cells(self, cell: nbformat.NotebookNode, chapter: str) -> Iterator[nbformat.NotebookNode]:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        yield cell
        if caption := cell.metadata.get("mystnb", {}).get("figure", {}).get("caption"):
            yield nbformat.v4.new_markdown_cell(f"*{caption.strip()}*", id=f"{cell.id}-caption")

    def _numbered(self, page: nbformat.NotebookNode, chapter: str) -> dict[str, str]:
        texts = "\n".join(cell.source for cell in page.cells if cell.cell_type == "markdown")
        labels = [found["label"] for found in EXERCISE_BLOCK.finditer(texts)]
        return {label: f"Exercise {int(chapter[:2])}.{number}" for number, label in enumerate(labels, 1)}

    def _word(self, role: str, text: str, chapter: str, exercises: Mapping[str, str]) -> str:
        ways: dict[str, Callable[[], str]] = {
            "claim": lambda: str(self._claims[text]["printed"]),
            "claim-interval": lambda: str(self._claims[text]["interval"]),
            "glue:text": lambda: self._value(text, chapter),
            "term": lambda: text.partition(" <")[0],
            "cite:t": lambda: self._cited(text, "{} ({})"),
            "cite:p": lambda: self._cited(text, "({}, {})"),
            "ref": lambda: exercises[text],
            "outcome": lambda: outcome(self._outcomes, text),
            "recorded": lambda: recorded_number(text)[0],
        }
        try:
            return ways[role]()
        except KeyError:
            raise DataError(f"{chapter}: {{{role}}}`{text}` stands for nothing that is known here.") from None

    def _value(self, text: str, chapter: str) -> str:
        name, _, form = text.partition(":")
        return format(self._metrics[chapter][name], form)

    def _cited(self, keys: str, form: str) -> str:
        return "; ".join(form.format(*self._names_and_year(key.strip())) for key in keys.split(","))

    def _names_and_year(self, key: str) -> tuple[str, str]:
        entry = self._entries[key]
        people = [" ".join(person.prelast_names + person.last_names) for person in entry.persons["author"]]
        names = people[0] if len(people) == 1 else " and ".join(people) if len(people) == 2 else f"{people[0]} et al."
        return re.sub(r"[{}]", "", names), entry.fields["year"]


def reported(executed: nbformat.NotebookNode) -> dict[str, Any]:
    """Return the values that a run's cells have handed over with `report`, by name.

    >>> output = nbformat.v4.new_output(
    ...     "display_data", {f"{GLUE}text/plain": "0.5"}, metadata={"scrapbook": {"name": "uar", "mime_prefix": GLUE}}
    ... )
    >>> reported(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("…", outputs=[output])]))
    {'uar': 0.5}
    """
    outputs = (output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs)
    named = ((output["metadata"]["scrapbook"]["name"], output) for output in outputs if _is_report(output))
    return {name: _literal(output["data"][f"{GLUE}text/plain"]) for name, output in named}


def _is_report(output: Mapping[str, Any]) -> bool:
    return f"{GLUE}text/plain" in output.get("data", {})


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except ValueError:
        return text  # a `nan` somewhere in it: nothing that prose would show


def _headed(found: re.Match[str], exercises: Mapping[str, str]) -> str:
    kind = f" ({found['title']})" if found["title"] else ""
    return f"### {exercises[found['label']]}{kind}\n\n{found['task']}"


def _unfolding(found: re.Match[str]) -> str:
    title = found.groupdict().get("title") or "Solution"
    return f"<details><summary>{title}</summary>\n\n{found['body']}\n\n</details>"
