"""The two networks learn what is there, nothing where there is nothing, and the same twice."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score
from sklearn.utils import estimator_checks as checks

from emoser_lib.errors import DataError
from emoser_lib.systems.classical.networks import CNNClassifier, LSTMClassifier

NETWORKS = pytest.mark.parametrize("network", [CNNClassifier, LSTMClassifier])
LABELS = np.array(["sadness", "anger", "joy"])


def mels_and_labels(clips, seed, frames=24, bands=16):
    """Log-mels whose label is a ridge that rises, falls or stays: only its course over time tells them apart."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=clips)
    lengths = rng.integers(frames // 2, frames + 1, size=clips)
    mels = np.zeros((clips, frames, bands), dtype=np.float32)
    for mel, target, length in zip(mels, targets, lengths, strict=True):
        course = np.linspace(-1, 1, length) * (1, -1, 0)[target] * bands / 4 + bands / 2 + rng.normal()
        mel[:length] = 30 + 20 * np.exp(-((np.arange(bands) - course[:, None]) ** 2) / 4)
        mel[:length] += rng.normal(scale=4, size=(length, bands))
    return mels, LABELS[targets]


@NETWORKS
def test_generalises_from_separable_clips(network):
    model = network(random_state=0).fit(*mels_and_labels(150, seed=0))
    mels, gold = mels_and_labels(150, seed=1)
    assert f1_score(gold, model.predict(mels), average="macro") > 0.9
    assert model.classes_.tolist() == ["anger", "joy", "sadness"]


@NETWORKS
def test_shuffled_labels_give_chance(network):
    mels, labels = mels_and_labels(150, seed=0)
    model = network(random_state=0).fit(mels, np.random.default_rng(5).permutation(labels))
    mels, gold = mels_and_labels(300, seed=1)
    assert 0.2 < f1_score(gold, model.predict(mels), average="macro") < 0.47


@NETWORKS
def test_seed_decides_and_torch_is_left_alone(network):
    mels, labels = mels_and_labels(60, seed=0)

    def probabilities(seed):
        return network(epochs=2, random_state=seed).fit(mels, labels).predict_proba(mels)

    state = torch.get_rng_state()
    first, again, other = probabilities(1), probabilities(1), probabilities(2)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_allclose(first.sum(axis=1), 1.0)


@NETWORKS
@pytest.mark.parametrize("extra", [1, 7, 40])
def test_padding_changes_no_answer(network, extra):
    mels, labels = mels_and_labels(40, seed=0)
    model = network(epochs=2, random_state=0).fit(mels, labels)
    padded = np.pad(mels, ((0, 0), (0, extra), (0, 0)))
    np.testing.assert_allclose(model.predict_proba(padded), model.predict_proba(mels), atol=1e-6)
    one_by_one = np.concatenate([model.predict_proba(mel[None]) for mel in mels])
    np.testing.assert_allclose(one_by_one, model.predict_proba(mels), atol=1e-6)


@NETWORKS
def test_a_rare_class_counts_as_much_as_a_common_one(network):
    """Clips that say nothing: weighted by class, both are equally probable, though one has a tenth of the clips."""
    mels, _ = mels_and_labels(100, seed=0)
    labels = np.where(np.arange(100) % 10 == 0, "fear", "neutral")
    probabilities = network(random_state=0, epochs=10).fit(np.repeat(mels[:1], 100, axis=0), labels).predict_proba(mels)
    assert probabilities[0] == pytest.approx([0.5, 0.5], abs=0.15)


@NETWORKS
def test_silence_is_an_input_like_any_other(network):
    mels, labels = mels_and_labels(40, seed=0)
    mels[3] = 0.0
    model = network(epochs=1, random_state=0).fit(mels, labels)
    assert np.isfinite(model.predict_proba(np.zeros_like(mels))).all()


@NETWORKS
def test_bad_use_is_told(network):
    mels, labels = mels_and_labels(20, seed=0)
    with pytest.raises(NotFittedError):
        network().predict(mels)
    with pytest.raises(DataError, match=r"\[clips, frames, bands\]"):
        network(epochs=1).fit(mels[0], labels[: len(mels[0])])
    with pytest.raises(DataError, match="NaN"):
        network(epochs=1).fit(np.where(mels > 50, np.nan, mels), labels)
    with pytest.raises(DataError, match="8 bands, the network was trained on 16"):
        network(epochs=1, random_state=0).fit(mels, labels).predict(mels[:, :, :8])
    with pytest.raises(DataError, match="loss"):
        network(epochs=8, learning_rate=1e30, random_state=0).fit(mels, labels)


@NETWORKS
def test_follows_scikit_learn(network):
    model = clone(network(epochs=3, random_state=4).set_params(dropout=0.1))
    assert model.get_params()["dropout"] == 0.1
    assert model.get_params()["epochs"] == 3
    # check_estimator skips everything for three-dimensional inputs; these checks need no input.
    for check in (
        checks.check_parameters_default_constructible,
        checks.check_no_attributes_set_in_init,
        checks.check_get_params_invariance,
        checks.check_set_params,
    ):
        check(network.__name__, network())


@NETWORKS
def test_the_number_of_threads_changes_nothing(network):
    mels, labels = mels_and_labels(120, seed=4)
    answers, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            answers.append(network(epochs=4, random_state=0).fit(mels, labels).predict_proba(mels))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*answers)
