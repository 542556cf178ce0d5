"""The book in another language: what is laid out for Sphinx's gettext, and the catalogues of messages.

Finished pages stand in the translated book. In place of every other page stands a stub, its title, which the build
turns into links to the original (``book/extensions/languages.py``); so chapters keep their numbers.
"""

import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from html import unescape
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
import yaml
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_file
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from emoser_lib.errors import DataError
from emoser_lib.reporting.escaping import as_text
from emoser_lib.values import Immutable

CODE = "emoser"
"""The catalogue of the words that our code writes into pages."""

MESSAGES = "LC_MESSAGES"
COPIED = "extra"
"""Folder of the staged source whose content lies beside the pages (``html_extra_path``): the records."""
ORIGINAL = "en"
MADE_BY_SPHINX = ("genindex", "search")

DRAWN = re.compile(r">([^<>]*\w[^<>]*)<")
"""A text in a drawing that a page includes."""

BETWEEN_TAGS = re.compile(r"(?<=>)[^<>]*[A-Za-z][^<>]*(?=<)")
SENTENCE_ENDS = re.compile(r"(?<=\.) (?=[A-Z])")
NUMBER = re.compile(r"(?<![\w-])-?\d+(?:[.,]\d+)*(?![\w-])")
"""A number that stands alone, not one in a name: the ledger is translated whatever its numbers are."""

LOCAL = re.compile(r"""\b(?P<name>href|src)=(?P<quote>["'])(?P<value>[^"']+)(?P=quote)""")
TOP = r'<p class="emoser-top"><a [^>]*>[^<]*</a></p>|<link rel="alternate" hreflang=[^>]*>'
"""What `join_language` writes into a page of the original."""

GLUED = re.compile(r"\{glue:text\}`(?P<name>[^`:]+):?(?P<form>[^`]*)`")
"""A value that a notebook hands to its own prose."""

ROLE_IN_MESSAGE = re.compile(r"\{([\w:-]+)\}`(?:[^`<]*<([^`>]+)>|([^`]*))`")
LINK = re.compile(r"\]\(([^)]*)\)")
LITERAL = re.compile(r"`+[^`]+`+|\$+[^$]+\$+|</?\w[^>]*>|\{\w*\}")

SAID = re.compile(r' (?:title|alt|aria-label)="[^"]*"')
"""Texts in a tag."""

Wording = Callable[[str], str]
"""Gives the words of a language for the English ones."""


class Language(Immutable):
    """What ``book/locale/<code>/book.yaml`` says.

    Attributes:
        code: of the language, as in ``es``.
        link: what a link to this language's pages reads, on pages of the original.
        back: what a link to the original reads.
        notes: below the title of ``index`` and of ``chapters``.
        finished: pages of which every message is translated.
        config: settings for Jupyter Book that differ from the original's.
        mended: what theme and tools write into pages in English, or misspell -> how it reads.
    """

    code: str
    link: str
    back: str
    notes: Mapping[str, str]
    finished: tuple[str, ...]
    config: Mapping[str, Any]
    mended: Mapping[str, str]


def read_language(locale: Path) -> Language:
    """Read what a language's folder says of its pages.

    Args:
        locale: ``book/locale/<code>``.

    Raises:
        DataError: it says what is not known, or the front page is not finished.
    """
    path = locale / "book.yaml"
    try:
        language = Language.model_validate({**yaml.safe_load(path.read_text(encoding="utf-8")), "code": locale.name})
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: {error}") from None
    if "index" not in language.finished:
        raise DataError(f"{path}: the front page is not among the finished pages: add index.")
    return language


def read_catalog(path: Path) -> Catalog:
    """Read the messages of a page; a page without a catalogue has none.

    Args:
        path: a ``.po`` file.
    """
    if not path.is_file():
        return Catalog(locale=path.parents[1].name, domain=path.stem, fuzzy=False)
    with path.open("rb") as file:
        return read_po(file, locale=path.parents[1].name, domain=path.stem)


