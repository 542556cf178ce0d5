"""Fine-tune a text system on cuts of a corpus, each a cell (`cells`)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from emoser_lib.corpora import Corpus, cache_home
from emoser_lib.errors import DataError
from emoser_lib.experiments.training.cells import Cell, kept_cell
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.systems.declared import TextSystem
from emoser_lib.systems.device import first_process
from emoser_lib.systems.fitting import Trained, fit
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.prefix_cache import PrefixCache
from emoser_lib.systems.reading.text_task import TextTask, text_examples
from emoser_lib.systems.reading.zero_shot import Decoding, generate_answers

AT_ONCE = 64
"""Answers that are written down together (our choice)."""


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

    return kept_cell(identity, __name__, cut.validation, verbaliser.labels, run, home)


def train_grid(
    llm: LLM, systems: Iterable[TextSystem], corpus: Corpus, cuts: Iterable[Fold], home: Path | None = None
) -> dict[TextSystem, list[Cell]]:
    """`train_cell` for each system and cut."""
    cuts = list(cuts)
    return {system: [train_cell(llm, system, corpus, cut, home) for cut in cuts] for system in systems}


def written_by_cell(
    llm: LLM, system: TextSystem, corpus: Corpus, cell: Cell, max_new_tokens: int = 0, home: Path | None = None
) -> pd.Series:
    """What a cell's adapter writes of the clips that it held out, greedily: the way of THAU-UPM's systems.

    Args:
        llm, system, corpus, home: those of the cell.
        cell: from `train_cell`.
        max_new_tokens: of an answer. 0: as many as the longest label's word has, which is all that was learnt unless
            the end is learnt too.

    Returns:
        The answers by clip id. They are kept on disk.

    Raises:
        DataError: the cell's folder has not its adapter any more.
    """
    _, _, verbaliser = text_examples(llm, system, corpus, (), cell.ids)
    texts = corpus.frame.set_index("id")["transcription"]
    prompt = prompt_named(system.prompt)
    decoding = Decoding(max_new_tokens or max(map(len, verbaliser.ids)))
    path = (home or cache_home() / "runs") / cell.key / "adapter"
    if not path.is_dir():
        raise DataError(f"{path} is not there: delete the cell's folder, it is then trained again.")

    def run(ids: Sequence[str]) -> list[str]:
        batch = prompt.encode(llm.tokenizer, list(texts[list(ids)]), system.chat)
        return generate_answers(model.eval(), llm.tokenizer, batch, decoding)

    with adapted(llm.model, system.lora, system.training.seed) as model:
        set_peft_model_state_dict(model, load_file(path / "adapter_model.safetensors"))
        batches = [cell.ids[start : start + AT_ONCE] for start in range(0, len(cell.ids), AT_ONCE)]
        said = kept_lines({"cell": cell.key, "decoding": asdict(decoding)}, __name__, batches, run, home)
    return pd.Series(said, name="answer").reindex(list(cell.ids)).rename_axis("id")


def untrained(llm: LLM, system: TextSystem, corpus: Corpus, cut: Fold) -> pd.Series:
    """What the same system says of the cut's validation part before any training: its most probable label word."""
    _, held_out, verbaliser = text_examples(llm, system, corpus, cut.train, cut.validation)
    scores = PrefixCache(llm.model, held_out.prefix).log_probabilities(
        held_out.rests, verbaliser.ids, clips=cut.validation
    )
    best = scores.argmax(dim=1).tolist()
    index = pd.Index(cut.validation, name="id")
    return pd.Series([verbaliser.labels[label] for label in best], index, name="predicted")
