"""The book on paper: `make pdf`."""

import importlib
from pathlib import Path

import pytest
from pypdf import PdfReader

pytestmark = [pytest.mark.needs_browser]


def test_two_pages_are_one_file(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    html = root / "book" / "_build" / "html"
    if not (html / "index.html").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    monkeypatch.syspath_prepend(str(root / "scripts"))
    out = tmp_path / "book.pdf"
    sheets = importlib.import_module("make_pdf").print_book(html, out, ["references.html", "02-scoring.html"])
    book = PdfReader(out)
    assert len(book.pages) == sheets > 4
    chapters = [item for item in book.outline if not isinstance(item, list)]
    assert [item.title for item in chapters] == ["References", "2. Scoring"]
    (sections,) = [item for item in book.outline[book.outline.index(chapters[1]) :] if isinstance(item, list)]
    assert "2.5. The bootstrap" in str(sections), "its sections are in the outline too"
    for number, sheet in enumerate(book.pages, 1):
        assert sheet.extract_text().split()[-1] == str(number)
    links = [str(note.get_object()) for sheet in book.pages for note in sheet.get("/Annots", [])]
    assert links and not [link for link in links if "file:" in link], "a link names a folder of this machine"
    text = "".join(sheet.extract_text() for sheet in book.pages)
    assert "(https://" in text, "the address stands behind a link that leads out"
    words = " ".join(text.split())
    for folded in ("figures.confusion(", "corpus: str = ", "Right. ", "That label has recall 1 and precision"):
        assert folded in words, f"what is folded on the page is open on paper: {folded}"
    assert list(tmp_path.iterdir()) == [out]
