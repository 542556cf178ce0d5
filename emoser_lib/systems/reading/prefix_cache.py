"""A frozen model's prompt prefix, run once: its keys and values serve every batch of a run."""

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DynamicCache

from emoser_lib.errors import UsageError
from emoser_lib.systems.finite import check_finite
from emoser_lib.systems.reading.label_logits import can_pack, label_logits, padding_refusal, target_log_probabilities
from emoser_lib.systems.reading.packing import pack, pack_choices, plain_batch, plain_choices

if TYPE_CHECKING:
    from emoser_lib.systems.reading.label_logits import Batch, CausalLM


class PrefixCache:
    """Scores prompts that share a prefix, without running the prefix again.

    The weights must not change while it is used: after a training step, make a new one. Where the model cannot
    take packed batches, plain ones with the prefix in each row are used, and a warning says so.

    Args:
        model: a causal language model of transformers, or a PeftModel around one, in evaluation mode.
        prefix: token ids the prompts begin with; may be empty.

    Raises:
        UsageError: the model is in training mode, where dropout would change the scores.
    """

    def __init__(self, model: "CausalLM", prefix: Sequence[int]) -> None:
        if model.training:
            raise UsageError("The model is in training mode: call model.eval() before scoring with a prefix cache.")
        self.model = model
        self.prefix = list(prefix)
        self.packs = can_pack(model)
        self.largest = 1 if not self.packs and padding_refusal(model) else None  # clips at once, if only one goes
        # Without the configuration every layer keeps the whole prefix, sliding windows too: windows are cut by the
        # mask, by position, since what a window leaves of the prefix differs from one token of a rest to the next.
        self._prefix_states = DynamicCache()
        if self.packs and self.prefix:
            ids = torch.tensor([self.prefix], device=model.device)
            with torch.no_grad():
                model(input_ids=ids, past_key_values=self._prefix_states, use_cache=True, logits_to_keep=1)

    def states(self) -> DynamicCache:
        """A copy of the prefix's keys and values, free to be written to (``past_key_values`` of ``generate``)."""
        return copy.deepcopy(self._prefix_states)

    def next_token_logits(self, rests: Sequence[Sequence[int]], batch_size: int = 16) -> Tensor:
        """The logits of the first token after each rest, [clips, vocabulary].

        Args:
            rests: token ids of each clip after the prefix; at least one each.
            batch_size: clips run at once (our choice); the answer does not depend on it.
        """
        make = pack if self.packs else plain_batch
        return torch.cat([self._logits(make(self.prefix, some)) for some in self._chunks(rests, batch_size)])

    def log_probabilities(
        self,
        rests: Sequence[Sequence[int]],
        choices: Sequence[Sequence[int]],
        batch_size: int = 16,
        clips: Sequence[str] = (),
    ) -> Tensor:
        """The log-probability of each choice after each rest, whole (all its pieces), float32 [clips, choices].

        Args:
            rests: token ids of each clip after the prefix; at least one each.
            choices: the pieces of each label; with the end token last where that should count.
            batch_size: clips run at once (our choice); the answer does not depend on it.
            clips: their ids, for errors.

        Raises:
            DataError: the model's numbers overflow.
        """
        make = pack_choices if self.packs else plain_choices
        # A model that takes no padding gets a row at a time.
        asked = [[choice] for choice in choices] if self.largest == 1 else [choices]
        batches = (make(self.prefix, some, each) for some in self._chunks(rests, batch_size) for each in asked)
        scores = [
            target_log_probabilities(self._logits(batch), batch.labels.to(self.model.device)) for batch in batches
        ]
        return check_finite(torch.cat(scores).view(len(rests), len(choices)), clips)

    @torch.no_grad()
    def _logits(self, batch: "Batch") -> Tensor:
        states = self.states() if self.packs and self.prefix else None
        return label_logits(self.model, batch.to(self.model.device), states)

    def _chunks(self, rests: Sequence[Sequence[int]], size: int) -> Iterator[Sequence[Sequence[int]]]:
        if size < 1:
            raise UsageError(f"batch_size is {size}: it must be at least 1.")
        size = self.largest or size
        return (rests[start : start + size] for start in range(0, max(len(rests), 1), size))
