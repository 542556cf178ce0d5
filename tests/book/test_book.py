"""The built book, opened page by page in Chromium from file://, as a reader does who has no network."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from emoser_lib.doctor import find_browser

pytestmark = [pytest.mark.needs_browser, pytest.mark.slow, pytest.mark.timeout(900)]

SWITCHES = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"),
]
VIEWS = {1400: ("light", "dark"), 390: ("dark", "light")}
"""Width in pixels -> colours: those a page is opened in, once, and those it is switched to then."""

AXE = {"preload": False, "resultTypes": ["violations"], "rules": {"label-content-name-mismatch": {"enabled": True}}}
"""All rules, that one too which axe-core leaves out unless asked. With "preload" it would fetch the style sheets, which
a browser refuses on file://."""

LOOK = r"""() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const article = document.querySelector('.bd-article') || document.createElement('div');
  const inArticle = (selector) => [...article.querySelectorAll(selector)];
  const root = document.documentElement;
  return {
    language: root.lang,
    links: all('a[href]').map((a) => new URL(a.getAttribute('href'), document.baseURI).href),
    anchors: all('[id]').map((e) => e.id).concat(all('a[name]').map((a) => a.name)),
    broken_images: all('img').filter((i) => !i.complete || i.naturalWidth === 0).map((i) => i.src.slice(0, 200)),
    images_without_alt: inArticle('img').filter((i) => !i.alt.trim()).map((i) => i.src.slice(0, 200)),
    loose_images: inArticle('.cell_output img').filter((i) => !i.closest('figure')).map((i) => i.src.slice(0, 200)),
    captions: inArticle('figure').map((f) => [
      f.querySelector('figcaption .caption-number')?.textContent.trim() || '',
      f.querySelector('figcaption .caption-text')?.textContent.trim() || '']),
    raw_math: inArticle('span.math, div.math').filter((m) => !m.querySelector('mjx-container')).length,
    broken_words: inArticle('table').filter((e) => e.offsetParent).flatMap((table) => {
      const found = [], range = document.createRange(), texts = document.createTreeWalker(table, NodeFilter.SHOW_TEXT);
      while (texts.nextNode()) {
        for (const word of texts.currentNode.data.matchAll(/(?<![\w.-])\p{L}{3,}(?![\w.-])/gu)) {
          range.setStart(texts.currentNode, word.index);
          range.setEnd(texts.currentNode, word.index + word[0].length);
          if (new Set([...range.getClientRects()].map((line) => Math.round(line.top))).size > 1) found.push(word[0]);
        }
      }
      return found;
    }),
    formulas: inArticle('span.math, div.math').length,
    open_solutions: inArticle('.solution').filter((s) => !s.classList.contains('toggle-hidden')).length,
    solutions: inArticle('.solution').length,
    sounds: inArticle('audio').length,
    cards: inArticle('.emoser-run-card .emoser-profile').map((p) => p.textContent.trim()),
    unexplained: inArticle('.cell')
      .filter((c) => c.querySelector('.cell_output :is(img, table, svg:not(button *))'))
      .filter((c) => !c.nextElementSibling?.matches('.emoser-provenance'))
      .map((c) => c.textContent.trim().slice(0, 100)),
    provenance: inArticle('.emoser-provenance').map((p) =>
      [...p.querySelectorAll('a')].map((a) => a.getAttribute('href'))),
    text: article.textContent,
    height: root.scrollHeight,
    excess_width: root.scrollWidth - root.clientWidth,
  };
}"""

HIDDEN = """() => [...document.querySelectorAll('.bd-article :is(table, pre)')].flatMap((e) => {
  const found = [];
  if (!e.offsetWidth) return found;
  for (let box = e; box && !box.matches('.bd-article'); box = box.parentElement) {
    const hidden = getComputedStyle(box).overflowX !== 'visible' && box.scrollWidth - box.clientWidth > 1;
    if (hidden) found.push({
      what: e.tagName + ' ' + e.textContent.trim().slice(0, 50),
      sign: box.matches('.emoser-more-right') && getComputedStyle(box).maskImage !== 'none',
      reached: box.tabIndex >= 0});
  }
  const right = e.getBoundingClientRect().right;
  if (!found.length && right > document.documentElement.clientWidth + 1)
    found.push({what: e.tagName + ' ' + e.textContent.trim().slice(0, 50), sign: false, reached: false});
  return found;
})"""
"""Tables and code of which a part cannot be seen: is there a sign of it, and does the keyboard reach its box?"""