def catalog_text(catalog: Catalog) -> bytes:
    """Write a catalogue: no places, dates or wrapped lines, so that a change shows what changed."""
    catalog.header_comment = "# Messages of the book's page. `make messages` keeps them; see CONTRIBUTING.md."
    written = BytesIO()
    write_po(written, catalog, width=0, no_location=True)
    kept = re.sub(
        rb'^"(POT-Creation-Date|PO-Revision-Date|Last-Translator|Generated-By): .*\n',
        b"",
        written.getvalue(),
        flags=re.M,
    )
    return kept.rstrip(b"\n") + b"\n"


def code_words(locale: Path) -> Wording:
    """Return what gives the words that our code writes into pages; English ones where there is no translation."""
    catalog = read_catalog(locale / MESSAGES / f"{CODE}.po")
    return lambda text: _translation(catalog, text) or text


def _translation(catalog: Catalog, text: str) -> str:
    found = catalog.get(text)
    return str(found.string or "") if found is not None and not found.fuzzy else ""


def messages_of(doctree: Path) -> list[str]:
    """List the messages of a page, as Sphinx extracts them.

    Args:
        doctree: of the built book, in the original language.
    """
    from sphinx.util.nodes import extract_messages

    document = pickle.loads(doctree.read_bytes())
    return list(dict.fromkeys(message for _, message in extract_messages(document)))


def messages_of_code(files: Iterable[Path]) -> list[str]:
    """List what our code hands to ``words`` or ``_``, and what is written in drawings."""
    found: list[str] = []
    for file in files:
        if file.suffix == ".svg":
            found += DRAWN.findall(file.read_text(encoding="utf-8"))
        else:
            extracted = extract_from_file("python", file, keywords={"words": None, "_": None})
            found += [str(message) for _, message, _, _ in extracted]
    return list(dict.fromkeys(found))


def messages_of_claims(claims: Iterable[Mapping[str, Any]], messages: Iterable[str]) -> list[str]:
    """List what claims that are printed in these messages say in words, where a paper gives no number.

    Args:
        claims: content of ``book/claims.yaml``.
        messages: of pages.
    """
    named = {
        target or text
        for message in messages
        for role, target, text in ROLE_IN_MESSAGE.findall(message)
        if role == "claim"
    }
    printed = [str(claim["printed"]) for claim in claims if claim["id"] in named]
    return [words for words in dict.fromkeys(printed) if not re.search(r"\d", words)]


def raw_html_of(doctree: Path) -> str:
    """Return what directives write into a page as HTML.

    Args:
        doctree: of the built book, in the original language.
    """
    document = pickle.loads(doctree.read_bytes())
    return "".join(node.astext() for node in document.findall(lambda node: node.tagname == "raw"))


def messages_of_table(html: str) -> list[str]:
    """List the sentences of a table that our code writes, with ``#`` for a number.

    >>> messages_of_table("<td>Of 3,000 clips. No record of 05-gemma-lora.</td><td>7</td>")
    ['Of # clips.', 'No record of 05-gemma-lora.']
    """
    texts = [part for text in BETWEEN_TAGS.findall(html) for part in SENTENCE_ENDS.split(unescape(text))]
    return list(dict.fromkeys(NUMBER.sub("#", text) for text in texts))


def table_in_words(html: str, words: Wording) -> str:
    """Put the words of a language into a table that our code writes; its numbers stay, in their order.

    >>> spanish = {"Of # clips.": "De # fragmentos."}
    >>> table_in_words("<td>Of 3,000 clips.</td><td>Of 7.</td>", lambda text: spanish.get(text, text))
    '<td>De 3,000 fragmentos.</td><td>Of 7.</td>'
    """

    def said(sentence: str) -> str:
        message, numbers = NUMBER.sub("#", sentence), iter(NUMBER.findall(sentence))
        translation = words(message)
        return sentence if translation == message else re.sub("#", lambda _: next(numbers), translation)

    return BETWEEN_TAGS.sub(
        lambda found: as_text(" ".join(said(part) for part in SENTENCE_ENDS.split(unescape(found[0])))), html
    )


