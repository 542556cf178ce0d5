"""Seeds read together from committed cells, and biases that folds choose."""

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import published_records
from emoser_lib.experiments.training.cells import Cell, committed_cells
from emoser_lib.reporting import score_on
from emoser_lib.reporting.reading.joined import (
    answers_with_bias,
    chosen_bias,
    committed_cell,
    joined,
    mean_scores,
    seeds_beside,
)
from emoser_lib.reporting.scores import gold_for
from emoser_lib.reporting.seeds import of_other_seeds

DEMO = load_corpus("demo")
LABELS = DEMO.labels
TEST = pd.Index(DEMO.test()["id"])
TRAIN = pd.Index(DEMO.training()["id"])
RNG = np.random.default_rng(0)


def cell(scores: pd.DataFrame) -> Cell:
    told = {"key": "k", "log": (), "trainable": 1, "steps": 1, "seconds": 1.0, "threads": 1, "commit": None, "date": ""}
    epochs = [scores.sort_index(axis=1).to_numpy().tolist(), scores.to_numpy().tolist()]  # the last one counts
    return Cell(ids=tuple(scores.index), labels=tuple(scores.columns), epochs=epochs, **told)


def said(ids: pd.Index, right: float) -> pd.DataFrame:
    """Log-probabilities of which a share has the gold label on top."""
    chances = RNG.dirichlet(np.ones(len(LABELS)), len(ids))
    lifted = np.where(RNG.random(len(ids)) < right, [LABELS.index(label) for label in gold_for(DEMO, ids)], 0)
    chances[np.arange(len(ids)), lifted] += 1
    return pd.DataFrame(np.log(chances / chances.sum(axis=1, keepdims=True)), ids, LABELS)


def test_a_mean_is_of_the_last_epochs_of_the_same_clips() -> None:
    one, other = said(TEST, 0.5), said(TEST, 0.5)
    mean = mean_scores([cell(one), cell(other)])
    pd.testing.assert_frame_equal(mean, (one + other) / 2, check_names=False)
    with pytest.raises(UsageError, match="same clips and labels"):
        mean_scores([cell(one), cell(other.iloc[::-1])])
    with pytest.raises(UsageError, match="same clips and labels"):
        mean_scores([])


def test_seeds_stand_beside_a_system_and_together_from_two_on() -> None:
    plain = said(TEST, 0.2).idxmax(axis=1)
    one, other = said(TEST, 0.8), said(TEST, 0.8)
    alone = seeds_beside(DEMO, {3: cell(one)}, plain, resamples=100)
    assert list(alone.index) == [("seed 3", "all labels"), ("seed 3", "without fear")]
    both = seeds_beside(DEMO, {0: cell(one), 3: cell(other)}, plain, resamples=100)
    assert list(both.index.unique("system")) == ["seed 0", "seed 3", "mean of 2 seeds"]
    row = both.loc[("mean of 2 seeds", "all labels")]
    together = score_on(DEMO, (one + other).idxmax(axis=1)).macro_f1
    assert row["macro_f1"] == pytest.approx(together)
    assert row["difference"] == pytest.approx(together - score_on(DEMO, plain).macro_f1) and row["low"] > 0


def test_a_bias_lifts_a_label_that_is_never_said() -> None:
    """And where it cannot help, it is none."""
    scores = said(TRAIN, 1.0)
    scores["joy"] -= 3
    assert (scores.idxmax(axis=1) != "joy").all()
    bias = chosen_bias(DEMO, scores)
    assert bias["joy"] >= bias.drop("joy").max() + 2.5
    assert score_on(DEMO, (scores + bias).idxmax(axis=1)).macro_f1 == pytest.approx(1.0)
    assert (chosen_bias(DEMO, said(TRAIN, 1.0)) == 0).all()


def test_the_fold_that_is_judged_does_not_choose_its_bias() -> None:
    half = len(TRAIN) // 2
    lowered, plain = said(TRAIN[:half], 1.0), said(TRAIN[half:], 1.0)
    lowered["joy"] -= 3
    told = answers_with_bias(DEMO, [cell(lowered), cell(plain)])
    gold = gold_for(DEMO, TRAIN)
    assert set(told.index) == set(TRAIN)
    first = told[TRAIN[:half]]
    assert (first != "joy").all(), "the other fold needs no bias, so this one gets none"
    assert (told[TRAIN[half:]] == "joy").sum() > (gold[TRAIN[half:]] == "joy").sum()
    with pytest.raises(UsageError, match="two folds or more"):
        answers_with_bias(DEMO, [cell(plain)])


def test_what_the_chapter_shows_is_of_the_cells_that_are_committed() -> None:
    """A seed's cell that is added without `scripts/join_seeds.py` is noticed."""
    records = published_records()
    found = {record.name: of.key for record in records if (of := committed_cell(record))}
    assert found
    for path in committed_cells().glob("*.json"):
        told = joined(path.stem)
        record = next(one for one in records if one.name == path.stem)
        seeds = of_other_seeds(record, records)
        keys = {str(one.parameters["seed"]): found[one.name] for one in seeds if one.name in found}
        assert told["cells"] == keys, "run scripts/join_seeds.py"
        assert {one.parameters["seed"] for one in seeds} <= set(told["planned"])
        systems = [f"seed {seed}" for seed in keys] + ([f"mean of {len(keys)} seeds"] if len(keys) > 1 else [])
        assert list(dict.fromkeys(row["system"] for row in told["rows"])) == systems


@pytest.mark.needs_data
def test_a_committed_cell_gives_the_scores_of_its_record() -> None:
    found = [(record, of) for record in published_records() if (of := committed_cell(record))]
    assert found
    for record, of in found:
        scored = score_on(load_corpus(record.parameters["corpus"]), of.predicted())
        assert scored.macro_f1 == pytest.approx(record.metrics["macro_f1"], abs=1e-12)
        told = {label: row["f1"] for label, row in record.metrics["per_label"].items()}
        assert {label: row.f1 for label, row in scored.per_class.items()} == pytest.approx(told)
