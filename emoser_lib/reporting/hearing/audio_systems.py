"""Tables about systems that hear: their parameters, what the cache saves, weights of the labels, what masks do."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.corpora import SAMPLE_RATE, Corpus
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.reporting.reading.adapters import By, Grid
from emoser_lib.reporting.scores import gold_for, score_on
from emoser_lib.systems.declared import AudioSystem, LabelWeights, Loss
from emoser_lib.systems.hearing.assembly import assembled
from emoser_lib.systems.hearing.encoders.emotion2vec import Emotion2vecFrames
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoding import Hearing
from emoser_lib.systems.reading.llm import LLM

TABLE_2 = "thau-table2-b{batch_size}-lr1e-{exponent}"
"""The ids of the claims of THAU-UPM's Table 2."""


def batch_and_rate(system: AudioSystem) -> dict[str, Any]:
    """Name what the systems of Table 2 differ in."""
    return {"batch size": system.training.batch_size, "learning rate": system.training.learning_rate}


def loss_weights(system: AudioSystem) -> dict[str, Any]:
    """Name what systems with other weights of the labels differ in."""
    return {"weights": system.loss.weights}


def named(column: str, names: Mapping[AudioSystem, str]) -> By:
    """Make a column with a name of each system, for the tables of a grid."""
    return lambda system: {column: names[system]}


def parameters(llm: LLM, encoder: Encoder, system: AudioSystem) -> pd.DataFrame:
    """Count the parameters of the parts of a system: all of them, and those that are trained.

    Returns:
        One row per part (encoder, bridge, language model, its adapter if it has one), and their sum.
    """
    with assembled(llm, system, encoder) as model:
        adapter = {name: p for name, p in model.llm.named_parameters() if "lora_" in name}
        parts = {
            "encoder": list((model.encoder or encoder).parameters()),
            "bridge": list(model.joined.parameters()),
            "language model": [p for name, p in model.llm.named_parameters() if name not in adapter],
            "its adapter": list(adapter.values()),
        }
        rows = {
            name: {"parameters": _size(of), "trained": _size([p for p in of if p.requires_grad])}
            for name, of in parts.items()
            if of
        }
    table = pd.DataFrame(rows).T
    table.loc["together"] = table.sum()
    return table.rename_axis("part")


def encoded(hearing: Hearing, grid: Grid, cuts: Sequence[Fold]) -> pd.DataFrame:
    """Count what was encoded, and how often the encoder would have run if no frames were kept.

    Args:
        hearing: of clips whose frames are cached.
        grid: what was trained on them.
        cuts: the folds of its cells. Held-out clips are scored after each epoch.

    Returns:
        One row: clips, minutes of sound, frames, their megabytes, runs of the encoder, and runs without the cache.
        Empty where no frames are kept.
    """
    if hearing.features is None:
        return pd.DataFrame()
    keys = list(hearing.features.lengths)
    frames = sum(hearing.features.lengths.values())
    item = hearing.features[keys[0]].element_size()
    windows = [sum(len(hearing.windows[clip]) for clip in (*cut.train, *cut.validation)) for cut in cuts]
    passes = [len(cell.epochs) * many for cells in grid.values() for cell, many in zip(cells, windows, strict=True)]
    told = {
        "clips": len(hearing.windows),
        "minutes of sound": sum(len(hearing.waveform(key)) for key in keys) / SAMPLE_RATE / 60,
        "frames": frames,
        "megabytes": frames * hearing.features.layers * hearing.features.width * item / 1e6,
        "runs of the encoder": len(keys),
        "runs without the cache": sum(passes),
    }
    return pd.DataFrame([told], index=["encoded once"])


