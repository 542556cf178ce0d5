"""The book in other languages: finished pages are whole, keep what they refer to, and link to what there is."""

import re
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from emoser_lib.errors import DataError
from emoser_lib.reporting.book.languages import (
    Language,
    faults,
    join_language,
    messages_of,
    messages_of_table,
    raw_html_of,
    read_catalog,
    read_language,
)

ROOT = Path(__file__).parents[2]
LOCALE = ROOT / "book" / "locale" / "es"
LANGUAGE = read_language(LOCALE)


@pytest.fixture(scope="module")
def built() -> Path:
    if not (ROOT / "book/_build/html/es/index.html").is_file():
        pytest.fail("there is no built book: run `make book`", pytrace=False)
    return ROOT / "book" / "_build"


@pytest.mark.parametrize("page", LANGUAGE.finished)
def test_every_message_of_a_finished_page_is_translated_and_keeps_what_it_refers_to(built: Path, page: str) -> None:
    catalog = read_catalog(LOCALE / "LC_MESSAGES" / f"{page}.po")
    assert faults(catalog, messages_of(built / ".doctrees" / f"{page}.doctree")) == []


def test_every_word_that_code_writes_is_translated() -> None:
    words = [message for message in read_catalog(LOCALE / "LC_MESSAGES" / "emoser.po") if message.id]
    assert words
    assert [word.id for word in words if not word.string or word.fuzzy] == []


def test_every_sentence_of_the_ledger_is_translated_and_keeps_its_numbers(built: Path) -> None:
    catalog = read_catalog(LOCALE / "LC_MESSAGES" / "emoser.po")
    said = messages_of_table(raw_html_of(built / ".doctrees" / "claims.doctree"))
    assert len(said) > 100
    assert faults(catalog, said) == []
    assert [one for one in said if one.count("#") != str(catalog.get(one).string).count("#")] == []


@pytest.mark.parametrize("page", LANGUAGE.finished)
def test_titles_that_tools_write_into_a_finished_page_are_translated(built: Path, page: str) -> None:
    def titles(folder: str) -> set[str]:
        soup = BeautifulSoup((built / "html" / folder / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
        return {title.get_text() for title in soup.select(".admonition-title")}

    assert titles("es") & titles("") == set()


def test_words_that_our_code_writes_stand_on_translated_pages(built: Path) -> None:
    ledger = (built / "html" / "es" / "claims.html").read_text(encoding="utf-8")
    assert "no se puede comprobar" in ledger
    assert "cannot be checked" not in ledger
    assert ">seis</abbr>" in (built / "html" / "es" / "papers.html").read_text(encoding="utf-8")


def test_an_exercise_says_its_kind_in_the_language_of_the_page(built: Path) -> None:
    def kinds(page: Path) -> list[str]:
        titles = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser").select(".emoser-exercise > summary")
        return [found[1] for title in titles if (found := re.search(r"\((.+?)\)", title.get_text()))]

    original, spanish = (kinds(built / "html" / folder / "01-corpus.html") for folder in ("", "es"))
    assert len(spanish) == len(original) >= 4
    assert not set(spanish) & set(original)


def test_translated_pages_link_to_what_was_built_and_back(built: Path) -> None:
    spanish = built / "html" / "es"
    for page in sorted(spanish.glob("*.html")):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        assert soup.html is not None and soup.html["lang"] == "es"
        links = [str(tag.get("href") or tag.get("src")) for tag in soup.select("[href], [src]")]
        local = [link for link in links if link and not re.match(r"[a-z]+:|#", link)]
        assert [link for link in local if not (spanish / re.split("[#?]", link)[0]).exists()] == [], page.name
    for page in (built / "html").glob("*.html"):
        soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        other = soup.select('.bd-article .emoser-top a[hreflang="es"][lang="es"]')
        assert [a["href"] for a in other] == [f"es/{page.name}"] * (page.stem in LANGUAGE.finished), page.name


def test_a_page_that_is_finished_no_more_is_linked_to_no_more(tmp_path: Path) -> None:
    page = (
        '<html><head></head><body><h1>A<a class="headerlink" href="#a">#</a></h1><a href="b.html#x">B</a></body></html>'
    )
    (tmp_path / "es").mkdir()
    for name in ("index.html", "b.html"):
        (tmp_path / name).write_text(page)
    for finished in (("index", "b"), ("index",)):
        for name in ("index.html", "b.html"):
            (tmp_path / "es" / name).write_text(page)
        language = Language(code="es", link="ES", back="EN", notes={}, finished=finished, config={}, mended={})
        join_language(language, tmp_path)
        assert ("es/b.html" in (tmp_path / "b.html").read_text()) == ("b" in finished)
        assert (tmp_path / "index.html").read_text().count('href="es/index.html"') == 2
    assert not (tmp_path / "es" / "b.html").exists()
    assert 'href="../b.html#x" hreflang="en"' in (tmp_path / "es" / "index.html").read_text()


def test_the_front_page_has_to_be_finished(tmp_path: Path) -> None:
    told = yaml.safe_load((LOCALE / "book.yaml").read_text(encoding="utf-8"))
    (tmp_path / "book.yaml").write_text(yaml.safe_dump(told | {"finished": ["papers"]}), encoding="utf-8")
    with pytest.raises(DataError, match="the front page is not among the finished pages"):
        read_language(tmp_path)
