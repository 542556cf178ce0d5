"""Packed batches, logits at labels only and a cached prefix change the work, never the loss, gradients or scores."""

import warnings
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear as LoraLinear
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen2Config,
)

from emoser_lib.errors import UsageError
from emoser_lib.systems.reading.label_logits import (
    batcher,
    label_logits,
    label_loss,
    packing_refusal,
    target_log_probabilities,
)
from emoser_lib.systems.reading.packed_attention import PACKED
from emoser_lib.systems.reading.packing import PlainBatch, pack, pack_choices, plain_batch, plain_choices, split_prefix
from emoser_lib.systems.reading.prefix_cache import PrefixCache

VOCABULARY = 61
WINDOW = 5
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    # Ten times the usual, so that attention is far from uniform and a wrong mask shows.
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
WINDOWS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
CONFIGS = {
    "gemma": GemmaConfig(**SIZES),
    "gemma2": Gemma2Config(**SIZES, **WINDOWS, query_pre_attn_scalar=8, final_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**SIZES, **WINDOWS, query_pre_attn_scalar=8),
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=WINDOW),
    "qwen2": Qwen2Config(**{**SIZES, "num_key_value_heads": 4}),
    "qwen2-windows": Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1),
}
WINDOWED = ["gemma2", "gemma3", "mistral", "qwen2-windows"]
MODELS = [
    (name, attention)
    for name in CONFIGS
    for attention in ("eager", "sdpa", PACKED)
    if name != "gemma2" or attention == "eager"
]  # transformers gives Gemma 2 no sdpa: it cannot soft-cap scores


class Clips(NamedTuple):
    prefix: list[int]
    rests: list[list[int]]
    targets: list[list[int]]


def clips(prefix, rests, targets, seed=0):
    """Random token ids of these lengths."""
    random = torch.Generator().manual_seed(seed)

    def run(length):
        return torch.randint(1, VOCABULARY, (length,), generator=random).tolist()

    return Clips(run(prefix), [run(length) for length in rests], [run(length) for length in targets])


EXAMPLES = {
    "unequal rests": clips(prefix=9, rests=[7, 3, 12, 1], targets=[1, 1, 1, 1]),
    "several pieces": clips(prefix=8, rests=[6, 9, 2], targets=[1, 3, 2]),
    "single clip": clips(prefix=7, rests=[6], targets=[2]),
    "prefix of one": clips(prefix=1, rests=[5, 8], targets=[2, 1]),
    "no prefix": clips(prefix=0, rests=[9, 4], targets=[1, 2]),
    "prefix within the window": clips(prefix=3, rests=[8, 9], targets=[1, 1]),
}


def tiny(name, attention="eager", config=None):
    """A random model with LoRA on all its linear layers, B not zero, fp32, no dropout."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config or CONFIGS[name], attn_implementation=attention).float()
    linears = ["in_proj", "x_proj"] if name == "mamba" else "all-linear"  # peft takes no others of Mamba's
    model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=linears, task_type="CAUSAL_LM"))
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def model(request):
    return tiny(*request.param)


def reference(model, data):
    """Loss of transformers' own forward: whole prompts padded on the right, -100 on all but the targets."""
    rows = [[*data.prefix, *rest, *target] for rest, target in zip(data.rests, data.targets, strict=True)]
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, -100)
    for number, (row, target) in enumerate(zip(rows, data.targets, strict=True)):
        ids[number, : len(row)] = torch.tensor(row)
        mask[number, : len(row)] = 1
        labels[number, len(row) - len(target) : len(row)] = torch.tensor(target)
    return model(input_ids=ids, attention_mask=mask, labels=labels).loss


def batch_loss(model, batch):
    return label_loss(label_logits(model, batch), batch.labels)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {key: value.grad.clone() for key, value in model.named_parameters() if value.requires_grad}


def furthest(gradients, expected):
    """The greatest distance of a gradient from what it should be, in norms of its tensor."""
    assert gradients.keys() == expected.keys() and gradients
    assert all(value.norm() > 0 for value in expected.values())
    return max(((gradients[key] - value).norm() / value.norm()).item() for key, value in expected.items())


@pytest.mark.parametrize("example", EXAMPLES)
def test_loss_and_lora_gradients_are_those_of_the_padded_batch(model, example):
    data = EXAMPLES[example]
    expected = reference(model, data)
    expected_gradients = gradients(model, expected)
    for make in (pack, plain_batch):
        loss = batch_loss(model, make(*data))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        assert furthest(gradients(model, loss), expected_gradients) < 1e-5


