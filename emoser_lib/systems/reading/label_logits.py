"""What a causal language model makes of a batch: logits at the label only, their loss, the scores of labels.

Packed batches (`emoser_lib.systems.reading.packing`) come with a mask of their own, which not every model takes; the
usual padded ones go to any model.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from emoser_lib.errors import UsageError
from emoser_lib.systems.reading.packed_attention import PACKED
from emoser_lib.systems.reading.packing import Labels, PackedBatch, PlainBatch, pack, plain_batch

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import Cache, PreTrainedModel

    CausalLM = PreTrainedModel | PeftModel

Batch = PlainBatch | PackedBatch

MASKED_ATTENTION = ("eager", "sdpa", PACKED)
"""The attention implementations of transformers that take a ready mask [1, 1, queries, keys]."""

LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
"""The layer types a block mask can be made for."""


def base_of(model: "CausalLM") -> Any:
    """Return the model without an adapter's wrapper."""
    return getattr(model, "get_base_model", lambda: model)()


def padding_refusal(model: "CausalLM") -> str | None:
    """Why this model cannot take a padded batch either, as half a sentence; None where it can, or was not asked."""
    return getattr(base_of(model), "padding_refused", None)


def packing_refusal(model: "CausalLM") -> str | None:
    """Why this model cannot take a packed batch, as half a sentence; None where it can.

    It can where every layer is attention that takes a ready mask and position ids, and where scores were not found
    to depend on the batch (`agreement.check_batches`).
    """
    inner = base_of(model)
    if measured := getattr(inner, "packing_refused", None):
        return str(measured)
    config = inner.config.get_text_config()
    if inner._is_stateful:
        return "some of its layers carry a state along the sequence, which no mask can hide"
    if inner.config.is_encoder_decoder or "position_ids" not in inspect.signature(inner.forward).parameters:
        return "it takes no position ids"
    if other := set(getattr(config, "layer_types", ())) - LAYER_TYPES:
        return f"it has layers of the type {', '.join(sorted(other))}"
    if config._attn_implementation not in MASKED_ATTENTION:
        return f"its attention implementation {config._attn_implementation} takes no ready mask (use eager or sdpa)"
    return None


def can_pack(model: "CausalLM") -> bool:
    """Whether the model takes packed batches; if not, one warning says why, and what is used instead."""
    reason = packing_refusal(model)
    if reason is not None:
        instead = "one clip at a time" if padding_refusal(model) else "plain right-padded batches"
        warnings.warn(f"{model.config.model_type}: {instead}, slower, instead of packed ones: {reason}.", stacklevel=2)
    return reason is None


def batcher(model: "CausalLM") -> Callable[..., Batch]:
    """`pack` for a model that can take it, else `plain_batch` and a warning. Call it once a run."""
    return pack if can_pack(model) else plain_batch


def check_batch_size(model: "CausalLM", size: int) -> None:
    """Raise UsageError where the model takes one clip at a time and ``size`` is more."""
    if size > 1 and packing_refusal(model) and (reason := padding_refusal(model)):
        kind = model.config.model_type
        raise UsageError(f"batch_size is {size}, but {kind} takes one clip at a time ({reason}): set it to 1.")


def label_logits(
    model: "CausalLM",
    batch: Batch,
    prefix: "Cache | None" = None,
    embeddings: Tensor | None = None,
    vocabulary: Tensor | None = None,
) -> Tensor:
    """Return the logits where targets are predicted, [R, vocabulary], in the order of ``batch.labels.keep``.

    The model multiplies only these R hidden states with its vocabulary (``logits_to_keep`` of transformers), and
    its own final soft-capping and scaling apply.

    Args:
        model: a causal language model of transformers, or a PeftModel around one.
        batch: on the model's device.
        prefix: for a packed batch, a cache that holds its prefix; only what follows is run, and added to the cache.
        embeddings: float [rows, T, width], what the model is to read instead of the token ids' own embeddings.
        vocabulary: int64, the token ids whose logits are wanted; ``None``: all.
    """
    start = 0 if prefix is None or isinstance(batch, PlainBatch) else batch.prefix_length
    keep = batch.labels.keep[:, start:]
    read: dict[str, Any] = {"logits_to_keep": keep, "use_cache": False}
    read |= {"input_ids": batch.input_ids[:, start:]} if embeddings is None else {"inputs_embeds": embeddings}
    if isinstance(batch, PlainBatch):
        read |= {"attention_mask": batch.attention_mask}
    else:
        read |= packed_attention_of(model, batch, start) | {"position_ids": batch.position_ids[:, start:]}
        read |= {"past_key_values": prefix, "use_cache": prefix is not None}
    if vocabulary is None:
        return model(**read).logits
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:  # with an adapter
        return model(**read).logits[..., vocabulary]
    name = next(name for name, module in model.named_modules() if module is head)
    rows = {f"{name}.{key}": weights[vocabulary] for key, weights in head.named_parameters()}
    return functional_call(model, rows, kwargs=read, tie_weights=False).logits


def packed_attention_of(model: "CausalLM", batch: PackedBatch, start: int = 0) -> dict[str, Any]:
    """How the tokens of a packed batch attend, from ``start`` on, as a model's forward takes it."""
    masks = attention_masks(model, batch, start)
    by_clip = model.config.get_text_config()._attn_implementation == PACKED
    return {"attention_mask": masks, **({"clip_lengths": batch.clip_lengths} if by_clip else {})}


def attention_masks(model: "CausalLM", batch: PackedBatch, start: int = 0) -> Tensor | dict[str, Tensor]:
    """The masks of the tokens from ``start`` on, [1, 1, T - start, T], in the form this model takes.

    transformers hands a 4-D mask to the layers as it is, whether one tensor or a dict of them by layer type. Which of
    the two a model takes is decided as in its ``create_masks_for_generate``: by type where the configuration has
    ``layer_types`` (Gemma 2 and 3, Qwen2), else one for all layers (Gemma 1, Llama; a window for Mistral).
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)

    def mask(window: int | None) -> Tensor:
        seen = batch.visible(window)[None, None, start:]
        if config._attn_implementation != "eager":
            return seen
        # Eager attention adds its mask to the scores; what is hidden gets the lowest finite number.
        lowest = torch.finfo(model.dtype).min
        return torch.zeros(seen.shape, dtype=model.dtype, device=seen.device).masked_fill(~seen, lowest)

    if not hasattr(config, "layer_types"):
        return mask(window)
    windows = {"full_attention": None, "sliding_attention": window}
    return {kind: mask(windows[kind]) for kind in set(config.layer_types)}


def label_loss(logits: Tensor, labels: Labels, num_items: Tensor | float | None = None) -> Tensor:
    """Cross-entropy of the pieces of all targets.

    It is that of transformers with -100 everywhere but on the targets: the mean over all pieces of the batch, so a
    label of two pieces counts twice as much as a label of one; with ``num_items``, the pieces of all the batches
    whose gradients are summed up, the sum over the pieces by that number.
    """
    loss = functional.cross_entropy(logits.float()[labels.at], labels.pieces, reduction="sum")
    return loss / (len(labels.pieces) if num_items is None else num_items)


def target_log_probabilities(logits: Tensor, labels: Labels) -> Tensor:
    """The log-probability of each whole target, float32 [targets]: the sum over its pieces."""
    pieces = logits.float().log_softmax(dim=-1)[labels.at, labels.pieces]
    return pieces.new_zeros(labels.targets).index_add(0, labels.owner, pieces)
