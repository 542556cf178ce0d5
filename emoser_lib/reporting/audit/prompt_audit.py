"""What a prompt's words do to a score, measured: words that are no labels, and first pieces that labels share."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.reporting.scores import score_on
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import WORDS, words_for
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import label_scores

if TYPE_CHECKING:
    from emoser_lib.systems.reading.llm import LLM


def offered_words(
    llm: "LLM", corpus: Corpus, clips: pd.DataFrame, names: Sequence[str], chat: str = "auto"
) -> pd.DataFrame:
    """Measure what it does that a prompt offers emotions that are no labels.

    The model is asked which of the offered words is the likeliest. A word that is no label then counts as the
    corpus's first label (neutral: THAU-UPM, section 3.2), or only the labels' words compete.

    Args: as `text_systems.prompt_variants`.

    Returns:
        One row per prompt: words offered, those that are no labels, share of the clips that get one of these, macro-F1
        with the fallback and among the labels only.
    """

    rows = {}
    for name in names:
        prompt = prompt_named(name)
        word_set = next(x for x, known in WORDS.items() if set(known.values()) <= set(prompt.words))
        words = words_for(corpus.labels, word_set)
        prompt = prompt.listing(words)
        foreign = [word for word in prompt.words if word not in words.values()]
        batch = prompt.encode(llm.tokenizer, list(clips["transcription"]), chat)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # words that begin alike have a table of their own
            verbaliser = Verbaliser.build(
                llm.tokenizer, words | {word: word for word in foreign}, leading=batch.leading, after=batch.tail
            )
        scores = label_scores(llm.model, batch, verbaliser, clips=list(clips["id"]))
        own = len(words)
        free = np.array(verbaliser.labels, dtype=object)[scores.argmax(axis=1)]
        outside = scores.argmax(axis=1) >= own
        among = np.array(verbaliser.labels[:own], dtype=object)[scores[:, :own].argmax(axis=1)]
        rows[name] = {
            "words": len(prompt.words),
            "no labels": ", ".join(foreign),
            "share answered so": float(outside.mean()),
            f"as {corpus.labels[0]}": _macro_f1(corpus, clips, np.where(outside, corpus.labels[0], free)),
            "labels only": _macro_f1(corpus, clips, among),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("prompt")


def first_pieces(
    llm: "LLM", corpus: Corpus, clips: pd.DataFrame, prompt: str, word_sets: Sequence[str], chat: str = "auto"
) -> pd.DataFrame:
    """Measure what it does to score a label by its word's first piece alone, as one logit per label does.

    Args:
        llm, corpus, clips, chat: see `offered_words`.
        prompt: name of one.
        word_sets: names of word sets.

    Returns:
        One row per word set: the labels that share a first piece, macro-F1 by whole words and by first pieces, and the
        share of clips whose answer is another one. Of labels that share it, the first one is answered. Where the
        verbaliser refuses the words, nothing but its reason.
    """

    batch = (
        prompt_named(prompt).listing(words_for(corpus.labels)).encode(llm.tokenizer, list(clips["transcription"]), chat)
    )
    cache = PrefixCache(llm.model, batch.prefix)
    rows: dict[str, dict[str, object]] = {}
    for name in word_sets:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # this is what is measured here
                verbaliser = Verbaliser.build(
                    llm.tokenizer, words_for(corpus.labels, name), leading=batch.leading, after=batch.tail
                )
        except UsageError as refused:
            rows[name] = {"share a first piece": f"refused: {refused}"}
            continue
        ways = [verbaliser.ids, [ids[:1] for ids in verbaliser.ids]]
        whole, first = (cache.log_probabilities(batch.rests, ids).argmax(dim=1).tolist() for ids in ways)
        labels = np.array(verbaliser.labels, dtype=object)
        rows[name] = {
            "share a first piece": _sharing(verbaliser),
            "whole words": _macro_f1(corpus, clips, labels[whole]),
            "first pieces": _macro_f1(corpus, clips, labels[first]),
            "answers changed": float(np.mean(np.array(whole) != np.array(first))),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("words")


def _sharing(verbaliser: Verbaliser) -> str:
    pieces = pd.Series([ids[0] for ids in verbaliser.ids], index=list(verbaliser.labels))
    return ", ".join(pieces.index[pieces.duplicated(keep=False)]) or "none"


def _macro_f1(corpus: Corpus, clips: pd.DataFrame, answers: np.ndarray) -> float:
    return score_on(corpus, pd.Series(answers, index=clips["id"])).macro_f1
