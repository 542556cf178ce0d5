"""The ceilings are right: checked against other ways of computing them."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import f1_score

from emoser_lib.corpora.ceilings import CEILINGS, best_rule, ceilings, label_posterior
from emoser_lib.corpora.corpus import LABELS
from emoser_lib.corpora.generation import DEMO_DATA, PROSODY, QUALITIES, draw_latents, load_distributions
from emoser_lib.errors import UsageError


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return ceilings()


@pytest.fixture(scope="module")
def prior() -> np.ndarray:
    counts = np.array([load_distributions().clips["test"][label] for label in LABELS])
    return counts / counts.sum()


def macro_f1(joint: np.ndarray) -> np.ndarray:
    right = np.diagonal(joint, axis1=-2, axis2=-1)
    return np.mean(2 * right / (joint.sum(axis=-1) + joint.sum(axis=-2)), axis=-1)


def test_words_alone_are_clearly_below_voice_and_both_and_nothing_is_perfect(table: pd.DataFrame) -> None:
    assert list(table.index) == list(CEILINGS) == ["text", "audio", "both"]
    assert list(table.columns) == ["macro_f1", "accuracy", "low", "high", "on_this_test"]
    text, audio, both = table["macro_f1"]
    assert text + 0.05 < audio < both - 0.05 and both < 1
    assert both - text > 0.15
    assert table["accuracy"].is_monotonic_increasing
    assert ((table["low"] < table["macro_f1"]) & (table["macro_f1"] < table["high"])).all()
    assert table["on_this_test"].between(table["low"], table["high"]).all()


def test_text_ceiling_is_the_best_of_all_maps_from_cue_to_label(table: pd.DataFrame, prior: np.ndarray) -> None:
    joint = prior[:, None] * load_distributions().cue_matrix()  # [label, cue]
    maps = np.array(list(itertools.product(range(6), repeat=6)))  # every map from cue to label: 46,656
    sends = np.eye(6)[maps]  # [map, cue, predicted]
    scores = macro_f1(np.einsum("lc,mcp->mlp", joint, sends))
    assert table["macro_f1"]["text"] == pytest.approx(scores.max(), abs=0.004)
    accuracy = joint.max(axis=0).sum()
    assert table["accuracy"]["text"] == pytest.approx(accuracy, abs=0.004)


@pytest.mark.parametrize("source", ["audio", "both"])
def test_no_change_of_a_label_weight_beats_the_best_rule(prior: np.ndarray, source: str) -> None:
    distributions = load_distributions()
    gold = np.repeat(np.arange(6), 4_000)
    clips = draw_latents(distributions, np.array(LABELS)[gold], np.random.default_rng(3))
    posterior = label_posterior(distributions, clips, source, prior)
    rule, best = best_rule(posterior, gold, prior)

    def score(weight: np.ndarray) -> float:
        joint = np.zeros((6, 6))
        np.add.at(joint, (gold, (weight * (posterior - rule.offset)).argmax(axis=1)), prior[gold] / 4_000)
        return float(macro_f1(joint))

    weight = rule.weight
    assert score(weight) == pytest.approx(best)
    for _ in range(2):  # coordinate ascent
        for label, factor in itertools.product(range(6), (0.25, 0.5, 0.8, 0.9, 1.1, 1.25, 2.0, 4.0)):
            weight = max(weight, weight * np.where(np.arange(6) == label, factor, 1.0), key=score)
    assert score(weight) <= best + 0.004  # 24,000 clips may differ so much by chance


@pytest.mark.parametrize("source", CEILINGS)
def test_at_the_best_rule_no_clip_would_rather_have_another_label(prior: np.ndarray, source: str) -> None:
    distributions = load_distributions()
    gold = np.repeat(np.arange(6), 20_000)
    clips = draw_latents(distributions, np.array(LABELS)[gold], np.random.default_rng(8))
    posterior = label_posterior(distributions, clips, source, prior)
    rule, _ = best_rule(posterior, gold, prior)
    predicted = rule.predict(posterior)
    joint = np.zeros((6, 6))
    np.add.at(joint, (gold, predicted), prior[gold] / 20_000)

    # d macro-F1 / d (probability of predicting y at a clip), up to the factor 1 / 6
    f1 = 2 * np.diag(joint) / (joint.sum(axis=0) + joint.sum(axis=1))
    marginal = (2 * posterior - f1) / (joint.sum(axis=0) + joint.sum(axis=1))
    assert (marginal.argmax(axis=1) == predicted).mean() > 0.99


def test_posterior_is_bayes_theorem(prior: np.ndarray) -> None:
    distributions = load_distributions()
    clips = draw_latents(distributions, LABELS, np.random.default_rng(0))
    posterior = label_posterior(distributions, clips, "both", prior)
    for row, clip in clips.iterrows():
        joint = np.array(
            [
                prior[k]
                * distributions.words.cue_given_label[label][clip["cue"]]
                * distributions.prosody.quality_given_label[label][clip["quality"]]
                * multivariate_normal(distributions.mean_matrix()[k], distributions.covariance()).pdf(
                    clip[list(PROSODY)].to_numpy(float)
                )
                for k, label in enumerate(LABELS)
            ]
        )
        np.testing.assert_allclose(posterior[row], joint / joint.sum(), rtol=1e-8)


def test_scores_on_the_shipped_test_are_those_of_scikit_learn(table: pd.DataFrame, prior: np.ndarray) -> None:
    metadata, latents = (pd.read_csv(DEMO_DATA / name) for name in ("metadata.csv", "latents.csv"))
    clips = metadata[["id", "label", "split"]].merge(latents, on="id").query("split == 'test'")
    distributions = load_distributions()
    # for words the rule is a map, found by enumeration above; here from the linearised optimum at that map
    joint = prior[:, None] * distributions.cue_matrix()
    maps = np.array(list(itertools.product(range(6), repeat=6)))
    best = maps[macro_f1(np.einsum("lc,mcp->mlp", joint, np.eye(6)[maps])).argmax()]
    predicted = [LABELS[best[LABELS.index(cue)]] for cue in clips["cue"]]
    expected = f1_score(clips["label"], predicted, labels=LABELS, average="macro", zero_division=0)
    assert table["on_this_test"]["text"] == pytest.approx(expected)
    assert set(clips["quality"]) <= set(QUALITIES)


def test_the_interval_is_what_drawn_test_sets_show(table: pd.DataFrame, prior: np.ndarray) -> None:
    distributions = load_distributions()
    labels = [label for label in LABELS for _ in range(distributions.clips["test"][label])]
    gold = np.array([LABELS.index(label) for label in labels])
    population_gold = np.repeat(np.arange(6), 5_000)
    population = draw_latents(distributions, np.array(LABELS)[population_gold], np.random.default_rng(5))
    rule, _ = best_rule(label_posterior(distributions, population, "both", prior), population_gold, prior)
    rng, scores = np.random.default_rng(6), []
    for _ in range(300):
        posterior = label_posterior(distributions, draw_latents(distributions, labels, rng), "both", prior)
        scores.append(f1_score(gold, rule.predict(posterior), labels=range(6), average="macro", zero_division=0))
    low, high = np.quantile(scores, [0.025, 0.975])
    assert table["low"]["both"] == pytest.approx(low, abs=0.03)
    assert table["high"]["both"] == pytest.approx(high, abs=0.03)


def test_the_training_split_has_the_same_ceiling_and_a_narrower_interval(table: pd.DataFrame) -> None:
    train = ceilings("train", draws=60_000)
    np.testing.assert_allclose(train["macro_f1"], table["macro_f1"], atol=0.01)
    assert ((train["high"] - train["low"]) < 0.7 * (table["high"] - table["low"])).all()


def test_the_same_seed_gives_the_same_table() -> None:
    pd.testing.assert_frame_equal(ceilings(draws=6_000, seed=7), ceilings(draws=6_000, seed=7))


def test_wrong_arguments_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="no split 'dev'"):
        ceilings("dev")
    with pytest.raises(UsageError, match="at least 1000"):
        ceilings(draws=10)
    with pytest.raises(UsageError, match="unknown source 'video'"):
        label_posterior(load_distributions(), pd.DataFrame({"cue": ["joy"]}), "video", np.full(6, 1 / 6))
