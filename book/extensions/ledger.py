"""What the ledger's code makes on a page of prose: all claims, what runs cost, and how many scores were measured."""

from collections.abc import Callable, Mapping
from functools import cache

from docutils import nodes
from docutils.parsers.rst import directives
from IPython.display import HTML
from sphinx.application import Sphinx
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxDirective, SphinxRole

from emoser_lib.reporting import show
from emoser_lib.reporting.book.languages import CODE, table_in_words
from emoser_lib.reporting.ledger import results, verdicts

entries = cache(verdicts.ledger)

SHOWN: Mapping[str, Callable[[], HTML]] = {
    "claims": lambda: HTML(table_in_words(str(results.ledger_list(entries()).data), get_translation(CODE))),
    "measured-costs": lambda: show(results.measured_costs()),
    "planned-costs": lambda: show(results.planned_costs()),
    "efficiency": lambda: show(results.efficiency(entries())),
}


class LedgerDirective(SphinxDirective):
    """One table of ``SHOWN``."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        shown = SHOWN[directives.choice(self.arguments[0], [*SHOWN])]
        self.env.note_reread()  # a record that comes later must show
        return [nodes.raw("", str(shown().data), format="html")]


class ScoresRole(SphinxRole):
    """How many scores the papers print (``printed``), or how many of them were measured again (``measured``)."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        measured, printed = verdicts.scores_measured(entries())
        self.env.note_reread()
        return [nodes.Text(str({"measured": measured, "printed": printed}[self.text]))], []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("ledger", LedgerDirective)
    app.add_role("scores", ScoresRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
