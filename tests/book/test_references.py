"""Every reference can be found by a reader, and every one is cited."""

import re
from pathlib import Path

import pytest
from pybtex.database import Entry, parse_file

BOOK = Path(__file__).parents[2] / "book"
REFERENCES = parse_file(str(BOOK / "references.bib")).entries

IDENTIFIERS = {
    "DOI": ("doi", r"10\.\d{4,9}/\S+"),
    "arXiv": ("note", r"arXiv:\d{4}\.\d{4,5}"),
    "ACL Anthology": ("url", r"https://aclanthology\.org/[\w.-]+/?"),
    "CEUR": ("note", r"CEUR-WS Vol-\d+, (?:\w+ paper \d+|overview)"),
}
"""Kind -> field, and what it holds. An overview is the one paper of a CEUR volume without a number."""

NOT_FOUND = {"emospeech": "http://journal.sepln.org/"}
"""Articles whose DOI we looked for in vain -> where their address has to begin."""


def identified(entry: Entry) -> bool:
    return any(re.fullmatch(pattern, entry.fields.get(field, "")) for field, pattern in IDENTIFIERS.values())


@pytest.mark.parametrize("key", REFERENCES)
def test_a_reference_can_be_found(key: str) -> None:
    entry = REFERENCES[key]
    if key in NOT_FOUND:
        assert not identified(entry), "it has an identifier now: take it out of NOT_FOUND"
        assert entry.fields["url"].startswith(NOT_FOUND[key])
    else:
        assert identified(entry), f"none of {', '.join(IDENTIFIERS)}: look it up"


@pytest.mark.parametrize("key", REFERENCES)
def test_the_address_is_that_of_the_identifier(key: str) -> None:
    """An arXiv number or a CEUR paper stands twice, in the note and in the address: once mistyped, it shows."""
    note, url = (REFERENCES[key].fields.get(field, "") for field in ("note", "url"))
    if note.startswith("arXiv:"):
        assert url == f"https://arxiv.org/abs/{note.removeprefix('arXiv:')}"
    if ceur := re.fullmatch(r"CEUR-WS (Vol-\d+), (.+)", note):
        assert url == f"https://ceur-ws.org/{ceur[1]}/{ceur[2].replace(' paper ', '_paper')}.pdf"


def test_every_reference_is_cited() -> None:
    pages = [*BOOK.glob("*.md"), *(BOOK.parent / "notebooks").glob("*.ipynb")]
    cited = {
        key.strip()
        for page in pages
        for keys in re.findall(r"\{cite:[tp]\}`([^`]+)`", page.read_text(encoding="utf-8"))
        for key in keys.split(",")
    }
    assert cited == set(REFERENCES)