def updated(catalog: Catalog, messages: Iterable[str]) -> Catalog:
    """Update a catalogue: what changed a little keeps its translation, marked fuzzy, until it is looked at.

    >>> catalog = Catalog(locale="es")
    >>> _ = catalog.add("One clip is heard.", "Se oye un clip.")
    >>> changed = updated(catalog, ["One clip is heard!", "New."])
    >>> [(m.id, m.string, m.fuzzy) for m in changed if m.id]
    [('One clip is heard!', 'Se oye un clip.', True), ('New.', None, False)]
    """
    template = Catalog(fuzzy=False)
    for message in messages:
        template.add(message)
    catalog.update(template)
    catalog.obsolete.clear()
    return catalog


SENTENCE = 40
"""Letters from which a message is taken for a sentence, of which a translation keeps at least half (our choice)."""


def faults(catalog: Catalog, messages: Iterable[str]) -> list[str]:
    """Say what a finished page lacks: translations, their roles, links, code and formulas, or half of a sentence.

    >>> catalog = Catalog(locale="es")
    >>> _ = catalog.add("See {term}`LoRA`.", "Véase {term}`rango <rank>`.")
    >>> faults(catalog, ["See {term}`LoRA`.", "No."])
    ['differs in {term}`LoRA`, {term}`rank`: See {term}`LoRA`.', 'not translated: No.']
    >>> sentence = "Folds only judge: what answers is trained once more."
    >>> _ = catalog.add(sentence, "Particiones")
    >>> faults(catalog, [sentence])[0][:28]
    'too short to say it all: Fol'
    """
    found = []
    for message in messages:
        if not (translation := _translation(catalog, message)):
            found.append(f"not translated: {message}")
        elif different := sorted(_held(message) ^ _held(translation)):
            names = ", ".join(name for name, _ in different)
            found.append(f"differs in {names}: {message}")
        elif len(message) > SENTENCE and 2 * len(translation) < len(message):
            found.append(f"too short to say it all: {message}")
    return found


def _held(message: str) -> set[tuple[str, int]]:
    """What a translation must keep, with how often it stands there."""
    held = [f"{{{role}}}`{target or text}`" for role, target, text in ROLE_IN_MESSAGE.findall(message)]
    rest = SAID.sub("", ROLE_IN_MESSAGE.sub("", message))
    held += LINK.findall(rest) + LITERAL.findall(rest)
    return {(part, held.count(part)) for part in held}


def stage_language(locale: Path, source: Path, pages: Mapping[Path, bytes]) -> dict[Path, bytes]:
    """Lay out the source of the translated book: finished pages, and stubs for the others.

    Args:
        locale: ``book/locale/<code>``.
        source: the staged original.
        pages: the pages that are not those of the original, by name.
    """
    language, words = read_language(locale), code_words(locale)
    staged = {}
    for path in sorted(path for path in source.rglob("*") if path.is_file()):
        relative = path.relative_to(source)
        if relative.parts[0] == COPIED or relative.parts[:2] == ("static", "vendor"):
            continue  # the original's serve both
        content = pages.get(relative, path.read_bytes())
        if len(relative.parts) == 1 and path.suffix in (".md", ".ipynb") and path.stem not in language.finished:
            content = _stub(path)
        elif path.suffix == ".svg":
            content = DRAWN.sub(lambda found: f">{words(found[1])}<", content.decode()).encode()
        elif relative.name == "_config.yml":
            config = _merged(yaml.safe_load(content), language.config)
            content = yaml.safe_dump(config, sort_keys=False, allow_unicode=True).encode()
        staged[relative] = content
    return staged


