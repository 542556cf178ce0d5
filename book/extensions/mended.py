"""What the theme and the tools write into pages that a reader stumbles over, put right once the pages are written.

Each entry says whose fault it mends. All are on whole pages, frame and article, which no directive reaches. What a page
loads and nobody needs is left out.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.locale import get_translation

from emoser_lib.reporting.book.languages import CODE

_ = get_translation(CODE)

REPLACED = {
    # pydata-sphinx-theme loads 1.5 MB of script for fifteen icons; its style sheet and web font draw them too.
    r"<script [^>]*scripts/fontawesome\.js[^>]*></script>\n?": "",
    # pydata-sphinx-theme: these two names leave out what the buttons show (WCAG 2.5.3).
    r'(<button[^>]*(?:search-button-field|theme-switch-button)[^>]*?)\s*aria-label="[^"]*"': r"\1",
    # MyST-NB: all folded cells are called the same, and not as they read.
    r'<summary aria-label="Toggle hidden content">': "<summary>",
    # docutils: a list whose entries are no list items, of a role that ARIA has given up.
    r'role="doc-biblioentry"': 'role="listitem"',
    # pandas: the corner of a table is no header.
    r"<th></th>": "<td></td>",
}

UNFOLDS = re.compile(r'<summary>(?=\s*<span class="toctree-toggle")')
"""pydata-sphinx-theme: what unfolds the pages below a page of the contents has no name."""

THEBE = re.compile(
    r"<script>const THEBE_JS_URL.*?</script>\n?|<script[^>]*_static/sphinx-thebe\.js[^>]*></script>\n?", re.DOTALL
)
"""Buttons that are off here; but a remote address stands on every page, twice, which is an error in the console."""

INDEX = re.compile(r'<script src="(_static/(searchtools|language_data)|searchindex)\.js[^"]*"[^>]*></script>\n?')
"""The search's index: the theme loads it on all pages for results as one types, which is off."""

MATHJAX = re.compile(r"<script[^>]*>window\.MathJax = .*?</script>\n?|<script[^>]*/mathjax/[^>]*></script>\n?")

FOLDED_CODE = re.compile(r'<div class="cell (?P<tags>[^"]*)">\s*<details.*?</details>', re.DOTALL)
SOLVED = "### BEGIN SOLUTION"
CHECKS = "tag_raises-exception"
"""The tag of a cell that checks an exercise: in an edition to be completed it fails at first."""

SCROLLING = re.compile(
    r"<div class=.emoser-table-scroll. tabindex='0' role='region' aria-label='(?P<label>[^']*)'>"
    r'|<div class="pst-scrollable-table-container">'
)
HEADING = re.compile(r"<h[1-6]>(.*?)<a class=\"headerlink\"", re.DOTALL)
CAPTION = re.compile(r'<caption><span class="caption-text">(.*?)</span>', re.DOTALL)
TERM = re.compile(r'<dt[^>]* id="(?P<id>term-[^"]+)".*?</dt>\s*<dd>(?P<says>.*?)</dd>', re.DOTALL)
LINK = re.compile(r'(?<=<a class="reference internal" )(?=href="(?:glossary\.html)?#(term-[^"]+)")')
UNUSED = ("*.map", "fontawesome.js", "vendor/fontawesome/**/*.ttf")
"""In ``_static``: source maps, and what no page loads."""


def mended(page: str, definitions: Mapping[str, str] = MappingProxyType({})) -> str:
    """One page, put right. A page that already is stays as it is.

    ``definitions`` are the glossary's, by anchor: a link to one shows it on hover and on focus (``book.js``).
    """
    page = LINK.sub(lambda to: f'data-definition="{definitions[to[1]]}" ' if to[1] in definitions else "", page)
    for wrong, right in REPLACED.items():
        page = re.sub(wrong, right, page)
    page = FOLDED_CODE.sub(_named_code, page)
    for wrong, said in (
        # MyST-NB: what these unfold, in a reader's words.
        ("(?:Show|Hide) code cell source", _("Code")),
        ("(?:Show|Hide) code cell content", _("Result and code")),
        # sphinx-exercise: it says this in English on every page.
        ("Solution", _("Solution")),
    ):
        page = re.sub(f"(?<=>){wrong}(?=<)", said, page)
    below = _("Pages below")
    page = UNFOLDS.sub(f'<summary aria-label="{below}">', page)
    page = THEBE.sub("", page)
    if 'id="search-results"' not in page:
        page = INDEX.sub("", page)
    if 'class="math' not in page:
        # Sphinx loads it where only a cell's code or a page that was read before had a formula.
        page = MATHJAX.sub("", page)
    return "".join(_named_tables(page))


def _named_code(cell: re.Match[str]) -> str:
    """MyST-NB: what is folded of an exercise, its solution and its check, is called as all other code is."""
    said = _("Check") if CHECKS in cell["tags"] else _("Solution in code") if SOLVED in cell[0] else ""
    return re.sub("(?<=>)(?:Show|Hide) code cell source(?=<)", said, cell[0]) if said else cell[0]


def _named_tables(page: str) -> Iterator[str]:
    """Tables that scroll can be reached by keyboard and are named by their caption or the heading above.

    A group and not a region: twenty regions would bury the landmarks of a page.
    """
    number, end = count(1), 0
    for found in SCROLLING.finditer(page):
        yield page[end : found.start()]
        end = found.end()
        table = page[end : page.find("</table>", end)]
        caption = CAPTION.search(table)
        heading = HEADING.findall(page, 0, found.start())
        name = found["label"] if found["label"] not in (None, "Table") else None
        if name is None:
            name = _words(caption[1] if caption else heading[-1] if heading else _("Results"))
        label = _("Table {number}: {name}").format(number=next(number), name=name)
        yield f'<div class="emoser-table-scroll" tabindex="0" role="group" aria-label="{label}">'
    yield page[end:]


def _words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", html).replace('"', "&quot;").split())


def definitions_of(glossary: str) -> dict[str, str]:
    """What the glossary's page says of each term, by its anchor."""
    return {of["id"]: _words(of["says"]) for of in TERM.finditer(glossary)}


def only_where_used(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """A hook of Sphinx: load what extensions bring on the pages that use it; jupyter-book asks for it on all."""
    app.set_html_assets_policy("per_page")
    return []


def mend(app: Sphinx, exception: Exception | None) -> None:
    """A hook of Sphinx: after the build, mend all pages and leave out what none of them loads."""
    if exception is not None or app.builder.format != "html":
        return
    folder = Path(app.outdir)
    glossary = folder / "glossary.html"
    definitions = definitions_of(glossary.read_text(encoding="utf-8")) if glossary.is_file() else {}
    for path in folder.glob("*.html"):
        page = path.read_text(encoding="utf-8")
        if (better := mended(page, definitions)) != page:
            path.write_text(better, encoding="utf-8")
    for pattern in UNUSED:
        for path in (folder / "_static").rglob(pattern):
            path.unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    for folder in app.config.locale_dirs:
        app.add_message_catalog(CODE, str(Path(app.srcdir, folder)))
    app.connect("env-updated", only_where_used)
    # Late: sphinx-thebe and the theme copy files at this event too.
    app.connect("build-finished", mend, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