def table_2(table: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """Tabulate mean macro-F1 over the folds by batch size and learning rate, as THAU-UPM's Table 2.

    Args:
        table: from `adapters.grid_table` by `batch_and_rate`.
        claims: the paper's numbers.

    Returns:
        One row per batch size, one column per learning rate; below them the paper's four numbers, rows of their own.
    """
    ours = pd.DataFrame()
    if len(table):
        ours = table.pivot(index="batch size", columns="learning rate", values="macro_f1")
        ours.columns = [f"{rate:g}" for rate in ours.columns]
        ours.index = [f"this run, batch {size}" for size in ours.index]
    theirs = {
        f"paper, batch {size}": {
            f"{10.0**-n:g}": claims.value[TABLE_2.format(batch_size=size, exponent=n)] for n in (3, 4)
        }
        for size in (4, 6)
    }
    both = pd.concat([ours, pd.DataFrame.from_dict(theirs, orient="index")])
    return both[sorted(both, key=lambda rate: float(str(rate)))].rename_axis("macro-F1 by learning rate")


def weights_table(corpus: Corpus, clips: Sequence[str], weights: Sequence[LabelWeights]) -> pd.DataFrame:
    """Tabulate how much a clip of each label counts in the loss, by way of weighing.

    Args:
        corpus: gives the labels.
        clips: ids of the training clips.
        weights: ways, see `Loss`.
    """
    labels = corpus.training().set_index("id")["label"][list(clips)]
    table = pd.DataFrame({name: Loss(name).of(list(labels), corpus.labels) for name in weights}, index=corpus.labels)
    table.insert(0, "clips", labels.value_counts().reindex(corpus.labels, fill_value=0))
    return table.rename_axis("label")


def recall_table(corpus: Corpus, grid: Grid, by: By) -> pd.DataFrame:
    """Tabulate macro-F1 and each label's recall over the predictions of all folds, in the order of the grid."""
    rows = []
    for system, cells in grid.items():
        scored = score_on(corpus, predicted(cells))
        recalls = {label: of.recall for label, of in scored.per_class.items()}
        rows.append({**by(system), "macro_f1": scored.macro_f1, "uar": scored.uar, **recalls})
    return pd.DataFrame(rows).set_index(list(by(next(iter(grid))))) if rows else pd.DataFrame()


def predicted(cells: Sequence[Cell], epoch: int = -1) -> pd.Series:
    """Join the predictions of several folds, after the last epoch or another one."""
    return pd.concat([cell.predicted(epoch) for cell in cells])


def epochs_table(corpus: Corpus, grid: Grid, by: By) -> pd.DataFrame:
    """Compare reporting the last epoch with reporting the best epoch of the very folds that are reported.

    Returns:
        One row per system, in the order of the grid: mean macro-F1 of the folds after the last epoch and after each
        fold's best one, and the difference.
    """
    rows = []
    for system, cells in grid.items():
        each = [[score_on(corpus, cell.predicted(e)).macro_f1 for e in range(len(cell.epochs))] for cell in cells]
        last, best = (float(np.mean([of(scores) for scores in each])) for of in (lambda scores: scores[-1], max))
        rows.append({**by(system), "last epoch": last, "best epoch": best, "difference": best - last})
    return pd.DataFrame(rows).set_index(list(by(next(iter(grid))))) if rows else pd.DataFrame()


def answers_table(answers: pd.DataFrame) -> pd.DataFrame:
    """Tabulate what a system says of clips, with its probability, as `listening.listen` shows it.

    Args:
        answers: from `audio_training.answers`.
    """
    return pd.DataFrame(
        {
            f"{way} audio": [
                f"{label} ({p:.2f})" for label, p in zip(answers[f"{way} audio"], answers[f"p {way}"], strict=True)
            ]
            for way in ("with", "without")
        },
        index=answers.index,
    )


def audio_share(corpus: Corpus, answers: pd.DataFrame) -> pd.Series:
    """Compute the share of clips answered right with audio and without, and of answers that the audio changes."""
    gold = gold_for(corpus, answers.index)
    heard, silent = answers["with audio"], answers["without audio"]
    shares = {"right with audio": heard == gold, "right without": silent == gold, "answer changed": heard != silent}
    return pd.Series({name: float(of.mean()) for name, of in shares.items()}, name="share of the clips")


@torch.no_grad()
def mask_effects(encoder: Emotion2vecFrames, waveforms: Sequence[np.ndarray]) -> pd.DataFrame:
    """Measure what padding, its mask and the normalisation do to the first clip's frames in a batch.

    Args:
        encoder: emotion2vec.
        waveforms: float32 [samples] each; the first one is looked at and should not be the longest.

    Returns:
        One row per frame of that clip and a way: ``way``, ``seconds``, and ``distance``, that of the frame to the one
        of the clip alone, as a share of the latter's length.
    """
    device, dtype = encoder.device, next(encoder.parameters()).dtype
    raw = [torch.as_tensor(w, device=device, dtype=dtype) for w in waveforms]
    lengths = torch.tensor([len(w) for w in raw], device=device)
    sound = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
    apart = pad_sequence([layer_norm(w, w.shape) for w in raw], batch_first=True)
    together = pad_sequence(raw, batch_first=True)
    together = layer_norm(together, together.shape)
    ways = {
        "right mask": (apart, ~sound),
        "right mask, normalised together": (together, ~sound),
        "inverted mask": (apart, sound),
        "inverted mask, normalised together (released)": (together, sound),
    }
    alone = encoder([waveforms[0]]).of(0)[0]
    rows = []
    for way, (values, mask) in ways.items():
        distance = _distances(encoder.layers_of(values, mask)[0][-1][0], alone)
        seconds = np.arange(len(alone)) / len(alone) * len(waveforms[0]) / SAMPLE_RATE
        rows.append(pd.DataFrame({"way": way, "seconds": seconds, "distance": distance}))
    return pd.concat(rows, ignore_index=True)


def _distances(frames: Tensor, alone: Tensor) -> np.ndarray:
    gap = (frames[: len(alone)] - alone).norm(dim=-1) / alone.norm(dim=-1)
    return gap.float().cpu().numpy()


def _size(parts: Sequence[Tensor]) -> int:
    return sum(part.numel() for part in parts)
