"""What a language model that hears writes as its answer, several clips at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioTask
from emoser_lib.systems.reading.zero_shot import Decoding, answer_ends, answer_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@torch.no_grad()
def generate_audio_answers(
    task: AudioTask,
    tokenizer: "PreTrainedTokenizerBase",
    end: str,
    entries: Sequence[int],
    decoding: Decoding | None = None,
) -> list[str]:
    """What the model writes after each prompt, up to the end of its turn.

    Prompts of different lengths are padded on the left, masked and without a position: each answer is what the model
    writes for that clip alone.

    Args:
        task: with the clips to be asked about as those held out.
        tokenizer: the model's own.
        end: the token that ends an answer, `PromptBatch.end`.
        entries: which of the held-out clips, run as one batch.
        decoding: greedy by default.

    Returns:
        The answers, without special tokens and white space around.

    Raises:
        UsageError: the tokenizer has no token that ends an answer.
    """
    decoding = decoding or Decoding()
    ends = answer_ends(tokenizer, end)
    model: AudioLLM = task.model
    prompts = task.embedded(entries)
    embeddings = pad_sequence(prompts, batch_first=True, padding_side="left")
    ones = [torch.ones(len(prompt), dtype=torch.long, device=prompt.device) for prompt in prompts]
    mask = pad_sequence(ones, batch_first=True, padding_side="left")
    torch.manual_seed(decoding.seed)
    written = model.llm.generate(  # type: ignore[operator]  # PeftModel hands it on
        inputs_embeds=embeddings, attention_mask=mask, generation_config=decoding.config(ends)
    )
    return [answer_of(tokenizer, row, ends, decoding) for row in written.tolist()]
