"""Role that takes what a solution's command gave from exercises.json (`make exercises`), so that it is not typed.

``{outcome}`ex-lora-alpha 1` `` prints macro-F1 of the first run that the solution of that exercise makes;
``{outcome}`ex-emosllm-one-query 1 ablations, 2 queries, macro_f1` `` another of its metrics, by names in order.
A run or a metric that is not there ends the build.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxRole

from emoser_lib.errors import DataError
from emoser_lib.reporting.book.outcomes import outcome


@cache
def read_outcomes(path: Path, changed: int) -> dict[str, dict[str, Any]]:
    """What was executed, by exercise, read once for each date of the file."""
    outcomes: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return outcomes


class OutcomeRole(SphinxRole):
    """A metric of one run."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        source = Path(self.env.srcdir) / "exercises.json"
        self.env.note_dependency(str(source))
        executed = read_outcomes(source, source.stat().st_mtime_ns)
        try:
            value = outcome(executed, self.text)
        except DataError as error:
            raise ExtensionError(f"{self.env.docname}: {error}") from None
        of = executed[self.text.split(" ")[0]]
        title = f"{of['date'][:10]}, commit {of['commit']}: {of['code']}"
        return [nodes.abbreviation("", value, explanation=title, classes=["emoser-claim"])], []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("outcome", OutcomeRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
