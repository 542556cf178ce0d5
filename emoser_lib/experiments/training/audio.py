"""Train an audio system on cuts of a corpus, each a cell (`cells`): its clips are encoded once, whatever the cut."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal

import pandas as pd
from safetensors.torch import save_file

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.training.cells import Cell, kept_cell, weights_of
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.device import first_process
from emoser_lib.systems.fitting import WEIGHTS, Trained, fit, load_trained, trained_parameters
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask, audio_examples
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoding import Hearing, hear
from emoser_lib.systems.reading.llm import LLM


def train_audio_cell(
    llm: LLM, system: AudioSystem, hearing: Hearing, cut: Fold, home: Path | None = None, with_weights: bool = False
) -> Cell:
    """Train on a cut's training part, score its validation part. A finished cell is read from disk (`cells.kept_cell`).

    A training that was stopped, even killed, goes on from its last checkpoint to the same result. What was trained is
    kept beside the cell, see `trained_system`.

    Args:
        llm: from `load_llm`.
        system: what is trained, and how.
        hearing: of the cut's clips, with this system.
        cut: from `folds` or `evaluation_folds`.
        home: default ``runs`` in the cache folder.
        with_weights: what was trained is asked for too, see `cells.kept_cell`.

    Raises:
        UsageError: a prompt, a word set or a label does not fit.
        DataError: the loss is not finite, or the disk is full.
    """
    learnt, held_out, verbaliser, speech = audio_examples(llm, system, hearing, cut.train, cut.validation)
    identity = {
        "llm": [llm.sha256, str(llm.model.dtype)],
        "system": asdict(system),
        "bridge": type(system.bridge).__name__,
        "features": hearing.identity([*learnt.sounds, *held_out.sounds], system.encoder_layer),
        "learnt": asdict(learnt),
        "held_out": [cut.validation, asdict(held_out)],
        "words": [verbaliser.labels, verbaliser.ids],
        "speech": speech,
    }

    def run(folder: Path) -> Trained:
        with assembled(llm, system, hearing.encoder) as model:
            weights = system.loss.of([verbaliser.labels[label] for label in learnt.labels], verbaliser.labels)
            task = AudioTask(
                model,
                verbaliser.ids,
                system.loss,
                weights,
                learnt,
                held_out,
                hearing.features,
                hearing.waveform,
                speech,
                system.speech_weight,
            )
            trained = fit(task, system.training, folder / "training")
            if first_process():
                save_file(trained_parameters(model), folder / WEIGHTS)
        return trained

    return kept_cell(identity, __name__, cut.validation, verbaliser.labels, run, home, with_weights)


def train_audio_grid(
    llm: LLM,
    encoder: Encoder,
    systems: Iterable[AudioSystem],
    corpus: Corpus,
    cuts: Iterable[Fold],
    home: Path | None = None,
) -> dict[AudioSystem, list[Cell]]:
    """`train_audio_cell` for each system and cut."""
    cuts = list(cuts)
    ids = [clip for cut in cuts for clip in (*cut.train, *cut.validation)]
    cells: dict[AudioSystem, list[Cell]] = {}
    for system in systems:
        hearing = hear(encoder, system, corpus, ids)
        cells[system] = [train_audio_cell(llm, system, hearing, cut, home) for cut in cuts]
    return cells


@contextmanager
def trained_system(
    llm: LLM, system: AudioSystem, hearing: Hearing, cell: Cell, home: Path | None = None
) -> Iterator[AudioLLM]:
    """What a cell trained, put together again, for as long as the block lasts.

    Raises:
        DataError: the cell's folder has not its parameters (`cells.weights_of`).
    """
    path = weights_of(cell, WEIGHTS, home)
    with assembled(llm, system, hearing.encoder) as model:
        load_trained(model, path)
        yield model.eval()


def untrained_answers(
    llm: LLM, system: AudioSystem, hearing: Hearing, clips: Sequence[str], seed: int = 0
) -> pd.Series:
    """What a system says of clips before any training, its bridge with random weights: the control of a trained one.

    Args:
        llm, system, hearing: as `train_audio_cell`.
        clips: ids.
        seed: of the bridge's values.

    Returns:
        The likeliest label by clip id.
    """
    _, asked, verbaliser, _ = audio_examples(llm, system, hearing, (), clips)
    drawn = replace(system, training=replace(system.training, seed=seed))
    with assembled(llm, drawn, hearing.encoder) as model:
        nothing = AudioExamples(asked.prefix, (), (), ())
        task = AudioTask(
            model.eval(), verbaliser.ids, system.loss, [], nothing, asked, hearing.features, hearing.waveform
        )
        best = task.scores().argmax(dim=1).tolist()
    return pd.Series([verbaliser.labels[label] for label in best], pd.Index(clips, name="id"), name="predicted")


def answers_of_cell(
    llm: LLM,
    system: AudioSystem,
    hearing: Hearing,
    cell: Cell,
    clips: Sequence[str],
    home: Path | None = None,
    ways: Sequence[Literal["with", "without"]] = ("with", "without"),
) -> pd.DataFrame:
    """What a trained system says of clips with their audio, and with nothing in its place.

    Args:
        llm, system, hearing: those of the cell.
        cell: from `train_audio_cell`.
        clips: ids.
        home: where the cell is, as there.
        ways: which of the two; both by default.

    Returns:
        One row a clip: ``with audio``, ``p with``, ``without audio``, ``p without``: the likeliest label and its
        probability among the labels, either way.
    """
    _, asked, verbaliser, _ = audio_examples(llm, system, hearing, (), clips)
    columns: dict[str, list[object]] = {}
    with trained_system(llm, system, hearing, cell, home) as model:
        for way in ways:
            task = AudioTask(
                model,
                verbaliser.ids,
                system.loss,
                [],
                AudioExamples(asked.prefix, (), (), ()),
                asked if way == "with" else asked.without_audio(),
                hearing.features,
                hearing.waveform,
            )
            best = task.scores().exp().max(dim=1)
            columns[f"{way} audio"] = [verbaliser.labels[label] for label in best.indices.tolist()]
            columns[f"p {way}"] = best.values.tolist()
    return pd.DataFrame(columns, index=pd.Index(clips, name="id"))
