"""Make slides of the built book's chapters, as pages and as PDF: `python scripts/slides.py`.

They lie in book/_build/slides, with all that they need.
"""

import shutil
import subprocess
import sys
from html import escape
from pathlib import Path

from emoser_lib.doctor import find_browser
from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError
from emoser_lib.files import write_whole
from emoser_lib.teaching.notes import read_notes
from emoser_lib.teaching.slides import deck_page, slides_of

HTML, SLIDES = ROOT / "book" / "_build" / "html", ROOT / "book" / "_build" / "slides"


def make_decks(destination: Path) -> list[Path]:
    """Write the decks and what they need into one folder; return their pages."""
    notes = read_notes(ROOT / "book" / "teacher.yaml")
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(ROOT / "book" / "slides", destination / "assets")
    shutil.copytree(ROOT / "book" / "static" / "vendor" / "mathjax", destination / "assets" / "mathjax")
    decks = []
    for path in sorted(HTML.glob("[0-9]*.html")):
        page = path.read_text(encoding="utf-8")
        slides = slides_of(page, HTML, notes.get(path.stem))
        write_whole(destination / path.name, deck_page(slides, HTML))
        decks.append(destination / path.name)
        print(f"{path.stem}: {len(slides)} slides")
    if not decks:
        raise DataError(f"{HTML} has no chapter: run `make book` first.")
    links = "".join(f'<li><a href="{deck.name}">{escape(deck.stem)}</a></li>' for deck in decks)
    write_whole(
        destination / "index.html", f'<!DOCTYPE html><html lang="en"><title>Slides</title><ul>{links}</ul></html>'
    )
    return decks


def print_deck(deck: Path, browser: Path) -> None:
    """Print a deck, one page a slide, beside it."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
    options += ["--export-tagged-pdf", "--generate-pdf-document-outline"]
    out = deck.with_suffix(".pdf")
    subprocess.run([browser, *options, f"--print-to-pdf={out}", deck.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Make all decks; PDF where there is a browser."""
    browser = find_browser()
    for deck in make_decks(SLIDES):
        if browser:
            print_deck(deck, browser)
    print(f"The slides: {SLIDES}/index.html" + ("" if browser else ", without PDF: no browser, see `make browser`"))


if __name__ == "__main__":
    try:
        main()
    except DataError as error:
        sys.exit(f"emoser: {error}")