WIDTHS = (1400, 768, 390)

LONGEST = 12_000
"""Pixels of a chapter at the widest, with all that is folded (issue 22)."""

LARGEST = 1_500_000
"""Bytes that a page may load beside MathJax (issue 22)."""


@dataclass
class Visit:
    """What one page showed at one width."""

    page: str
    width: int
    seen: dict[str, Any]
    violations: list[str]
    errors: list[str]
    requests: list[str]
    hidden: dict[int, list[dict[str, Any]]]

    @property
    def where(self) -> str:
        return f"{self.page} at {self.width} px"


@pytest.fixture(scope="module")
def html(root: Path) -> Path:
    folder = root / "book" / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    return folder


# Not for the session: an open Playwright keeps an event loop running, and nbclient in other tests wants its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport={"width": 1400, "height": 900}, color_scheme="light") as context:
        yield context.new_page()


@pytest.fixture(scope="module")
def visits(html: Path) -> list[Visit]:
    """Every page at every width, opened once: a browser for each width, side by side, as looking takes long."""
    with ThreadPoolExecutor(len(VIEWS)) as pool:
        return [visit for seen in pool.map(lambda width: visit_all(html, width), VIEWS) for visit in seen]


def visit_all(html: Path, width: int) -> list[Visit]:
    found, errors, requests = [], [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=SWITCHES)
        page = browser.new_page(
            viewport={"width": width, "height": 900}, color_scheme=VIEWS[width][0], reduced_motion="reduce"
        )
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "requestfailed",
            lambda request: errors.append(f"could not load {request.url}") if missing(request) else None,
        )
        page.on("request", lambda request: requests.append(request.url))
        for path in sorted([*html.glob("*.html"), *html.glob("es/*.html")]):
            page.goto(path.as_uri(), wait_until="load")
            page.evaluate("window.MathJax?.startup?.promise.then(() => true)")
            name, looked, unseen = str(path.relative_to(html)), page.evaluate(LOOK), hidden(page, width)
            violations = [f"{colours}: {bad}" for colours in VIEWS[width] for bad in serious_violations(page, colours)]
            found.append(Visit(name, width, looked, violations, errors.copy(), requests.copy(), unseen))
            errors.clear()
            requests.clear()
        browser.close()
    return found


def hidden(page: Page, width: int) -> dict[int, list[dict[str, Any]]]:
    """Tables and code that are not seen whole, at the page's width and, from the widest, at the one between too."""
    found = {width: page.evaluate(HIDDEN)}
    for other in WIDTHS[1:-1] if width == WIDTHS[0] else ():
        page.set_viewport_size({"width": other, "height": 900})
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found[other] = page.evaluate(HIDDEN)
        page.set_viewport_size({"width": width, "height": 900})
    return found


def missing(request: Request) -> bool:
    """Not what was only given up, as the icon of a page that is left before it has come."""
    return request.failure != "net::ERR_ABORTED"


