"""Calibration by hand on tiny cases, and on draws whose probabilities are the true ones."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from emoser_lib.errors import UsageError
from emoser_lib.experiments.judging import calibration

LABELS = ["joy", "fear", "anger"]


def said(*rows: tuple[float, ...]) -> pd.DataFrame:
    return np.log(pd.DataFrame(rows, columns=LABELS[: len(rows[0])], index=[f"clip-{i}" for i in range(len(rows))]))


def drawn(n: int, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    """Log-probabilities, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.standard_normal((n, len(LABELS)))
    frame = calibration.tempered(pd.DataFrame(logits, columns=LABELS, index=[f"clip-{i}" for i in range(n)]), 1.0)
    labels = [rng.choice(LABELS, p=row) for row in np.exp(frame.to_numpy())]
    return frame, pd.Series(labels, frame.index)


def test_the_error_by_hand() -> None:
    # Bin (0.5, 1]: confidences 0.6 and 0.8, one of two right; bin (0, 0.5]: one of 0.4, right.
    frame = said((0.6, 0.2, 0.2), (0.1, 0.8, 0.1), (0.4, 0.3, 0.3))
    gold = pd.Series({"clip-0": "joy", "clip-1": "joy", "clip-2": "joy"})
    table = calibration.reliability(frame, gold, bins=2)
    assert table[["low", "high", "clips"]].to_numpy().tolist() == [[0.0, 0.5, 1], [0.5, 1.0, 2]]
    assert table["confidence"].tolist() == pytest.approx([0.4, 0.7])
    assert table["accuracy"].tolist() == pytest.approx([1.0, 0.5])
    assert calibration.expected_calibration_error(frame, gold, bins=2) == pytest.approx((1 * 0.6 + 2 * 0.2) / 3)


def test_gaps_of_one_bin_cancel_and_those_of_two_do_not() -> None:
    frame, gold = said((0.6, 0.4), (0.9, 0.1)), pd.Series({"clip-0": "joy", "clip-1": "fear"})
    assert calibration.expected_calibration_error(frame, gold, bins=1) == pytest.approx(0.25)
    assert calibration.expected_calibration_error(frame, gold, bins=5) == pytest.approx((0.4 + 0.9) / 2)


def test_certainty_that_is_right_has_no_error_and_certainty_that_is_wrong_the_largest() -> None:
    sure = pd.DataFrame({"joy": [0.0], "fear": [-np.inf]}, index=["a"])
    for label, error, brier in (("joy", 0, 0), ("fear", 1, 2)):
        gold = pd.Series({"a": label})
        assert calibration.expected_calibration_error(sure, gold) == error
        assert calibration.brier_score(sure, gold) == brier


def test_gold_labels_are_found_by_clip_not_by_place() -> None:
    frame, gold = drawn(50)
    shuffled = gold.sample(frac=1, random_state=1)
    for measure in (calibration.expected_calibration_error, calibration.brier_score):
        assert measure(frame, shuffled) == measure(frame, gold)
    assert calibration.fit_temperature(frame, shuffled) == calibration.fit_temperature(frame, gold)
    with pytest.raises(UsageError, match="clip 'clip-0' has probabilities and nothing beside them"):
        calibration.brier_score(frame, gold.drop("clip-0"))


def test_likelihood_and_brier_are_scikit_learns() -> None:
    frame, gold = drawn(200)
    order = sorted(LABELS)
    given_ = np.exp(frame[order].to_numpy())
    assert calibration.negative_log_likelihood(frame, gold) == pytest.approx(log_loss(gold, given_, labels=order))
    brier = brier_score_loss(gold, given_, labels=order, scale_by_half=False)
    assert calibration.brier_score(frame, gold) == pytest.approx(brier)


def test_true_probabilities_have_a_small_error_and_spoilt_ones_a_large_one() -> None:
    frame, gold = drawn(20_000)
    assert calibration.expected_calibration_error(frame, gold) < 0.015
    assert calibration.expected_calibration_error(calibration.tempered(frame, 0.4), gold) > 0.1


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_temperature_that_spoilt_probabilities_is_found(true: float) -> None:
    frame, gold = drawn(20_000)
    found = calibration.fit_temperature(calibration.tempered(frame, 1 / true), gold)
    assert found == pytest.approx(true, rel=0.05)


