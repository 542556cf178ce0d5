"""Slides from the built pages: one idea a slide, figures large, the page's own words as the speaker's notes.

A paragraph becomes its sentences, a figure, a table, a formula with its text, a cell that is the lesson, an exercise or
a question one slide each. What a page shows besides is left out: other code, provenance, run cards.
"""

import base64
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from bs4 import BeautifulSoup, NavigableString, Tag

from emoser_lib.errors import DataError
from emoser_lib.teaching.notes import Notes

MOST_SENTENCES = 4
"""How many stand on one slide, at most: our choice."""

LEFT_OUT = ".cell_input, details.above-input, .emoser-corpus, .output.stream, script"
"""What a cell shows besides its results."""

NO_SLIDES = {"parameters"}
"""Sections that are for whoever runs the chapter."""

FOR_READERS = ("Before you start:", "Next:")
"""Paragraphs that no room needs to see."""

OF_PAPERS = ("claims", "ledger.", "arms.", "hearing.query_pooling.choices")
"""What makes tables of what the papers print or state, as the line of provenance names it."""

OF_RUNS = "command"
"""The first column of a table that says how recorded runs were made."""

ONE_SENTENCE = re.compile(r'<p class="lead">(?:(?!</p>).){1,200}</p>', re.DOTALL)
"""A slide of a single sentence that is short enough to stand above what it leads to."""

HINT = "Arrow keys go on and back; S shows the speaker's notes."

BETWEEN = re.compile(r"(?<=[.!?])\s+(?=[A-Z“\"(*])")
"""Where a sentence ends."""

PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="light">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}: slides</title>
<style>{pygments}</style>
<link rel="stylesheet" href="assets/deck.css">
<script>{mathjax}</script>
<script defer src="assets/mathjax/tex-mml-chtml.js"></script>
<script defer src="assets/deck.js"></script>
</head>
<body>
<main id="deck">
{slides}
</main>
<aside id="notes" aria-label="Speaker's notes"></aside>
<nav aria-label="Slides"><button data-key="ArrowLeft" aria-label="Back">‹</button>
<button data-key="ArrowRight" aria-label="On">›</button><button data-key="s">Notes (S)</button></nav>
</body>
</html>
"""


@dataclass
class Slide:
    """One slide.

    Attributes:
        title: the heading of its section.
        body: its HTML.
        notes: HTML of the speaker's notes.
        wide: whether it holds a table or code, set smaller.
        source: of what a run has put out, which run it was.
    """

    title: str
    body: str
    notes: str = ""
    wide: bool = False
    source: str = ""


@dataclass
class _Deck:
    """The slides of a page, as they come."""

    run: str
    slides: list[Slide] = field(default_factory=list)

    def section(self, section: Tag) -> None:
        heading = section.find(["h1", "h2", "h3", "h4"], recursive=False)
        if section.get("id") in NO_SLIDES or not isinstance(heading, Tag):
            return
        title = heading.get_text().strip()
        if section.get("id") == "quiz":
            return self._quiz(section, title)
        for child in section.find_all(True, recursive=False):
            if child.name == "section":
                self.section(child)
            elif child is not heading:
                self._block(child, title)

    def _block(self, block: Tag, title: str) -> None:
        classes = block.get_attribute_list("class")
        if "emoser-provenance" in classes or "emoser-run-card" in classes:
            return
        if block.name == "p":
            self._paragraph(block, title)
        elif block.name in ("ul", "ol", "dl"):
            self.slides.append(Slide(title, str(block), str(block)))
        elif "math" in classes:
            self._formula(block, title)
        elif "emoser-exercise" in classes or "emoser-aside" in classes:
            self._folded(block)
        elif "solution" in classes:
            self.slides[-1].notes += f"<p><b>Solution</b></p>{_content(block)}"
        elif "cell" in classes:
            self._cell(block, title)
        elif block.name == "div" and block.find(["table", "figure", "pre"]):
            self._shown(block, title, "")

    def _paragraph(self, block: Tag, title: str) -> None:
        if block.get_text().startswith(FOR_READERS):
            return
        sentences = list(_sentences(block))
        for start in range(0, len(sentences), MOST_SENTENCES):
            lead, *others = sentences[start : start + MOST_SENTENCES]
            bullets = f"<ul>{''.join(f'<li>{sentence}</li>' for sentence in others)}</ul>" if others else ""
            self.slides.append(Slide(title, f'<p class="lead">{lead}</p>{bullets}', str(block)))

    def _formula(self, block: Tag, title: str) -> None:
        """A formula stands with the text that leads to it."""
        if self.slides and self.slides[-1].title == title and not self.slides[-1].source:
            self.slides[-1].body += str(block)
            self.slides[-1].notes += str(block)
        else:
            self.slides.append(Slide(title, str(block), str(block)))

    def _folded(self, folded: Tag) -> None:
        """An exercise with what belongs to it, or an aside."""
        line = folded.select_one(".sd-summary-text")
        effort = line.select_one("em") if line else None  # how hard and how long: said with the task
        title = _text(line).replace(f" {_text(effort)}", "").removesuffix(".") if effort else _text(line)
        for block in folded.select(":scope > .sd-summary-content > *"):
            if "exercise" in block.get_attribute_list("class"):
                if effort and block.p:
                    block.p.insert(0, effort.extract(), " ")
                self.slides.append(Slide(title, _content(block), ""))
            else:
                self._block(block, title)

    def _cell(self, cell: Tag, title: str) -> None:
        source = cell.find(class_="cell_input")
        if isinstance(source, Tag) and "tag_teach" in cell.get_attribute_list("class"):
            code = source.find(class_="highlight")
            self.slides.append(Slide(title, str(code), "", wide=True))
        for left_out in cell.select(LEFT_OUT):
            left_out.decompose()
        self._shown(cell, title, self._source(cell))

    def _source(self, cell: Tag) -> str:
        """Whose numbers a cell shows, by the line of provenance below it."""
        below = cell.find_next_sibling()
        told = isinstance(below, Tag) and "emoser-provenance" in below.get_attribute_list("class")
        links = below.select("a") if isinstance(below, Tag) and told else []
        recorded = [Path(str(link["href"])).stem for link in links if str(link["href"]).startswith("records/")]
        if recorded:
            return f"Recorded: {', '.join(recorded)}"
        papers = any(link.get_text().startswith(OF_PAPERS) for link in links)
        return f"Of the papers. What is not: {self.run}" if papers else self.run

    def _shown(self, block: Tag, title: str, source: str) -> None:
        for figure in block.find_all("figure"):
            notes = f"{self._lead(title)}<p>{_text(figure.find('figcaption'))}</p>"
            self.slides.append(Slide(title, str(figure), notes, source=source))
            figure.extract()
        for table in block.find_all("table"):
            first = table.find("th")
            if isinstance(first, Tag) and first.get_text().strip() == OF_RUNS:
                continue
            lead = self._lead(title)
            self.slides.append(Slide(title, f"{lead}{table}", lead, wide=True, source=source))
            table.extract()
        for picture in block.find_all("svg"):
            self.slides.append(Slide(title, f"<figure>{picture}</figure>", source=source))

    def _lead(self, title: str) -> str:
        """Take back the one sentence before a table or figure, where it only says what follows."""
        if self.slides and self.slides[-1].title == title and ONE_SENTENCE.fullmatch(self.slides[-1].body):
            return self.slides.pop().body
        return ""

    def _quiz(self, section: Tag, title: str) -> None:
        for folded in section.select("details.emoser-question"):
            asked, options, reasons = folded.find(class_="sd-summary-text"), [], []
            for each in folded.select("details.emoser-quiz"):
                option, reason = each.find(class_="sd-summary-text"), each.find(class_="sd-summary-content")
                options.append(f"<li>{_inside(option)}</li>")
                reasons.append(f"<li>{_inside(option)} {_text(reason)}</li>")
            body = f'<p class="lead">{_inside(asked)}</p><ol type="A">{"".join(options)}</ol>'
            self.slides.append(Slide(title, body, f'<ol type="A">{"".join(reasons)}</ol>'))


def slides_of(page: str, folder: Path, notes: Notes | None = None) -> list[Slide]:
    """Cut a built page into slides.

    Args:
        page: its HTML.
        folder: that it lies in, with its pictures.
        notes: the teacher's, for the first slide.

    Raises:
        DataError: it is no page of this book.
    """
    parsed = BeautifulSoup(page, "html.parser")
    top = parsed.select_one("article.bd-article > section")
    if top is None or top.h1 is None:
        raise DataError(f"{folder} has a page that is none of this book: run `make book`.")
    run = _text(top.select_one(".emoser-run-card summary")).partition(", with ")[0].partition(". ")[0]
    for left_out in top.select(".headerlink, .section-number, .copybtn, .emoser-top, svg.sd-octicon"):
        left_out.decompose()
    for link in top.select("a:not(.emoser-provenance a)"):
        link.unwrap()
    for picture in top.select("img"):
        picture["src"] = _embedded(folder / str(picture["src"])) if ":" not in str(picture["src"]) else picture["src"]
    for named in top.select("[id]"):
        if not named.find_parent("svg") and named.name not in ("section", "p"):
            del named["id"]
    deck = _Deck(run)
    first = Slide(top.h1.get_text().strip(), f"<p>{HINT}</p>", _notes_html(notes) if notes else "")
    deck.section(top)
    return [first, *deck.slides]


def deck_page(slides: list[Slide], folder: Path) -> str:
    """Write a deck as one HTML page.

    Args:
        slides: of `slides_of`, the title first.
        folder: of the built book, for the colours of code.
    """
    title, parts = slides[0].title, []
    for number, slide in enumerate(slides, 1):
        heading = f"<h1>{escape(slide.title)}</h1>" if number == 1 else f"<h2>{escape(slide.title)}</h2>"
        wide = " wide" if slide.wide else ""
        parts.append(
            f'<section class="slide" aria-label="Slide {number} of {len(slides)}">{heading}<div class="body{wide}">'
            f"{slide.body}</div><footer><span>{number} / {len(slides)}</span><span>{escape(title)}</span>"
            f"<span>{slide.source}</span></footer>"
            f'<div class="notes">{slide.notes or "<p>No notes.</p>"}</div></section>'
        )
    return PAGE.format(
        title=escape(title),
        pygments=(folder / "_static" / "pygments.css").read_text(encoding="utf-8"),
        mathjax='window.MathJax = {"options": {"processHtmlClass": "math", "ignoreHtmlClass": "slide"}}',
        slides="\n".join(parts),
    )


def _sentences(paragraph: Tag) -> Iterator[str]:
    """The HTML of each sentence of a paragraph."""
    now = ""
    for node in list(paragraph.children):
        if isinstance(node, NavigableString):
            head, *rest = BETWEEN.split(escape(str(node), quote=False))
            now += head
            for sentence in rest:
                yield now.strip()
                now = sentence
        else:
            now += str(node)
    if now.strip():
        yield now.strip()


def _inside(tag: Tag | NavigableString | None) -> str:
    return tag.decode_contents() if isinstance(tag, Tag) else ""


def _text(tag: Tag | NavigableString | None) -> str:
    return escape(tag.get_text(" ", strip=True)) if tag else ""


def _content(block: Tag) -> str:
    section = block.find("section")
    return _inside(section if isinstance(section, Tag) else block)


def _embedded(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0]
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _notes_html(notes: Notes) -> str:
    minutes = ", ".join(f"{escape(part)} {of}" for part, of in notes.minutes.items())
    lists = {"Ask the room": notes.ask, "Usual mistakes": notes.mistakes}
    items = {title: "".join(f"<li>{escape(line)}</li>" for line in lines) for title, lines in lists.items()}
    return f"<p>Minutes: {minutes}</p>" + "".join(f"<p>{title}</p><ul>{of}</ul>" for title, of in items.items())
