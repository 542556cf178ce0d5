"""A language model asked for the emotion as it is: how likely it finds each label's word, or what it writes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby, takewhile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from transformers import DynamicCache, GenerationConfig

from emoser_lib.errors import UsageError
from emoser_lib.systems.device import enough_memory
from emoser_lib.systems.reading.prefix_cache import PrefixCache

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from emoser_lib.systems.prompts.text import PromptBatch
    from emoser_lib.systems.reading.label_logits import CausalLM
    from emoser_lib.systems.reading.verbaliser import Verbaliser

CONTENT_FREE = ("N/A", "", "[MASK]")
"""Inputs that say nothing (Zhao et al. 2021, arXiv 2102.09690, section 5): what a model answers to them is its bias."""

CUT_OFF = " […]"
"""What stands behind an answer that was still going on when it had as many tokens as it may have."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Decoding:
    """How an answer is written. Greedy: the likeliest token each time, so that a run can be repeated.

    Nothing is taken from the ``generation_config`` of a checkpoint, which often asks for sampling (Gemma's does).

    Attributes:
        max_new_tokens: tokens at most; 12 (our choice: the prompt asks for one word).
        do_sample: draw each token instead of taking the likeliest.
        temperature: for sampling; None is 1.
        top_k: for sampling, among the k likeliest only; None for all.
        top_p: for sampling, among the likeliest that make up this probability; None for all.
        seed: for sampling.
        mark_cut: put `CUT_OFF` behind answers that did not come to their end.

    Raises:
        UsageError: no tokens, or a sampling option without ``do_sample``.
    """

    max_new_tokens: int = 12
    do_sample: bool = False
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    mark_cut: bool = False

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens is {self.max_new_tokens}: it must be at least 1.")
        options = {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p}
        given = [name for name, value in options.items() if value is not None]
        if given and not self.do_sample:
            raise UsageError(f"{given[0]} is set, but answers are greedy: set do_sample or leave it out.")

    @property
    def identity(self) -> dict[str, object]:
        """What decides an answer, for the key under which it is kept; answers without marks keep their old one."""
        told = asdict(self)
        return told if self.mark_cut else {name: value for name, value in told.items() if name != "mark_cut"}

    def config(self, ends: Sequence[int]) -> GenerationConfig:
        """The same for transformers; ``ends`` are the tokens at which an answer stops."""
        sampling = {"temperature": self.temperature or 1.0, "top_k": self.top_k or 0, "top_p": self.top_p or 1.0}
        return GenerationConfig(
            max_new_tokens=self.max_new_tokens,
            do_sample=self.do_sample,
            eos_token_id=list(ends),
            pad_token_id=ends[0],
            **(sampling if self.do_sample else {}),
        )


def label_scores(
    model: "CausalLM",
    prompts: "PromptBatch",
    verbaliser: "Verbaliser",
    batch_size: int = 16,
    clips: Sequence[str] = (),
) -> FloatArray:
    """How likely the model finds each label's word as the answer.

    Nothing is sampled and nothing but the label words is looked at, so there is an answer for each clip. The label
    with the highest score is the prediction: `predict`.

    Args:
        model: in evaluation mode.
        prompts: of the model's tokenizer.
        verbaliser: the labels' words, of the same tokenizer.
        batch_size: clips run at once (our choice); the scores do not depend on it.
        clips: their ids, for errors.

    Returns:
        Log-probability of each label's whole word [clips, labels].

    Raises:
        DataError: the model's numbers overflow, or the memory is too small.
    """
    with enough_memory(model.device, f"{batch_size} clips at once", "lower batch_size"):
        cache = PrefixCache(model, prompts.prefix)
        return cache.log_probabilities(prompts.rests, verbaliser.ids, batch_size, clips).cpu().double().numpy()