def stage_catalogs(locale: Path) -> dict[Path, bytes]:
    """Lay out a language's catalogues for Sphinx, which reads a message on its own: a glued value names its page.

    That of our code is compiled too: extensions read it before Sphinx compiles what it finds.

    Args:
        locale: ``book/locale/<code>``.
    """
    staged = {}
    for path in sorted((locale / MESSAGES).glob("*.po")):
        catalog = read_catalog(path)
        notebook = f"{path.stem}.ipynb"
        for message in catalog:
            if message.id and message.string:
                message.string = GLUED.sub(partial(_named, notebook), str(message.string))
        staged[Path(locale.name, MESSAGES, path.name)] = catalog_text(catalog)
        if path.stem == CODE:
            write_mo(compiled := BytesIO(), catalog)
            staged[Path(locale.name, MESSAGES, f"{CODE}.mo")] = compiled.getvalue()
    return staged


def _named(notebook: str, glued: re.Match[str]) -> str:
    """A glued value by the name of its notebook; MyST-NB takes what follows the last colon for its form."""
    return f"{{glue:text}}`{notebook}::{glued['name']}:{glued['form'] or 's'}`"


def join_language(language: Language, html: Path) -> None:
    """Make one book of two: a page without a translation is linked to in the original, and both link to each other.

    Args:
        language: whose built pages lie in the folder ``<code>`` of `html`.
        html: the built original.
    """
    built = html / language.code
    for path in built.glob("*.html"):
        if path.stem not in language.finished and (html / path.name).is_file() and path.stem not in MADE_BY_SPHINX:
            path.unlink()
    for path in (built / "_images").glob("*"):
        if (html / "_images" / path.name).is_file():
            path.unlink()
    for path in sorted(built.glob("*.html")):
        page = LOCAL.sub(lambda found: _original(found, html, built), path.read_text(encoding="utf-8"))
        for wrong, right in language.mended.items():
            page = page.replace(wrong, right)
        if path.stem in language.finished:
            note = language.notes.get("chapters" if path.stem[:2].isdigit() else path.stem, "")
            page = _with_link(page, f"../{path.name}", ORIGINAL, language.back, note)
        path.write_text(page, encoding="utf-8")
    for path in sorted(html.glob("*.html")):
        page = path.read_text(encoding="utf-8")
        linked = re.sub(TOP, "", page)
        if path.stem in language.finished:
            linked = _with_link(linked, f"{language.code}/{path.name}", language.code, language.link)
        if linked != page:
            path.write_text(linked, encoding="utf-8")


def _original(found: re.Match[str], html: Path, built: Path) -> str:
    """A link of a translated page, to the original where there is no translation."""
    target = re.split("[#?]", unescape(found["value"]))[0]
    if not target or ":" in target or (built / target).exists() or not (html / target).exists():
        return found[0]
    language = f' hreflang="{ORIGINAL}"' if target.endswith(".html") and found["name"] == "href" else ""
    return f'{found["name"]}="../{found["value"]}"{language}'


def _with_link(page: str, target: str, code: str, text: str, note: str = "") -> str:
    """A page with a link to the same page in another language below its title, for readers and for programs."""
    link = f'<p class="emoser-top"><a href="{target}" hreflang="{code}" lang="{code}">{text}</a></p>'
    said = f'<p class="emoser-language">{note}</p>' if note else ""
    page = page.replace("</a></h1>", f"</a></h1>{link}{said}", 1)  # the article's, not that for print
    return page.replace("</head>", f'<link rel="alternate" hreflang="{code}" href="{target}"></head>', 1)


def _merged(config: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, with those of the other put in, key by key."""
    merged = dict(config)
    for key, value in other.items():
        merged[key] = _merged(merged[key], value) if isinstance(merged.get(key), dict) else value
    return merged


def _stub(page: Path) -> bytes:
    """A page of a title, that is not searched."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = nbformat.reads(text, as_version=4).cells[0].source
    title = next(line for line in text.splitlines() if line.startswith("# "))
    if page.suffix == ".md":
        return f"---\nno-search: true\n---\n\n{title}\n".encode()
    cell = nbformat.v4.new_markdown_cell(title, id="stub")
    return nbformat.writes(nbformat.v4.new_notebook(cells=[cell], metadata={"no-search": True})).encode()
