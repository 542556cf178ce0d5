"""Below each figure and table: where it comes from. And the reference that these lines link to."""

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import Record, RunStatus
from emoser_lib.reporting.book.provenance import chapter_of, with_provenance
from emoser_lib.reporting.book.reference import reference_pages
from emoser_lib.reporting.book.uses import Library

TABLE = {"text/html": "<div><table><tr><td>1</td></tr></table></div>"}
IMPORTS = "from emoser_lib.reporting import figures, recorded, show, tables"


def record(**changed: object) -> Record:
    told = {
        "notebook": "09-try", "profile": "demo", "run": "one", "key": "demo-1", "command": "", "status": RunStatus.OK,
        "parameters": {}, "seconds": 1, "peak_memory_mb": 1, "versions": {}, "hardware": {}, "commit": None,
        "date": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    return Record(**(told | changed))


def cell(source: str, data: Mapping[str, Any] | None = None, tags: tuple[str, ...] = (), count: int = 2) -> Any:
    outputs = [new_output("display_data", data=data)] if data else []
    return new_code_cell(source, outputs=outputs, metadata={"tags": list(tags)}, execution_count=count)


def page(*cells: Any, published: tuple[Record, ...] = ()) -> nbformat.NotebookNode:
    library, notebook = Library(), new_notebook(cells=[new_markdown_cell("# Title"), cell(IMPORTS, count=1), *cells])
    return with_provenance(notebook, record(), chapter_of(notebook, "09-try", library), library, published)


def lines(*cells: Any, published: tuple[Record, ...] = ()) -> list[list[str]]:
    """The targets of the links of each line of provenance."""
    shown = [c.source for c in page(*cells, published=published).cells if "emoser-provenance" in c.source]
    return [re.findall(r"href='([^']*)'", unescape(line)) for line in shown]


@pytest.mark.parametrize(
    "data", [TABLE, {"image/png": "aGVsbG8=", "text/plain": "Figure"}, {"image/svg+xml": "<svg/>"}]
)
def test_a_figure_or_table_names_cell_record_and_functions(data: Mapping[str, Any]) -> None:
    (links,) = lines(cell("show(tables.findings(0))", data, count=7))
    assert links == [
        "#cell-7",
        "runs/09-try-demo-1.json",
        "api-reporting.html#emoser_lib.reporting.show",
        "api-reporting.html#emoser_lib.reporting.tables.findings",
    ]


def test_the_line_follows_its_cell_and_the_anchor_goes_before() -> None:
    made = page(cell("show(1)", TABLE, count=7))
    (place,) = [i for i, c in enumerate(made.cells) if c.source == "show(1)"]
    assert "id='cell-7'" in made.cells[place - 1].source
    assert "emoser-provenance" in made.cells[place + 1].source
    nbformat.validate(made)
    assert (made.cells[place - 1].id, made.cells[place + 1].id) == ("cell-7", "cell-7-provenance"), "the same each time"


@pytest.mark.parametrize(
    "nothing",
    [
        cell("show(1)"),
        cell("show(1)", {"text/html": "<p>Nothing to show.</p>"}),
        cell("show(1)", {"text/plain": "1"}),
        cell("show(1)", TABLE, tags=("remove-cell",)),
        cell("show(1)", TABLE, tags=("remove-output",)),
    ],
)
def test_other_cells_have_no_line(nothing: Any) -> None:
    assert lines(nothing) == []


def test_a_cell_that_the_page_shows_earlier_keeps_its_own_line() -> None:
    made, drawn = cell("show(tables.findings(0))", TABLE, count=2), cell("figures.line(0)", TABLE, count=3)
    library = Library()
    notebook = new_notebook(cells=[new_markdown_cell("# Title"), cell(IMPORTS, count=1), made, drawn])
    chapter = chapter_of(notebook, "09-try", library)
    notebook.cells.insert(1, notebook.cells.pop())
    shown = [c.source for c in with_provenance(notebook, record(), chapter, library, ()).cells]
    told = [line for line in shown if "emoser-provenance" in line]
    assert ["figures.line" in line for line in told] == [True, False]
    assert ["tables.findings" in line for line in told] == [False, True]


def test_the_executed_notebook_stays_as_it_is() -> None:
    library, notebook = Library(), new_notebook(cells=[cell(IMPORTS), cell("show(1)", TABLE)])
    before = nbformat.writes(notebook)
    with_provenance(notebook, record(), chapter_of(notebook, "09-try", library), library, [])
    assert nbformat.writes(notebook) == before


def test_a_cell_that_shows_committed_records_links_them() -> None:
    mine = record(notebook="03-classical", profile="small", run="text")
    other = record(notebook="05-gemma-lora", profile="small", run="test")
    (shown,) = lines(cell('show(recorded("03-classical", "scores"))', TABLE), published=(mine, other))
    assert [link for link in shown if link.startswith("records/")] == ["records/03-classical-small-text.json"]
    (named,) = lines(cell('tables.findings("03-classical")', TABLE), published=(mine, other))
    assert not any(link.startswith("records/") for link in named), "this function reads no records"


def test_a_cell_that_shows_all_of_them_links_their_list() -> None:
    code = "from emoser_lib.reporting.ledger import results\nshow(results.measured_costs())"
    (links,) = lines(cell(code, TABLE), published=(record(),))
    assert "status.html#recorded-runs-on-real-data" in links


def test_a_stale_name_names_the_chapter() -> None:
    with pytest.raises(DataError, match=r"^09-try: there is no 'fndings' in emoser_lib.reporting.tables"):
        page(cell("show(tables.fndings(0))", TABLE))


def test_parameters_do_not_hide_what_a_variable_is() -> None:
    code = "from emoser_lib.corpora import load_corpus\ncorpus = load_corpus('demo')"
    (links,) = lines(cell('corpus = "demo"', tags=("parameters",)), cell(code), cell("corpus.training()", TABLE))
    assert "api-corpora.html#emoser_lib.corpora.Corpus.training" in links


def test_a_method_stands_for_its_class() -> None:
    (links,) = lines(cell("from emoser_lib.systems import Clips\nClips.from_corpus(0, [])", TABLE))
    assert links[2:] == ["api-systems.html#emoser_lib.systems.Clips.from_corpus"]


def entry(pages: Mapping[Any, bytes], layer: str, directive: str) -> str:
    text = next(content.decode() for path, content in pages.items() if path.name == f"api-{layer}.md")
    return text.split(f".. {directive}\n", 1)[1].split("```")[0]


def test_the_reference_says_which_chapters_use_a_name() -> None:
    library = Library()
    code = "from emoser_lib.corpora import Corpus, load_corpus\nload_corpus('demo').training()"
    notebook = new_notebook(cells=[cell(code)])
    pages = reference_pages({"09-try": chapter_of(notebook, "09-try", library)}, library)
    assert "*Used in* :doc:`09-try`." in entry(pages, "corpora", "autofunction:: emoser_lib.corpora.load_corpus")
    corpus = entry(pages, "corpora", "autoclass:: emoser_lib.corpora.Corpus")
    assert corpus.count("*Used in* :doc:`09-try`.") == 2, "the class and its method"
    assert "automethod:: emoser_lib.corpora.Corpus.training" in corpus
    assert "*Used by no chapter.*" in entry(pages, "corpora", "autofunction:: emoser_lib.corpora.fetch")
    constant = entry(pages, "corpora", "py:data:: LABELS")
    assert "*Used by no chapter.*" in constant
    assert "The six labels" in constant


def test_every_link_of_a_line_has_an_entry() -> None:
    library = Library()
    notebook = new_notebook(cells=[cell(f"{IMPORTS}\nshow(tables.findings(0)); tables.TABLE_3")])
    chapter = chapter_of(notebook, "09-try", library)
    text = b"".join(reference_pages({"09-try": chapter}, library).values()).decode()
    for name in (name for used in chapter.uses for name in used):
        assert re.search(rf"\.\. [\w:]+:: (?:[\w.]+\.)?{name.name}\n", text), name
