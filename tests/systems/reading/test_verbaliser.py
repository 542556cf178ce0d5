"""Words become the ids a model writes, collisions are refused, and the score is the whole word's."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from emoser_lib.corpora import LABELS
from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.words import ADJECTIVES, NOUNS, SPANISH, WORDS
from emoser_lib.systems.reading.verbaliser import Verbaliser, score_labels

TEXT = [
    "neutral neutral disgust anger anger joy fear",
    "the emotion is sad sad sad",
    "model\nneutral\nanger",
    "a b\n",
] * 9


def byte_level(size=300):
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=size, special_tokens=["<bos>", "<eos>"], initial_alphabet=alphabet)
    )
    inner.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<bos>", eos_token="<eos>")


def unigram(scheme):
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    inner.train_from_iterator(
        TEXT, trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "<eos>"], unk_token="<unk>")
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", unk_token="<unk>")


def whole_words(*known):
    vocabulary = {word: number for number, word in enumerate(("<unk>", "<eos>", *known))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", unk_token="<unk>")


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Verbaliser.build(*args, **options)


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
@pytest.mark.parametrize("leading", ["", " "])
def test_the_ids_are_those_of_the_word_in_the_text(words, leading):
    tokenizer = byte_level()
    verbaliser = quiet(tokenizer, words, leading=leading, end="<eos>")
    assert verbaliser.labels == LABELS
    before = tokenizer("model\n", add_special_tokens=False)["input_ids"]
    for word, ids, pieces in zip(words.values(), verbaliser.ids, verbaliser.pieces, strict=True):
        assert before + list(ids) == tokenizer(f"model\n{leading}{word}<eos>", add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(list(ids)) == f"{leading}{word}<eos>"
        assert pieces == tuple(tokenizer.convert_ids_to_tokens(list(ids)))


@pytest.mark.parametrize("scheme", ["always", "first", "never"])
def test_no_space_is_made_up_in_the_middle_of_the_text(scheme):
    """SentencePiece puts a space before the first word of a text; the answer is not the first word."""
    tokenizer = unigram(scheme)
    words = {"neutral": "neutral", "anger": "anger"}
    joined, spaced = (quiet(tokenizer, words, leading=leading) for leading in ("", " "))
    assert "".join(joined.pieces[0]) == "neutral"
    assert "".join(spaced.pieces[0]) == "▁neutral"
    assert quiet(tokenizer, words, leading=" ", after="emotion =").pieces == spaced.pieces


def test_the_table_shows_label_word_pieces_and_ids():
    tokenizer = whole_words("sad", "happy")
    table = Verbaliser.build(tokenizer, {"sadness": "sad", "joy": "happy"}).table()
    assert table.to_dict("records") == [
        {"label": "sadness", "word": "sad", "pieces": ("sad",), "ids": (2,)},
        {"label": "joy", "word": "happy", "pieces": ("happy",), "ids": (3,)},
    ]


def test_labels_that_share_their_ids_are_refused_by_name():
    with pytest.raises(UsageError, match=r"'joy'.*'fear'.*same token ids"):
        Verbaliser.build(byte_level(), NOUNS | {"fear": "joy"})
    with pytest.raises(UsageError, match=r"'disgust'.*'fear'"):  # both are the unknown token
        Verbaliser.build(whole_words("neutral", "anger", "joy", "sadness"), NOUNS)
    with pytest.raises(UsageError, match=r"'disgust'.*'fear'"):
        Verbaliser.build(whole_words("neutral", "anger", "joy", "sadness"), NOUNS, end="<eos>")


def test_one_unknown_word_is_refused():
    with pytest.raises(UsageError, match="does not know the word 'fear'"):
        Verbaliser.build(whole_words(*LABELS[:-1]), NOUNS)


def test_a_word_that_begins_another_needs_the_end_token():
    tokenizer, words = byte_level(), {"joy": "joy", "sadness": "sad", "grief": "sadness"}
    with pytest.raises(UsageError, match=r"'sadness'.*'grief'.*first begins the second.*end token"):
        Verbaliser.build(tokenizer, words)
    with pytest.warns(UserWarning, match="words of sadness, grief begin with the same piece"):
        verbaliser = Verbaliser.build(tokenizer, words, end="<eos>")
    assert all(ids[-1] == tokenizer.eos_token_id for ids in verbaliser.ids)


def test_colliding_first_pieces_warn_once_for_each_piece_and_others_do_not():
    tokenizer = byte_level(258)  # single bytes
    with pytest.warns(UserWarning) as caught:
        Verbaliser.build(tokenizer, SPANISH | {"joy": "nada"})
    assert len(caught) == 1 and "neutral, joy" in str(caught[0].message)
    with pytest.warns(UserWarning) as caught:
        Verbaliser.build(tokenizer, ADJECTIVES | {"joy": "nada", "fear": "dread"})
    assert len(caught) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Verbaliser.build(whole_words(*LABELS), NOUNS)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"words": {"joy": "joy"}}, "two labels or more"),
        ({"end": "<end_of_turn>"}, "not one token.*<eos>"),
        ({"words": NOUNS | {"joy": " "}}, "'joy' has no word"),
        ({"words": NOUNS | {"joy": "eutral"}, "after": "n"}, "joins 'eutral'"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(UsageError, match=says):
        quiet(byte_level(), **options)


@settings(max_examples=25, deadline=None)
@given(size=st.integers(258, 300), words=st.sampled_from(sorted(WORDS)), end=st.sampled_from(["", "<eos>"]))
def test_the_score_is_the_log_probability_of_the_whole_word(size, words, end):
    """A real model, run once per label on prompt and word, against once per context."""
    tokenizer = byte_level(size)
    verbaliser = quiet(tokenizer, WORDS[words], end=end)
    torch.manual_seed(size)
    config = LlamaConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config).eval()
    prompts = [tokenizer(text)["input_ids"] for text in ("the emotion is\n", "a\n")]
    with torch.no_grad():
        logits = torch.stack(
            [
                torch.stack(
                    [model(torch.tensor([prompt + list(context)])).logits[0, -1] for context in verbaliser.contexts]
                )
                for prompt in prompts
            ]
        )
        scores = score_labels(logits, verbaliser)
        for row, prompt in zip(scores, prompts, strict=True):
            for score, ids in zip(row, verbaliser.ids, strict=True):
                steps = model(torch.tensor([prompt + list(ids)])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
                assert score.item() == pytest.approx(steps[range(len(ids)), list(ids)].sum().item(), abs=1e-4)
    assert verbaliser.contexts[0] == ()
    assert torch.allclose(score_labels(logits.log_softmax(-1), verbaliser), scores, atol=1e-5)


def test_words_of_one_piece_need_the_end_of_the_prompt_only_and_gradients_pass():
    verbaliser = Verbaliser.build(whole_words(*LABELS), NOUNS)
    assert verbaliser.contexts == ((),)
    logits = torch.randn(3, 1, 8, dtype=torch.bfloat16, requires_grad=True)
    scores = score_labels(logits, verbaliser)
    assert scores.shape == (3, 6) and scores.dtype == torch.float32
    scores.sum().backward()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(3, 8), (3, 2, 8), (3, 1, 7)])
def test_logits_of_another_shape_are_refused(shape):
    with pytest.raises(UsageError, match="verbaliser needs"):
        score_labels(torch.zeros(shape), Verbaliser.build(whole_words(*LABELS), NOUNS))
