"""A language model with its tokenizer, loaded by name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transformers import AutoModelForCausalLM, AutoTokenizer

from emoser_lib.systems.reading.agreement import check_batches
from emoser_lib.systems.reading.packed_attention import attend_by_clip

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
from emoser_lib.systems.checkpoints.folders import find_checkpoint, note_of, weights_sha256
from emoser_lib.systems.checkpoints.loading import load_weights, placement, quiet, told_in_a_sentence


@dataclass(frozen=True)
class LLM:
    """A language model that is loaded, and what it is.

    Attributes:
        name: as it was asked for.
        model: in eval mode.
        tokenizer: its own.
        sha256: of its weights, see `weights_sha256`.
        note: what kind of model these bytes are, such as "base, de-quantised from Q4_K_M"; may be empty.
    """

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    sha256: str
    note: str = ""

    @property
    def title(self) -> str:
        """For records and pages: "gemma-3-270m (base, de-quantised from Q4_K_M)"."""
        short = self.name.rstrip("/").rpartition("/")[2]
        return f"{short} ({self.note})" if self.note else short


def load_llm(name: str, *, device: str = "auto", dtype: str = "float32") -> LLM:
    """Load a language model and its tokenizer.

    Args:
        name: see `find_checkpoint`.
        device: where it computes: "cpu", "cuda", "cuda:1", "mps"; "auto": see `declared_device`.
        dtype: of its weights: "float32" or "bfloat16"; those on disk are converted.

    Raises:
        UsageError: there is no such checkpoint, device or dtype, or the model is not causal.
        DataError: the checkpoint is not whole or cannot be had.
    """
    placed = placement(device, dtype)
    folder = find_checkpoint(name)
    model = attend_by_clip(load_weights(AutoModelForCausalLM, folder, *placed))
    with quiet(), told_in_a_sentence(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    check_batches(model)
    sha256 = weights_sha256(folder)
    return LLM(name, model, tokenizer, sha256, note_of(name, sha256))
