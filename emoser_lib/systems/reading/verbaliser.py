"""From labels to words to token ids, and from a model's logits back to one score a label."""

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Self

import pandas as pd
import torch

from emoser_lib.errors import UsageError
from emoser_lib.systems.prompts.words import NOUNS

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Verbaliser:
    """Labels, their words, and the token ids by which a model writes them. Made with `Verbaliser.build`.

    Attributes:
        labels: in the order of the scores.
        words: one a label.
        ids: per label the ids of its word as the answer, with the end token's if asked for.
        pieces: the same as the tokenizer writes them.
    """

    labels: tuple[str, ...]
    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    pieces: tuple[tuple[str, ...], ...]

    @classmethod
    def build(
        cls,
        tokenizer: "PreTrainedTokenizerBase",
        words: Mapping[str, str] = NOUNS,
        *,
        leading: str = "",
        after: str = "\n",
        end: str = "",
    ) -> Self:
        """Find the token ids of each label's word where the model answers.

        The ids are those that are added when ``leading + word`` is written after ``after``: a tokenizer cuts a word
        at the start of a text differently from the same word further on.

        Args:
            tokenizer: of the model.
            words: label -> word; the order is that of the scores.
            leading: what stands before the word: "" in a chat, where the word starts a line; " " after "emotion =".
            after: the text before the answer, `PromptBatch.tail`. The default fits every chat format.
            end: the end token to be scored and learnt along with the word (`PromptBatch.end`), "" for none.

        Raises:
            UsageError: fewer than two labels, an empty word, a word the tokenizer does not know or joins to what is
                before it, two labels with the same ids, or, without an end token, a word that begins another: its
                score could never be below the other's. Or ``end`` is not one token.

        Warns:
            UserWarning: words begin with the same piece, so the first piece does not tell them apart.
        """
        if len(words) < 2:
            raise UsageError(f"A verbaliser needs the words of two labels or more, not of {len(words)}.")
        if blank := [label for label, word in words.items() if not word.strip()]:
            raise UsageError(f"The label '{blank[0]}' has no word: give it one.")
        ending = _continuation(tokenizer, after, end) if end else ()
        if end and (len(ending) != 1 or ending[0] == tokenizer.unk_token_id):
            raise UsageError(f"The end token '{end}' is not one token of this tokenizer: use '{tokenizer.eos_token}'.")
        ids = {label: _continuation(tokenizer, after, leading + word) for label, word in words.items()}
        unknown = [label for label in ids if tokenizer.unk_token_id in ids[label]]
        ids = {label: found + ending for label, found in ids.items()}
        _refuse_collisions(ids, words)
        if unknown:
            named = f"the word '{words[unknown[0]]}' of '{unknown[0]}'"
            raise UsageError(f"The tokenizer does not know {named}: use another word.")
        pieces = {label: tuple(tokenizer.convert_ids_to_tokens(list(found))) for label, found in ids.items()}
        _warn_of_common_beginnings(ids, pieces)
        return cls(tuple(words), tuple(words.values()), tuple(ids.values()), tuple(pieces.values()))

    @property
    def contexts(self) -> tuple[tuple[int, ...], ...]:
        """The beginnings of answers after which a model's next token must be known; the first is ``()``.

        One for words of one piece; one more for each way a word of several pieces goes on.
        """
        beginnings = {found[:length] for found in self.ids for length in range(len(found))}
        return tuple(sorted(beginnings, key=lambda ids: (len(ids), ids)))

    def table(self) -> pd.DataFrame:
        """One row a label: label, word, pieces, ids."""
        columns = {"label": self.labels, "word": self.words, "pieces": self.pieces, "ids": self.ids}
        return pd.DataFrame({name: list(values) for name, values in columns.items()})


def score_labels(logits: "Tensor", verbaliser: Verbaliser) -> "Tensor":
    """The log-probability of each label's whole word (and its end token, if the verbaliser has it).

    The sum over the word's pieces of log p(piece | prompt, pieces before it), over the whole vocabulary: nothing is
    normalised over the labels, and longer words get no bonus. Softmax over the labels gives their posterior, and
    cross-entropy on the scores a loss: gradients pass.

    Args:
        logits: float [clips, contexts, vocabulary], the model's output after the prompt and
            ``verbaliser.contexts[c]``. Log-probabilities do as well.
        verbaliser: of the model's tokenizer.

    Returns:
        float32 [clips, labels], in the order of ``verbaliser.labels``.

    Raises:
        UsageError: the shape does not fit the verbaliser.

    >>> import torch
    >>> happy_or_sad = Verbaliser(("joy", "sadness"), ("joy", "sad"), ((3,), (1, 2)), (("joy",), ("sa", "d")))
    >>> happy_or_sad.contexts
    ((), (1,))
    >>> score_labels(torch.zeros(1, 2, 4), happy_or_sad).exp()
    tensor([[0.2500, 0.0625]])
    """

    contexts = verbaliser.contexts
    largest = max(max(ids) for ids in verbaliser.ids)
    if logits.ndim != 3 or logits.shape[1] != len(contexts) or logits.shape[2] <= largest:
        wanted = f"[clips, {len(contexts)}, vocabulary above {largest}]"
        raise UsageError(f"The logits have the shape {list(logits.shape)}, the verbaliser needs {wanted}.")
    logits = logits.float()
    totals = logits.logsumexp(dim=-1)
    scores = []
    for ids in verbaliser.ids:
        where = [contexts.index(ids[:length]) for length in range(len(ids))]
        scores.append((logits[:, where, list(ids)] - totals[:, where]).sum(dim=-1))
    return torch.stack(scores, dim=-1)


def _continuation(tokenizer: "PreTrainedTokenizerBase", before: str, text: str) -> tuple[int, ...]:
    """The ids that writing ``text`` after ``before`` adds."""
    first, both = tokenizer([before, before + text], add_special_tokens=False)["input_ids"]
    if both[: len(first)] != first:
        raise UsageError(f"The tokenizer joins '{text}' to the {before[-20:]!r} before it: choose another 'leading'.")
    return tuple(both[len(first) :])


def _refuse_collisions(ids: Mapping[str, tuple[int, ...]], words: Mapping[str, str]) -> None:
    for one, other in permutations(ids, 2):
        names = f"'{one}' (the word '{words[one]}') and '{other}' (the word '{words[other]}')"
        if ids[one] == ids[other]:
            raise UsageError(f"The labels {names} have the same token ids {list(ids[one])}: use other words.")
        if ids[one] == ids[other][: len(ids[one])]:
            raise UsageError(
                f"Of the labels {names} the first begins the second, which could never score higher: use other words "
                "or add the end token."
            )


def _warn_of_common_beginnings(ids: Mapping[str, tuple[int, ...]], pieces: Mapping[str, tuple[str, ...]]) -> None:
    groups: dict[int, list[str]] = defaultdict(list)
    for label, found in ids.items():
        groups[found[0]].append(label)
    for labels in groups.values():
        if len(labels) > 1:
            names, piece = ", ".join(labels), pieces[labels[0]][0]
            warnings.warn(
                f"The words of {names} begin with the same piece '{piece}': only whole words tell them apart.",
                stacklevel=3,
            )
