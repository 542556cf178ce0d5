"""Attention of packed batches, clip by clip.

Under one mask for the whole sequence, every clip's tokens are held against every other clip's before the mask hides
them. Here each clip is held against the prefix and itself only; the numbers are the same. The mask itself is
`packing.PackedBatch.visible`.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

PACKED = "packed_sdpa"
"""Its name among transformers' attention implementations."""

Model = TypeVar("Model")


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    clip_lengths: Sequence[int] | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """transformers' sdpa attention, once for the prefix and once for each clip.

    Args:
        module, query, key, value, options: as transformers' layers give them; query [1, heads, T, width], keys and
            values with as many or fewer heads, and with more tokens where the prefix is cached.
        attention_mask: bool [1, 1, queries, keys].
        clip_lengths: tokens of each clip, in order, after the prefix; ``None``: the batch is not packed.

    Returns:
        [1, T, heads, width], and no weights.
    """
    if clip_lengths is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    assert attention_mask is not None
    asked, held = ([size - sum(clip_lengths), *clip_lengths] for size in (query.shape[2], key.shape[2]))
    keys, values = key.split(held, dim=2), value.split(held, dim=2)
    outputs = []
    for number, (asks, rows) in enumerate(
        zip(query.split(asked, dim=2), attention_mask.split(asked, dim=2), strict=True)
    ):
        if not asked[number]:  # a prefix that is cached asks nothing
            continue
        seen = (0, number) if number else (0,)  # the prefix and the clip itself
        masks = rows.split(held, dim=3)
        k, v, mask = (torch.cat([of[i] for i in seen], dim) for of, dim in ((keys, 2), (values, 2), (masks, 3)))
        outputs.append(sdpa_attention_forward(module, asks, k, v, mask, **options)[0])
    return torch.cat(outputs, dim=1), None


def attend_by_clip(model: Model) -> Model:
    """Let a model of transformers whose attention is sdpa take packed batches clip by clip; others stay as they are.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    >>> attend_by_clip(LlamaForCausalLM(LlamaConfig(vocab_size=9, **sizes))).config._attn_implementation
    'packed_sdpa'
    """
    inner: Any = model
    if inner.config._attn_implementation == "sdpa":
        inner.set_attn_implementation(PACKED)
    return model


AttentionInterface.register(PACKED, packed_attention)

AttentionMaskInterface.register(PACKED, sdpa_mask)
