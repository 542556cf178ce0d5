"""The book in other languages: `python scripts/translations.py build`, once the original is built; or `messages`.

`messages` brings the catalogues of the finished pages, and of those that are named, up to date with the built book, and
says what is to be translated. A language is a folder of book/locale.
"""

import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path

import yaml

from emoser_lib.environment import ROOT
from emoser_lib.errors import EmoserError
from emoser_lib.reporting.book.languages import (
    CODE,
    catalog_text,
    faults,
    join_language,
    messages_of,
    messages_of_claims,
    messages_of_code,
    messages_of_table,
    raw_html_of,
    read_catalog,
    read_language,
    updated,
)

BUILT = ROOT / "book" / "_build"
WRITING = [
    *(ROOT / "emoser_lib" / "reporting" / "book" / f"{name}.py" for name in ("pages", "provenance")),
    *(ROOT / "book" / "extensions" / f"{name}.py" for name in ("kinds", "mended")),
    ROOT / "book" / "static" / "systems.svg",
]
"""Code that writes words into pages, and drawings on them."""


def build(locale: Path) -> None:
    """Build the finished pages of a language from what is staged, and join them with the original."""
    folder = BUILT / locale.name
    command = ["jupyter-book", "build", str(folder / "source"), "--path-output", str(folder)]
    subprocess.run([*command, "-W", "-n", "--keep-going", "--quiet"], check=True)
    html = BUILT / "html" / locale.name
    shutil.rmtree(html, ignore_errors=True)
    (folder / "_build" / "html").rename(html)
    join_language(read_language(locale), html.parent)


def messages(locale: Path, begun: list[str]) -> None:
    """Update the catalogues, and say what they lack."""
    language = read_language(locale)
    found = {page: messages_of(BUILT / ".doctrees" / f"{page}.doctree") for page in (*language.finished, *begun)}
    claims = yaml.safe_load((ROOT / "book" / "claims.yaml").read_text(encoding="utf-8"))
    ledger = raw_html_of(BUILT / ".doctrees" / "claims.doctree")
    words = [
        *messages_of_code(WRITING),
        *messages_of_claims(claims, chain(*found.values())),
        *messages_of_table(ledger),
    ]
    for page, texts in {CODE: words, **found}.items():
        path = locale / "LC_MESSAGES" / f"{page}.po"
        catalog = updated(read_catalog(path), texts)
        path.write_bytes(catalog_text(catalog))
        for fault in faults(catalog, texts):
            print(f"{path.relative_to(ROOT)}: {fault}")


if __name__ == "__main__":
    try:
        for place in sorted(path.parent for path in (ROOT / "book" / "locale").glob("*/book.yaml")):
            if sys.argv[1] == "build":
                build(place)
            else:
                messages(place, sys.argv[2:])
    except EmoserError as error:
        sys.exit(f"emoser: {error}")
