"""Words of a prompt, with the demo's real tokenizer and model."""

import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.reporting.audit import prompt_audit
from emoser_lib.systems.reading.llm import LLM


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


def test_words_that_are_no_labels_are_counted_and_fall_back(demo: Corpus, llm: LLM) -> None:
    table = prompt_audit.offered_words(llm, demo, demo.test(), ["gemma", "gemma-six"])
    eight, six = table.loc["gemma"], table.loc["gemma-six"]
    assert eight["no labels"] == "surprise, contempt"
    assert (eight["words"], six["words"]) == (8, 6)
    assert 0 < eight["share answered so"] < 1  # the case is there, or this test says nothing
    assert eight["as neutral"] != eight["labels only"]
    assert six["share answered so"] == 0
    assert six["as neutral"] == six["labels only"]


def test_first_pieces_change_answers_only_where_words_have_several(demo: Corpus, llm: LLM) -> None:
    table = prompt_audit.first_pieces(llm, demo, demo.test(), "gemma", ["nouns", "adjectives"])
    assert llm.tokenizer.tokenize("sadness") != ["sadness"]
    assert table.loc["nouns", "answers changed"] > 0
    assert table.loc["adjectives", "answers changed"] == 0
    assert table.loc["adjectives", "whole words"] == table.loc["adjectives", "first pieces"]


def test_labels_that_share_a_first_piece_are_named_and_the_first_is_answered(
    demo: Corpus, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    # "sadness" is sad + ness here, "sadly" sad + ly: neither begins the other.
    alike = {"neutral": "sadness", "disgust": "sadly", "anger": "angry", "joy": "joy", "sadness": "sea", "fear": "fear"}
    monkeypatch.setattr(prompt_audit, "words_for", lambda labels, name="": alike)
    table = prompt_audit.first_pieces(llm, demo, demo.test(), "gemma", ["made up"])
    assert table.loc["made up", "share a first piece"] == "neutral, disgust"


def test_words_that_the_verbaliser_refuses_are_told(demo: Corpus, llm: LLM, monkeypatch: pytest.MonkeyPatch) -> None:
    same = dict.fromkeys(demo.labels, "sad")
    monkeypatch.setattr(prompt_audit, "words_for", lambda labels, name="": same)
    table = prompt_audit.first_pieces(llm, demo, demo.test()[:4], "gemma", ["all the same"])
    assert table.loc["all the same", "share a first piece"].startswith("refused: The labels 'neutral'")
