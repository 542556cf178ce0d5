"""LoRA adapters of a language model, trained on the words of labels (seed 1, section 3.1), with peft."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model, inject_adapter_in_model
from torch import Tensor, nn

from emoser_lib.errors import UsageError
from emoser_lib.systems.label_logits import batcher, label_logits, label_loss
from emoser_lib.systems.prefix_cache import PrefixCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from emoser_lib.systems.encoders import Encoder
    from emoser_lib.systems.label_logits import Batch

TARGETS: dict[str, str | list[str]] = {
    "all-linear": "all-linear",
    "q,v": ["q_proj", "v_proj"],
    "q,k,v": ["q_proj", "k_proj", "v_proj"],
    "c_attn": ["q_proj", "k_proj", "v_proj"],
}
"""Names for the matrices that get an adapter -> what peft calls them. "c_attn" is Qwen's: queries, keys and values are
one matrix there, so its adapter has one A for the three."""


@dataclass(frozen=True)
class Lora:
    """The adapter: ΔW = (alpha / rank) · B A (seed 1, equation 1).

    Attributes:
        rank: r, columns of B and rows of A.
        alpha: α; the update is scaled by α / r.
        targets: "all-linear" (all but the output layer), "q,v", "q,k,v", or "c_attn": that with one A for all three, as
            ms-swift adapted Qwen-Audio by default. Which of them the paper took it does not say.
        dropout: on the adapter's input; our choice, the paper does not say.
    """

    rank: int = 16
    alpha: int = 32
    targets: Literal["all-linear", "q,v", "q,k,v", "c_attn"] = "all-linear"
    dropout: float = 0.05


@dataclass(frozen=True)
class Examples:
    """What is learnt: token ids as `PromptBatch` and `Verbaliser` give them.

    Attributes:
        prefix: token ids all clips begin with.
        rests: per clip, the token ids from there to the last one before the answer.
        targets: per clip, the pieces of its label's word; empty for clips that are only scored.
    """

    prefix: Sequence[int]
    rests: Sequence[Sequence[int]]
    targets: Sequence[Sequence[int]] = ()


def add_lora(model: "PreTrainedModel", lora: Lora) -> PeftModel:
    """Put a fresh adapter into a model; only the adapter is trained. B is 0, so that nothing changes at first.

    The model itself is changed; ``unload()`` of the result takes the adapter out again.

    >>> from transformers import LlamaConfig, LlamaForCausalLM
    >>> tiny = LlamaConfig(vocab_size=9, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> sum(p.numel() for p in add_lora(LlamaForCausalLM(tiny), Lora(2, 4, "q,v")).parameters() if p.requires_grad)
    64
    """
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=TARGETS[lora.targets],
    )
    adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    if lora.targets == "c_attn":
        _fuse(adapted)
    return adapted


def add_encoder_lora(encoder: "Encoder", lora: Lora) -> "Encoder":
    """Put a fresh adapter into an audio encoder, in place; of it only the adapter is trained.

    Args:
        encoder: of transformers' classes.
        lora: "all-linear" adapts all linear layers of its attention and feed-forward blocks.

    Raises:
        UsageError: it has no matrices of these names (emotion2vec).
    """
    names = {"all-linear": r".*layers\.\d+\.(.*\.)?(\w+_proj|fc1|fc2|\w+_dense)"}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names.get(lora.targets, TARGETS[lora.targets]),
    )
    try:
        inject_adapter_in_model(config, encoder.requires_grad_(False))
    except ValueError:
        raise UsageError(f"{encoder.name} has no matrices for an adapter of {lora.targets}: train it whole.") from None
    return encoder


def _fuse(model: PeftModel) -> None:
    """Give queries, keys and values of each layer one A and one dropout: the adapter of their joint matrix."""
    for layer in model.modules():
        parts = [getattr(layer, name, None) for name in TARGETS["c_attn"]]
        if not all(hasattr(part, "lora_A") for part in parts):
            continue
        first: Any = parts[0]
        rate = getattr(first.lora_dropout["default"], "p", 0.0)
        dropout = SharedDropout(rate, readers=len(parts)) if rate else nn.Identity()
        part: Any
        for part in parts:
            part.lora_A["default"], part.lora_dropout["default"] = first.lora_A["default"], dropout


class SharedDropout(nn.Module):
    """Dropout of one input that several modules read one after the other: they all miss the same numbers.

    Args:
        rate: of what is missing.
        readers: how many there are.
    """

    def __init__(self, rate: float, readers: int) -> None:
        super().__init__()
        self.rate, self.readers = rate, readers
        self._mask: Tensor | None = None
        self._left = 0

    def forward(self, x: Tensor) -> Tensor:
        """The input with a share of it zero, the rest made larger by as much; as it is where nothing is trained."""
        if not self.training:
            return x
        if not self._left or self._mask is None or self._mask.shape != x.shape:
            self._mask = nn.functional.dropout(torch.ones_like(x), self.rate)
            self._left = self.readers
        mask = self._mask
        self._left -= 1
        if not self._left:
            self._mask = None
        return x * mask.to(x.dtype)


@contextmanager
def adapted(model: "PreTrainedModel", lora: Lora, seed: int = 0) -> Iterator[PeftModel]:
    """The model with a fresh adapter, drawn with this seed, for as long as the block lasts."""
    torch.manual_seed(seed)
    with_adapter = add_lora(model, lora)
    try:
        yield with_adapter
    finally:
        with_adapter.unload()
        model.requires_grad_(False).eval()


class LabelTask:
    """Learn to write the label's word: packed batches, with logits and loss at the label's pieces only.

    Args:
        model: with a fresh adapter, see `adapted`.
        examples: to learn from.
        held_out: to score; its targets are not looked at.
        words: the pieces of each label's word.
    """

    outer: Sequence[torch.nn.Parameter] = ()

    def __init__(
        self, model: PeftModel, examples: Examples, held_out: Examples, words: Sequence[Sequence[int]] = ()
    ) -> None:
        self.model = model
        self.examples, self.held_out, self.words = examples, held_out, words
        self.clips = len(examples.rests)
        self._make = batcher(model)

    def batch(self, clips: Sequence[int]) -> "Batch":
        """Prefix, rests and targets of these clips."""
        rests, targets = ([of[clip] for clip in clips] for of in (self.examples.rests, self.examples.targets))
        return self._make(self.examples.prefix, rests, targets)

    def items(self, batch: "Batch") -> int:
        """The pieces of the labels."""
        return len(batch.labels.pieces)

    def loss(self, batch: "Batch", items: float) -> Tensor:
        """Cross-entropy of the labels' pieces."""
        return label_loss(label_logits(self.model, batch), batch.labels, items)

    def scores(self) -> Tensor:
        """Log-probability of each label's whole word."""
        return PrefixCache(self.model, self.held_out.prefix).log_probabilities(self.held_out.rests, self.words)
