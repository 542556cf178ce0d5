"""LoRA adapters of a language model, trained on the words of labels (THAU-UPM, section 3.1), with peft."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

from emoser_lib.systems.declared import Lora

TARGETS: dict[str, str | list[str]] = {
    "all-linear": "all-linear",
    "q,v": ["q_proj", "v_proj"],
    "q,k,v": ["q_proj", "k_proj", "v_proj"],
    "c_attn": ["q_proj", "k_proj", "v_proj"],
}
"""Names for the matrices that get an adapter -> what peft calls them. "c_attn" is Qwen's: queries, keys and values are
one matrix there, so its adapter has one A for the three."""


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
    with warnings.catch_warnings():  # peft reads what transformers has renamed
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = get_peft_model(model, config)
    assert isinstance(adapted, PeftModel)
    if lora.targets == "c_attn":
        _fuse(adapted)
    return adapted


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
