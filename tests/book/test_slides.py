"""The slides, made of the built book and shown in Chromium from file://."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from emoser_lib.doctor import find_browser
from emoser_lib.errors import DataError
from emoser_lib.teaching.slides import slides_of

pytestmark = [pytest.mark.needs_browser, pytest.mark.slow, pytest.mark.timeout(300)]

SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

LOOK = """() => [...document.querySelectorAll('.slide')].map((slide) => {
  const body = slide.querySelector('.body'), heading = slide.querySelector('h1, h2');
  return {
    text: slide.textContent.trim().slice(0, 60),
    spilled: body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1
      || heading.scrollHeight > heading.clientHeight + 8,
    size: parseFloat(getComputedStyle(body).fontSize),
    empty: !body.textContent.trim() && !body.querySelector('img, svg, audio'),
    pictures: [...body.querySelectorAll('img')].map((img) => [img.naturalWidth, img.getBoundingClientRect().height]),
    math: [...body.querySelectorAll('.math')].filter((of) => !of.querySelector('mjx-container')).length,
    links: body.querySelectorAll('a').length,
  };
})"""


@pytest.fixture(scope="module")
def decks(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if not (root / "book" / "_build" / "html" / "index.html").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root / "scripts"))
        made: list[Path] = importlib.import_module("slides").make_decks(tmp_path_factory.mktemp("slides") / "slides")
    return made


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=SWITCHES)
        yield browser.new_page(viewport={"width": 1280, "height": 720})
        browser.close()


def opened(page: Page, deck: Path) -> list[dict[str, Any]]:
    page.goto("about:blank")
    page.goto(deck.as_uri())
    page.wait_for_selector("body[data-fitted]")
    found: list[dict[str, Any]] = page.evaluate(LOOK)
    return found


def test_nothing_spills_and_all_is_large_enough_to_read(decks: list[Path], page: Page) -> None:
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: request.url.startswith(("file:", "data:", "about:")) or wrong.append(request.url)
    )
    assert len(decks) == 14
    for deck in decks:
        slides = opened(page, deck)
        assert 15 < len(slides) < 90, deck.stem
        for slide in slides:
            where = f"{deck.stem}: {slide['text']}"
            assert not slide["spilled"] and not slide["empty"] and slide["size"] >= 14, where
            assert slide["math"] == slide["links"] == 0, where
            assert all(width > 0 and height > 200 for width, height in slide["pictures"]), where
    assert wrong == []


def test_what_is_shown_is_accessible(decks: list[Path], page: Page) -> None:
    opened(page, next(deck for deck in decks if deck.stem == "01-corpus"))
    page.keyboard.press("s")
    for _ in range(6):
        found = Axe().run(page, options={"preload": False}).response["violations"]
        assert [violation["id"] for violation in found if violation["impact"] in ("serious", "critical")] == []
        page.keyboard.press("ArrowRight")


def test_keys_turn_slides_and_show_the_notes(decks: list[Path], page: Page) -> None:
    deck = next(deck for deck in decks if deck.stem == "05-gemma-lora")
    last = len(opened(page, deck))
    shown, notes = page.locator(".slide.on footer span:first-child"), page.locator("#notes")
    expect(notes).to_be_hidden()
    page.keyboard.press("s")
    expect(notes).to_be_visible()
    expect(notes).to_contain_text("Usual mistakes")
    for key, number in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("End", last), ("Home", 1)):
        page.keyboard.press(key)
        expect(shown).to_have_text(f"{number} / {last}")
    page.keyboard.press("ArrowRight")
    expect(notes).to_contain_text("Can a small adapter turn a language model into one that tells emotions from words?")
    page.keyboard.press("S")
    expect(notes).to_be_hidden()


def test_results_say_whose_they_are(decks: list[Path]) -> None:
    deck = next(deck for deck in decks if deck.stem == "08-whisper-gemma").read_text(encoding="utf-8")
    sources = set(re.findall(r"<span>([^<]*)</span></footer>", deck))
    assert any("demo Run on synthetic clips" in source for source in sources)
    assert any(source.startswith("Recorded: 08-whisper-gemma-small-") for source in sources)
    assert any(source.startswith("Of the papers. What is not: demo Run on synthetic clips") for source in sources)
    assert "Right." in deck and "<b>Solution</b>" in deck, "the notes hold answers"


def test_the_pdf_has_a_page_a_slide(root: Path, decks: list[Path], page: Page) -> None:
    deck, browser = next(deck for deck in decks if deck.stem == "03-classical"), find_browser()
    assert browser
    importlib.import_module("slides").print_deck(deck, browser)
    printed = deck.with_suffix(".pdf").read_bytes()
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == len(opened(page, deck))
    assert b"/StructTreeRoot" in printed and b"/Outlines" in printed


def test_a_page_of_another_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make book"):
        slides_of("<html><body><h1>Other</h1></body></html>", tmp_path)
