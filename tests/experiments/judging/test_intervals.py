"""Intervals and tests agree with naive loops and with scipy, and behave as theory says."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from emoser_lib.errors import UsageError
from emoser_lib.experiments.judging import intervals
from emoser_lib.experiments.judging.intervals import (
    approximate_randomisation,
    bootstrap_interval,
    paired_bootstrap,
    paper_interval,
)
from emoser_lib.experiments.judging.scoring import macro_f1_from_confusion

LABELS = ("neutral", "disgust", "anger", "joy", "sadness", "fear")
SHARES = (0.39, 0.23, 0.13, 0.12, 0.12, 0.01)
TABLE_3 = [(0.5814, 0.0352), (0.6094, 0.0349), (0.8248, 0.0272), (0.8072, 0.0282), (0.7904, 0.0291), (0.5134, 0.0359)]


def answers(rng: np.random.Generator, gold: np.ndarray, right: float) -> np.ndarray:
    """A system that knows the answer with probability ``right`` and guesses otherwise."""
    return np.where(rng.random(len(gold)) < right, gold, rng.choice(LABELS, len(gold))).astype(object)


def clips(n: int, seed: int = 0, right: float = 0.6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.choice(LABELS, n, p=SHARES).astype(object)
    return gold, answers(rng, gold, right)


def alike(gold: np.ndarray, predicted: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """The same clips in an order in which neighbours, and so groups, are right or wrong together."""
    order = np.argsort(gold == predicted, kind="stable")
    return [values[order] for values in (gold, predicted, *others)]


def macro_f1(gold: np.ndarray, predicted: np.ndarray) -> float:
    return float(metrics.f1_score(gold, predicted, labels=list(LABELS), average="macro", zero_division=0))


@pytest.mark.parametrize(("value", "half"), TABLE_3)
def test_paper_interval_gives_table_3(value: float, half: float) -> None:
    low, high = paper_interval(value, 750)
    assert (high - low) / 2 == pytest.approx(half, abs=0.0002)
    assert (high + low) / 2 == pytest.approx(value)


@pytest.mark.parametrize(("value", "n"), [(1.1, 5), (-0.1, 5), (float("nan"), 5), (0.5, 0)])
def test_paper_interval_of_nonsense(value: float, n: int) -> None:
    with pytest.raises(UsageError):
        paper_interval(value, n)


@pytest.mark.parametrize("grouped", [False, True])
def test_bootstrap_agrees_with_a_naive_loop(grouped: bool) -> None:
    gold, predicted = alike(*clips(150))
    groups = np.arange(150) // 5 if grouped else np.arange(150)
    rng, units, draws = np.random.default_rng(5), np.unique(groups), []
    members = [np.flatnonzero(groups == unit) for unit in units]
    for _ in range(800):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(units), len(units))])
        draws.append(macro_f1(gold[rows], predicted[rows]))
    interval = bootstrap_interval(gold, predicted, LABELS, groups if grouped else None, resamples=8000)
    assert interval.estimate == pytest.approx(macro_f1(gold, predicted))
    assert interval.bounds == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.012)
    assert (interval.unit, interval.units) == (("group", 30) if grouped else ("clip", 150))


def test_groups_of_one_clip_are_clips() -> None:
    gold, predicted = clips(200)
    by_clip = bootstrap_interval(gold, predicted, LABELS, resamples=4000)
    by_group = bootstrap_interval(gold, predicted, LABELS, np.arange(200), resamples=4000)
    assert by_group.bounds == pytest.approx(by_clip.bounds, abs=0.01)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_accuracy_equals_scipy_on_the_hits(method: str) -> None:
    gold, predicted = clips(80)
    hits = (gold == predicted).astype(float)
    expected = stats.bootstrap((hits,), np.mean, n_resamples=20_000, method=method, rng=np.random.default_rng(1))
    interval = bootstrap_interval(gold, predicted, LABELS, method=method, metric="accuracy", resamples=20_000)
    assert interval.method == method
    # the accuracy of 80 clips has steps of 0.0125: the bounds may fall on neighbouring ones
    assert interval.bounds == pytest.approx(tuple(expected.confidence_interval), abs=0.0126)


def test_bca_of_macro_f1_equals_scipy_with_scikit_learn() -> None:
    gold, predicted = clips(60)

    def statistic(rows: np.ndarray) -> float:
        return macro_f1(gold[rows], predicted[rows])

    expected = stats.bootstrap(
        (np.arange(60),), statistic, n_resamples=600, method="BCa", vectorized=False, rng=np.random.default_rng(3)
    )
    interval = bootstrap_interval(gold, predicted, LABELS, method="bca", resamples=8000)
    assert interval.method == "bca"
    assert interval.bounds == pytest.approx(tuple(expected.confidence_interval), abs=0.02)
    percentile = bootstrap_interval(gold, predicted, LABELS, resamples=8000)
    assert interval.low > percentile.low + 0.005, "macro-F1 resamples low here, BCa corrects it"


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_duplicated_clips_shrink_the_clip_interval_not_the_group_interval(method: str) -> None:
    gold, predicted = clips(300)
    one = bootstrap_interval(gold, predicted, LABELS, method=method, metric="accuracy", resamples=6000)
    twice = [np.repeat(values, 2) for values in (gold, predicted, np.arange(300))]
    by_clip = bootstrap_interval(*twice[:2], LABELS, method=method, metric="accuracy", resamples=6000)
    by_pair = bootstrap_interval(*twice[:2], LABELS, twice[2], method=method, metric="accuracy", resamples=6000)
    width, clip_width, pair_width = (i.high - i.low for i in (one, by_clip, by_pair))
    assert pair_width / width == pytest.approx(1, abs=0.06)
    assert clip_width / width == pytest.approx(1 / np.sqrt(2), abs=0.06)


@pytest.mark.parametrize("metric", ["macro_f1", "accuracy", "uar"])
@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("predicted", [["joy", "fear"] * 10, ["fear", "joy"] * 10])
def test_all_right_or_all_wrong_is_a_point(metric: str, method: str, predicted: list[str]) -> None:
    gold = ["joy", "fear"] * 10
    interval = bootstrap_interval(gold, predicted, ["joy", "fear"], method=method, metric=metric, resamples=500)
    value = float(gold == predicted)
    assert (interval.estimate, interval.low, interval.high, interval.method) == (value, value, value, "percentile")


@settings(max_examples=30, deadline=None)
@given(
    data=st.lists(st.tuples(*[st.sampled_from(["joy", "fear", "anger"])] * 2), min_size=2, max_size=12),
    metric=st.sampled_from(["macro_f1", "accuracy", "uar"]),
)
def test_intervals_are_finite_and_in_range(data: list[tuple[str, str]], metric: str) -> None:
    gold, predicted = map(list, zip(*data, strict=True))
    for method in ("percentile", "bca"):
        interval = bootstrap_interval(
            gold, predicted, ["joy", "fear", "anger"], method=method, metric=metric, resamples=200
        )
        assert 0 <= interval.low <= interval.high <= 1


def test_undefined_bca_says_percentile() -> None:
    # Every resample loses or keeps one of the two labels: none scores more than the estimate, so it is the largest.
    gold = predicted = ["joy"] * 3 + ["fear"]
    interval = bootstrap_interval(gold, predicted, ["joy", "fear"], method="bca", metric="accuracy", resamples=300)
    assert interval.method == "percentile" and interval.bounds == (1, 1)


@pytest.mark.slow
def test_coverage_of_the_accuracy_interval() -> None:
    rng, inside = np.random.default_rng(7), 0
    for trial in range(200):
        gold = rng.choice(LABELS, 150).astype(object)
        predicted = np.where(rng.random(150) < 0.7, gold, "nothing").astype(object)
        interval = bootstrap_interval(
            gold, predicted, [*LABELS, "nothing"], metric="accuracy", resamples=400, seed=trial
        )
        inside += interval.low <= 0.7 <= interval.high
    assert 0.89 <= inside / 200 <= 0.99


def test_a_seed_always_means_the_same() -> None:
    gold, predicted = clips(100)
    first, again, other = (bootstrap_interval(gold, predicted, LABELS, seed=s).bounds for s in (1, 1, 2))
    assert first == again != other


def test_identical_systems() -> None:
    gold, predicted = clips(100)
    difference = paired_bootstrap(gold, predicted, predicted, LABELS)
    assert (difference.estimate, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    test = approximate_randomisation(gold, predicted, predicted, LABELS, resamples=500)
    assert (test.estimate, test.p) == (0, 1)


@pytest.mark.parametrize("grouped", [False, True])
def test_paired_bootstrap_agrees_with_a_naive_loop(grouped: bool) -> None:
    gold, a = clips(150)
    b = answers(np.random.default_rng(9), gold, 0.45)
    gold, b, a = alike(gold, b, a)
    groups = np.arange(150) // 3 if grouped else np.arange(150)
    members = [np.flatnonzero(groups == unit) for unit in np.unique(groups)]
    rng, draws = np.random.default_rng(5), []
    for _ in range(400):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        draws.append(macro_f1(gold[rows], a[rows]) - macro_f1(gold[rows], b[rows]))
    result = paired_bootstrap(gold, a, b, LABELS, groups if grouped else None, resamples=8000)
    assert result.estimate == pytest.approx(macro_f1(gold, a) - macro_f1(gold, b))
    assert result.bounds == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.02)
    # the p-value inverts the interval: 0 is outside exactly where p < 5 %
    assert (result.p < 0.05) == (not result.low <= 0 <= result.high)
    swapped = paired_bootstrap(gold, b, a, LABELS, groups if grouped else None, resamples=8000)
    assert swapped.estimate == -result.estimate
    assert swapped.p == result.p


def test_paired_is_narrower_than_unpaired_when_systems_agree() -> None:
    gold, a = clips(400)
    b = a.copy()
    b[:20] = "neutral"
    difference = paired_bootstrap(gold, a, b, LABELS, metric="accuracy")
    alone = bootstrap_interval(gold, a, LABELS, metric="accuracy")
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)


def test_randomisation_agrees_with_scipy_permutation() -> None:
    gold, a = clips(60, seed=2)
    b = answers(np.random.default_rng(4), gold, 0.45)

    def difference(x: np.ndarray, y: np.ndarray) -> float:
        return abs(macro_f1(gold, x.astype(object)) - macro_f1(gold, y.astype(object)))

    code = {label: i for i, label in enumerate(LABELS)}
    x, y = (np.array([code[label] for label in values]) for values in (a, b))
    names = np.array(LABELS)
    expected = stats.permutation_test(
        (x, y),
        lambda x, y: difference(names[x], names[y]),
        permutation_type="samples",
        alternative="greater",
        vectorized=False,
        n_resamples=600,
        rng=np.random.default_rng(0),
    )
    result = approximate_randomisation(gold, a, b, LABELS)
    assert 0.01 < result.p < 0.9, "a case that can tell"
    assert result.p == pytest.approx(expected.pvalue, abs=0.04)


def test_randomisation_swaps_whole_groups() -> None:
    # 4 groups of 10 clips, a right on all and b on none: only 2 of the 16 swaps are as extreme.
    gold, a, b = ["joy", "fear"] * 20, ["joy", "fear"] * 20, ["fear", "joy"] * 20
    by_group = approximate_randomisation(gold, a, b, ["joy", "fear"], np.arange(40) // 10)
    assert by_group.p == pytest.approx(2 / 16, abs=0.02)
    assert approximate_randomisation(gold, a, b, ["joy", "fear"]).p == 1 / 10_001


@pytest.mark.parametrize("method", ["bootstrap", "randomisation"])
def test_p_values_under_the_null_are_about_uniform(method: str) -> None:
    rng, values = np.random.default_rng(11), []
    for trial in range(150):
        gold = rng.choice(LABELS, 200, p=SHARES).astype(object)
        pair = answers(rng, gold, 0.6), answers(rng, gold, 0.6)
        if method == "bootstrap":
            values.append(paired_bootstrap(gold, *pair, LABELS, metric="accuracy", resamples=300, seed=trial).p)
        else:
            values.append(approximate_randomisation(gold, *pair, LABELS, resamples=300, seed=trial).p)
    assert np.mean(np.array(values) < 0.1) == pytest.approx(0.1, abs=0.08)
    assert np.mean(values) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"metric": "macro-f1"}, "'macro-f1' is not a metric .*did you mean 'macro_f1'"),
        ({"method": "basic"}, "'basic' is not a method"),
        ({"resamples": 0}, "resamples is 0"),
        ({"level": 95}, "level is 95"),
        ({"groups": ["a", "", "b"]}, "groups is empty at '1'"),
        ({"groups": ["a", "a", "a"]}, "only one clip or group"),
        ({"groups": ["a", "b"]}, "groups 2"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        bootstrap_interval(["joy"] * 3, ["joy"] * 3, ["joy", "fear"], **options)  # type: ignore[arg-type]


def test_two_thousand_resamples_take_about_a_second() -> None:
    gold, predicted = clips(750)
    groups = np.random.default_rng(0).integers(0, 600, 750)
    started = time.perf_counter()
    bootstrap_interval(gold, predicted, LABELS)
    bootstrap_interval(gold, predicted, LABELS, groups, method="bca")
    assert time.perf_counter() - started < 4  # about 0.5 s; generous for a busy machine


def test_bca_scores_no_more_samples_for_more_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample without one clip scores what one without any clip of the same answers does."""
    scored = []

    def counted(confusion: np.ndarray) -> np.ndarray:
        scored.append(np.size(confusion) // len(LABELS) ** 2)
        return macro_f1_from_confusion(confusion)

    monkeypatch.setattr(intervals, "METRICS", {"macro_f1": counted})
    counts = []
    for n in (3_000, 30_000):
        bootstrap_interval(*clips(n), LABELS, method="bca", resamples=100)
        counts.append(sum(scored))
        scored.clear()
    assert counts[1] <= counts[0] + 36


def test_memory_does_not_grow_with_resamples_times_groups() -> None:
    """Of 10,000 resamples of 100,000 groups: the numbers that are held at a time are bounded."""
    gold, a = clips(3_000)
    b, groups = answers(np.random.default_rng(1), gold, 0.5), np.arange(3_000) // 2

    def peak(resamples: int) -> int:
        tracemalloc.start()
        approximate_randomisation(gold, a, b, LABELS, groups, resamples=resamples)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(6_000) <= 1.2 * peak(3_000)


def test_a_seed_means_the_same_however_many_resamples_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, a = clips(300)
    b, groups = answers(np.random.default_rng(1), gold, 0.5), np.arange(300) // 3

    def found() -> list[object]:
        return [
            paired_bootstrap(gold, a, b, LABELS, groups, method="bca", resamples=300),
            approximate_randomisation(gold, a, b, LABELS, groups, resamples=300),
        ]

    whole = found()
    monkeypatch.setattr(intervals, "HELD", 7 * 300)
    assert found() == whole
