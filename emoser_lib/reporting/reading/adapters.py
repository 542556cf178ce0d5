"""Tables about what is trained: how large an adapter is, how systems learn, which of a grid is best."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from torch import nn

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.judging.intervals import fold_interval
from emoser_lib.experiments.planning.memory import ADAM, number_bytes, quietly_adapted
from emoser_lib.experiments.planning.meta_models import meta_model, size
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.reporting.scores import gold_for, score_on
from emoser_lib.systems.declared import Lora, TextSystem
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import adapted
from emoser_lib.systems.reading.packing import pack, plain_batch
from emoser_lib.systems.reading.text_task import TextExamples

Grid = Mapping[Any, Sequence[Cell]]
"""From `train_grid` or `train_audio_grid`: the cells of each system, one per fold."""

By = Callable[[Any], Mapping[str, Any]]
"""What a grid's systems differ in: column -> value of one system."""


def rank_and_alpha(system: TextSystem) -> dict[str, int]:
    """Name what the systems of a grid of adapters differ in."""
    return {"rank": system.lora.rank, "alpha": system.lora.alpha}


def by_name(system: str) -> dict[str, str]:
    """Name what systems that have names of their own differ in."""
    return {"system": system}


def adapters_by_rank(llm: LLM, ranks: Iterable[int]) -> pd.DataFrame:
    """Count trained parameters by rank, as peft does, for both sets of target matrices.

    Returns:
        One row per rank: all-linear, q,v, and the share of all-linear in the model.
    """
    total = sum(parameter.numel() for parameter in llm.model.parameters())
    rows = {}
    for rank in ranks:
        rows[rank] = {targets: _trained(llm, Lora(rank, rank, targets)) for targets in ("all-linear", "q,v")}
    table = pd.DataFrame(rows).T.rename_axis("rank")
    return table.assign(**{"share of the model": table["all-linear"] / total})


def layer_shapes(name: str, rank: int) -> pd.DataFrame:
    """Tabulate the matrices of a checkpoint's first layer and what an adapter adds to each, without its weights.

    Args:
        name: of a checkpoint that is known, or its folder.
        rank: r of the adapter.

    Returns:
        One row per matrix W: d_out, d_in, its numbers, the shapes of A and B, their numbers r (d_in + d_out), and
        what share of W's these are.

    >>> layer_shapes("google/gemma-2b", rank=16).loc["q_proj", ["A", "B", "r(d_in + d_out)"]].to_dict()
    {'A': '16 × 2,048', 'B': '2,048 × 16', 'r(d_in + d_out)': 65536}
    """
    model = meta_model(name)
    layers = next(module for module in model.modules() if isinstance(module, nn.ModuleList))
    rows = {}
    for path, module in layers[0].named_modules():
        if isinstance(module, nn.Linear):
            wide, high = module.in_features, module.out_features
            rows[path.rpartition(".")[2]] = {
                "d_out": high,
                "d_in": wide,
                "numbers in W": high * wide,
                "A": f"{rank} × {wide:,}",
                "B": f"{high:,} × {rank}",
                "r(d_in + d_out)": rank * (wide + high),
                "share": rank * (wide + high) / (high * wide),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("matrix")


def memory_by_way(name: str, ranks: Iterable[int]) -> pd.DataFrame:
    """Count the gigabytes (10⁹ bytes) that training a checkpoint keeps, activations left out: in full, and by adapter.

    What is frozen is held in bfloat16, what is trained in float32, with a gradient and two running means of Adam for
    each number (see `Memory`).

    Args:
        name: of a checkpoint that is known, or its folder.
        ranks: of adapters on all linear layers.
    """
    whole = size(meta_model(name))
    trained = {"all of it": whole}
    for rank in ranks:
        adapted_model = quietly_adapted(meta_model(name), Lora(rank, rank))
        trained[f"LoRA, rank {rank}"] = sum(p.numel() for p in adapted_model.parameters() if p.requires_grad)
    count = pd.Series(trained)
    held = count * number_bytes("float32")
    frozen = (count != whole) * whole * number_bytes("bfloat16")
    bytes_of = {"frozen weights": frozen, "trained weights": held, "gradients": held, "Adam's means": ADAM * held}
    table = pd.DataFrame(bytes_of) / 1e9
    table.insert(0, "trained numbers", count)
    return table.assign(together=table.iloc[:, 1:].sum(axis=1)).rename_axis("trained")


def batch_sizes(examples: TextExamples, clips: int) -> pd.DataFrame:
    """Count what the first clips cost as one batch: positions run through the model, and those with logits."""
    some = (examples.prefix, examples.rests[:clips], examples.targets[:clips])
    plain, packed = plain_batch(*some), pack(*some)
    rows = {
        "padded, logits everywhere": (plain.input_ids.numel(), plain.input_ids.numel()),
        "padded, logits at the label": (plain.input_ids.numel(), int(plain.labels.keep.sum())),
        "packed, logits at the label": (packed.input_ids.numel(), int(packed.labels.keep.sum())),
    }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["positions", "with logits"])