@given(st.floats(0.05, 20))
def test_a_temperature_changes_no_answer_and_leaves_probabilities(temperature: float) -> None:
    frame, _ = drawn(30)
    warm = calibration.tempered(frame, temperature)
    assert warm.idxmax(axis=1).equals(frame.idxmax(axis=1))
    assert ((warm.max(axis=1) <= frame.max(axis=1) + 1e-9) == (temperature >= 1)).all() or temperature == 1
    assert np.exp(warm).sum(axis=1).to_numpy() == pytest.approx(1)
    assert calibration.tempered(warm, 1 / temperature).to_numpy() == pytest.approx(frame.to_numpy(), abs=1e-6)


def test_a_temperature_needs_clips_and_possible_labels() -> None:
    frame, gold = drawn(3)
    with pytest.raises(UsageError, match="needs clips"):
        calibration.fit_temperature(frame[:0], gold)
    with pytest.raises(UsageError, match="'disgust' has no column"):
        calibration.fit_temperature(frame, gold.replace(gold.iloc[0], "disgust"))


def test_no_clip_helps_to_judge_itself() -> None:
    frame, gold = drawn(400)
    halves = calibration.halves(pd.Series(frame.index, frame.index))
    before, temperatures = calibration.cross_tempered(frame, gold, halves)
    first = halves.index[halves == 0]
    # The first half's labels are all made wrong: its own probabilities must not notice.
    spoilt = gold.copy()
    spoilt[first] = frame.loc[first].idxmin(axis=1)
    after, others = calibration.cross_tempered(frame, spoilt, halves)
    assert after.loc[first].equals(before.loc[first])
    assert temperatures[0] == others[0]
    assert temperatures[1] != others[1]
    assert list(after.index) == list(frame.index)


@given(st.lists(st.integers(0, 8), min_size=2, max_size=40), st.integers(0, 3))
def test_halves_keep_units_together_and_are_about_as_large(units: list[int], seed: int) -> None:
    of = pd.Series([f"speaker {unit}" for unit in units], [f"clip-{i}" for i in range(len(units))])
    if of.nunique() < 2:
        with pytest.raises(UsageError, match="of one unit"):
            calibration.halves(of, seed)
        return
    halves = calibration.halves(of, seed)
    assert halves.groupby(of).nunique().max() == 1
    assert set(halves) == {0, 1}
    sizes = halves.value_counts()
    assert abs(sizes[0] - sizes[1]) <= of.value_counts().max()


def test_the_curve_by_hand() -> None:
    sure = pd.Series({"a": 0.2, "b": 0.9, "c": 0.5, "d": 0.7})
    right = pd.Series({"d": False, "c": True, "b": True, "a": False})
    curve = calibration.risk_coverage(sure, right)
    assert curve["coverage"].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve["risk"].tolist() == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4])
    assert calibration.risk_area(curve) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=30), st.randoms())
def test_the_curve_ends_at_the_plain_score_and_ties_have_no_order(
    clips: list[tuple[int, bool]], chance: object
) -> None:
    frame = pd.DataFrame(clips, columns=["sure", "right"])
    curve = calibration.risk_coverage(frame["sure"], frame["right"])
    assert curve["risk"].iloc[-1] == pytest.approx(1 - frame["right"].mean())
    mixed = frame.sample(frac=1, random_state=chance.randrange(99))
    assert calibration.risk_coverage(mixed["sure"], mixed["right"])["risk"].to_numpy() == pytest.approx(curve["risk"])


def test_an_order_that_says_nothing_has_the_risk_of_all() -> None:
    right = pd.Series([True, False, True, True])
    assert calibration.risk_area(calibration.risk_coverage(pd.Series([0.5] * 4), right)) == pytest.approx(0.25)
