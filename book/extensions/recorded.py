"""A role that takes numbers from the committed records, so that none is typed in prose; and a clip to play.

``{recorded}`12-audit-small-emospeech: rule` `` prints one number of one record's metrics, as
`emoser_lib.reporting.book.recorded_numbers` says. What is not there ends the build.
"""

import base64
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective, SphinxRole

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.errors import DataError
from emoser_lib.reporting.book.recorded_numbers import recorded_number
from emoser_lib.reporting.escaping import as_text


class RecordedRole(SphinxRole):
    """A number of the committed records, with the record's name on hover."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            number, place = recorded_number(self.text)
        except DataError as error:
            raise ExtensionError(f"{self.env.docname}: {error}") from None
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
        said = as_text(clip["transcription"])
        figure = nodes.container(classes=["emoser-clip"])
        told = " ".join(self.content)
        words = nodes.paragraph(told, "")  # with its source, so that it is a message to be translated
        words.source, words.line = self.get_source_info()
        children, _ = self.parse_inline(told, lineno=self.lineno)
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
