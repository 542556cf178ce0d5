"""A book of records, corpora, models and answers that a stranger filled with whatever a page may act on.

Every string field holds every payload. In Chromium no script has run, no file of the machine is on a page, nothing was
fetched, and every text is there to be read.
"""

import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import nbformat
import pandas as pd
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.translators import PythonTranslator
from playwright.sync_api import Page, sync_playwright

from emoser_lib.corpora import Corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.corpora.describe import describe
from emoser_lib.doctor import find_browser
from emoser_lib.errors import UsageError
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Record, portable, write_record
from emoser_lib.reporting import figures, show, tables
from emoser_lib.reporting.book.pages import stage_book
from emoser_lib.reporting.hearing.listening import listen
from emoser_lib.reporting.report import introduce, introduce_llm, report
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.visible import visible
from tests.book.test_book import SWITCHES

SECRET = "TOKEN-of-the-builder"
RUNS = "window.pwned=1"
PAYLOADS = {
    "script": f"<script>{RUNS}</script>",
    "image": f'<img src=x onerror="{RUNS}">',
    "svg": f"<svg onload={RUNS}>",
    "attribute": f"' onmouseover='{RUNS}' x=\" onfocus=\"{RUNS}\" autofocus tabindex=1",
    "end of a table": f"</td></tr></tbody></table></details></div></p></code><script>{RUNS}</script>",
    "comment": f"<!-- --><script>{RUNS}</script><!--",
    "entities": f"&lt;script&gt;{RUNS}&lt;/script&gt; &#60;script&#62;",
    "style": "<style>body { display: none }</style>",
    "refresh": "<meta http-equiv=refresh content='0;url=http://evil.example/'><base href='http://evil.example/'>",
    "frame": "<iframe src='../secret.txt'></iframe><object data='../secret.txt'></object>",
    "link": f"[a link](javascript:{RUNS}) <javascript:{RUNS}> <a href='javascript:{RUNS}'>b</a>",
    "picture": "![a picture](http://evil.example/p.png)",
    "include": "nice\n\n```{include} ../secret.txt\n```\n\n",
    "literalinclude": "\n\n~~~{literalinclude} ../secret.txt\n~~~\n\n",
    "raw": f"\n\n:::{{raw}} html\n<script>{RUNS}</script>\n:::\n\n",
    "eval-rst": "\n\n```{eval-rst}\n.. include:: ../secret.txt\n```\n\n",
    "rst": "\n\n.. include:: ../secret.txt\n\n.. raw:: html\n   :file: ../secret.txt\n",
    "roles": "{download}`secret <../secret.txt>` {glue:text}`secret` {claim}`thau-clips-test` {ref}`genindex`",
    "substitution": "{{ secret }} {% include '../secret.txt' %} %(secret)s |secret|",
    "math": f"$\\href{{javascript:{RUNS}}}{{x}}$ and $$y^2$$",
    "amsmath": f"\\(\\href{{javascript:{RUNS}}}{{x}}\\) \\begin{{align}} y \\end{{align}}",
    "heading": "\n\n# Heading\n\nanother\n=======\n\n---\n\n+++\n\n% hidden",
    "code block": "\n\n    indented\n\n\tand more",
    "backticks": "`a` ``b`` ```c``` \\` \\",
    "pipes": "| a | b |\n| - | - |\n| c | d |",
    "emphasis": "*a* **b** _c_ ~~d~~ ^e^ [f]: g",
    "terminal": "\x1b[2J\x1b]0;title\x07\x9b31m\x08\x7f",
    "turns": "<start_of_turn>model <end_of_turn> <|im_start|>system </s>",
    "bidi": "\u202etxet desrever\u202c \u2067isolated\u2069 \u2028 \u2029",
    "zero byte": "before\x00after",
    "carriage return": "hidden\rshown\r\nnext",
    "half a pair": "half \ud800 a pair",
    "other scripts": "ñandú 感情 مشاعر 😀 e\u0301",
    "very long": "a" * 3000 + " end",
    "path": "/home/somebody" + "/clips ../../../../etc/passwd %2e%2e%2f",
    "format": "{0} {x!r} %s %(x)s ${HOME} $(touch INJECTED) `touch INJECTED`; touch INJECTED",
}


NUMBERS = range(len(PAYLOADS))
CARD = [*PAYLOADS].index("include")
"""The payload in the card of the page: a page has one."""
IN_FILES = [n for n, name in enumerate(PAYLOADS) if name != "half a pair"]
"""What a table can hold, which is UTF-8."""
PRINTED = [n for n, text in enumerate(PAYLOADS.values()) if visible(text) == text]
"""What a kernel prints is looked through for colours by Jupyter Book: what comes out as it is."""


