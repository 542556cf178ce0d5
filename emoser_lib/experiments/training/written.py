"""What systems that read write, once trained, of the clips that a cell held out: how THAU-UPM reads answers.

A module of its own, so that a cell's key does not depend on how answers are written.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from emoser_lib.corpora import Corpus, cache_home
from emoser_lib.experiments.training.cells import Cell, weights_of
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.systems.declared import TextSystem
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.text_task import text_examples
from emoser_lib.systems.reading.zero_shot import Decoding, generate_answers

AT_ONCE = 64
"""Answers that are written down together (our choice)."""


def can_write(cell: Cell, home: Path | None = None) -> bool:
    """Whether a cell's adapter is here: a cell that is committed with the book has scores only."""
    return ((home or cache_home() / "runs") / cell.key / "adapter").is_dir()


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
        DataError: the cell's folder has not its adapter (`cells.weights_of`).
    """
    _, _, verbaliser = text_examples(llm, system, corpus, (), cell.ids)
    texts = corpus.frame.set_index("id")["transcription"]
    prompt = prompt_named(system.prompt).listing(words_for(corpus.labels, system.words))
    decoding = Decoding(max_new_tokens or max(map(len, verbaliser.ids)))
    path = weights_of(cell, "adapter", home)

    def run(ids: Sequence[str]) -> list[str]:
        batch = prompt.encode(llm.tokenizer, list(texts[list(ids)]), system.chat)
        return generate_answers(model.eval(), llm.tokenizer, batch, decoding)

    with adapted(llm.model, system.lora, system.training.seed) as model:
        set_peft_model_state_dict(model, load_file(path / "adapter_model.safetensors"))
        batches = [cell.ids[start : start + AT_ONCE] for start in range(0, len(cell.ids), AT_ONCE)]
        said = kept_lines({"cell": cell.key, "decoding": decoding.identity}, __name__, batches, run, home)
    return pd.Series(said, name="answer").reindex(list(cell.ids)).rename_axis("id")
