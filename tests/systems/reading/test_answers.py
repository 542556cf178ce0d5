"""Answers are read as what they say: label words in any dress, negation, several emotions, other emotions, nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emoser_lib.corpora import LABELS
from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.words import WORDS
from emoser_lib.systems.reading.answers import LEXICON, ParsedAnswer, count_answers, parse_answer, to_label

LABEL_WORDS = sorted({(label, word) for words in WORDS.values() for label, word in words.items()})
PUNCTUATION = st.text(st.characters(categories=["P", "S", "Z"]), max_size=4)
MODES = ("strict", "lenient")


def dressed(word, upper):
    return "".join(char.upper() if flag else char for char, flag in zip(word, upper, strict=False))


@given(
    st.sampled_from(LABEL_WORDS), st.lists(st.booleans(), min_size=12), PUNCTUATION, PUNCTUATION, st.sampled_from(MODES)
)
def test_a_label_word_alone_is_its_label_in_any_dress(pair, upper, before, after, mode):
    label, word = pair
    assert parse_answer(before + dressed(word, upper) + after, mode=mode) == ParsedAnswer(label, "exact")


@pytest.mark.parametrize("text", ["_sad_", "__Sad__", "- 'SAD'", "`sad`", "# sad\n", "<<sad>>", "¡Tristeza!"])
def test_markdown_and_quotes_do_not_matter(text):
    assert parse_answer(text) == ParsedAnswer("sadness", "exact")


@given(st.text(), st.sampled_from(MODES))
def test_any_text_can_be_read(text, mode):
    answer = parse_answer(text, mode=mode)
    assert (answer.label in LABELS) == (answer.kind in ("exact", "extracted"))
    assert to_label(answer) in LABELS


PARTS = (
    "not no ni but sino, and y . , or nor neither n't don't rather than instead of the predominant answer: is está "
    "sad triste angry alegre miedo surprise unhappy"
)


@given(st.lists(st.sampled_from(PARTS.split()), max_size=12).map(" ".join))
def test_any_mixture_of_the_words_that_matter_can_be_read(text):
    answer = parse_answer(text, mode="lenient")
    assert (answer.label is not None) == (answer.kind in ("exact", "extracted"))


@pytest.mark.parametrize(
    "text", ["The emotion is sad.", "1. sad", "sad, angry", "sad sad", "unhappy", "", "furious", "nota"]
)
def test_strict_takes_nothing_but_the_word(text):
    assert parse_answer(text) == ParsedAnswer(None, "missing")


@pytest.mark.parametrize("text", ["Surprise!", "contempt", "**Sorpresa**", "bored"])
@pytest.mark.parametrize("mode", MODES)
def test_other_emotions_are_told_apart_from_none(text, mode):
    assert parse_answer(text, mode=mode) == ParsedAnswer(None, "foreign")


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The speaker sounds happy.", "joy"),
        ("The emotion expressed is: **Anger**", "anger"),
        ("La persona está enfadada por lo ocurrido.", "anger"),
        ("Las chicas están TRISTES", "sadness"),
        ("muestra mucha alegria", "joy"),
        ("siente asco", "disgust"),
        ("tiene miedo", "fear"),
        ("Estamos contentos", "joy"),
        ("se nota que está enojado", "anger"),
        ("Tono neutro", "neutral"),
        ("not angry but sad", "sadness"),
        ("The speaker is not angry. She is sad.", "sadness"),
        ("isn't happy, sad", "sadness"),
        ("No está triste, sino enfadado", "anger"),
        ("no está triste; está enfadado", "anger"),
        ("no siente ira y está triste", "sadness"),
        ("sadness rather than anger", "sadness"),
        ("tristeza en lugar de ira", "sadness"),
        ("neither angry nor happy: neutral", "neutral"),
        ("ni triste, ni alegre, ni enfadado. Neutral", "neutral"),
        ("no sé, diría que alegría", "joy"),
        ("No, sad", "sadness"),
        ("There is no doubt that the speaker is sad", "sadness"),
        ("sin duda, está triste", "sadness"),
        ("There is no doubt he is sad", "sadness"),
        ("not just sad, very sad", "sadness"),
        ("no es fácil decirlo pues el tono general es de tristeza", "sadness"),
        ("predominantly sad with some anger", "sadness"),
        ("sad, sad and sad", "sadness"),
        ("neutral\nInstruction:\nsad, angry, happy", "neutral"),
        ("\n\n *Sad*\n\nThe speaker is not happy", "sadness"),
        ("The predominant emotion is sadness, with traces of fear.", "sadness"),
        ("predominantly sad, with some anger", "sadness"),
        ("Hay ira, pero predomina la tristeza", "sadness"),
        ("The speaker could be angry or sad. Answer: sad", "sadness"),
        ("La respuesta es miedo, aunque hay tristeza", "fear"),
        ("It doesn\u2019t sound happy. Sad.", "sadness"),
    ],
)
def test_lenient_finds_the_label(text, label):
    assert parse_answer(text, mode="lenient") == ParsedAnswer(label, "extracted")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sad or angry", "several"),
        ("triste y enfadado", "several"),
        ("sad and surprised", "several"),
        ("not only sad but angry", "several"),
        ("predominantly sad and angry", "several"),
        ("Select the predominant emotion from neutral, disgust, anger, joy, sadness and fear.", "several"),
        ("predominantly sad, mainly angry", "several"),
        ("not angry", "negated"),
        ("no está triste", "negated"),
        ("nunca está alegre", "negated"),
        ("non-neutral", "negated"),
        ("The speaker doesn't seem to be sad", "negated"),
        ("neither angry, sad nor happy", "negated"),
        ("not angry, or sad", "negated"),
        ("sin miedo", "negated"),
        ("not so sad", "negated"),
        ("The speaker is surprised", "foreign"),
        ("not sad but surprised", "foreign"),
        ("desprecio o sorpresa", "foreign"),
        ("unhappy", "missing"),
        ("fearless", "missing"),
        ("to neutralise", "missing"),
        ("sadly, I cannot say", "missing"),
        ("mirada", "missing"),
        ("miran la iraní", "missing"),
        ("", "missing"),
        ("?!", "missing"),
        ("As a language model I cannot hear audio.", "missing"),
    ],
)
def test_lenient_does_not_guess(text, kind):
    assert parse_answer(text, mode="lenient") == ParsedAnswer(None, kind)


def test_a_synonym_alone_is_extracted_not_exact():
    assert parse_answer("Furious", mode="lenient") == ParsedAnswer("anger", "extracted")
    assert parse_answer("Furious") == ParsedAnswer(None, "missing")


def test_the_labels_decide_what_is_foreign():
    assert parse_answer("surprised", ("joy", "surprise"), "lenient") == ParsedAnswer("surprise", "extracted")
    assert parse_answer("surprise", ("joy", "surprise")) == ParsedAnswer("surprise", "exact")
    assert parse_answer("sad", ("joy", "surprise")) == ParsedAnswer(None, "foreign")
    assert parse_answer("Calma", ("calma", "ira")) == ParsedAnswer("calma", "exact")
    assert parse_answer("hay ira", ("calma", "ira"), "lenient") == ParsedAnswer("ira", "extracted")


def test_no_word_has_two_meanings():
    forms = [form for words in LEXICON.values() for form in words.split()]
    assert len(forms) == len(set(forms))


def test_answers_are_counted_and_the_unparsable_separately():
    texts = ("sad", "the speaker is sad", "sad or angry", "not sad", "surprise", "", "JOY")
    answers = [parse_answer(text, mode="lenient") for text in texts]
    assert count_answers(answers) == {
        **{"exact": 2, "extracted": 1, "several": 1, "negated": 1, "foreign": 1, "missing": 1},
        "unparsable": 4,
    }
    assert [to_label(answer) for answer in answers] == ["sadness", "sadness", *["neutral"] * 4, "joy"]
    assert to_label(answers[2], fallback="anger") == "anger"


def test_wrong_modes_and_labels_are_refused():
    with pytest.raises(UsageError, match="mode 'loose'"):
        parse_answer("sad", mode="loose")
    with pytest.raises(UsageError, match="'very sad' is not a single word"):
        parse_answer("sad", ("joy", "very sad"))
