"""Tables about adapters: means over folds, sizes by hand, the errors a system was surest of."""

import numpy as np
import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.experiments import evaluation_folds, folds, score
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.reporting import figures, gold_for
from emoser_lib.reporting.reading import adapters
from emoser_lib.systems.declared import TextSystem
from emoser_lib.systems.reading.llm import load_llm
from emoser_lib.systems.reading.text_task import TextExamples

DEMO = load_corpus("demo")
LABELS = DEMO.labels


def cell(ids: tuple[str, ...], *epochs: np.ndarray, seconds: float = 10.0) -> Cell:
    log = tuple({"step": step, "epoch": step / 10, "loss": 1.0 / step} for step in (10, 20))
    return Cell(
        key="0",
        ids=ids,
        labels=LABELS,
        epochs=tuple(tuple(map(tuple, scores.tolist())) for scores in epochs),
        log=log,
        trainable=64,
        steps=20,
        seconds=seconds,
        threads=1,
        commit=None,
        date="",
    )


def guesses(ids: tuple[str, ...], right: float, seed: int = 0) -> np.ndarray:
    """Log-probabilities [clips, labels] whose best label is gold for about this share of the clips."""
    draw = np.random.default_rng(seed)
    gold = DEMO.training().set_index("id")["label"][list(ids)].map(LABELS.index).to_numpy()
    best = np.where(draw.random(len(ids)) < right, gold, draw.integers(0, len(LABELS), len(ids)))
    scores = draw.normal(-9, 1, (len(ids), len(LABELS)))
    scores[np.arange(len(ids)), best] = draw.normal(-1, 0.3, len(ids))
    return scores


CUTS = folds(DEMO)[:2]
GOOD = [cell(cut.validation, guesses(cut.validation, 0.3), guesses(cut.validation, 0.9)) for cut in CUTS]
BAD = [cell(cut.validation, guesses(cut.validation, 0.2), guesses(cut.validation, 0.3)) for cut in CUTS]
GRID = {TextSystem().with_adapter(4, 8): BAD, TextSystem().with_adapter(16, 32): GOOD}


def test_the_grid_is_sorted_by_the_mean_over_folds() -> None:
    table = adapters.grid_table(DEMO, GRID)
    assert list(table["rank"]) == [16, 4]
    gold = DEMO.training().set_index("id")["label"]
    each = [score(gold[list(c.ids)], c.predicted(), LABELS).macro_f1 for c in GOOD]
    assert table["macro_f1"][0] == pytest.approx(np.mean(each))
    assert table["sd"][0] == pytest.approx(np.std(each, ddof=1))
    assert table["folds"][0] == 2 and table["seconds_per_step"][0] == 0.5
    assert adapters.grid_table(DEMO, {}).empty


def test_learning_curves_have_each_epoch_of_each_fold() -> None:
    curves = adapters.learning_curves(DEMO, GRID)
    assert len(curves) == 2 * 2 * 2
    good = curves[curves["rank"] == 16].groupby("epoch")["macro_f1"].mean()
    assert good[2] > good[1]
    assert len(adapters.losses(GRID)) == 2 * 2 * 2


def test_after_each_epoch_systems_with_names_have_their_mean_over_the_folds() -> None:
    first, second = GRID.values()
    curves = adapters.learning_curves(DEMO, {"zeta": first, "alpha": second}, adapters.by_name)
    table = adapters.epoch_means(curves)
    assert list(table.index) == ["zeta", "alpha"], "in their order"
    assert list(table.columns) == ["epoch 1", "epoch 2"]
    gold = DEMO.training().set_index("id")["label"]
    each = [score(gold[list(c.ids)], c.predicted(0), LABELS).macro_f1 for c in first]
    assert table.loc["zeta", "epoch 1"] == pytest.approx(np.mean(each))
    assert len(figures.adapter_curves(adapters.losses({"zeta": first}, adapters.by_name), curves).axes[1].lines) >= 2


def test_the_surest_errors_are_errors() -> None:
    table = adapters.surest_errors(DEMO, GOOD[0], 5)
    assert (table["gold"] != table["predicted"]).all()
    assert table["probability"].is_monotonic_decreasing and table["probability"].between(1 / 6, 1).all()
    text = DEMO.frame.set_index("transcription")["label"]
    assert all(row.gold in np.atleast_1d(text[row.transcription]) for row in table.itertuples())
    right = gold_for(DEMO, GOOD[0].predicted().index) == GOOD[0].predicted()
    assert len(adapters.surest_errors(DEMO, GOOD[0], 1000)) == (~right).sum()


def test_batch_sizes_by_hand() -> None:
    examples = TextExamples([1] * 10, [[2] * 3, [2] * 5], [[3], [4, 5]])
    table = adapters.batch_sizes(examples, 2)
    # rows of 10 + 3 and 10 + 5 + 1 tokens: the last piece of a label is predicted, it predicts nothing
    assert table["positions"].tolist() == [32, 32, 10 + 3 + 6]
    assert table["with logits"].tolist() == [32, 3, 3]


def test_an_adapter_is_counted_without_weights_as_peft_counts_it() -> None:
    llm = load_llm("emoser/demo-gemma")
    shapes = adapters.layer_shapes("emoser/demo-gemma", 4)
    layers = llm.model.config.num_hidden_layers
    trained = adapters.adapters_by_rank(llm, [4])["all-linear"][4]
    assert layers * shapes["r(d_in + d_out)"].sum() == trained
    memory = adapters.memory_by_way("emoser/demo-gemma", [4])
    whole = sum(p.numel() for p in llm.model.parameters())
    assert memory["trained numbers"].tolist() == [whole, trained]
    assert memory["together"].tolist() == pytest.approx([16 * whole / 1e9, (2 * whole + 16 * trained) / 1e9])


def test_adapter_sizes_grow_with_the_rank() -> None:
    llm = load_llm("emoser/demo-gemma")
    table = adapters.adapters_by_rank(llm, [1, 8])
    layers = [m for n, m in llm.model.named_modules() if hasattr(m, "in_features") and "lm_head" not in n]
    assert table["all-linear"][1] == sum(m.in_features + m.out_features for m in layers)
    assert table["all-linear"][8] == 8 * table["all-linear"][1]
    assert (table["q,v"] < table["all-linear"]).all()
    assert not hasattr(llm.model, "peft_config")


def test_figures_without_a_grid_say_so() -> None:
    figure = figures.grid_heat_map(adapters.grid_table(DEMO, {}))
    assert "No grid here" in figure.axes[0].texts[0].get_text()
    assert len(figures.grid_heat_map(adapters.grid_table(DEMO, GRID)).axes[0].texts) == 2  # two pairs were run


def test_a_run_without_folds_has_curves_too() -> None:
    cut = evaluation_folds(DEMO, "test")[0]
    scores = np.random.default_rng(0).normal(-5, 1, (len(cut.validation), 6))
    refit = cell(cut.validation, scores)
    curves = adapters.learning_curves(DEMO, {TextSystem(): [refit]})
    figure = figures.adapter_curves(adapters.losses({TextSystem(): [refit]}), curves)
    assert [axes.get_ylabel() for axes in figure.axes] == ["training loss", "macro-F1, held out"]
