"""No result is typed in prose: the numbers of a page come from a record (glue), a claim or a directive.

What others than the two papers report may be typed, beside its citation, if FACTS names the source.

What is read: markdown cells and captions of the chapters, and the book's own pages. What is not prose: code, roles, and
what makes up a formula. Of the rest every number in digits is a fault, unless a rule below says what kind of number it
is. Numbers in words ("two cores") are not looked at.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from myst_parser.config.main import MdParserConfig
from myst_parser.parsers.mdit import create_md_parser

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "notebooks").glob("*.ipynb")), *sorted((ROOT / "book").glob("*.md"))]

EXTENSIONS = {"amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "tasklist"}
PARSER = create_md_parser(MdParserConfig(enable_extensions=EXTENSIONS), RendererHTML)

NOT_A_RESULT = {
    "a place: Table 3, sections 4.2 and 5.1.2": (
        r"\b(?i:chapter|section|figure|table|equation|task|exit code) [1-9]\d?(?:\.[1-9])*(?![.,]?\d|\s?%)"
        r"|\b(?i:chapters|sections|figures|tables) [1-9](?:\.[1-9])*(?:(?:, | and )[1-9](?:\.[1-9])*)*(?![.,]?\d|\s?%)"
    ),
    "the level of an interval": r"(?<![\d.,])95 % (?:bootstrap )?intervals?\b",
    "a setting: batch 4, alpha 2,048": (
        r"\b(?i:batch(?: size)?|rank|alpha|dropout) (?:\d{1,3}(?:,\d{3})+|\d+)(?![.,]?\d|\s?%)"
    ),
    "a version": r"\bGemma 2B|\bwav2vec 2\.0|\bPython 3\.\d+|\bCC BY \d\.\d",
    "a name: macro-F1, emotion2vec, Llama-3.2-3B": r"\b[A-Za-z]+(?:-[A-Za-z]+)*-?\d\w*(?:\.\d\w*)?(?:-\w+)*",
    "a year": r"(?<![\d.,])20[12]\d(?![.,]?\d|\s?%)(?! (?:\w+ )?(?:clips|seconds|words))",
    "nothing or one": r"(?<![\d.,])[01](?![.,]?\d|\s?%)",
}
"""Kinds of numbers that may be typed. Each is taken out of the text, in this order."""

CODE = {"clip", "code", "code-block", "code-cell", "eval-rst", "raw"}
"""Directives with nothing to read."""

LAYOUT = {"grid"}
"""Directives whose arguments are numbers of columns."""

PACE = "how often the encoder gives a frame, by its architecture"

PLANS = {"measure", "teach"}
"""Pages of what is to be measured or taught: numbers are settings, goals, what was seen before, minutes and points."""

FACTS: dict[str, dict[str, str]] = {
    "01-corpus": {
        "16 kHz, one channel, 32-bit floats": "the format that `waveform` promises, and its test holds",
        "95 % of test sets": "the level of the interval, a choice",
        "from 50 to 500 Hz": "the limits of the figure's pitch, a choice",
    },
    "02-scoring": {
        "1.96": "the normal distribution's quantile",
        "middle 95 % of the scores": "the level of the interval, a choice",
    },
    "06-qwen-audio-zero-shot": {"a vector each 40 ms": PACE},
    "09-emotion2vec-gemma": {"a frame each 20 ms": PACE},
    "11-results": {"1.96": "the normal distribution's quantile"},
    "13-robustness": {
        "300 to 3400 Hz (ITU-T G.712), 8,000 samples a second": "a telephone's band and rate, by the standard",
        "given with probability 0.8": "an example in a definition",
        "as loud at 6 kHz as at 600 Hz": "what white noise is; two frequencies as an example",
    },
    "benchmark": {"rest 2": "the second of the pieces that are named"},
    "glossary": {
        "every 20 milliseconds": PACE,
        "about 50 a second": PACE,
        "given with probability 0.8": "an example in a definition",
        "at 20 dB": "what a decibel is",
    },
    "related": {
        "0.5200, eighth": "the abstract of SINAI (CEUR-WS Vol-3756, EmoSPeech2024 paper 5)",
        "0.51, ninth": "the abstract of UAE (CEUR-WS Vol-3756, EmoSPeech2024 paper 7)",
        "0.56, seventh": "the abstract of UAE (CEUR-WS Vol-3756, EmoSPeech2024 paper 7)",
        "80.77 % of the papers": "the abstract of EMO-SUPERB (arXiv:2402.13018)",
        "0.553 on MELD, and 0.557 for Qwen-Audio": "the page of Qwen2-Audio's repository, first table",
        "converted to another framework it was 0.535": "the page of Qwen2-Audio's repository, second table",
    },
}
"""Page -> words -> why this number may be typed."""


def prose(text: str) -> Iterator[str]:
    """The paragraphs of a page in MyST Markdown, without code and roles; a table's cell after its column's head."""
    heads: list[str] = []
    before = ""
    column = 0
    for token in PARSER.parse(text):
        if token.type in ("thead_open", "tr_open"):
            heads, column = ([] if token.type == "thead_open" else heads), 0
        elif token.type == "inline":
            said = "".join(map(said_by, token.children or []))
            if before == "th_open":
                heads.append(said)
            elif before == "td_open":
                said, column = f"{heads[column]} {said}", column + 1
            yield said
        else:
            yield from inside(token)
        before = token.type


def inside(block: Token) -> Iterator[str]:
    """The prose of a block that is not a paragraph: a directive's title, options and content, HTML, a formula."""
    directive = re.match(r"\{([\w:-]+)\}(.*)", block.info.strip()) if block.type in ("fence", "colon_fence") else None
    if directive and directive[1] not in CODE:
        options = re.match(r"(?:\s*:[\w-]+:.*\n)*", block.content)
        assert options
        title = "" if directive[1] in LAYOUT else directive[2]
        yield from (title, *re.findall(r":(?:caption|alt):(.*)", options[0]))
        yield from prose(block.content[options.end() :])
    elif block.type == "html_block":
        yield re.sub(r"<[^>]*>", " ", block.content)
    elif block.type in ("math_block", "math_block_label", "amsmath"):
        yield formula(block.content)