@settings(max_examples=15, deadline=None)
@given(
    name=st.sampled_from(list(CONFIGS)),
    prefix=st.integers(0, 12),
    lengths=st.lists(st.tuples(st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=5),
    seed=st.integers(0, 1000),
)
def test_any_lengths_give_the_loss_of_the_padded_batch(name, prefix, lengths, seed):
    model, data = tiny(name), clips(prefix, *zip(*lengths, strict=True), seed=seed)
    expected = reference(model, data)
    for make in (pack, plain_batch):
        assert batch_loss(model, make(*data)).item() == pytest.approx(expected.item(), rel=2e-6)


def test_a_mask_that_lets_clips_see_each_other_would_be_noticed(model):
    data = EXAMPLES["unequal rests"]
    batch = pack(*data)
    one = {"clip": batch.clip.clamp(max=1), "clip_lengths": (sum(batch.clip_lengths),)}
    leaky = batch_loss(model, replace(batch, **one))
    expected = reference(model, data)
    assert leaky.item() != pytest.approx(expected.item(), rel=1e-3)
    assert furthest(gradients(model, leaky), gradients(model, expected)) > 1e-2


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_cut_the_prefix_by_position(name, monkeypatch):
    """Each rest sees the end of the prefix, and a window that is not there would be noticed."""
    model, data = tiny(name), EXAMPLES["unequal rests"]
    batch = pack(*data)
    first_of_rest = batch.position_ids[0] == batch.prefix_length
    assert batch.visible(WINDOW)[first_of_rest, : batch.prefix_length].sum(dim=1).tolist() == [WINDOW - 1] * 4
    expected = reference(model, data).item()
    monkeypatch.setattr(model.config, "sliding_window", None)
    assert batch_loss(model, batch).item() != pytest.approx(expected, rel=1e-3)


def test_num_items_makes_accumulated_batches_one():
    """Two batches over the pieces of both are the one batch, as the transformers Trainer counts."""
    model, data = tiny("gemma3"), EXAMPLES["several pieces"]
    pieces = sum(map(len, data.targets))
    whole = gradients(model, batch_loss(model, pack(*data)))
    parts = [pack(data.prefix, data.rests[part], data.targets[part]) for part in (slice(0, 1), slice(1, 3))]
    losses = [label_loss(label_logits(model, batch), batch.labels, num_items=pieces) for batch in parts]
    assert furthest(gradients(model, sum(losses)), whole) < 1e-5


@pytest.mark.parametrize("head", ["plain", "bias", "adapted"])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_of_some_pieces_are_those_of_the_whole_vocabulary(name, head):
    """Gemma 2 caps its logits; a head with an adapter is multiplied whole."""
    model, batch, some = tiny(name), pack(*EXAMPLES["several pieces"]), torch.tensor([3, 17, 60])
    inner = model.get_base_model()
    if head == "bias":
        inner.lm_head.bias = torch.nn.Parameter(torch.randn(VOCABULARY), requires_grad=False)
    if head == "adapted":
        inner.lm_head = LoraLinear(inner.lm_head, "default", LoraConfig(r=2, init_lora_weights=False), r=2)
    whole = label_logits(model, batch)[..., some]
    few = label_logits(model, batch, vocabulary=some)
    torch.testing.assert_close(few, whole, rtol=1e-6, atol=1e-6)
    expected = gradients(model, whole.square().sum())
    assert furthest(gradients(model, few.square().sum()), expected) < 1e-5


CHOICES = [[11], [12], [13, 14], [13, 15], [13, 14, 16]]
"""Labels of one, two and three pieces, some with the same beginning."""


def padded_scores(model, prefix, rests, choices=CHOICES):
    """Log-probabilities by transformers' own forward, one label of one clip at a time, [clips, choices]."""
    scores = torch.zeros(len(rests), len(choices))
    for row, rest in enumerate(rests):
        for column, choice in enumerate(choices):
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([[*prefix, *rest, *choice]])).logits[0]
            predicting = logits.log_softmax(dim=-1)[-len(choice) - 1 : -1]
            scores[row, column] = predicting.gather(1, torch.tensor(choice)[:, None]).sum()
    return scores


