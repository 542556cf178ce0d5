"""Lay out the book's source from executed notebooks: `python scripts/stage_book.py runs/…/01-corpus.ipynb …`."""

import sys
from pathlib import Path

from emoser_lib.reporting.book.pages import stage_book

if __name__ == "__main__":
    shown = [Path(path).parent for path in sys.argv[1:]]
    stage_book(Path("book"), Path("notebooks"), Path("runs"), shown, Path("book/_build/source"))
