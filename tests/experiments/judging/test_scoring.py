"""Scores agree with scikit-learn and with arithmetic done by hand; wrong input is named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from emoser_lib.errors import UsageError
from emoser_lib.experiments.judging.scoring import (
    accuracy_from_confusion,
    macro_f1_from_confusion,
    score,
    uar_from_confusion,
)

LABELS = ("neutral", "joy", "fear")
column = st.integers(1, 30).flatmap(
    lambda n: st.tuples(*[st.lists(st.sampled_from(LABELS), min_size=n, max_size=n) for _ in "gp"])
)


def test_by_hand() -> None:
    result = score(["neutral"] * 3 + ["joy"], ["neutral", "neutral", "joy", "joy"], LABELS)
    # neutral: TP 2, FP 0, FN 1; joy: TP 1, FP 1, FN 0; fear: nothing.
    assert result.per_class["neutral"].model_dump() == pytest.approx(
        {"precision": 1, "recall": 2 / 3, "f1": 0.8, "n": 3}
    )
    assert result.per_class["joy"].model_dump() == pytest.approx({"precision": 0.5, "recall": 1, "f1": 2 / 3, "n": 1})
    assert result.per_class["fear"].model_dump() == {"precision": 0, "recall": 0, "f1": 0, "n": 0}
    assert result.macro_f1 == pytest.approx((0.8 + 2 / 3) / 3)
    assert result.uar == pytest.approx((2 / 3 + 1) / 3)
    assert result.accuracy == 0.75
    assert result.confusion == ((2, 1, 0), (0, 1, 0), (0, 0, 0))
    assert result.n == 4


@settings(max_examples=60, deadline=None)
@given(pair=column)
def test_equal_to_scikit_learn(pair: tuple[list[str], list[str]]) -> None:
    gold, predicted = pair
    result = score(gold, predicted, LABELS)
    fixed = {"labels": list(LABELS), "average": "macro", "zero_division": 0}
    matrix = metrics.confusion_matrix(gold, predicted, labels=list(LABELS))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(gold, predicted, **fixed))
    assert macro_f1_from_confusion(matrix) == pytest.approx(metrics.f1_score(gold, predicted, **fixed), abs=1e-12)
    assert result.uar == pytest.approx(metrics.recall_score(gold, predicted, **fixed))
    assert uar_from_confusion(matrix) == pytest.approx(result.uar, abs=1e-12)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(gold, predicted))
    assert accuracy_from_confusion(matrix) == pytest.approx(result.accuracy, abs=1e-12)
    assert np.array_equal(result.confusion, matrix)


def test_many_matrices_at_once() -> None:
    matrices = np.random.default_rng(0).integers(0, 9, (4, 5, 6, 6))
    for measure in (macro_f1_from_confusion, accuracy_from_confusion, uar_from_confusion):
        values = measure(matrices)
        assert values.shape == (4, 5)
        assert values[2, 3] == measure(matrices[2, 3])


@settings(max_examples=30, deadline=None)
@given(pair=column, seed=st.integers(0, 9))
def test_series_are_aligned_by_id(pair: tuple[list[str], list[str]], seed: int) -> None:
    ids = [f"clip{i}" for i in range(len(pair[0]))]
    gold, predicted = (pd.Series(values, index=ids) for values in pair)
    assert score(gold, predicted.sample(frac=1, random_state=seed), LABELS) == score(*pair, LABELS)


def test_labels_nobody_has_weigh_as_zero() -> None:
    assert score(["joy"], ["joy"], LABELS).macro_f1 == pytest.approx(1 / 3)
    assert score(["joy"], ["joy"], ["joy", "fear"]).uar == 0.5


@pytest.mark.parametrize(
    ("gold", "predicted", "sentence"),
    [
        (["joy"], ["jou"], r"predicted has the label 'jou' at position 0 \(did you mean 'joy'\?\)"),
        (["joy", "sad"], ["joy", "joy"], "gold has the label 'sad' at position 1"),
        (["joy"], [None], "predicted has the label 'None'"),
        (["joy"], [float("nan")], "predicted has the label 'nan'"),
        (["joy"], ["joy", "joy"], "gold has 1 clips and predicted 2"),
        ([], [], "gold has no clips"),
        (pd.Series({"a": "joy"}), pd.Series({"b": "joy"}), "predicted has no id 'a'"),
        (pd.Series({"a": "joy"}), pd.Series({"a": "joy", "c": "joy"}), "gold has no id 'c'"),
        (pd.Series({"a": "joy"}), pd.Series(["joy", "fear"], index=["a", "a"]), "predicted has the id 'a' more"),
        (pd.Series({"a": "joy"}), pd.Series({"a": "rage"}), "predicted has the label 'rage' at id 'a'"),
    ],
)
def test_wrong_input_is_named(gold: object, predicted: object, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        score(gold, predicted, LABELS)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [[], ["joy", "joy"]])
def test_label_set_must_be_a_set(labels: list[str]) -> None:
    with pytest.raises(UsageError, match="label set"):
        score(["joy"], ["joy"], labels)