def said_by(token: Token) -> str:
    """What one piece of a paragraph says of itself."""
    if token.type in ("softbreak", "hardbreak"):
        return " "
    if token.type == "text":
        return token.content
    if token.type == "math_inline":
        return f" {formula(token.content)} "
    return "…" if token.type in ("code_inline", "myst_role") else ""


def formula(tex: str) -> str:
    """The numbers of a formula that could be results: not exponents, indices, powers of ten and single digits."""
    bare = re.sub(r"10\^\{?-?\d+\}?|[_^](?:\{[^}]*\}|\w)|\\\w+", " ", tex)
    return re.sub(r"(?<![\d.,])\d(?![\d.,]*\d)", " ", bare)


def typed_numbers(text: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """The numbers that are typed in a page's prose, each with a few words around it.

    Args:
        text: MyST Markdown.
        allowed: words with numbers that may stand.
    """
    found = []
    for paragraph in prose(text):
        for words in allowed:
            paragraph = paragraph.replace(words, "…")
        for kind in NOT_A_RESULT.values():
            paragraph = re.sub(kind, "…", paragraph)
        numbers = re.finditer(r"\.?\d[\d.,]*(?<=\d)", paragraph)
        found += [paragraph[max(0, n.start() - 30) : n.end() + 30].strip() for n in numbers]
    return found


def text_of(page: Path) -> str:
    """A page's Markdown; of a chapter the cells, and the captions and alternative texts of its figures."""
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    cells = nbformat.read(page, as_version=4).cells
    about = [cell.metadata.get("mystnb", {}) for cell in cells]
    captions = [
        of.get(kind, {}).get(word, "") for of in about for kind, word in (("figure", "caption"), ("image", "alt"))
    ]
    return "\n\n".join([*(cell.source for cell in cells if cell.cell_type == "markdown"), *captions])


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem not in PLANS], ids=lambda page: page.stem)
def test_no_result_is_typed(page: Path) -> None:
    found = typed_numbers(text_of(page), tuple(FACTS.get(page.stem, ())))
    assert found == [], "take it from the record (glue) or from the paper (claim), or say in FACTS what it is"


