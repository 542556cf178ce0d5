"""What a trained Qwen-Audio writes, greedily, of the clips that a cell held out, see `training.written`."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from emoser_lib.experiments.training.audio import trained_system
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.device import enough_memory
from emoser_lib.systems.hearing import audio_answers
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoding import Hearing
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.qwen_audio.tokens import END_OF_TEXT
from emoser_lib.systems.reading.zero_shot import Decoding


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
