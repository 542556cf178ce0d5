"""Lay out the book's source: prose, executed notebooks with run cards and provenance, reference, status page."""

import ast
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import nbformat

from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.experiments.runs.records import NOT_RECORDED, Record, RunStatus, read_record, read_records
from emoser_lib.experiments.runs.settling import settle
from emoser_lib.reporting.book.checks import CHECKS_FOLDER, LongCheck, checks_section, read_checks
from emoser_lib.reporting.book.languages import COPIED, Wording, code_words, stage_catalogs, stage_language
from emoser_lib.reporting.book.provenance import chapter_of, record_link, run_link, with_provenance
from emoser_lib.reporting.book.quiz import read_quiz, with_quiz
from emoser_lib.reporting.book.reference import reference_pages
from emoser_lib.reporting.book.stale import same_code
from emoser_lib.reporting.book.uses import Library
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.recorded_tables import training_time

OPENING = "opening"
"""Tag of the cell that draws a chapter's opening figure: it is shown below the answer, wherever it is executed."""

UNFOLDED = {"teach", "hide-input", "hide-cell", "remove-cell"}
"""Tags of cells whose code is the lesson, or is folded or left out already."""

NOT_PAGES = ("_build", "records", CHECKS_FOLDER, "chapters.json", "locale", "quiz.yaml", "teacher.yaml", "slides")
"""What lies in the book's folder and is no part of its source: it is shown on pages, or built."""


def run_card(record: Record, words: Wording = str) -> str:
    """Write the card, as HTML, that says on top of a page which run it shows.

    Args:
        record: of the run.
        words: gives the words of the page's language.
    """
    corpus = (
        words("{name} ({clips:,} clips, sha256 {sha256}…)").format(
            name=record.corpus.name, clips=record.corpus.clips, sha256=record.corpus.sha256[:12]
        )
        if record.corpus
        else words("none")
    )
    weights = "; ".join(
        f"{c.name} (sha256 {c.sha256[:12]}…{', ' + c.note if c.note else ''})" for c in record.checkpoints
    )
    machine = words("{cpu}, {cores} cores, {memory} GB").format(
        cpu=record.hardware.cpu, cores=record.hardware.cores, memory=record.hardware.memory_gb
    )
    rows = {
        words("run"): words("{run}, key {key}").format(run=record.run, key=record.key),
        words("corpus"): corpus,
        **({words("notes"): " ".join(record.notes)} if record.notes else {}),
        words("checkpoints"): weights or words("none"),
        words("parameters"): ", ".join(f"{name} = {value}" for name, value in record.parameters.items()),
        words("machine"): machine,
        words("device and precision"): record.devices,
        words("accelerator"): record.accelerator,
        words("processes"): record.computing.processes if record.computing else NOT_RECORDED,
        words("time and memory"): words("{seconds:.0f} s, {memory:,.0f} MB at most").format(
            seconds=record.seconds, memory=record.peak_memory_mb
        ),
        words("training"): training_time(record) or words("none is reported"),
        words("commit and date"): f"{record.commit or NOT_RECORDED}, {record.date}",
        words("again"): record.command,
    }
    told = {name: as_text(value) for name, value in rows.items()}
    link = words("record")
    told[words("run")] += f", <a href='{as_text(run_link(record))}'>{link}</a>"
    body = "".join(f"<tr><th scope='row'>{name}</th><td>{value}</td></tr>" for name, value in told.items())
    return (
        f"<div class='emoser-run-card emoser-run-card-{as_text(record.profile)}'>"
        f"<details><summary>{_badge(record)} {as_text(_caution(record, words))}</summary>"
        f"<table><tbody>{body}</tbody></table></details></div>"
    )


def _badge(record: Record) -> str:
    return f"<span class='emoser-profile emoser-profile-{as_text(record.profile)}'>{as_text(record.profile)}</span>"


def _caution(record: Record, words: Wording) -> str:
    """One line on what this run's numbers are about."""
    corpus = record.corpus.name if record.corpus else words("no corpus")
    about = words("corpus {name}").format(name=corpus)
    if corpus == "demo":
        about = words("synthetic clips: these numbers say nothing about the papers")
    models = ", ".join(f"{used.name} ({used.note})" if used.note else used.name for used in record.checkpoints)
    told = words("Run on {about}, with {models}.") if models else words("Run on {about}.")
    return f"{told.format(about=about, models=models)} {record.seconds:.0f} s, {record.date[:10]}."


