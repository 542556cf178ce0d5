"""Attention clip by clip gives what one mask over the whole sequence gives, for less work."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, Gemma2Config, LlamaConfig
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from benchmarks.worker import ATTENTION
from emoser_lib.systems.reading.label_logits import attention_masks, label_logits, packed_attention_of
from emoser_lib.systems.reading.packed_attention import PACKED, attend_by_clip, packed_attention
from emoser_lib.systems.reading.packing import PackedBatch, pack, pack_choices
from emoser_lib.systems.reading.prefix_cache import PrefixCache

HEADS, KEPT, WIDTH = 4, 2, 8
LAYER: Any = SimpleNamespace(num_key_value_groups=HEADS // KEPT, is_causal=True)
SIZES = {"vocab_size": 31, "hidden_size": 32, "intermediate_size": 40, "num_attention_heads": HEADS, "head_dim": WIDTH}


def llama(layers: int = 2) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, num_hidden_layers=layers, num_key_value_heads=KEPT, initializer_range=0.2)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def packed(prefix: int, lengths: list[int]) -> PackedBatch:
    return pack(range(1, prefix + 1), [[2] * length for length in lengths])


@given(
    prefix=st.integers(0, 7),
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    choices=st.booleans(),
    cached=st.booleans(),
    window=st.none() | st.integers(1, 6),
)
@settings(max_examples=80, deadline=None)
def test_it_is_masked_attention_with_its_gradients(
    prefix: int, lengths: list[int], choices: bool, cached: bool, window: int | None
) -> None:
    """Whatever the batch is made of: no prefix, a cached one, several beginnings of labels, a sliding window."""
    rests = [[2] * length for length in lengths]
    batch = pack_choices(range(prefix), rests, [[3], [4, 5], [6, 7]]) if choices else pack(range(prefix), rests)
    tokens, start = batch.input_ids.shape[1], prefix if cached else 0
    draw = torch.Generator().manual_seed(sum(lengths))
    states = [
        torch.randn(1, heads, size, WIDTH, generator=draw, dtype=torch.float64, requires_grad=True)
        for heads, size in ((HEADS, tokens - start), (KEPT, tokens), (KEPT, tokens))
    ]
    mask = batch.visible(window)[None, None, start:]
    ours, _ = packed_attention(LAYER, *states, mask, clip_lengths=batch.clip_lengths, scaling=0.3)
    whole, _ = sdpa_attention_forward(LAYER, *states, mask, scaling=0.3)
    torch.testing.assert_close(ours, whole)
    weights = torch.randn(ours.shape, generator=draw, dtype=torch.float64)
    ours_back, whole_back = (torch.autograd.grad((of * weights).sum(), states) for of in (ours, whole))
    torch.testing.assert_close(ours_back, whole_back)


def attention_work(model: Any, batch: PackedBatch) -> int:
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        label_logits(model, batch)
    return sum(count for key, count in counter.get_flop_counts()["Global"].items() if "attention" in str(key))


def test_the_work_is_that_of_each_clip_alone() -> None:
    """A clip's tokens meet the prefix and their own clip, the prefix itself: counted by torch."""
    prefix, lengths = 6, [5, 9, 3]
    batch, layers = packed(prefix, lengths), 2
    apart = prefix**2 + sum(length * (prefix + length) for length in lengths)
    whole = (prefix + sum(lengths)) ** 2
    model = llama(layers)
    assert attention_work(model, batch) == 4 * layers * HEADS * WIDTH * whole
    assert attention_work(attend_by_clip(model), batch) == 4 * layers * HEADS * WIDTH * apart


def test_gradient_checkpointing_runs_it_again_as_it_was() -> None:
    model, batch = attend_by_clip(llama()), packed(4, [5, 2, 3])
    gradients = []
    for checkpointing in (False, True):
        model.train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.zero_grad()
        label_logits(model, batch).square().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0])


def test_a_cached_prefix_and_free_writing_go_through_the_same_model() -> None:
    plain, ours = llama(), attend_by_clip(llama())
    rests = [[4, 5], [6], [7, 8, 9]]
    scores = [PrefixCache(model, [1, 2, 3]).log_probabilities(rests, [[3], [4, 5]], 2) for model in (plain, ours)]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-5, rtol=1e-5)
    ids = torch.tensor([[1, 2, 3, 4], [1, 5, 6, 7]])
    written = [model.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0) for model in (plain, ours)]
    assert written[0].tolist() == written[1].tolist()


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_other_attention_gets_the_mask_alone(attention: str) -> None:
    model = llama()
    model.set_attn_implementation(attention)
    batch = packed(3, [2, 4])
    given = packed_attention_of(model, batch)
    assert list(given) == ["attention_mask"]
    assert torch.equal(given["attention_mask"], attention_masks(model, batch))  # type: ignore[arg-type]


def test_a_model_without_sdpa_keeps_its_own_attention() -> None:
    """Gemma 2 caps its scores, which sdpa cannot."""
    model = AutoModelForCausalLM.from_config(Gemma2Config(**SIZES, num_hidden_layers=1, num_key_value_heads=KEPT))
    assert attend_by_clip(model).config._attn_implementation == "eager"
    assert attend_by_clip(llama()).config._attn_implementation == PACKED
