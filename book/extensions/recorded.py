"""Roles that take numbers from the committed records, so that none is typed in prose; and a clip to play.

``{recorded}`12-audit-small-emospeech: rule` `` prints one number of one record's metrics. Steps into it are parted by
``/``; a step ``name=value&name=value`` takes the row of a list. ``mean``, ``lowest``, ``highest`` and ``runs`` before
the record's name (a pattern) stand for several records. What is not there ends the build.
"""

import base64
from fnmatch import fnmatch
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments.runs.records import Record, published_records

FOLDS = {"mean": lambda values: sum(values) / len(values), "lowest": min, "highest": max, "runs": len}
"""How several records become one number."""

WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@cache
def records() -> tuple[Record, ...]:
    """All committed records."""
    return tuple(published_records())


def value(metrics: Any, path: str) -> Any:
    """One number of a record's metrics.

    >>> value({"scores": [{"of": "a", "f1": 0.1}, {"of": "b", "f1": 0.2}]}, "scores/of=b/f1")
    0.2
    """
    for step in path.split("/"):
        if isinstance(metrics, list):
            wanted = dict(part.split("=", 1) for part in step.split("&"))
            metrics = next(
                (row for row in metrics if wanted.items() <= {k: str(v) for k, v in row.items()}.items()), None
            )
        else:
            metrics = metrics.get(step) if isinstance(metrics, dict) else None
        if metrics is None:
            raise KeyError(step)
    return metrics


def told(text: str) -> tuple[str, str]:
    """The number that a role asks for, and where it is from."""
    asked, _, path = (part.strip() for part in text.partition(":"))
    fold, _, pattern = asked.rpartition(" ")
    found = [record for record in records() if fnmatch(record.name, pattern)]
    if not found or (not fold and len(found) > 1) or (fold and fold not in FOLDS):
        raise ExtensionError(f"book/records has no one record for '{asked}': see book/extensions/recorded.py.")
    place = ", ".join(record.name for record in found)
    if fold == "runs":
        return WORDS[len(found)], place
    try:
        values = [value(record.metrics, path) for record in found]
    except KeyError as step:
        raise ExtensionError(f"{place} has no {step} of '{path}' in its metrics.") from None
    number = FOLDS[fold](values) if fold else values[0]
    return (f"{number:,}" if isinstance(number, int) else f"{number:.3f}"), f"record {place}"


class RecordedRole(SphinxRole):
    """A number of the committed records, with the record's name on hover."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        number, place = told(self.text)
        return [nodes.abbreviation("", number, explanation=place, classes=["emoser-claim"])], []


class ClipDirective(SphinxDirective):
    """A clip of the demo corpus to play, with what is said in it and its label."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        corpus: Corpus = load_corpus("demo")
        clip = corpus.row(self.arguments[0])
        sound = base64.b64encode(Path(clip["audio"]).read_bytes()).decode()
        said = escape(clip["transcription"])
        figure = nodes.container(classes=["emoser-clip"])
        words = nodes.paragraph()
        children, _ = self.parse_inline(" ".join(self.content), lineno=self.lineno)
        words += children
        player = (
            f'<audio controls preload="none" aria-label="{said}" src="data:audio/mpeg;base64,{sound}"></audio>'
            f'<p lang="es">«{said}»</p>'
        )
        figure += [words, nodes.raw("", player, format="html")]
        return [figure]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("recorded", RecordedRole())
    app.add_directive("clip", ClipDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
