"""What trained systems write, greedily, of the clips that a cell held out: the way in which THAU-UPM reads answers.

A module of its own, so that a cell's key does not depend on how answers are written.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from peft import set_peft_model_state_dict
from safetensors.torch import load_file

from emoser_lib.corpora import Corpus, cache_home
from emoser_lib.errors import DataError
from emoser_lib.experiments.training.audio import trained_system
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.systems.declared import AudioSystem, TextSystem
from emoser_lib.systems.device import enough_memory
from emoser_lib.systems.hearing import audio_answers
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoding import Hearing
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.qwen_audio.tokens import END_OF_TEXT
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.text_task import text_examples
from emoser_lib.systems.reading.zero_shot import Decoding, generate_answers

AT_ONCE = 64
"""Answers that are written down together (our choice)."""


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
        said = kept_lines({"cell": cell.key, "decoding": decoding.identity}, __name__, batches, run, home)
    return pd.Series(said, name="answer").reindex(list(cell.ids)).rename_axis("id")


def written_by_qwen_cell(
    qwen: QwenAudio,
    system: AudioSystem,
    hearing: Hearing,
    cell: Cell,
    decoding: Decoding,
    batch_size: int = 8,
    home: Path | None = None,
) -> pd.Series:
    """What a cell's adapter writes of the clips that it held out: the way of THAU-UPM, section 3.2.

    Args:
        qwen: from `qwen_audio.load`.
        system, hearing, home: those of the cell.
        cell: from `train_audio_cell`.
        decoding: how it answers.
        batch_size: clips run at once (our choice).

    Returns:
        The answers by clip id. They are kept on disk.

    Raises:
        DataError: the cell's folder has not its parameters any more.
    """
    _, asked, words, _ = audio_examples(qwen.llm, system, hearing, (), cell.ids)
    nothing = AudioExamples(asked.prefix, (), (), ())
    place = {clip: entry for entry, clip in enumerate(cell.ids)}
    with trained_system(qwen.llm, system, hearing, cell, home) as model:
        task = AudioTask(model, words.ids, system.loss, [], nothing, asked, hearing.features, hearing.waveform)

        def run(ids: Sequence[str]) -> list[str]:
            entries = [place[clip] for clip in ids]
            return audio_answers.generate_audio_answers(task, qwen.llm.tokenizer, END_OF_TEXT, entries, decoding)

        batches = [cell.ids[start : start + batch_size] for start in range(0, len(cell.ids), batch_size)]
        with enough_memory(model.llm.device, f"{batch_size} clips at once", "lower batch_size"):
            said = kept_lines({"cell": cell.key, "decoding": decoding.identity}, __name__, batches, run, home)
    return pd.Series(said, name="answer").reindex(list(cell.ids)).rename_axis("id")
