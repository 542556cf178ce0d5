"""Whether a model's scores of a clip depend on the batch that it is in: measured once, when the model is loaded.

No configuration says all of it: GPT-Neo cuts its windows by place in the packed sequence and does not say so; BERT,
loaded as a language model, reads both ways.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from emoser_lib.errors import UsageError
from emoser_lib.systems.reading.label_logits import base_of, label_logits, packing_refusal, target_log_probabilities
from emoser_lib.systems.reading.packing import pack_choices, plain_choices
from emoser_lib.systems.reading.prefix_cache import PrefixCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from emoser_lib.systems.reading.label_logits import Batch

ROUNDING = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Nats that two ways to compute one score may lie apart (our choice)."""

PREFIX, CLIPS = 24, 16
"""Tokens that all clips begin with, and clips a batch: some 900 tokens, so that a window is left behind."""

COMPARED = (0, CLIPS - 1)
"""The longest clip, which stands first, and the shortest, with the most padding and farthest from the prefix."""


def check_batches(model: "PreTrainedModel") -> None:
    """Score made-up clips in a batch and alone, and note on the model which batches it can take.

    What differs by more than rounding is not used: `packing_refusal` and `padding_refusal` say so from then on.

    Args:
        model: a causal language model of transformers, in evaluation mode.

    Raises:
        UsageError: the model is not causal, or cannot read token ids alone.
    """
    kind = model.config.model_type
    prefix, rests, choices = _made_up(model)

    def scored(batch: "Batch", targets: int = len(choices)) -> Tensor:
        with torch.no_grad():
            batch = batch.to(model.device)
            return target_log_probabilities(label_logits(model, batch), batch.labels).view(-1, targets)

    try:
        ahead = _looks_ahead(model, [*prefix, *rests[0]])
        alone = torch.stack(
            [
                torch.cat([scored(plain_choices(prefix, [rests[clip]], [choice]), 1)[0] for choice in choices])
                for clip in COMPARED
            ]
        )
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"llm is a {kind} model that does not read token ids alone ({said}): name another.") from error
    if ahead:
        raise UsageError(f"llm is a {kind} model, which reads both ways: name a causal one, such as Gemma or Llama.")
    if not alone.isfinite().all():
        return  # the first score of a real clip is the error that names it

    def refusal(way: str, score: Callable[[], Tensor]) -> str | None:
        try:
            with torch.no_grad():
                scores = score()
        except Exception as error:  # a model that was not made for such a batch may raise anything
            return f"it takes none ({type(error).__name__})"
        apart = float((scores - alone).abs().max())
        if apart <= ROUNDING[model.dtype]:
            return None
        return f"{way} and alone, scores of one clip are {apart:.2g} nats apart"

    base: Any = base_of(model)
    few = [rests[clip] for clip in COMPARED]
    base.padding_refused = refusal("padded", lambda: scored(plain_choices(prefix, few, choices)))
    if packing_refusal(model) is None:
        packed = pack_choices(prefix, rests, choices)
        base.packing_refused = refusal("packed", lambda: scored(packed)[list(COMPARED)])
    if packing_refusal(model) is None:
        after = PrefixCache(model, prefix)
        cached = lambda: after.log_probabilities(rests, choices, CLIPS)[list(COMPARED)]  # noqa: E731
        base.packing_refused = refusal("after a prefix", cached)


def _looks_ahead(model: "PreTrainedModel", tokens: list[int]) -> bool:
    """Whether another last token changes what is predicted before it."""
    ids = torch.tensor([tokens, [*tokens[:-1], tokens[0]]], device=model.device)
    with torch.no_grad():
        one, other = (model(input_ids=row[None], use_cache=False).logits[0, :-1].float() for row in ids)
    return bool((one - other).abs().max() > ROUNDING[model.dtype])


def _made_up(model: "PreTrainedModel") -> tuple[list[int], list[list[int]], list[list[int]]]:
    """A prefix, rests of several lengths (the longest first) and choices of one piece and of two."""
    known: int = model.get_input_embeddings().num_embeddings  # type: ignore[assignment]
    longest = min(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 512, 112) - PREFIX - 2
    # Steps of a prime: the tokens differ from place to place, and are the same wherever this runs.
    tokens = [3 + step * 37 % max(min(known, 997) - 3, 1) for step in range(PREFIX + CLIPS * 128)]
    rests = [tokens[PREFIX + 128 * clip :][: longest - (longest - 8) * clip // CLIPS] for clip in range(CLIPS)]
    return tokens[:PREFIX], rests, [tokens[1:2], tokens[2:4]]