def with_run_card(notebook: nbformat.NotebookNode, record: Record, words: Wording = str) -> nbformat.NotebookNode:
    """Copy an executed notebook and put its run card below its opening, in the `words` of the page's language.

    The opening is title, question, answer and figure; the figure's cell may be executed anywhere in the notebook, so
    that it can show what the run found. Code is folded, unless it is the lesson.
    """
    page = nbformat.from_dict(notebook)
    title, *_ = page.cells[0].source.splitlines() or [""]
    if not title.startswith("# "):
        raise DataError(f"{record.notebook}: the first cell does not begin with a title: start it with '# '.")
    tags = [set(cell.metadata.get("tags", [])) for cell in page.cells]
    for cell, of in zip(page.cells, tags, strict=True):
        if cell.cell_type == "code" and not of & UNFOLDED:
            cell.metadata["tags"] = [*of, "hide-input"]
    first, drawn = page.cells[:1], [cell for cell, of in zip(page.cells, tags, strict=True) if OPENING in of]
    others = [cell for cell in page.cells[1:] if cell not in drawn]
    page.cells = [*first, *drawn, nbformat.v4.new_markdown_cell(run_card(record, words), id="run-card"), *others]
    return page


def with_words(executed: nbformat.NotebookNode, source: nbformat.NotebookNode, record: Record) -> nbformat.NotebookNode:
    """Return a notebook with prose, comments, tags and captions as they are now, and the outputs of its run.

    Args:
        executed: by the run.
        source: the notebook as it is now.
        record: of the run.

    Raises:
        DataError: its code has changed since the run.
    """
    page = nbformat.from_dict(source)
    page.metadata = executed.metadata | source.metadata
    given = [cell for cell in executed.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    ran = [cell for cell in executed.cells if cell.cell_type == "code" and cell not in given]
    code = [cell for cell in page.cells if cell.cell_type == "code"]
    if len(ran) != len(code) or not all(
        same_code(one.source, other.source) for one, other in zip(ran, code, strict=True)
    ):
        raise DataError(f"{record.notebook}: its code has changed since it was run: run `{record.command}`.")
    for cell, one in zip(code, ran, strict=True):
        cell.outputs, cell.execution_count = one.outputs, one.execution_count
    place = next((n for n, cell in enumerate(page.cells, 1) if "parameters" in cell.metadata.get("tags", [])), 0)
    defaults = _assigned(page.cells[place - 1].source) if place else {}
    for cell in given:
        differing = [line for name, line in _assigned(cell.source).items() if not _same_value(line, defaults.get(name))]
        cell.source = "\n".join(differing)
    page.cells[place:place] = [cell for cell in given if cell.source]
    return page


def _assigned(source: str) -> dict[str, str]:
    """The assignments of a cell of parameters: name -> its line or lines."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            found[ast.unparse(target)] = ast.get_source_segment(source, node) or ""
    return found


def _same_value(given: str, default: str | None) -> bool:
    values = [ast.unparse(node.value) for node in ast.parse(f"{given}\n{default}").body if hasattr(node, "value")]
    return default is not None and values[0] == values[1]


def status_page(
    records: Iterable[Record],
    published: Iterable[Record],
    checks: Iterable[LongCheck] = (),
    chapters: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> str:
    """Write the status page in Markdown: every run of this checkout, the committed records, what long checks found.

    Args:
        records: of this checkout.
        published: the committed ones.
        checks: of ``book/checks``.
        chapters: content of ``book/chapters.json``: chapters by corpora.
    """
    return (
        "# Status\n\n"
        "Every run of this checkout, those of the pages among them, as its record says. `emoser run` writes a record "
        "for each run, also for a failed one; plain papermill writes none. Ages are as of the last build of this "
        "page.\n\n"
        "## Runs of this checkout\n\n"
        f"{_table(list(records))}\n\n"
        "## Recorded runs on real data\n\n"
        "Committed in `book/records/`; the chapters show them beside their own run.\n\n"
        f"{_table(list(published), record_link)}\n\n"
        f"{checks_section(checks)}\n\n"
        "## Chapters and corpora\n\n"
        "Each chapter with corpora as people bring them, as `make chapters` found it last: it ran, or was refused in "
        "one sentence before anything started.\n\n"
        f"{_chapters_table(chapters)}\n"
    )


def _chapters_table(checked: Mapping[str, Mapping[str, Any]]) -> str:
    """One row per corpus, one column per chapter."""
    if not checked:
        return "None yet."
    corpora = dict.fromkeys(corpus for of in checked.values() for corpus in of["outcomes"])
    header = "".join(f"<th scope='col'>{as_text(name)}</th>" for name in ["corpus", *checked])
    rows = "".join(
        f"<tr><th scope='row'>{as_text(corpus)}</th>"
        + "".join(f"<td>{as_text(of['outcomes'].get(corpus, '').partition(':')[0])}</td>" for of in checked.values())
        + "</tr>"
        for corpus in corpora
    )
    return (
        "<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='Chapters and corpora'>"
        f"<table class='table emoser-status'><thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _table(records: Sequence[Record], link: Callable[[Record], str] | None = None) -> str:
    if not records:
        return "None yet."
    head = [
        "chapter",
        "run",
        "status",
        "corpus",
        "time",
        "memory",
        "device and precision",
        "accelerator",
        "age",
        "commit",
        "parameters",
    ]
    rows = []
    for record in sorted(records, key=lambda r: (r.notebook, r.profile, r.run)):
        status = as_text(record.status) + (f": {as_text(record.error)}" if record.error else "")
        asked = as_text(", ".join(f"{k} = {v}" for k, v in record.parameters.items()))
        run = f"<a href='{as_text(link(record))}'>{as_text(record.run)}</a>" if link else as_text(record.run)
        cells = [
            as_text(record.notebook),
            f"{_badge(record)} {run}",
            status,
            as_text(record.corpus.name if record.corpus else ""),
            f"{record.seconds:.0f} s",
            f"{record.peak_memory_mb:,.0f} MB",
            as_text(record.devices),
            as_text(record.accelerator),
            f"<time datetime='{as_text(record.date)}'>{_age(record.date)}</time>",
            f"<code>{as_text((record.commit or NOT_RECORDED)[:19])}</code>",
            f"<details><summary>{len(record.parameters)}</summary>{asked}</details>",
        ]
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    header = "".join(f"<th scope='col'>{name}</th>" for name in head)
    return (
        "<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='Runs'>"
        f"<table class='table emoser-status'><thead><tr>{header}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _age(date: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(date)).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit}"
    return "now"


def stage_book(book: Path, notebooks: Path, runs: Path, shown: Sequence[Path], destination: Path) -> None:
    """Lay out in one folder the book's prose, the executed notebooks, the reference, the status page and the records.

    Args:
        book: the book's source.
        notebooks: the folder of the chapters, whose words the pages have.
        runs: the folder of all runs, for the status page.
        shown: folders of the runs that become chapters.
        destination: the folder that Jupyter Book builds from; files that have not changed are left alone,
            so that only changed pages are built again.

    Raises:
        DataError: a run that should be shown is not ok or of other code, or a notebook uses a name that the library
            does not have.
    """
    library, chapters, quiz = Library(), {}, read_quiz(book / "quiz.yaml")
    locales = [path.parent for path in sorted(book.glob("locale/*/book.yaml"))]
    translated: dict[Path, dict[Path, bytes]] = {locale: {} for locale in locales}
    published = read_records(book / "records")
    pages = {Path(COPIED, record_link(record)): (book / record_link(record)).read_bytes() for record in published}
    for path in book.rglob("*"):
        relative = path.relative_to(book)
        if path.is_file() and relative.parts[0] not in NOT_PAGES:
            pages[relative] = path.read_bytes()
    for folder in shown:
        record = read_record(folder / "record.json")
        if record.status is not RunStatus.OK:
            raise DataError(f"{folder} is {record.status}, not ok: run `{record.command}`.")
        name = f"{record.notebook}.ipynb"
        notebook = with_words(read_notebook(folder / name), read_notebook(notebooks / name), record)
        notebook = with_quiz(notebook, quiz.get(record.notebook, ()))
        chapter = chapters[record.notebook] = chapter_of(notebook, record.notebook, library)
        versions: list[tuple[dict[Path, bytes], Wording]] = [(pages, str)]
        versions += [(translated[locale], code_words(locale)) for locale in locales]
        for of, words in versions:
            page = with_provenance(with_run_card(notebook, record, words), record, chapter, library, published, words)
            of[Path(name)] = nbformat.writes(page).encode()
        pages[Path(COPIED, run_link(record))] = (folder / "record.json").read_bytes()
    pages |= reference_pages(chapters, library)
    found = book / "chapters.json"
    of_chapters = json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {}
    status = status_page(settle(runs).values(), published, read_checks(book), of_chapters)
    pages[Path("status.md")] = status.encode()
    _synchronise(pages, destination)
    for locale in locales:
        source = destination.parent / locale.name / "source"
        _synchronise(stage_language(locale, destination, translated[locale]), source)
        _write_changed(stage_catalogs(locale), source.with_name("locale"))


def _synchronise(pages: dict[Path, bytes], destination: Path) -> None:
    destination.mkdir(parents=True, exist_ok=True)
    for old in [p for p in destination.rglob("*") if p.is_file() and p.relative_to(destination) not in pages]:
        old.unlink()
    _write_changed(pages, destination)


def _write_changed(pages: dict[Path, bytes], destination: Path) -> None:
    for relative, content in pages.items():
        path = destination / relative
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
