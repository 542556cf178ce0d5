"""Seeds of one setting read together, from the cells that are committed: the mean of their log-probabilities."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import Record, published_records, score
from emoser_lib.experiments.training.cells import Cell, committed_cells, read_cell
from emoser_lib.files import damage
from emoser_lib.reporting.scores import gold_for, paired_table
from emoser_lib.reporting.seeds import of_other_seeds

BIASES = tuple(np.arange(-4.0, 4.5, 0.5).tolist())
"""Nats that `chosen_bias` tries for each label (our choice)."""


def committed_cell(record: Record) -> Cell | None:
    """Find the committed cell of what a record reports: that of as many steps and seconds; ``None`` where none is."""
    told = record.metrics.get("steps"), record.metrics.get("seconds")
    folders = (path.parent for path in sorted(committed_cells().glob("*/cell.json")))
    cells = (read_cell(folder) for folder in folders if not damage(folder, folder.name))
    return next((cell for cell in cells if (cell.steps, cell.seconds) == told), None)


def mean_scores(cells: Sequence[Cell]) -> pd.DataFrame:
    """Average the log-probabilities of several cells, those of the last epoch.

    Args:
        cells: of the same clips and labels.

    Returns:
        One row a clip, one column a label.

    Raises:
        UsageError: there is no cell, or they are of other clips or labels.
    """
    if not cells or len({(cell.ids, cell.labels) for cell in cells}) > 1:
        raise UsageError("only cells of the same clips and labels have a mean: name one or more of one cut.")
    return pd.concat([cell.scores() for cell in cells]).groupby(level=0, sort=False).mean()


def seeds_beside(
    corpus: Corpus, cells: Mapping[int, Cell], other: pd.Series, resamples: int = 2000, seed: int = 0, by: str = ""
) -> pd.DataFrame:
    """Compare each seed, and from two on the mean of their log-probabilities, with another system on the same clips.

    Args:
        corpus: gives the gold labels and the label set.
        cells: seed -> its cell; all of the same clips.
        other: the other system's labels by clip id.
        resamples, seed, by: of the paired bootstrap, see `paired_table`.

    Returns:
        Two rows for each system, with all labels and without the rarest: macro-F1, ``beside`` (the other's), the
        difference with its 95 % interval and p, n.
    """
    answers = {f"seed {number}": cell.predicted() for number, cell in cells.items()}
    if len(cells) > 1:
        answers[f"mean of {len(cells)} seeds"] = mean_scores(list(cells.values())).idxmax(axis=1)
    tables = {
        name: paired_table(corpus, told, other[told.index], resamples, seed, by) for name, told in answers.items()
    }
    table = pd.concat(tables, names=["system"]).rename(columns={"first": "macro_f1", "second": "beside"})
    return table.reset_index("labels").set_index("labels", append=True)


def chosen_bias(corpus: Corpus, scores: pd.DataFrame) -> pd.Series:
    """Choose what to add to each label's log-probability for the best macro-F1 (logit adjustment), label by label.

    One label after another takes the best of `BIASES`, the smallest where several are, until none moves. Give it clips
    of training folds only: those that it has seen say nothing of how good it is.

    Args:
        corpus: gives the gold labels.
        scores: one row a clip, one column a label.

    Returns:
        Nats by label.
    """
    gold = gold_for(corpus, scores.index)
    bias = pd.Series(0.0, scores.columns, name="bias")

    def reached(label: str, value: float) -> tuple[float, float]:
        tried = bias.where(bias.index != label, value)
        return score(gold, (scores + tried).idxmax(axis=1), corpus.labels).macro_f1, -abs(value)

    moved = True
    while moved:
        moved = False
        for label in bias.index:
            best, value = max((reached(label, tried), tried) for tried in BIASES)
            if best > reached(label, bias[label]):
                bias[label], moved = value, True
    return bias


def answers_with_bias(corpus: Corpus, cells: Sequence[Cell]) -> pd.Series:
    """Answer each fold's clips with the bias that the other folds choose: what a bias is worth, one fold left out.

    Args:
        corpus: gives the gold labels of the training clips.
        cells: one a fold, at least two.

    Returns:
        Labels by clip id.
    """
    if len(cells) < 2:
        raise UsageError("a bias is chosen on the other folds: give the cells of two folds or more.")
    told = []
    for held_out in cells:
        bias = chosen_bias(corpus, pd.concat([cell.scores() for cell in cells if cell is not held_out]))
        told.append((held_out.scores() + bias).idxmax(axis=1))
    return pd.concat(told).rename("predicted")


def joined(name: str) -> dict[str, Any]:
    """Read what ``scripts/join_seeds.py`` keeps of a setting's seeds.

    Args:
        name: of the record of one of them.

    Returns:
        ``notebook``; ``planned``: seeds; ``cells``: seed -> key; ``rows``: those of `seeds_beside`.
    """
    told: dict[str, Any] = json.loads((committed_cells() / f"{name}.json").read_text(encoding="utf-8"))
    return told


def seeds_told(name: str) -> dict[str, str]:
    """List in words which seeds of a setting have their answers ``kept``, and which have no record yet: ``missing``.

    >>> sorted(seeds_told("05-gemma-lora-small-test"))
    ['kept', 'missing']
    """
    told = joined(name)
    records = published_records(told["notebook"])
    record = next(one for one in records if one.name == name)
    measured = {one.parameters["seed"] for one in of_other_seeds(record, records)}
    missing = [seed for seed in told["planned"] if seed not in measured]
    return {kind: ", ".join(map(str, of)) or "none" for kind, of in {"kept": told["cells"], "missing": missing}.items()}


def joined_table(name: str) -> pd.DataFrame:
    """Tabulate what was measured of a setting's seeds beside text-svm, see `seeds_beside`."""
    return pd.DataFrame(joined(name)["rows"]).set_index(["system", "labels"])