def serious_violations(page: Page, colours: str) -> list[str]:
    """What axe-core finds on a whole page, the theme's frame too, in light or dark colours."""
    page.evaluate("(colours) => { document.documentElement.dataset.theme = colours; }", colours)
    return [
        f"{violation['id']}: {node['html'][:150]}"
        for violation in Axe().run(page, options=AXE).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def chapters(visits: list[Visit]) -> list[Visit]:
    """The notebooks' English pages: 01-corpus.html, …"""
    found = [visit for visit in visits if visit.page[:2].isdigit()]
    assert found
    return found


def collect(visits: list[Visit], key: str) -> list[str]:
    return [f"{visit.where}: {thing}" for visit in visits for thing in visit.seen[key]]


def test_every_page_of_the_contents_is_there(html: Path, visits: list[Visit]) -> None:
    pages = {visit.page.removesuffix(".html") for visit in visits}
    expected = {
        "index",
        "papers",
        "related",
        "rerun",
        "measure",
        "teach",
        "glossary",
        "references",
        "status",
        "search",
        "claims",
        "cost",
    }
    expected |= {"api", "api-corpora", "api-systems", "api-experiments", "api-reporting"}
    assert pages >= expected | {"01-corpus", "02-scoring", "03-classical"}
    assert {visit.page for visit in visits if visit.seen["language"] == "es"} == {
        f"es/{path.name}" for path in html.glob("es/*.html")
    }
    assert "es/index" in pages


def test_no_console_error(visits: list[Visit]) -> None:
    assert [f"{v.where}: {error}" for v in visits for error in v.errors] == []


def test_no_external_request(visits: list[Visit]) -> None:
    local = ("file:", "data:", "blob:")
    assert [f"{v.where}: {url}" for v in visits for url in v.requests if not url.startswith(local)] == []


def test_images_load_and_say_what_they_show(visits: list[Visit]) -> None:
    assert collect(visits, "broken_images") == []
    assert collect(visits, "images_without_alt") == []


def test_local_links_and_anchors_resolve(html: Path, visits: list[Visit]) -> None:
    anchors = {visit.page: set(visit.seen["anchors"]) for visit in visits}
    dead = set()
    for visit in visits:
        for link in visit.seen["links"]:
            parts = urlsplit(link)
            if parts.scheme != "file":
                continue
            target, fragment = Path(unquote(parts.path)), unquote(parts.fragment)
            inside = target.is_relative_to(html) and target.is_file()
            page = str(target.relative_to(html)) if inside else ""
            lost = fragment and target.suffix == ".html" and fragment not in anchors.get(page, set())
            if not inside or lost:
                dead.add(f"{visit.page} -> {target.name}#{fragment}")
    assert dead == set()


def test_no_page_shows_a_path_of_this_machine(root: Path, visits: list[Visit]) -> None:
    paths = (str(root), str(Path.home()) + "/")
    assert [visit.where for visit in visits if any(path in visit.seen["text"] for path in paths)] == []


def test_nothing_scrolls_sideways(visits: list[Visit]) -> None:
    assert [f"{v.where}: {v.seen['excess_width']} px" for v in visits if v.seen["excess_width"] > 0] == []


def test_tables_and_code_are_seen_whole_or_say_that_they_go_on(visits: list[Visit]) -> None:
    found = [(visit.page, width, each) for visit in visits for width, all_ in visit.hidden.items() for each in all_]
    assert {width for visit in visits for width in visit.hidden} == set(WIDTHS)
    assert [(page, each["what"]) for page, width, each in found if width == WIDTHS[0]] == []
    assert [(page, width, each) for page, width, each in found if not (each["sign"] and each["reached"])] == []


def test_no_word_of_a_table_is_broken(visits: list[Visit]) -> None:
    assert collect(visits, "broken_words") == []


def test_a_page_loads_little_and_mathjax_only_for_formulas(html: Path, visits: list[Visit]) -> None:
    for visit in visits:
        local = {unquote(urlsplit(url).path) for url in visit.requests if url.startswith("file:")}
        formulas = [path for path in local if "/mathjax/" in path]
        assert bool(formulas) == bool(visit.seen["formulas"]), visit.where
        assert sum(Path(path).stat().st_size for path in local.difference(formulas)) <= LARGEST, visit.where
    assert list(html.rglob("*.map")) == []


def test_figures_are_numbered_and_captioned(visits: list[Visit]) -> None:
    assert collect(visits, "loose_images") == [], "give the cell mystnb.figure with name and caption"
    for visit in chapters(visits):
        captions = visit.seen["captions"]
        assert captions, f"{visit.page} has no figure"
        for number, text in captions:
            assert number.startswith("Figure") and len(text) > 10, f"{visit.where}: {number} {text}"


def test_every_figure_and_table_says_where_it_comes_from(visits: list[Visit]) -> None:
    assert collect(visits, "unexplained") == []
    for visit in chapters(visits):
        assert visit.seen["provenance"], visit.page
        for cell, record, *functions in visit.seen["provenance"]:
            assert cell.startswith("#cell-") and record.startswith("runs/"), visit.where
            assert any(link.startswith("api-") for link in functions), f"{visit.where}, {cell}"


def test_committed_records_are_linked_where_they_are_shown(visits: list[Visit]) -> None:
    (links,) = {tuple(map(tuple, v.seen["provenance"])) for v in visits if v.page == "08-whisper-gemma.html"}
    shown = {record for line in links for record in line if record.startswith("records/")}
    own = {f"records/08-whisper-gemma-small-{run}.json" for run in ("clip", "normalised", "speaker")}
    assert shown == own | {f"records/03-classical-small-{run}.json" for run in ("audio", "text")}


def test_the_reference_has_text_signature_and_chapters(html: Path, page: Page) -> None:
    page.goto((html / "api-reporting.html").as_uri() + "#emoser_lib.reporting.figures.confusion")
    entry = page.locator("dl.py:has(> dt[id='emoser_lib.reporting.figures.confusion'])")
    expect(entry).to_contain_text("Score")
    expect(entry.get_by_role("link", name="Scoring")).to_have_attribute("href", "02-scoring.html")
    expect(page.locator("dt[id='emoser_lib.reporting.figures.confusion']")).to_be_in_viewport()


def test_formulas_are_set(visits: list[Visit]) -> None:
    assert [visit.where for visit in visits if visit.seen["raw_math"]] == []


def test_chapters_say_which_profile_their_numbers_come_from(visits: list[Visit]) -> None:
    for visit in chapters(visits):
        assert visit.seen["cards"], f"{visit.page} has no run card"
        assert set(visit.seen["cards"]) <= {"demo", "small", "paper"}, visit.page


def test_no_serious_accessibility_violation(visits: list[Visit]) -> None:
    assert [f"{visit.where}: {violation}" for visit in visits for violation in visit.violations] == []


def test_solutions_are_folded_and_open(html: Path, visits: list[Visit], page: Page) -> None:
    for visit in chapters(visits):
        assert visit.seen["solutions"], f"{visit.page} has no exercise with a solution"
        assert visit.seen["open_solutions"] == 0, visit.page
    page.goto((html / chapters(visits)[0].page).as_uri())
    page.locator(".emoser-exercise > summary").first.click()
    body = page.locator(".solution .solution-content, .solution > *:not(.admonition-title)").locator("visible=true")
    solution = page.locator(".solution").first
    folded = solution.bounding_box()
    solution.locator(".admonition-title").first.click()
    expect(solution).not_to_have_class("toggle-hidden")
    unfolded = solution.bounding_box()
    assert folded and unfolded and unfolded["height"] > folded["height"] + 10
    assert body.count() > 0


EXERCISE = r"(Exercise|Ejercicio) \d+\.\d+( \([^)]+\)\. \w+, [^.]+\.)?"
"""Its line: number, kind, level, minutes. Short ones have a number only."""


def test_an_exercise_is_a_line_with_kind_level_and_minutes(html: Path, page: Page) -> None:
    paths = [*sorted(html.glob("[0-9]*.html")), *sorted(html.glob("es/[0-9]*.html"))]
    for path in paths:
        page.goto(path.as_uri())
        lines = page.locator(".emoser-exercise > summary").all_inner_texts()
        assert len(lines) == page.locator(".exercise").count() > 1, path.name
        assert [each for each in lines if not re.fullmatch(EXERCISE, each.strip())] == [], path.name
        assert page.locator(":is(.emoser-exercise, .emoser-question, .emoser-aside)[open]").count() == 0, path.name
    page.goto((html / "05-gemma-lora.html").as_uri())
    lines = page.locator(".emoser-exercise > summary").all_inner_texts()
    assert any(each.strip().endswith(".3 (Find the mistake). Middling, twenty minutes.") for each in lines)
    page.goto(f"{page.url}#ex-lora-start")
    expect(page.locator("#ex-lora-start")).to_be_in_viewport()


def test_what_is_folded_is_seen_whole_once_it_is_open(html: Path, page: Page) -> None:
    for name in ("05-gemma-lora", "08-whisper-gemma", "10-emosllm"):
        page.goto((html / f"{name}.html").as_uri())
        assert page.locator(".emoser-aside table").count(), name
        page.evaluate("document.querySelectorAll('.bd-article details').forEach((folded) => { folded.open = true; })")
        assert page.evaluate(HIDDEN) == [], name


def test_the_quiz_is_answered_with_the_keyboard(html: Path, page: Page) -> None:
    for path in sorted(html.glob("[0-9]*.html")):
        asked = re.findall(r'id="(quiz-[\w-]+)"', path.read_text(encoding="utf-8"))
        assert len(asked) == len(set(asked)) == 5, path.name
    page.goto((html / "05-gemma-lora.html").as_uri())
    question = page.locator(".emoser-question").first
    option = question.locator(".emoser-quiz").first
    reason = option.locator(".sd-summary-content")
    expect(option).to_be_hidden()
    question.locator("> summary").focus()
    page.keyboard.press("Enter")
    expect(option).to_be_visible()
    expect(reason).to_be_hidden()
    option.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(reason).to_be_visible()
    expect(reason).to_have_text(re.compile(r"^\s*(Right|Wrong)\. \w"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('.emoser-quiz').previousElementSibling.open")


def test_sound_plays(html: Path, visits: list[Visit], page: Page) -> None:
    pages = {visit.page for visit in visits if visit.seen["sounds"]}
    assert "01-corpus.html" in pages
    for name in sorted(pages):
        page.goto((html / name).as_uri())
        page.evaluate("document.querySelector('.bd-article audio').play()")
        page.wait_for_function("document.querySelector('.bd-article audio').currentTime > 0.05", timeout=10_000)
        unreadable = "[...document.querySelectorAll('audio')].filter((a) => a.error).length"
        assert page.evaluate(unreadable) == 0, name


def test_the_front_page_is_one_screen(html: Path, page: Page) -> None:
    page.goto((html / "index.html").as_uri())
    seen = "[...document.querySelectorAll('.emoser-systems, .emoser-clip, .sd-card')]"
    shown = page.evaluate(f"{seen}.map((each) => each.getBoundingClientRect().bottom)")
    assert len(shown) == 1 + 2 + 3 + 3
    assert max(shown) <= 900
    for door in ("papers", "rerun", "teach", "es/index"):
        assert page.locator(f".bd-article a[href='{door}.html']").count() > 0, door
    page.locator(".emoser-systems a", has_text="EmoSLLM").click()
    page.wait_for_url("**/10-emosllm.html")


OPENING = """() => {
  const title = document.querySelector('.bd-article h1'), question = document.querySelector('h1 ~ p:not(.emoser-top)');
  const answer = question.nextElementSibling, figure = document.querySelector('.bd-article figure');
  const bottom = (e) => Math.round(e.getBoundingClientRect().bottom + scrollY);
  const card = document.querySelector('.emoser-run-card');
  return {
    question: question.textContent.trim(),
    bold: question.children.length === 1 && question.firstElementChild.matches('strong'),
    sentences: answer.textContent.trim().split(/[.!?](?:\\s+(?=[A-Z])|$)/).filter(Boolean).length,
    numbers: answer.querySelectorAll('abbr.emoser-claim, span.pasted-text').length,
    bottoms: [question, answer, figure].map(bottom),
    card_is_below: bottom(card) > bottom(figure),
    open: [...document.querySelectorAll('.tag_parameters details, .tag_opening details')].filter((d) => d.open).length,
    parameters: document.querySelectorAll('.tag_parameters details, .tag_injected-parameters').length,
  };
}"""


def test_a_chapter_opens_with_question_answer_and_figure_on_the_first_screen(html: Path, page: Page) -> None:
    for path in sorted(html.glob("[0-9]*.html")):
        page.goto(path.as_uri())
        seen = page.evaluate(OPENING)
        assert seen["bold"] and seen["question"].endswith("?"), path.name
        assert 1 <= seen["sentences"] <= 3 and seen["numbers"], (path.name, seen)
        assert max(seen["bottoms"]) <= 900, (path.name, seen["bottoms"])
        assert seen["card_is_below"], path.name
        assert seen["open"] == 0 and seen["parameters"] == 1, path.name  # the demo changes no parameter


def test_no_chapter_is_longer_than_one_reads_on(visits: list[Visit]) -> None:
    long = {visit.page: visit.seen["height"] for visit in chapters(visits) if visit.width == WIDTHS[0]}
    assert {page: height for page, height in long.items() if height > LONGEST} == {}


def test_a_term_says_what_it_means_on_focus_until_escape(html: Path, page: Page) -> None:
    page.goto((html / "02-scoring.html").as_uri())
    term = page.locator("a[data-definition]").first
    definition = term.get_attribute("data-definition")
    assert definition and definition in " ".join((html / "glossary.html").read_text(encoding="utf-8").split())
    says = "getComputedStyle(document.querySelector('a[data-definition]'), '::after')"
    assert page.evaluate(f"{says}.content") == "none"
    page.keyboard.press("Tab")  # so that the focus is seen
    term.focus()
    assert definition[:20] in page.evaluate(f"{says}.content")
    page.keyboard.press("Escape")
    assert page.evaluate(f"{says}.display") == "none"


def test_the_ledger_shows_the_claims_that_are_asked_for(html: Path, page: Page) -> None:
    page.goto((html / "claims.html").as_uri())
    rows, said = page.locator(".emoser-ledger tbody tr"), page.locator(".emoser-ledger output")
    everything = rows.count()
    assert everything > 100
    page.locator(".emoser-ledger select[name=verdict]").select_option("differs")
    differing = page.locator(".emoser-ledger tbody tr:visible").count()
    assert 0 < differing < everything
    expect(said).to_have_text(f"{differing} / {everything} claims")
    page.locator(".emoser-ledger input[name=place]").fill("table 99")
    expect(said).to_have_text(f"0 / {everything} claims")
    page.locator(".emoser-ledger input[name=place]").fill("")
    page.locator(".emoser-ledger select[name=verdict]").select_option("")
    page.locator(".emoser-ledger a[href*='#claim-thau-clips-test']").click()
    page.wait_for_url("**#claim-thau-clips-test")
    expect(page.locator("#claim-thau-clips-test")).to_be_in_viewport()


EXPLORERS = {"02-scoring": 1, "05-gemma-lora": 1, "12-audit": 2}
"""Page -> how many it has."""

CHOSEN = """(box) => ({
  key: [...box.querySelectorAll("form :is(select, input)")].map((field) => field.value).join("|"),
  said: box.querySelector("output").textContent,
  rows: [...box.querySelectorAll("tr.emoser-chosen")].map((row) => [row.dataset.choice, row.dataset.said]),
  cells: [...box.querySelectorAll("tr.emoser-chosen td")].map((cell) => cell.textContent),
  drawn: [...box.querySelectorAll("svg .emoser-chosen")].map((part) => part.dataset.choice),
})"""


@pytest.mark.parametrize("name", EXPLORERS)
def test_an_explorer_is_played_with_the_keyboard(html: Path, page: Page, name: str) -> None:
    page.goto((html / f"{name}.html").as_uri())
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    boxes = page.locator(".emoser-explorer")
    assert boxes.count() == EXPLORERS[name]
    for box in boxes.all():
        expect(box.locator("output")).to_have_attribute("aria-live", "polite")
        fields = box.locator("form :is(select, input)")
        fields.first.focus()
        heard = {box.evaluate(CHOSEN)["said"]}
        for number in range(fields.count()):
            for key in ("Home", "ArrowDown", "ArrowUp", "End"):
                page.keyboard.press(key)
                now = box.evaluate(CHOSEN)
                heard.add(now["said"])
                assert now["rows"] == [[now["key"], now["said"]]]
                assert now["drawn"] == [now["key"]]
                # What is said is what the table has: every number of the sentence that is a score.
                assert set(re.findall(r"0\.\d{3}", now["said"])) <= set(now["cells"])
            page.keyboard.press("Tab")
            if number + 1 < fields.count():
                assert fields.nth(number + 1).evaluate("(field) => field === document.activeElement")
        assert len(heard) > 2
    assert [url for url in asked if not url.startswith(("data:", "file:"))] == []


def test_clips_of_a_pair_of_labels_are_heard(html: Path, page: Page) -> None:
    page.goto((html / "02-scoring.html").as_uri())
    box = page.locator(".emoser-explorer")
    expect(box.locator("audio").locator("visible=true").first).to_be_visible()
    box.get_by_role("combobox", name="gold").select_option("neutral")
    box.get_by_role("combobox", name="answered").select_option("neutral")
    players = box.locator("audio").locator("visible=true")
    expect(players).to_have_count(2)
    players.first.evaluate("(sound) => sound.play()")
    page.wait_for_function("[...document.querySelectorAll('audio')].some((a) => a.currentTime > 0.05)", timeout=10_000)
    expect(box.locator(".emoser-heard.emoser-chosen td[lang=es]").first).to_have_text(re.compile(r"\w+ \w+"))


@pytest.mark.parametrize("name", EXPLORERS)
def test_on_paper_and_without_script_picture_and_table_stay(
    html: Path, browser: Browser, page: Page, name: str
) -> None:
    page.goto((html / f"{name}.html").as_uri())
    page.emulate_media(media="print")
    with browser.new_context(java_script_enabled=False) as context:
        still = context.new_page()
        still.goto((html / f"{name}.html").as_uri())
        for seen, unfold in ((page, False), (still, True)):
            for box in seen.locator(".emoser-explorer").all():
                expect(box.locator("form")).to_be_hidden()
                expect(box.locator("svg")).to_be_visible()
                expect(box.locator("output")).to_have_text(re.compile(r"\d"))
                if unfold:
                    box.locator("summary").click()
                assert box.locator("details tbody tr").first.evaluate("(row) => row.getBoundingClientRect().height") > 5
                assert box.locator("svg .emoser-chosen").count() == 1


def test_search_finds_macro_f1(html: Path, page: Page) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((html / "index.html").as_uri())
    page.keyboard.press("Control+k")
    page.keyboard.type("macro-F1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=macro-F1*")
    results = page.locator("#search-results ul.search li a")
    # The results come one by one; the summary says when they all are there.
    page.get_by_text("Search finished").wait_for()
    targets = {urlsplit(link).path.rpartition("/")[2] for link in results.evaluate_all("ls => ls.map((l) => l.href)")}
    assert "glossary.html" in targets
    assert errors == []


def luminance(css_colour: str) -> float:
    """WCAG 2 relative luminance of ``rgb(r, g, b)``."""
    parts = [float(part) / 255 for part in css_colour[css_colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_dark_mode_switch(html: Path, page: Page) -> None:
    page.goto((html / "papers.html").as_uri())
    colours = {}
    for mode in ("light", "dark"):
        for _ in range(3):  # the switch goes round: auto, light, dark
            if page.evaluate("document.documentElement.dataset.mode") == mode:
                break
            page.locator(".theme-switch-button:visible").click()
        assert page.evaluate("document.documentElement.dataset.theme") == mode
        page.wait_for_timeout(400)  # the theme fades
        ground, text = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('.bd-article p')).color]"
        )
        colours[mode] = (luminance(ground), luminance(text))
    assert colours["light"][0] > 0.8 and colours["dark"][0] < 0.1
    for mode, pair in colours.items():
        assert (max(pair) + 0.05) / (min(pair) + 0.05) >= 7, mode


def test_code_can_be_copied_offline(html: Path, page: Page) -> None:
    page.goto((html / "rerun.html").as_uri())
    page.locator("div.highlight").first.hover()
    button = page.locator("button.copybtn").first
    button.click()
    expect(button).to_have_attribute("data-tooltip", "Copied!")
