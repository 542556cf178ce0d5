"""A text system as a training task: token ids of its clips, packed batches, the loss at the label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from peft import PeftModel
from torch import Tensor

from emoser_lib.corpora import Corpus
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading.label_logits import batcher, check_batch_size, label_logits, label_loss
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.verbaliser import Verbaliser

if TYPE_CHECKING:
    from emoser_lib.systems.reading.label_logits import Batch
from emoser_lib.systems.declared import TextSystem


@dataclass(frozen=True)
class TextExamples:
    """What is learnt: token ids as `PromptBatch` and `Verbaliser` give them.

    Attributes:
        prefix: token ids all clips begin with.
        rests: per clip, the token ids from there to the last one before the answer.
        targets: per clip, the pieces of its label's word; empty for clips that are only scored.
    """

    prefix: Sequence[int]
    rests: Sequence[Sequence[int]]
    targets: Sequence[Sequence[int]] = ()


def text_examples(
    llm: LLM, system: TextSystem, corpus: Corpus, learnt: Sequence[str], held_out: Sequence[str]
) -> tuple[TextExamples, TextExamples, Verbaliser]:
    """Encode the clips that are learnt and those held out, by id: their token ids, and the labels' words."""
    texts = corpus.frame.set_index("id")["transcription"]
    ids = [*learnt, *held_out]
    words = words_for(corpus.labels, system.words)
    batch = prompt_named(system.prompt).listing(words).encode(llm.tokenizer, list(texts[ids]), system.chat)
    verbaliser = Verbaliser.build(llm.tokenizer, words, after=batch.tail, end=batch.end if system.end else "")
    pieces = dict(zip(verbaliser.labels, verbaliser.ids, strict=True))
    labels = corpus.training().set_index("id")["label"][list(learnt)]
    size = len(learnt)
    examples = TextExamples(batch.prefix, batch.rests[:size], [pieces[label] for label in labels])
    return examples, TextExamples(batch.prefix, batch.rests[size:]), verbaliser


class TextTask:
    """Learn to write the label's word: packed batches, with logits and loss at the label's pieces only.

    Args:
        model: with a fresh adapter, see `adapted`.
        examples: to learn from.
        held_out: to score; its targets are not looked at.
        words: the pieces of each label's word.
        ids: of the clips that are learnt, then of those held out, for errors.
    """

    outer: Sequence[torch.nn.Parameter] = ()

    def __init__(
        self,
        model: PeftModel,
        examples: TextExamples,
        held_out: TextExamples,
        words: Sequence[Sequence[int]] = (),
        ids: Sequence[str] = (),
    ) -> None:
        self.model, self.ids = model, ids
        self.examples, self.held_out, self.words = examples, held_out, words
        self.clips = len(examples.rests)
        self._make = batcher(model)

    def batch(self, clips: Sequence[int]) -> "Batch":
        """Prefix, rests and targets of these clips. Raises UsageError where the model takes one at a time."""
        check_batch_size(self.model, len(clips))
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
        cache = PrefixCache(self.model, self.held_out.prefix)
        return cache.log_probabilities(self.held_out.rests, self.words, clips=self.ids[self.clips :])
