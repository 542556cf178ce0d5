"""Fine-tune a text system on cuts of a corpus, each a cell (`cells`)."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments.cells import Cell, kept_cell
from emoser_lib.experiments.folds import Fold, folds
from emoser_lib.systems import fitting, label_logits, lora, packed_attention, packing, prefix_cache
from emoser_lib.systems.checkpoints import LLM
from emoser_lib.systems.fitting import Trained, Training, fit
from emoser_lib.systems.lora import Examples, LabelTask, Lora, adapted
from emoser_lib.systems.prefix_cache import PrefixCache
from emoser_lib.systems.prompts import prompt_named
from emoser_lib.systems.verbaliser import Verbaliser, words_for

TRAINING_CODE = (packing, packed_attention, label_logits, prefix_cache, fitting, lora)
"""A change in what these modules do makes another cell; a change in their comments and docstrings does not."""


@dataclass(frozen=True)
class TextSystem:
    """A language model that reads the transcription and writes the label's word, declared.

    Attributes:
        prompt: a name of ``PROMPTS``; Table 1's (seed 1).
        chat: how it is put before the model, see `prompts.chat_of`.
        words: a name of ``WORDS``; our choice, the paper does not say which words it trained on.
        end: learn and score the end token after the word too; our choice: no, the loss is on the label (seed 1).
        lora: the adapter.
        training: the hyper-parameters.
    """

    prompt: str = "gemma"
    chat: str = "auto"
    words: str = "nouns"
    end: bool = False
    lora: Lora = field(default_factory=Lora)
    training: Training = field(default_factory=Training)

    def with_adapter(self, rank: int, alpha: int) -> Self:
        """The same with another rank and alpha.

        >>> TextSystem().with_adapter(rank=64, alpha=128).lora.rank
        64
        """
        return replace(self, lora=replace(self.lora, rank=rank, alpha=alpha))


def train_cell(llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold, home: Path | None = None) -> Cell:
    """Train on a cut's training part, score its validation part. A finished cell is read from disk (`cells.kept_cell`).

    A training that was stopped, even killed, goes on from its last checkpoint to the same result.

    Args:
        llm: from `load_llm`.
        system: what is trained, and how.
        corpus: gives transcriptions and training labels.
        cut: from `folds` or `evaluation_folds`.
        home: default ``runs`` in the cache folder (`cache_home`).

    Raises:
        UsageError: a prompt, a word set or a label does not fit.
        DataError: the loss is not finite, or ``cell.json`` is damaged.
    """
    examples, held_out, verbaliser = encode_cut(llm, system, corpus, cut)
    # Token ids stand for prompt, chat format, words, corpus and tokenizer, however these were made.
    identity = {
        "weights": llm.sha256,
        "dtype": str(llm.model.dtype),
        "lora": asdict(system.lora),
        "training": asdict(system.training),
        "examples": asdict(examples),
        "held_out": [cut.validation, asdict(held_out)],
        "words": [verbaliser.labels, verbaliser.ids],
    }

    def run(folder: Path) -> Trained:
        with adapted(llm.model, system.lora, system.training.seed) as model:
            task = LabelTask(model, examples, held_out, verbaliser.ids)
            trained = fit(task, system.training, folder / "training")
            model.save_pretrained(str(folder / "adapter"))
        return trained

    return kept_cell(identity, TRAINING_CODE, cut.validation, verbaliser.labels, run, home)


def train_grid(
    llm: LLM, systems: Iterable[TextSystem], corpus: Corpus, cuts: Iterable[Fold], home: Path | None = None
) -> dict[TextSystem, list[Cell]]:
    """`train_cell` for each system and cut."""
    cuts = list(cuts)
    return {system: [train_cell(llm, system, corpus, cut, home) for cut in cuts] for system in systems}


def encode_cut(llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold) -> tuple[Examples, Examples, Verbaliser]:
    """The token ids of a cut: what is learnt, what is held out, and the labels' words."""
    texts = corpus.frame.set_index("id")["transcription"]
    ids = [*cut.train, *cut.validation]
    batch = prompt_named(system.prompt).encode(llm.tokenizer, list(texts[ids]), system.chat)
    verbaliser = Verbaliser.build(
        llm.tokenizer,
        words_for(corpus.labels, system.words),
        after=batch.tail,
        end=batch.end if system.end else "",
    )
    pieces = dict(zip(verbaliser.labels, verbaliser.ids, strict=True))
    labels = corpus.training().set_index("id")["label"][list(cut.train)]
    learnt, held = batch.rests[: len(cut.train)], batch.rests[len(cut.train) :]
    return Examples(batch.prefix, learnt, [pieces[x] for x in labels]), Examples(batch.prefix, held), verbaliser


def untrained(llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold) -> pd.Series:
    """What the same system says of the cut's validation part before any training: its most probable label word."""
    _, held_out, verbaliser = encode_cut(llm, system, corpus, cut)
    scores = PrefixCache(llm.model, held_out.prefix).log_probabilities(held_out.rests, verbaliser.ids)
    best = scores.argmax(dim=1).tolist()
    index = pd.Index(cut.validation, name="id")
    return pd.Series([verbaliser.labels[label] for label in best], index, name="predicted")


def chosen_folds(corpus: Corpus, scheme: str, which: Iterable[int], clips: int = 0) -> list[Fold]:
    """Some of the folds of a scheme, each with all its training clips or, drawn by `fewer_clips`, so many of them.

    >>> from emoser_lib.corpora import load_corpus
    >>> [(cut.index, len(cut.train)) for cut in chosen_folds(load_corpus("demo"), "video", [1, 3], clips=50)]
    [(1, 50), (3, 50)]
    """
    cuts = folds(corpus, scheme)
    return [fewer_clips(corpus, cuts[fold], clips or len(cuts[fold].train)) for fold in which]


def fewer_clips(corpus: Corpus, cut: Fold, clips: int, seed: int = 0) -> Fold:
    """The cut with only so many training clips, drawn with the labels' proportions kept.

    Raises:
        UsageError: so many cannot be drawn with each label on both sides.

    >>> from emoser_lib.corpora import load_corpus
    >>> demo = load_corpus("demo")
    >>> len(fewer_clips(demo, folds(demo)[0], 100).train)
    100
    """
    every = len(cut.train)
    if clips == every:
        return cut
    labels = corpus.training().set_index("id")["label"][list(cut.train)]
    counts = labels.value_counts()
    # A label with a single clip cannot be on both sides: it is drawn together with the next rarest.
    strata = labels.where(labels.map(counts) > 1, counts[counts > 1].index[-1])
    least, most = strata.nunique(), every - strata.nunique()
    if not least <= clips <= most:
        raise UsageError(
            f"{clips} training clips are asked for, the cut has {every}: ask for {least} to {most}, or for all of them."
        )
    kept, _ = train_test_split(np.array(cut.train), train_size=clips, stratify=strata, random_state=seed)
    chosen = set(kept)
    return replace(cut, train=tuple(clip for clip in cut.train if clip in chosen))
