"""Fine-tune a text system on cuts of a corpus, each a cell (`cells`)."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.training.cells import Cell, kept_cell
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.systems.declared import TextSystem
from emoser_lib.systems.device import first_process
from emoser_lib.systems.fitting import Trained, fit
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.text_task import TextTask, text_examples


def train_cell(
    llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold, home: Path | None = None, with_weights: bool = False
) -> Cell:
    """Train on a cut's training part, score its validation part. A finished cell is read from disk (`cells.kept_cell`).

    A training that was stopped, even killed, goes on from its last checkpoint to the same result.

    Args:
        llm: from `load_llm`.
        system: what is trained, and how.
        corpus: gives transcriptions and training labels.
        cut: from `folds` or `evaluation_folds`.
        home: default ``runs`` in the cache folder (`cache_home`).
        with_weights: the adapter is asked for too, see there.

    Raises:
        UsageError: a prompt, a word set or a label does not fit.
        DataError: the loss is not finite, or the disk is full.
    """
    examples, held_out, verbaliser = text_examples(llm, system, corpus, cut.train, cut.validation)
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
            task = TextTask(model, examples, held_out, verbaliser.ids, [*cut.train, *cut.validation])
            trained = fit(task, system.training, folder / "training")
            if first_process():
                model.save_pretrained(str(folder / "adapter"))
        return trained

    return kept_cell(identity, __name__, cut.validation, verbaliser.labels, run, home, with_weights)


def train_grid(
    llm: LLM, systems: Iterable[TextSystem], corpus: Corpus, cuts: Iterable[Fold], home: Path | None = None
) -> dict[TextSystem, list[Cell]]:
    """`train_cell` for each system and cut."""
    cuts = list(cuts)
    return {system: [train_cell(llm, system, corpus, cut, home) for cut in cuts] for system in systems}


def untrained(llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold) -> pd.Series:
    """What the same system says of the cut's validation part before any training: its most probable label word."""
    _, held_out, verbaliser = text_examples(llm, system, corpus, cut.train, cut.validation)
    scores = PrefixCache(llm.model, held_out.prefix).log_probabilities(
        held_out.rests, verbaliser.ids, clips=cut.validation
    )
    best = scores.argmax(dim=1).tolist()
    index = pd.Index(cut.validation, name="id")
    return pd.Series([verbaliser.labels[label] for label in best], index, name="predicted")