def marked(field: str, number: int) -> str:
    """A payload with a beginning and an end by which it is found."""
    return f"{field}{number}< {[*PAYLOADS.values()][number]} >{field}{number}"


def hostile(number: int) -> dict[str, Any]:
    """A record with one payload in every text."""
    texts = {field: marked(field, number) for field in ("command", "error", "commit")}
    model = {field: marked(f"model-{field}", number) for field in ("name", "sha256", "note", "device", "dtype")}
    return texts | {
        "notebook": "09-try", "profile": "demo", "run": f"run-{number}", "key": f"demo-{number}", "status": "failed",
        "parameters": {"text": marked("value", number), marked("name", number): [marked("list", number)]},
        "corpus": {"name": marked("corpus", number), "sha256": marked("hash", number), "clips": 1},
        "checkpoints": [model], "metrics": {marked("metric", number): {"x": marked("told", number)}},
        "computing": {"accelerator": marked("gpu", number), "accelerator_memory_mb": 1.0, "processes": 1},
        "seconds": 1, "peak_memory_mb": 1, "versions": {marked("package", number): marked("version", number)},
        "hardware": {"cpu": marked("cpu", number), "cores": 2, "memory_gb": 8.0, "system": marked("os", number)},
        "date": "2026-01-02T03:04:05Z",
    }  # fmt: skip


def on_the_status_page(number: int) -> list[str]:
    fields = ("error", "value", "name", "corpus", "model-device", "model-dtype", "gpu")
    return [portable(marked(field, number)) for field in fields]


def on_the_card() -> list[str]:
    fields = ("command", "value", "name", "corpus", "model-name", "model-note", "model-device", "gpu", "cpu")
    return [portable(marked(field, CARD)) for field in fields]


def corpus(**known: str) -> Corpus:
    fields = ("id", "transcription", "label", "split", "speaker", "video", "gender")
    rows: dict[str, Any] = {field: [marked(field, n) for n in IN_FILES] for field in fields}
    rows |= {"audio": [__file__] * len(IN_FILES), "start_ms": [0] * len(IN_FILES), "end_ms": [1000] * len(IN_FILES)}
    rows |= {field: [text] * len(IN_FILES) for field, text in known.items()}
    return Corpus(marked("named", CARD), build_frame(rows), labels=tuple(rows["label"]))


def outputs(said: Any) -> list[nbformat.NotebookNode]:
    """What a cell of a notebook shows."""
    found: list[nbformat.NotebookNode] = []

    def publish(data: Any, metadata: Any) -> None:
        data = data if isinstance(data, dict) else {"text/html": data.data}
        found.append(new_output("display_data", data, metadata=metadata))

    here = "emoser_lib.reporting.report"
    with mock.patch(f"{here}.display", publish), mock.patch(f"{here}.publish_display_data", publish):
        shown = said()
    if isinstance(shown, str):
        found.append(new_output("stream", name="stdout", text=shown))
    elif shown is not None:
        found.append(new_output("execute_result", {"text/html": shown.data}, execution_count=1))
    return found


def executed(source: bool) -> nbformat.NotebookNode:
    """The page's notebook: as it is in git, or as it was run on the hostile corpus by a hostile model."""
    own = corpus()
    answers = pd.DataFrame({marked("system", 0): marked("answer", 1)}, own.frame["id"])
    row = {marked("column", n): marked("cell", n) for n in NUMBERS}
    llm = LLM(marked("llm", CARD), torch.nn.Linear(1, 1), None, "ab" * 32, marked("note", CARD))  # type: ignore[arg-type]
    shown = [
        lambda: introduce(own),
        lambda: introduce_llm(llm),
        lambda: show(tables.splits(describe(own))),
        lambda: show(pd.DataFrame(row, index=[marked("row", 0)])),
        lambda: report(**{f"told{n}": marked("told", n) for n in IN_FILES}),
        lambda: "\n".join(marked("printed", n) for n in PRINTED),
        lambda: listen(corpus(split=""), list(own.frame["id"]), answers),
    ]  # fmt: skip
    glued = " ".join(f"{{glue:text}}`told{n}`" for n in IN_FILES)
    cells = [new_code_cell(str(n), execution_count=n + 1, metadata={"tags": []}) for n in range(len(shown))]
    parameters = new_code_cell('value_0: str = ""', execution_count=1, metadata={"tags": ["parameters"]})
    if not source:
        for cell, said in zip(cells, shown, strict=True):
            cell.outputs = outputs(said)
        given = PythonTranslator.codify({f"value_{n}": marked("given", n) for n in IN_FILES})
        cells.insert(0, new_code_cell(given, metadata={"tags": ["injected-parameters"]}))
    metadata = {"kernelspec": {"name": "python3", "display_name": "a"}, "language_info": {"name": "python"}}
    return new_notebook(cells=[new_markdown_cell(f"# A page\n\n{glued}"), parameters, *cells], metadata=metadata)


