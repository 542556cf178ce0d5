"""Where a page's figures and tables come from: a line below each, with links to its cell, records and functions."""

import ast
from collections.abc import Iterable, Sequence

import nbformat
from nbformat.v4 import new_markdown_cell

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import Record
from emoser_lib.reporting.book.languages import Wording
from emoser_lib.reporting.book.reference import anchor
from emoser_lib.reporting.book.uses import PACKAGE, Chapter, Defined, Library
from emoser_lib.reporting.escaping import as_text

READS = "published_records"
"""The function through which the library reads the committed records."""

HIDDEN = {"remove-cell", "remove-output"}
"""Tags of cells whose output is not on the page."""


def chapter_of(notebook: nbformat.NotebookNode, name: str, library: Library) -> Chapter:
    """Read a notebook's code, without its parameters, which the settings read and no other cell.

    Raises:
        DataError: it uses a name that the library does not have.
    """
    tagged = [(cell.source, set(cell.metadata.get("tags", []))) for cell in _code(notebook)]
    sources = ["" if tags & {"parameters", "injected-parameters"} else source for source, tags in tagged]
    try:
        return Chapter(sources, library)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def with_provenance(
    notebook: nbformat.NotebookNode,
    record: Record,
    chapter: Chapter,
    library: Library,
    published: Sequence[Record],
    words: Wording = str,
) -> nbformat.NotebookNode:
    """Copy an executed notebook and put a line of provenance below every figure and table.

    Args:
        notebook: executed.
        record: of its run.
        chapter: its code (`chapter_of`).
        library: what the code uses.
        published: the committed records.
        words: gives the words of the page's language.
    """
    page = nbformat.from_dict(notebook)
    # In the order of their execution: on the page an opening's figure comes before what it was made of.
    executed = sorted(_code(page), key=lambda cell: cell.execution_count or 0)
    used = dict(zip(map(id, executed), zip(chapter.trees, chapter.uses, strict=True), strict=True))
    cells = []
    for cell in page.cells:
        if id(cell) not in used or not shows_something(cell):
            cells.append(cell)
            continue
        tree, names = used[id(cell)]
        place = f"cell-{cell.execution_count}"
        links = [
            _link(f"#{place}", words("Cell {number}").format(number=cell.execution_count)),
            _link(run_link(record), words("record of this run")),
            *_committed(tree, names, published, words),
            *(_link(anchor(library, name), _short(library.public_name(name)), code=True) for name in _telling(names)),
        ]
        line = f"<p class='emoser-provenance'>{' · '.join(links)}</p>"
        cells += [_page_cell(f"<div class='emoser-cell' id='{place}'></div>", place), cell]
        cells.append(_page_cell(line, f"{place}-provenance"))
    page.cells = cells
    return page


def shows_something(cell: nbformat.NotebookNode) -> bool:
    """Say whether a code cell's output on the page has a figure or a table."""
    if HIDDEN & set(cell.metadata.get("tags", [])):
        return False
    shown = [output.get("data", {}) for output in cell.outputs]
    return any(
        any(kind.startswith("image/") for kind in data) or "<table" in "".join(data.get("text/html", ""))
        for data in shown
    )


def run_link(record: Record) -> str:
    """Return where the record of a run that is a page lies in the book."""
    return f"runs/{record.notebook}-{record.key}.json"


def record_link(record: Record) -> str:
    """Return where a committed record lies in the book."""
    return f"records/{record.name}.json"


def _committed(tree: ast.Module, names: Iterable[Defined], published: Sequence[Record], words: Wording) -> list[str]:
    """Links to the committed records that a cell shows: those of the chapters that it names, or else of all."""
    if not any(isinstance(node, ast.Name) and node.id == READS for name in names for node in ast.walk(name.node)):
        return []
    said = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    shown = [record for record in published if record.notebook in said]
    if not shown:
        return [_link("status.html#recorded-runs-on-real-data", words("recorded runs"))]
    return [
        _link(record_link(record), words("record {profile}, {run}").format(profile=record.profile, run=record.run))
        for record in shown
    ]


def _telling(names: Sequence[Defined]) -> list[Defined]:
    """Without a class where a method of it stands."""
    return [
        name
        for name in names
        if not any(other.module == name.module and other.name.startswith(f"{name.name}.") for other in names)
    ]


def _short(name: str) -> str:
    """A public name without package and layer.

    >>> _short("emoser_lib.reporting.figures.confusion")
    'figures.confusion'
    """
    return name.removeprefix(f"{PACKAGE}.").partition(".")[2]


def _link(target: str, text: str, code: bool = False) -> str:
    shown = f"<code>{as_text(text)}</code>" if code else as_text(text)
    return f"<a href='{as_text(target)}'>{shown}</a>"


def _page_cell(html: str, name: str) -> nbformat.NotebookNode:
    # The id of a new cell is random, and a page that changes is built again.
    return new_markdown_cell(html, id=name)


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]