def posterior(scores: npt.ArrayLike) -> FloatArray:
    """Probabilities of the labels: the scores made to sum up to 1 over the labels of each clip.

    >>> posterior(np.log([[0.1, 0.3]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    return softmax(np.asarray(scores, dtype=np.float64), axis=-1)


def calibrated(scores: npt.ArrayLike, content_free: npt.ArrayLike) -> FloatArray:
    """Contextual calibration (Zhao et al. 2021, arXiv 2102.09690, section 5).

    Each clip's probabilities are divided by those that inputs without content get on average, so that a label the
    model likes to give whatever it reads must win by more. In the paper's terms W = diag(p_cf)^-1 and b = 0.

    Args:
        scores: of the clips, log-probabilities [clips, labels].
        content_free: of `CONTENT_FREE` in the same prompt [inputs, labels].

    Returns:
        Probabilities [clips, labels]; they sum up to 1 over the labels.

    >>> calibrated(np.log([[0.6, 0.4]]), np.log([[0.9, 0.1], [0.7, 0.3]])).round(3).tolist()
    [[0.273, 0.727]]
    """
    return posterior(scores - np.log(posterior(content_free).mean(axis=0)))


def predict(scores: npt.ArrayLike, labels: Sequence[str]) -> list[str]:
    """The label with the highest score or probability, for each row.

    >>> predict([[0.1, 0.9], [0.8, 0.2]], ["joy", "fear"])
    ['fear', 'joy']
    """
    return [labels[best] for best in np.asarray(scores).argmax(axis=-1)]


def generate_answers(
    model: "CausalLM",
    tokenizer: "PreTrainedTokenizerBase",
    prompts: "PromptBatch",
    decoding: Decoding | None = None,
    batch_size: int = 16,
) -> list[str]:
    """What the model writes after each prompt, up to the end of its turn.

    The prompts' shared beginning is run once. Clips go together by length; padding stands between the shared
    beginning and a clip's own part, masked and without a position, so that each answer is what the model writes
    for that clip alone. Where a sliding window would count the padding, only clips of equal length go together.

    Args:
        model: in evaluation mode.
        tokenizer: the model's own.
        prompts: of this tokenizer.
        decoding: greedy by default.
        batch_size: clips run at once at most (our choice).

    Returns:
        The answers, in the clips' order, without special tokens and white space around.

    Raises:
        UsageError: the model is in training mode, or the tokenizer has no token that ends an answer.
    """
    decoding = decoding or Decoding()
    ends = answer_ends(tokenizer, prompts.end)
    cache = PrefixCache(model, prompts.prefix)
    pads = _may_pad(cache, max(map(len, prompts.rests), default=0) + decoding.max_new_tokens)
    torch.manual_seed(decoding.seed)
    answers = [""] * len(prompts)
    for clips in _by_length(prompts.rests, min(batch_size, cache.largest or batch_size), pads):
        ids, mask = _rows(prompts.prefix, [prompts.rests[clip] for clip in clips])
        with torch.no_grad(), enough_memory(model.device, f"{batch_size} clips at once", "lower batch_size"):
            written = model.generate(  # type: ignore[operator]  # PeftModel hands it on
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                generation_config=decoding.config(ends),
                past_key_values=_states(cache, len(clips)),
            )
        for clip, row in zip(clips, written[:, ids.shape[1] :].tolist(), strict=True):
            answers[clip] = answer_of(tokenizer, row, ends, decoding)
    return answers


def answer_of(
    tokenizer: "PreTrainedTokenizerBase", written: Sequence[int], ends: Sequence[int], decoding: Decoding
) -> str:
    """The text of an answer's tokens, up to the first that ends it; with `CUT_OFF` behind it where none does.

    Args:
        tokenizer: the model's own.
        written: token ids, with padding behind the end.
        ends: from `answer_ends`.
        decoding: says whether answers that were cut off are marked.
    """
    said = list(takewhile(lambda token: token not in ends, written))
    text = str(tokenizer.decode(said, skip_special_tokens=True)).strip()
    return text + CUT_OFF if decoding.mark_cut and len(said) == len(written) else text


def _may_pad(cache: PrefixCache, longest: int) -> bool:
    """Whether padding leaves the answers as they are: no state runs through it, no window counts it."""
    window = getattr(cache.model.config.get_text_config(), "sliding_window", None)
    return cache.packs and (window is None or len(cache.prefix) + longest <= window)


def _by_length(rests: Sequence[Sequence[int]], size: int, pads: bool) -> Iterator[list[int]]:
    """Numbers of clips to run together, at most ``size``, the short ones first; of equal length if nothing may pad."""
    if size < 1:
        raise UsageError(f"batch_size is {size}: it must be at least 1.")
    clips = sorted(range(len(rests)), key=lambda clip: len(rests[clip]))
    groups = [clips] if pads else [list(some) for _, some in groupby(clips, key=lambda clip: len(rests[clip]))]
    for some in groups:
        yield from (some[start : start + size] for start in range(0, len(some), size))


def _rows(prefix: Sequence[int], rests: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask [clips, T]: prefix, padding, rest. What id the padding has does not matter."""
    longest = max(map(len, rests))
    ids = [[*prefix, *[0] * (longest - len(rest)), *rest] for rest in rests]
    mask = [[1] * len(prefix) + [0] * (longest - len(rest)) + [1] * len(rest) for rest in rests]
    return torch.tensor(ids), torch.tensor(mask)


def _states(cache: PrefixCache, rows: int) -> DynamicCache | None:
    """The prefix's keys and values for each row; none where the model keeps no such thing."""
    if not (cache.packs and cache.prefix):
        return None
    states = cache.states()
    states.batch_repeat_interleave(rows)
    return states


def answer_ends(tokenizer: "PreTrainedTokenizerBase", end: str) -> list[int]:
    """The tokens at which an answer stops: the end of a turn, and of a text.

    Raises:
        UsageError: the tokenizer has neither.
    """
    tokens = sorted({str(token) for token in (end, tokenizer.eos_token) if token})
    if not tokens:
        raise UsageError("The tokenizer has no token that ends an answer: use label_scores instead.")
    ids: list[int] = tokenizer.convert_tokens_to_ids(tokens)  # type: ignore[assignment]  # a list for a list
    return ids
