"""Zero-shot scores are those of a plain forward pass, answers those of plain generation, calibration as published."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    MambaConfig,
    PreTrainedTokenizerFast,
)

from emoser_lib.corpora import load_corpus
from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.text import PROMPTS, PromptBatch
from emoser_lib.systems.prompts.words import ADJECTIVES, SPANISH
from emoser_lib.systems.reading.answers import parse_answer
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import (
    CONTENT_FREE,
    CUT_OFF,
    Decoding,
    calibrated,
    generate_answers,
    label_scores,
    posterior,
    predict,
)

TEXTS = [
    "no sé qué decir, estoy harta de todo esto",
    "gracias a todos, estoy muy contenta",
    "qué asco",
    "¡no puede ser!",
    "hoy ha sido un gran día, no sé qué decir",
    "qué ira",
]
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.2,  # ten times the usual, so that a wrong mask or prefix shows
}
WINDOWS = {
    "window": {"sliding_window": 20},  # far shorter than the prompt
    "gemma3": {"sliding_window": 512},
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    special = ["<eos>", "<start_of_turn>", "<end_of_turn>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = [prompt.render(" ".join(TEXTS)) for prompt in PROMPTS.values()] * 3
    inner.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=500, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>")


@pytest.fixture(scope="module", params=["window", "gemma3", "llama"])
def model(request, tokenizer):
    torch.manual_seed(1)
    sizes = SIZES | {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 0}
    if request.param in WINDOWS:
        layers = ["sliding_attention", "full_attention", "sliding_attention"]
        config = Gemma3TextConfig(**sizes, **WINDOWS[request.param], layer_types=layers)
    else:
        config = LlamaConfig(**sizes)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").float().eval()
    # What a checkpoint brings along must not change the answers.
    model.generation_config = GenerationConfig(do_sample=True, temperature=2.0, top_k=3, top_p=0.5, eos_token_id=0)
    return model


@pytest.fixture(scope="module")
def prompts(tokenizer) -> PromptBatch:
    return PROMPTS["gemma"].encode(tokenizer, [*TEXTS, *CONTENT_FREE])


def verbaliser_of(tokenizer, prompts) -> Verbaliser:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Verbaliser.build(tokenizer, SPANISH, after=prompts.tail)


def written_alone(model, prompts, clip, tokenizer, tokens):
    """The token ids that plain greedy generation writes for one clip."""
    ids = torch.tensor([prompts.prefix + prompts.rests[clip]])
    ends = [tokenizer.convert_tokens_to_ids("<end_of_turn>"), tokenizer.eos_token_id]
    greedy = {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}
    usual = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "eos_token_id": ends, "pad_token_id": 0}
    return model.generate(**usual, **greedy, max_new_tokens=tokens)[0, ids.shape[1] :].tolist()


def text_of(tokenizer, ids):
    return tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_scores_are_those_of_a_plain_forward_pass(model, tokenizer, prompts):
    verbaliser = verbaliser_of(tokenizer, prompts)
    assert max(map(len, verbaliser.ids)) > 1
    expected = np.zeros((len(prompts), len(verbaliser.labels)), dtype=np.float32)
    for clip, rest in enumerate(prompts.rests):
        for column, word in enumerate(verbaliser.ids):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prompts.prefix, *rest, *word]])).logits[0]
            predicting = logits.log_softmax(dim=-1)[-len(word) - 1 : -1]
            expected[clip, column] = predicting.gather(1, torch.tensor(word)[:, None]).sum()
    for size in (1, 4, 16):
        np.testing.assert_allclose(label_scores(model, prompts, verbaliser, size), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 16])
def test_answers_are_those_of_plain_generation_clip_by_clip(model, tokenizer, prompts, size):
    expected = [text_of(tokenizer, written_alone(model, prompts, clip, tokenizer, 12)) for clip in range(len(prompts))]
    assert len(set(expected)) > 2
    assert generate_answers(model, tokenizer, prompts, batch_size=size) == expected


def test_clips_are_run_together(model, tokenizer, prompts, monkeypatch):
    """Padded only where no window counts the padding."""
    masks, generate = [], model.generate
    monkeypatch.setattr(model, "generate", lambda **given: masks.append(given["attention_mask"]) or generate(**given))
    generate_answers(model, tokenizer, prompts)
    lengths = {len(rest) for rest in prompts.rests}
    assert 1 < len(lengths) < len(prompts)
    if getattr(model.config, "sliding_window", None) == 20:
        assert len(masks) == len(lengths)
        assert all(mask.all() for mask in masks)
    else:
        assert [len(mask) for mask in masks] == [len(prompts)]


def test_an_answer_stops_at_the_end_of_its_turn(model, tokenizer, prompts):
    """The third token of the first answer is declared the end: no answer has it or goes on after it."""
    written = [written_alone(model, prompts, clip, tokenizer, 8) for clip in range(len(prompts))]
    end = written[0][2]
    stopped = [ids[: ids.index(end)] if end in ids else ids for ids in written]
    assert len(stopped[0]) <= 2
    token = tokenizer.convert_ids_to_tokens(end)
    ended = PromptBatch(prompts.prefix, prompts.rests, prompts.tail, token)
    answers = generate_answers(model, tokenizer, ended, Decoding(max_new_tokens=8))
    assert answers == [text_of(tokenizer, ids) for ids in stopped]
    marked = generate_answers(model, tokenizer, ended, Decoding(max_new_tokens=8, mark_cut=True))
    went_on = [end not in ids for ids in written]
    assert True in went_on
    assert marked == [told + CUT_OFF * cut for told, cut in zip(answers, went_on, strict=True)]


def test_sampling_follows_its_seed(model, tokenizer, prompts):
    def answers(seed):
        return generate_answers(model, tokenizer, prompts, Decoding(do_sample=True, temperature=1.5, seed=seed))

    assert answers(0) == answers(0) != answers(1)


def test_sampling_among_one_is_greedy(model, tokenizer, prompts):
    greedy = generate_answers(model, tokenizer, prompts)
    assert generate_answers(model, tokenizer, prompts, Decoding(do_sample=True, top_k=1)) == greedy


@pytest.mark.filterwarnings("ignore:.*plain right-padded batches", "ignore:.*fast path")
def test_a_model_without_keys_and_values_answers_too(tokenizer, prompts):
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=len(tokenizer), hidden_size=16, state_size=4, num_hidden_layers=2, initializer_range=0.3
    )
    mamba = AutoModelForCausalLM.from_config(config).float().eval()
    mamba.generation_config = GenerationConfig(eos_token_id=0)
    expected = [text_of(tokenizer, written_alone(mamba, prompts, clip, tokenizer, 4)) for clip in range(len(prompts))]
    assert generate_answers(mamba, tokenizer, prompts, Decoding(max_new_tokens=4)) == expected


def test_the_shipped_model_is_read_like_any_other():
    llm = load_llm("emoser/demo-gemma")
    demo = load_corpus("demo").test().head(12)
    prompts = PROMPTS["gemma"].encode(llm.tokenizer, list(demo["transcription"]))
    written = [written_alone(llm.model, prompts, clip, llm.tokenizer, 12) for clip in range(len(prompts))]
    answers = generate_answers(llm.model, llm.tokenizer, prompts)
    assert answers == [text_of(llm.tokenizer, ids) for ids in written]
    assert any(parse_answer(text).label for text in answers)
    verbaliser = Verbaliser.build(llm.tokenizer, ADJECTIVES, after=prompts.tail)
    together, alone = (label_scores(llm.model, prompts, verbaliser, size) for size in (5, 1))
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)


def test_calibration_by_hand():
    scores = np.log([[0.02, 0.06], [0.05, 0.05]])  # 1/4, 3/4 and 1/2, 1/2
    content_free = np.log([[0.01, 0.03], [0.1, 0.1], [0.03, 0.01]]) - 4  # on average 1/2, 1/2
    np.testing.assert_allclose(calibrated(scores, content_free), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-6)
    biased = np.log([[0.08, 0.02], [0.06, 0.04], [0.1, 0.1]])  # on average 19/30, 11/30
    first, second = (0.25 / (19 / 30), 0.75 / (11 / 30)), (0.5 / (19 / 30), 0.5 / (11 / 30))
    expected = [[x / sum(row) for x in row] for row in (first, second)]
    np.testing.assert_allclose(calibrated(scores, biased), expected, rtol=1e-6)


@given(arrays(np.float64, (3, 4), elements=st.floats(-60, 0)), arrays(np.float64, 4, elements=st.floats(-60, 0)))
def test_what_says_nothing_is_undecided_after_calibration(content_free, shift):
    same = np.tile(content_free[0], (3, 1))
    np.testing.assert_allclose(calibrated(content_free[:1], same), np.full((1, 4), 0.25), rtol=1e-4)
    probabilities = calibrated(content_free, content_free + shift[:3, None])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(probabilities, calibrated(content_free, content_free), rtol=1e-4, atol=1e-6)


def test_very_unlikely_words_keep_their_order():
    scores = [[-800.0, -801.0], [-90.0, -2.0]]
    assert predict(scores, ["joy", "fear"]) == predict(posterior(scores), ["joy", "fear"]) == ["joy", "fear"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": 0.7}, "temperature is set, but answers are greedy"),
        ({"top_k": 5}, "top_k is set"),
    ],
)
def test_decoding_that_makes_no_sense_is_refused(options, said):
    with pytest.raises(UsageError, match=said):
        Decoding(**options)


def test_bad_calls_are_refused(model, tokenizer, prompts):
    with pytest.raises(UsageError, match="batch_size is 0"):
        generate_answers(model, tokenizer, prompts, batch_size=0)
    endless = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(UsageError, match="no token that ends an answer"):
        generate_answers(model, endless, PromptBatch(prompts.prefix, prompts.rests, prompts.tail, ""))