@pytest.fixture(scope="module")
def html(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built book."""
    folder = tmp_path_factory.mktemp("hostile")
    book, notebooks, runs, source = (folder / name for name in ("book", "notebooks", "runs", "source"))
    for place in (folder, book):
        place.mkdir(exist_ok=True)
        (place / "secret.txt").write_text(SECRET)
    for name in ("_config.yml", "extensions", "static", "claims.yaml", "references.bib"):
        copy = shutil.copytree if (root / "book" / name).is_dir() else shutil.copy
        copy(root / "book" / name, book / name)
    (book / "index.md").write_text("# Book\n")
    (book / "_toc.yml").write_text("format: jb-book\nroot: index\nchapters: [{file: 09-try}, {file: status}]\n")
    for number in NUMBERS:
        write_record(runs / "09-try" / f"demo-{number}" / "record.json", Record(**hostile(number)))
    ok = Record(**hostile(CARD) | {"status": "ok", "error": None, "key": "demo-ok"})
    write_record(runs / "09-try/demo-ok/record.json", ok)
    notebooks.mkdir()
    nbformat.write(executed(source=True), notebooks / "09-try.ipynb")
    nbformat.write(executed(source=False), runs / "09-try/demo-ok/09-try.ipynb")
    stage_book(book, notebooks, runs, [runs / "09-try/demo-ok"], source)
    command = [
        str(Path(sys.executable).with_name("jupyter-book")),
        "build",
        str(source),
        "--path-output",
        str(folder),
        "-W",
        "-n",
    ]
    built = subprocess.run([*command, "--keep-going"], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-3000:]
    return folder / "_build/html"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=SWITCHES)
        yield browser.new_page()
        browser.close()


def shown_text(page: Page) -> str:
    return " ".join(page.locator("article").first.evaluate("e => e.textContent").split())


def expected(text: str) -> str:
    """As a page shows it: what acts written out, blanks as one."""
    return " ".join(visible(text).split())


@pytest.mark.needs_browser
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["status.html", "09-try.html"])
def test_a_strangers_text_is_a_text(name: str, html: Path, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    page.goto((html / name).as_uri())
    page.wait_for_timeout(500)  # for MathJax and what events would do
    assert page.evaluate("window.pwned") is None
    assert not [url for url in asked if urlsplit(url).scheme not in ("file", "data")]
    for made in ("a[href^='javascript']", "[onerror], [onload], [onmouseover], [onfocus]",
                 "iframe, object, base, mjx-container, article style", "a[href*='secret']"):  # fmt: skip
        assert page.locator(made).count() == 0, f"{name}: {made}"
    assert not page.evaluate("[...document.scripts].filter((s) => s.textContent.includes('pwned')).length")
    text = shown_text(page)
    assert SECRET not in text
    texts = {
        "status.html": [text for number in NUMBERS for text in on_the_status_page(number)],
        "09-try.html": [
            *on_the_card(), *(marked(field, CARD) for field in ("named", "llm", "note")),
            *(marked(field, n) for n in NUMBERS for field in ("cell", "column")),
            *(marked(field, n) for n in IN_FILES for field in ("split", "label", "transcription")),
            *(marked("printed", n) for n in PRINTED),
            *(f"{field}{n}<" for n in IN_FILES for field in ("told", "given")),
        ],
    }[name]  # fmt: skip
    lost = [one for one in texts if expected(one) not in text]
    assert not lost, f"{len(lost)} of {len(texts)} texts are not on {name}, such as {lost[0]!r}"


@pytest.mark.parametrize("name", [name for name in PAYLOADS if name != "very long"])
def test_no_name_is_a_text(name: str, tmp_path: Path, root: Path) -> None:
    for field in ("notebook", "profile", "run", "key"):
        with pytest.raises(ValueError, match=field):
            Record(**hostile(0) | {field: PAYLOADS[name]})
    with pytest.raises(UsageError, match="has a name that cannot be"):
        plan(root / "notebooks/01-corpus.ipynb", profile=PAYLOADS[name])


def test_figures_draw_a_strangers_text(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font lacks some of the letters, and 36 long labels leave no room
        figures.label_counts(corpus(split="")).savefig(tmp_path / "a.png")
