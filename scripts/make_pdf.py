"""Print the built book as one PDF, with an outline and page numbers: `make pdf`.

python scripts/make_pdf.py [HTML FOLDER] [PDF]
"""

import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter

from emoser_lib.doctor import find_browser
from emoser_lib.files import write_whole

HTML = Path("book/_build/html")
PDF = Path("book/_build/emoser-book.pdf")

IN_ORDER = "[...document.querySelectorAll('.bd-sidebar-primary nav.bd-links a.reference.internal')].map((a) => a.href)"

ALONE = """() => {
  // A link to another page would name a folder of this machine.
  document.querySelectorAll('a[href]').forEach((a) => {
    if (a.protocol === 'file:' && !a.getAttribute('href').startsWith('#')) a.removeAttribute('href');
  });
}"""

PAPER = {"format": "A4", "margin": {"top": "18mm", "bottom": "20mm", "left": "18mm", "right": "18mm"}}
"""Its size and margins (our choice)."""

NUMBERS = """<style>
  @page { size: A4; margin: 0 }
  body { margin: 0 }
  div { height: 296mm; break-after: page; position: relative }
  span { bottom: 9mm; font: 9pt sans-serif; left: 0; position: absolute; right: 0; text-align: center }
</style>"""
"""Sheets with nothing but their numbers follow."""


def pages_in_order(page: Page, html: Path) -> list[Path]:
    """Return the built pages as the list of contents names them, the front page first."""
    page.goto((html / "index.html").as_uri())
    names = [link.partition("#")[0].rpartition("/")[2] for link in page.evaluate(IN_ORDER)]
    return [html / name for name in dict.fromkeys(["index.html", *names])]


def print_book(html: Path, out: Path, names: Sequence[str] = ()) -> int:
    """Print pages into one PDF and return how many sheets it has.

    Args:
        html: the built book.
        out: the file to write; it is there whole or not at all.
        names: of the pages; by default all, in the order of the list of contents.
    """
    book = PdfWriter()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        for path in [html / name for name in names] or pages_in_order(page, html):
            page.goto(path.as_uri(), wait_until="load")
            page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
            page.evaluate(ALONE)
            printed = Path(folder) / f"{path.stem}.pdf"
            page.pdf(path=printed, outline=True, tagged=True, **PAPER)
            title = page.title().removesuffix(" — emoser")
            book.append(printed, outline_item=title, import_outline=True)
        sheets = len(book.pages)
        page.set_content(NUMBERS + "".join(f"<div><span>{n}</span></div>" for n in range(1, sheets + 1)))
        numbers = Path(folder) / "numbers.pdf"
        page.pdf(path=numbers, prefer_css_page_size=True)
        for sheet, number in zip(book.pages, PdfReader(numbers).pages, strict=False):
            sheet.merge_page(number)
        browser.close()
    book.add_metadata({"/Title": "emoser"})
    held = io.BytesIO()
    book.write(held)
    write_whole(out, held.getvalue())
    return sheets


if __name__ == "__main__":
    given = [Path(one) for one in sys.argv[1:]]
    html, out = (*given, *(HTML, PDF)[len(given) :])
    print(f"{print_book(html, out)} pages: {out}")
