"""Tables about prompts and answers: text of strangers stays text, and an answer without a label is counted as said."""

import json
from html import unescape

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from emoser_lib.corpora import LABELS, Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.experiments.runs.records import Told
from emoser_lib.reporting import introduce_llm, score_on
from emoser_lib.reporting.reading import text_systems
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import label_scores, predict


@pytest.fixture(scope="module")
def llm():
    return load_llm("emoser/demo-gemma")


@pytest.fixture(scope="module")
def corpus():
    said = ["uno", "dos & tres", "<b>cuatro</b>", "cinco", "seis"]
    labels = ["neutral", "neutral", "joy", "joy", "fear"]
    frame = build_frame({"id": list("abcde"), "transcription": said, "label": labels})
    return Corpus("own", frame, labels=("neutral", "joy", "fear"))


def answers_of(**answers):
    return pd.Series(answers)


def test_a_prompt_is_shown_token_by_token(llm):
    batch = prompt_named("gemma").encode(llm.tokenizer, ["hola <b>tú</b>", "no"])
    html = text_systems.tokens(batch, llm.tokenizer).data
    assert html.count("emoser-token-prefix") == len(batch.prefix)
    assert html.count("emoser-token-rest") == len(batch.rests[0])
    assert "<start_of_turn>" in unescape(html)
    assert "<b>" not in html


def test_pieces_of_the_label_words(llm):
    table = text_systems.word_pieces(llm.tokenizer, LABELS)
    assert table["nouns"]["disgust"] == table["adjectives"]["disgust"] == "dis + gust"
    assert table["nouns"]["sadness"].startswith(table["adjectives"]["sadness"] + " + ")
    assert table["nouns, after a space"]["anger"] != table["nouns"]["anger"]


def test_word_sets_that_do_not_fit_say_so(llm):
    table = text_systems.word_pieces(llm.tokenizer, ["joy", "boredom"])
    assert table["nouns"]["joy"] == "joy"
    assert table["spanish"]["boredom"] == table["nouns"]["boredom"]
    refused = text_systems.word_pieces(llm.tokenizer, ["joy", " "])
    assert refused["spanish"]["joy"].startswith("refused: ")


def test_what_the_fallback_does(corpus):
    answers = answers_of(a="neutral", b="surprise", c="The speaker is happy", d="joy", e="joy, fear")
    table = text_systems.fallback_table(corpus, answers)
    # Strictly only a and d have a label; b is right by the fallback. F1 of neutral 2·2/(4+2+0), of joy 2/3, of fear 0.
    strict = table.loc["strict"]
    assert strict["unparsable"] == 3
    assert strict["right by fallback"] == 1
    assert strict["as neutral"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    # As wrong: neutral has one of two and no false ones, 2/3; joy too; fear none.
    assert strict["as wrong"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    # Leniently c is joy too. With the fallback neutral 2·2/(4+1) and joy 1; as wrong neutral 2/3.
    lenient = table.loc["lenient"]
    assert lenient["unparsable"] == 2
    assert lenient["as neutral"] == pytest.approx((4 / 5 + 1 + 0) / 3)
    assert lenient["as wrong"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert lenient["difference"] == pytest.approx((4 / 5 - 2 / 3) / 3)
    labelled = text_systems.labelled(corpus, answers, "lenient")
    assert labelled.to_dict() == {"a": "neutral", "b": "neutral", "c": "joy", "d": "joy", "e": "neutral"}
    assert lenient["as neutral"] == score_on(corpus, labelled).macro_f1


def test_counts_and_transcripts_of_answers(corpus):
    answers = answers_of(a="neutral", b="surprise", c="The speaker is happy", d="joy", e="joy\nfear, joy")
    counts = text_systems.answer_counts(list(answers), corpus.labels)
    assert counts.loc["strict", ["exact", "extracted", "foreign", "unparsable"]].tolist() == [2, 0, 1, 3]
    assert counts.loc["lenient", ["exact", "extracted", "foreign", "unparsable"]].tolist() == [2, 2, 1, 1]
    table = text_systems.transcripts(corpus, answers, each=1)
    assert table["kind"].tolist() == ["exact", "extracted", "foreign"]
    assert table["transcription"].tolist() == ["uno", "<b>cuatro</b>", "dos & tres"]
    assert table["gold"].tolist() == ["neutral", "joy", "neutral"]


def test_prompts_are_compared_with_the_words_they_name(llm):
    demo = load_corpus("demo")
    clips = demo.test().head(30)
    table = text_systems.prompt_variants(llm, demo, clips, ["gemma-spanish", "qwen-audio"])
    assert table["words"].to_dict() == {"gemma-spanish": "spanish", "qwen-audio": "nouns"}
    batch = prompt_named("qwen-audio").encode(llm.tokenizer, list(clips["transcription"]))
    verbaliser = Verbaliser.build(llm.tokenizer, words_for(LABELS, "nouns"), after=batch.tail)
    predicted = pd.Series(predict(label_scores(llm.model, batch, verbaliser), LABELS), index=clips["id"])
    assert table["macro-F1"]["qwen-audio"] == score_on(demo, predicted).macro_f1
    assert text_systems.prompt_variants(llm, demo, clips, []).empty


def test_the_record_is_told_which_weights(llm):
    InteractiveShell.instance()
    try:
        with capture_output() as captured:
            introduce_llm(llm)
    finally:
        InteractiveShell.clear_instance()
    (output,) = captured.outputs
    told = Told.model_validate(json.loads(json.dumps(output.metadata["emoser"])))
    (checkpoint,) = told.checkpoints
    assert (checkpoint.name, checkpoint.sha256, checkpoint.note) == (llm.name, llm.sha256, llm.note)
    assert (checkpoint.device, checkpoint.dtype) == (llm.model.device.type, "float32")
    assert told.computing is not None
    assert llm.sha256[:12] in output.data["text/html"]
