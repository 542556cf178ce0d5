"""Roles that take the papers' numbers from claims.yaml, so that none is typed in prose.

``{claim}`thau-table3-gemma-r128` `` prints the value as the paper prints it, with its place on hover;
``{claim-interval}`…` `` prints the interval stated with it. An unknown claim, or an interval that the paper
does not state, ends the build.
"""

import difflib
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.locale import get_translation
from sphinx.util.docutils import SphinxRole

from emoser_lib.reporting.book.languages import CODE


@cache
def read_claims(path: Path, changed: int) -> dict[str, dict[str, Any]]:
    """All claims by id, read once for each date of the file. Raises ExtensionError where two claims share one."""
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))
    by_id = {claim["id"]: claim for claim in claims}
    if len(by_id) < len(claims):
        raise ExtensionError(f"{path.name}: two claims have the same id.")
    return by_id


class ClaimRole(SphinxRole):
    """The value or the interval of one claim."""

    def __init__(self, part: str) -> None:
        super().__init__()
        self.part = part

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        source = Path(self.env.srcdir) / "claims.yaml"
        self.env.note_dependency(str(source))
        claims = read_claims(source, source.stat().st_mtime_ns)
        claim = claims.get(self.text)
        if claim is None:
            near = difflib.get_close_matches(self.text, claims, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ExtensionError(f"{self.env.docname}: claims.yaml has no claim '{self.text}'.{hint}")
        if self.part not in claim:
            raise ExtensionError(f"{self.env.docname}: claim '{self.text}' states no {self.part}.")
        place = f"{claim['paper']}, {claim['place']}"
        node = nodes.abbreviation(
            "", get_translation(CODE)(str(claim[self.part])), explanation=place, classes=["emoser-claim"]
        )
        anchor = f"claim-{self.text}"
        if anchor not in self.inliner.document.ids:  # the ledger links to the first place where a page prints it
            self.inliner.document.ids[anchor] = node
            node["ids"].append(anchor)
        return [node], []


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_role("claim", ClaimRole("printed"))
    app.add_role("claim-interval", ClaimRole("interval"))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
