"""What chance does to a score: the made-up systems are what they say, and the simulations agree with the real tests."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.errors import UsageError
from emoser_lib.experiments import approximate_randomisation
from emoser_lib.experiments.judging import simulations
from emoser_lib.experiments.judging.scoring import macro_f1_from_confusion

OFFICIAL = [291, 177, 100, 90, 86, 6]
"""Clips of each label of the challenge's test."""

LABELS = ["a", "b", "c"]
COUNTS = [60, 40, 20]


@settings(max_examples=60, deadline=None)
@given(st.floats(0.3, 1.0), st.sampled_from([None, 5]))
def test_a_made_up_system_has_the_score_that_is_asked_for(macro_f1: float, never: int | None) -> None:
    # Who never answers a label misses its clips, and answers others with them.
    macro_f1 = macro_f1 if never is None else min(macro_f1, 0.82)
    answers = simulations.knowing(macro_f1, OFFICIAL, never)
    assert answers.sum(axis=1) == pytest.approx(1)
    assert (answers >= 0).all()
    assert macro_f1_from_confusion(np.array(OFFICIAL)[:, None] * answers) == pytest.approx(macro_f1)
    if never is not None:
        assert (answers[:, never] == 0).all()


def test_no_system_is_worse_than_guessing() -> None:
    with pytest.raises(UsageError, match=r"macro_f1 is 0.1: on these labels it must be from 0.167 to 1.000\."):
        simulations.knowing(0.1, OFFICIAL)
    with pytest.raises(UsageError, match=r"to 0.830\."):
        simulations.knowing(0.84, OFFICIAL, never=5)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.35, 0.95), st.floats(0.35, 0.95), st.floats(0, 1))
def test_two_systems_keep_their_own_answers_however_alike_they_are(one: float, other: float, alike: float) -> None:
    a, b = (simulations.knowing(score, COUNTS) for score in (one, other))
    both = simulations.joint_answers(a, b, alike)
    assert (both >= -1e-12).all()
    assert both.sum(axis=2) == pytest.approx(a)
    assert both.sum(axis=1) == pytest.approx(b)


def test_alike_is_as_alike_as_can_be_and_apart_is_independent() -> None:
    a, b = simulations.knowing(0.8, COUNTS), simulations.knowing(0.6, COUNTS)
    agreeing = [simulations.joint_answers(a, b, x).trace(axis1=1, axis2=2) for x in (0.0, 0.5, 1.0)]
    assert agreeing[0] == pytest.approx((a * b).sum(axis=1))
    assert agreeing[2] == pytest.approx(np.minimum(a, b).sum(axis=1))
    assert agreeing[1] == pytest.approx((agreeing[0] + agreeing[2]) / 2)


def test_the_power_is_that_of_the_randomisation_test_on_drawn_answers() -> None:
    rng, one, other = np.random.default_rng(3), 0.8, 0.68
    both = simulations.joint_answers(simulations.knowing(one, COUNTS), simulations.knowing(other, COUNTS), 0.5)
    found = 0
    for draw in range(200):
        gold, a, b = [], [], []
        for label, clips in enumerate(COUNTS):
            cells = rng.choice(9, size=clips, p=both[label].ravel())
            gold += [LABELS[label]] * clips
            a += [LABELS[cell // 3] for cell in cells]
            b += [LABELS[cell % 3] for cell in cells]
        found += approximate_randomisation(gold, a, b, LABELS, resamples=400, seed=draw).p <= 0.05
    simulated = simulations.power(one, other, COUNTS, alike=0.5, draws=4000)
    assert 0.4 < simulated < 0.95  # a case in which a wrong model would be seen
    assert found / 200 == pytest.approx(simulated, abs=0.11)


def test_equal_systems_are_found_different_one_time_in_twenty() -> None:
    assert simulations.power(0.7, 0.7, OFFICIAL, alike=0.5, draws=4000) == pytest.approx(0.05, abs=0.02)


def test_the_formula_fits_an_accuracy_and_not_six_clips() -> None:
    even = simulations.coverage(0.8, [200, 200], draws=600, resamples=50)
    assert even["formula"] == pytest.approx(0.95, abs=0.03)  # two even labels: macro-F1 is all but an accuracy
    rare = simulations.coverage(0.8, OFFICIAL, draws=600, resamples=50)
    blind = simulations.coverage(0.8, OFFICIAL, never=5, draws=600, resamples=50)
    assert rare["formula"] < 0.8 < blind["formula"]
    assert rare["width of 95 %"] > rare["formula width"] > blind["width of 95 %"]


def test_the_bootstrap_of_the_simulation_covers_where_labels_are_even() -> None:
    even = simulations.coverage(0.7, [200, 200], draws=300, resamples=300)
    assert even["bootstrap"] == pytest.approx(0.95, abs=0.04)
    assert even["bootstrap width"] == pytest.approx(even["formula width"], rel=0.04)


def test_noise_is_told_apart_into_common_and_own() -> None:
    rng = np.random.default_rng(0)
    common, own = rng.normal(0, 0.03, 200), rng.normal(0, 0.01, (40, 200))
    sd, shared = simulations.own_noise(pd.DataFrame(rng.normal(0.6, 0.1, (40, 1)) + common + own))
    assert sd == pytest.approx(np.hypot(0.03, 0.01), rel=0.15)
    assert shared == pytest.approx(0.9, abs=0.04)
    with pytest.raises(UsageError, match="give two of each"):
        simulations.own_noise(pd.DataFrame([[0.5, 0.6]]))


def test_choosing_adds_the_expected_maximum_of_the_own_noise() -> None:
    # The mean of the largest of 25 standard normals is 1.965.
    assert simulations.selection_optimism(0.05, 0.0, 25, 5, draws=8000) == pytest.approx(
        1.965 * 0.05 / 5**0.5, rel=0.02
    )
    assert simulations.selection_optimism(0.05, 0.75, 25, 5, draws=8000) == pytest.approx(
        1.965 * 0.025 / 5**0.5, rel=0.05
    )
    assert simulations.selection_optimism(0.05, 0.0, 1, 5, draws=8000) == pytest.approx(0, abs=0.001)