@pytest.mark.parametrize("example", EXAMPLES)
def test_scores_of_labels_are_those_of_each_label_alone(model, example):
    prefix, rests, _ = EXAMPLES[example]
    expected = padded_scores(model, prefix, rests)
    for make in (pack_choices, plain_choices):
        batch = make(prefix, rests, CHOICES)
        with torch.no_grad():
            scores = target_log_probabilities(label_logits(model, batch), batch.labels)
        torch.testing.assert_close(scores.view(len(rests), -1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("example", EXAMPLES)
def test_a_cached_prefix_serves_batch_after_batch(model, example):
    prefix, rests, _ = EXAMPLES[example]
    cache = PrefixCache(model, prefix)
    expected = padded_scores(model, prefix, rests)
    for size in (1, 2, 16, 2):
        scores = cache.log_probabilities(rests, CHOICES, batch_size=size)
        torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    backwards = cache.log_probabilities(rests[::-1], CHOICES).flip(0)
    torch.testing.assert_close(backwards, expected, rtol=1e-5, atol=1e-5)
    following = cache.next_token_logits(rests, batch_size=2)
    alone = [model(input_ids=torch.tensor([prefix + rest])).logits[0, -1].detach() for rest in rests]
    torch.testing.assert_close(following, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_a_cached_prefix_serves_generation(model):
    prefix, rests, _ = EXAMPLES["unequal rests"]
    cache = PrefixCache(model, prefix)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    for rest in rests:
        prompt = torch.tensor([prefix + rest])
        usual = {"input_ids": prompt, "attention_mask": torch.ones_like(prompt), **options}
        assert model.generate(**usual, past_key_values=cache.states()).tolist() == model.generate(**usual).tolist()


def test_a_prefix_cache_is_for_evaluation():
    with pytest.raises(UsageError, match="training mode"):
        PrefixCache(tiny("gemma").train(), [1, 2])
    with pytest.raises(UsageError, match="batch_size is 0"):
        PrefixCache(tiny("gemma"), [1, 2]).next_token_logits([[3]], batch_size=0)


MAMBA = MambaConfig(vocab_size=VOCABULARY, hidden_size=16, state_size=4, num_hidden_layers=2, initializer_range=0.2)


@pytest.mark.filterwarnings("ignore:.*plain right-padded batches")
def test_a_model_without_masks_falls_back_and_is_right():
    model, data = tiny("mamba", config=MAMBA), EXAMPLES["several pieces"]
    batch = batcher(model)(*data)
    assert isinstance(batch, PlainBatch)
    loss, expected = batch_loss(model, batch), reference(model, data)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert furthest(gradients(model, loss), gradients(model, expected)) < 1e-5
    scores = PrefixCache(model, data.prefix).log_probabilities(data.rests, CHOICES, batch_size=2)
    torch.testing.assert_close(scores, padded_scores(model, data.prefix, data.rests), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use", [batcher, lambda model: PrefixCache(model, [1])])
def test_the_fallback_says_so_once(use):
    model = tiny("mamba", config=MAMBA)
    with pytest.warns(UserWarning) as caught:
        use(model)
    (warning,) = caught
    assert str(warning.message).startswith("mamba: plain right-padded batches, slower, instead of packed ones: some of")


def test_which_models_can_pack():
    models = [tiny(name, attention) for name, attention in MODELS]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(batcher(model) is pack for model in models)
    model = tiny("gemma")
    model.config._attn_implementation = "flash_attention_2"
    assert "flash_attention_2 takes no ready mask" in packing_refusal(model)
    model = tiny("gemma3")
    model.config.layer_types = ["chunked_attention", "full_attention", "full_attention"]
    assert "layers of the type chunked_attention" in packing_refusal(model)


def flops(model, batch_or_data):
    """Floating-point operations of one training step, counted; eager, since those of sdpa are not counted on a CPU."""
    with FlopCounterMode(display=False) as counter:
        if isinstance(batch_or_data, Clips):
            reference(model, batch_or_data).backward()
        else:
            batch_loss(model, batch_or_data).backward()
    return counter.get_total_flops()


def test_counted_work():
    """Lengths of the paper's prompt; two thirds of the weights are the vocabulary, as in gemma-3-270m."""
    sizes = {"hidden_size": 64, "intermediate_size": 1024, "head_dim": 16, "vocab_size": 18000}
    model = tiny("gemma3", config=Gemma3TextConfig(**{**SIZES, **sizes, **WINDOWS}))
    data = clips(prefix=52, rests=[47, 52, 47, 25], targets=[1, 1, 1, 1])
    usual, label_only, packed = flops(model, data), flops(model, plain_batch(*data)), flops(model, pack(*data))
    assert label_only < 0.5 * usual
    assert packed < 0.65 * label_only
    # A vocabulary's worth of work for each position with logits, none for the others.
    head = 2 * 2 * 64 * 18000  # forward, and backward to the hidden state
    assert usual - label_only > (4 * 105 - 4) * head
    assert packed > 4 * head


def test_labels_of_one_piece_cost_no_tokens():
    data = EXAMPLES["unequal rests"]
    assert pack_choices(data.prefix, data.rests, [[3], [4], [5]]).input_ids.shape == pack(*data).input_ids.shape
    assert plain_choices(data.prefix, data.rests, [[3], [4], [5]]).input_ids.shape[0] == len(data.rests)


def test_batches_move_whole():
    batch = pack(*EXAMPLES["several pieces"]).to("meta")
    assert batch.input_ids.is_meta and batch.clip.is_meta and batch.labels.keep.is_meta and batch.labels.pieces.is_meta
    assert batch.prefix_length == 8


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=4))
def test_split_prefix_is_longest_and_loses_nothing(prompts):
    prefix, rests = split_prefix(prompts)
    assert [prefix + rest for rest in rests] == prompts
    assert all(rests)
    assert min(map(len, rests)) == 1 or len({rest[0] for rest in rests}) > 1


@pytest.mark.parametrize("make", [pack, plain_batch])
def test_bad_batches_are_refused(make):
    with pytest.raises(UsageError, match="batch is empty"):
        make([1], [], [])
    with pytest.raises(UsageError, match="Rest 1 is empty"):
        make([1], [[2], []], [[3], [3]])
    with pytest.raises(UsageError, match="target of rest 1 is empty"):
        make([1], [[2], [2]], [[3], []])
    with pytest.raises(UsageError, match="1 targets for 2 rests"):
        make([1], [[2], [2]], [[3]])
    with pytest.raises(UsageError, match="no choices"):
        pack_choices([1], [[2]], [])
