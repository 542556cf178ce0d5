"""Every chapter with the corpora people bring: what was found last is of this code, and what is planned agrees."""

import sys
from pathlib import Path

import pytest

from tests import chapters


@pytest.mark.parametrize("chapter", chapters.CHAPTERS)
def test_the_checks_say_what_the_record_says(chapter: str, tmp_path: Path) -> None:
    """Each corpus is taken or refused, in the words of `make chapters`, whose runs are of this chapter's code."""
    known = chapters.known()[chapter]
    assert not chapters.failures({chapter: known})
    said = {corpus: chapters.refused(chapter, corpus, tmp_path) for corpus in chapters.CORPORA}
    said = {corpus: f"refused: {told.replace(str(tmp_path), '…')}" if told else "ok" for corpus, told in said.items()}
    assert said == known["outcomes"]
    if known["python"] == ".".join(map(str, sys.version_info[:2])):  # the hash is of one version's syntax trees
        assert known["code"] == chapters.code_of(chapter), "the chapter or its checks changed: run `make chapters`"


@pytest.mark.parametrize(
    ("chapter", "corpus"),
    [
        ("03", "test clips without a label"),
        ("08", "no folds"),
        ("10", "no text, not asked for"),
    ],
)
def test_a_sample_of_them_runs(chapter: str, corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    chapters.execute(chapters.planned(chapter, corpus, tmp_path))