def grid_table(
    corpus: Corpus, grid: Grid, by: By = rank_and_alpha, folds: Sequence[int] = range(N_FOLDS)
) -> pd.DataFrame:
    """Tabulate mean macro-F1 over the folds per system of a grid, best first, as in THAU-UPM, section 5.1.1.

    Args:
        corpus: gives the gold labels.
        grid: the cells.
        by: the columns that name a system.
        folds: which ones the cells are of.

    Returns:
        One row per system: what ``by`` gives, macro_f1 (mean), folds (their number), trainable, seconds per step; of
        several folds also sd, low and high (see `intervals.fold_interval`), and macro-F1 of each.
    """
    rows = []
    for system, cells in grid.items():
        scores = pd.Series([score_on(corpus, cell.predicted()).macro_f1 for cell in cells])
        several = {}
        if len(cells) > 1:
            low, high = fold_interval(list(scores))
            several = {"sd": scores.std(), "low": low, "high": high}
            several |= {f"fold {fold}": score for fold, score in zip(folds, scores, strict=False)}
        seconds = sum(cell.seconds for cell in cells) / max(1, sum(cell.steps for cell in cells))
        rows.append(
            {
                **by(system),
                "macro_f1": scores.mean(),
                "folds": len(cells),
                "trainable": cells[0].trainable,
                "seconds_per_step": seconds,
                **several,
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("macro_f1", ascending=False, ignore_index=True) if len(table) else table


def learning_curves(corpus: Corpus, grid: Grid, by: By = rank_and_alpha) -> pd.DataFrame:
    """Score the held-out clips after each epoch: one row per system, fold and epoch."""
    rows = [
        {
            **by(system),
            "fold": fold,
            "epoch": epoch + 1,
            "macro_f1": score_on(corpus, cell.predicted(epoch)).macro_f1,
        }
        for system, cells in grid.items()
        for fold, cell in enumerate(cells)
        for epoch in range(len(cell.epochs))
    ]
    return pd.DataFrame(rows)


def epoch_means(curves: pd.DataFrame) -> pd.DataFrame:
    """Average macro-F1 over the folds after each epoch: one row per named system, one column per epoch.

    Args:
        curves: from `learning_curves`, with `by_name`.
    """
    means = curves.pivot_table(index="system", columns="epoch", values="macro_f1", sort=False)
    return means.rename(columns=lambda epoch: f"epoch {epoch}").rename_axis(columns=None)


def losses(grid: Grid, by: By = rank_and_alpha, window: int = 8) -> pd.DataFrame:
    """Tabulate the training loss along the steps: one row per system, fold and logged step.

    Args:
        grid: the cells.
        by: the columns that name a system.
        window: logged steps that each value is the mean of; single batches of four clips are noisy.
    """
    rows = []
    for system, cells in grid.items():
        for fold, cell in enumerate(cells):
            smooth = pd.Series([entry["loss"] for entry in cell.log]).rolling(window, min_periods=1).mean()
            which = {**by(system), "fold": fold}
            rows += [which | {**e, "loss": loss} for e, loss in zip(cell.log, smooth, strict=True)]
    return pd.DataFrame(rows)


def surest_errors(corpus: Corpus, cell: Cell, clips: int = 8) -> pd.DataFrame:
    """List the wrong answers that the system was surest of, with what was said.

    Returns:
        One row per clip: gold, predicted, probability (over the labels), transcription.
    """
    scores = cell.scores()
    shares = scores.sub(scores.max(axis=1), axis=0).transform("exp")
    shares = shares.div(shares.sum(axis=1), axis=0)
    table = pd.DataFrame({"gold": gold_for(corpus, scores.index), "predicted": cell.predicted()})
    table["probability"] = shares.max(axis=1)
    table["transcription"] = corpus.frame.set_index("id")["transcription"][scores.index]
    wrong = table[table["gold"] != table["predicted"]]
    return wrong.sort_values("probability", ascending=False, kind="stable").head(clips).reset_index(drop=True)


def _trained(llm: LLM, lora: Lora) -> int:
    with adapted(llm.model, lora) as model:
        return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