def test_no_explanation_is_left_over() -> None:
    texts = {page.stem: " ".join(text_of(page).split()) for page in PAGES}
    assert [(page, words) for page, facts in FACTS.items() for words in facts if words not in texts[page]] == []


RESULTS = [
    "macro-F1 of .58",
    "It reaches 0.58 here",
    "right on 58 % of them",
    "right on 58% of them",
    "58 percent",
    "395 of the 750 clips",
    "in 12 seconds",
    "an F1 of 0.58",
    "macro-F1 0.5863 ± 0.0352",
    "a score of 1.0",
    "100 %",
    "1 % of the clips",
    "2,024 clips",
    "2024 clips",
    "Table 3 has 0.6719",
    "Table 3, 0.6719",
    "Tables 2 and 3 and 58 %",
    "Table 58 %",
    "section 4.2 has 58 clips",
    "alpha 58 % higher",
    "rank 58.2 %",
    "$0.58$",
    "$F_1 = 0.58$",
    "$n = 750$",
    "$$p < 0.03$$",
    "**0.58**",
    "[0.58](02-scoring.ipynb)",
    "| system | macro-F1 |\n|---|---|\n| Gemma | 0.58 |",
    "- a list with 0.58",
    "term\n: 58 clips",
    "```{exercise}\n:label: ex-one\nWhy is it 0.58?\n```",
    "````{solution} ex-one\n:class: dropdown\n```bash\nemoser run 1\n```\nIt is 0.58.\n````",
    ":::{table} Scores of 58 clips\n| a |\n|---|\n| b |\n:::",
    ":::{note}\n0.58\n:::",
    "```{figure} a.png\n:alt: 58 bars\n```",
    "<p>It is <b>0.58</b></p>",
    "{glue:text}`x:.2f`, that is 0.58",
]


@pytest.mark.parametrize("text", RESULTS)
def test_a_typed_result_is_found(text: str) -> None:
    assert typed_numbers(text)


FINE = [
    "macro-F1 {glue:text}`macro_f1:.3f` on {glue:text}`n` clips ({claim}`thau-clips-test` in the paper)",
    "section 5.1.1, Figure 4 and Table 3 of {cite:t}`thau-upm`, sections 4.2 and 5.1.2, Tables 2 and 3, chapter 12",
    "`resamples` at `200`",
    "```bash\nemoser run 03-classical -p seed 58\n```",
    "```{exercise}\n:label: ex-58\nWhy?\n```",
    "::::{grid} 1 1 3 3\n:gutter: 3\n::::",
    "EmoSPeech 2024, Spanish MEACorpus 2023, wav2vec 2.0, Llama-3.2-3B-Instruct, Whisper-large-v3, Gemma 2B, mp3",
    "with batch 4, rank 32, alpha 2,048 and dropout 0",
    "| batch size | learning rate |\n|---|---|\n| 4 | $10^{-3}$ |",
    "the 95 % bootstrap interval, and 95 % intervals",
    "recall 1, all others are 0",
    "$$F_1(c) = \\frac{2\\,TP_c}{2\\,TP_c + FP_c}$$",
    "to $10^{-5}$, $w_1 \\dots w_{k-1}$, $2s/(1+s)$",
    "two cores, a sixth, twelve sentences",
    "[chapter 58](58-name.ipynb)",
    "<span class='a58'>text</span>",
]


@pytest.mark.parametrize("text", FINE)
def test_other_numbers_are_not(text: str) -> None:
    assert typed_numbers(text) == []


def test_an_explanation_is_for_its_words_only() -> None:
    assert typed_numbers("a goal of 0.65 and a recall of 0.65", ("a goal of 0.65",)) == ["… and a recall of 0.65"]
