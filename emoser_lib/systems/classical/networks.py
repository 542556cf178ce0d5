"""A small CNN and a small LSTM on log-mel spectrograms, as scikit-learn classifiers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags, check_array, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted
from torch import Tensor, nn
from torch.nn import functional

from emoser_lib.errors import DataError


class ConvolutionalNetwork(nn.Module):
    """Three convolutions over time and frequency; mean and maximum over time of what they find; one linear layer.

    Input: log-mels [clips, frames, bands] and the number of sounding frames of each clip. What the layers
    make of the padding is set to zero after each, so padding never changes an answer.
    """

    shapes = ((5, (4, 2)), (3, (2, 2)), (3, (2, 2)))
    """Kernel and stride (time, frequency) of each convolution."""

    def __init__(self, bands: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        channels = (1, width, 2 * width, 4 * width)
        for before, after, (kernel, stride) in zip(channels, channels[1:], self.shapes, strict=False):
            convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
            self.layers.append(nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU()))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * channels[-1] * -(-bands // 8), classes)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        hidden = mels.unsqueeze(1)
        for layer, (_, stride) in zip(self.layers, self.shapes, strict=True):
            hidden = layer(hidden)
            lengths = -(-lengths // stride[0])
            hidden = hidden * _sounding(lengths, hidden.shape[2])[:, None, :, None]
        hidden = hidden.transpose(2, 3).flatten(1, 2)
        mean = hidden.sum(dim=2) / lengths[:, None]
        return self.head(self.dropout(torch.cat([mean, hidden.amax(dim=2)], dim=1)))


class RecurrentNetwork(nn.Module):
    """An LSTM over pairs of frames, the mean of its states over the sounding ones, one linear layer.

    It runs forward only: no state has seen the padding after it, so nothing need be packed, which on a CPU
    makes it ten times as fast as the usual packed bidirectional one.
    """

    def __init__(self, bands: int, classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2 * bands, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, mels: Tensor, lengths: Tensor) -> Tensor:
        pairs = functional.pad(mels, (0, 0, 0, mels.shape[1] % 2)).reshape(len(mels), -1, 2 * mels.shape[2])
        lengths = -(-lengths // 2)
        states, _ = self.lstm(pairs)
        states = states * _sounding(lengths, states.shape[1])[..., None]
        return self.head(self.dropout(states.sum(dim=1) / lengths[:, None]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """One seed, one answer: torch adds in another order on another number of threads, and training magnifies that."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _LogMelClassifier(ClassifierMixin, BaseEstimator):
    """What both networks share: standardise, train with AdamW and class-weighted cross-entropy, predict."""

    network: type[nn.Module]

    def __init__(
        self,
        width: int,
        epochs: int,
        learning_rate: float,
        batch_size: int = 32,
        dropout: float = 0.3,
        weight_decay: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.width = width
        self.epochs = epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train from scratch.

        Args:
            X: log-mels, float [clips, frames, bands], as from `LogMel`.
            y: one label per clip.

        Raises:
            DataError: X is not of this shape, or training left the finite numbers.
        """
        mels = _checked(X)
        check_consistent_length(mels, y)
        check_classification_targets(y)
        self.classes_, targets = np.unique(np.asarray(y), return_inverse=True)
        lengths = _lengths(mels)
        heard = mels[np.arange(mels.shape[1]) < lengths[:, None]]
        self.mean_, self.scale_ = heard.mean(axis=0), heard.std(axis=0) + 1e-3
        weights = compute_class_weight("balanced", classes=self.classes_, y=np.asarray(y))
        data = self._standardised(mels, lengths), torch.as_tensor(lengths), torch.as_tensor(targets)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        with torch.random.fork_rng(devices=[]), _one_thread():
            torch.manual_seed(seed)
            self.network_ = self.network(mels.shape[2], len(self.classes_), self.width, self.dropout)
            self._train(*data, torch.as_tensor(weights, dtype=torch.float32))
        return self

    def _train(self, mels: Tensor, lengths: Tensor, targets: Tensor, weights: Tensor) -> None:
        optimiser = torch.optim.AdamW(self.network_.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        batches = -(-len(mels) // self.batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.learning_rate, total_steps=self.epochs * batches
        )
        self.network_.train()
        for _ in range(self.epochs):
            for batch in torch.randperm(len(mels)).tensor_split(batches):
                longest = int(lengths[batch].max())
                logits = self.network_(mels[batch, :longest], lengths[batch])
                loss = functional.cross_entropy(logits, targets[batch], weight=weights)
                if not torch.isfinite(loss):
                    raise DataError(f"{type(self).__name__}: the loss is {loss.item()}: lower the learning_rate.")
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return probabilities, [clips, classes], in the order of ``classes_``.

        Raises:
            sklearn.exceptions.NotFittedError: `fit` has not been called.
            DataError: X is not [clips, frames, bands] with the bands of the training.
        """
        check_is_fitted(self)
        mels = _checked(X, bands=len(self.mean_))
        lengths = _lengths(mels)
        inputs = self._standardised(mels, lengths), torch.as_tensor(lengths)
        self.network_.eval()
        with torch.inference_mode(), _one_thread():
            logits = [self.network_(*batch) for batch in zip(*(part.split(256) for part in inputs), strict=True)]
        return torch.cat(logits).double().softmax(dim=1).numpy()

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable label of each clip. Raises as `predict_proba`."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        """The network as arrays, which skops writes and reads without trusting code."""
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = {name: tensor.numpy() for name, tensor in state["network_"].state_dict().items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        weights = state.pop("network_", None)
        super().__setstate__(state)
        if weights is not None:
            self.network_ = self.network(len(self.mean_), len(self.classes_), self.width, self.dropout)
            self.network_.load_state_dict({name: torch.as_tensor(values) for name, values in weights.items()})

    def _standardised(self, mels: NDArray[np.float32], lengths: NDArray[np.int64]) -> Tensor:
        sounding = np.arange(mels.shape[1]) < lengths[:, None]
        return torch.as_tensor((mels - self.mean_) / self.scale_ * sounding[..., None])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.non_deterministic = self.random_state is None
        return tags


class CNNClassifier(_LogMelClassifier):
    """A small two-dimensional CNN on log-mels (see `ConvolutionalNetwork`); 18 k parameters for six classes.

    All defaults are our choice.

    Args:
        width: channels of the first convolution; the next ones have two and four times as many.
        epochs: passes over the training clips; there is no early stopping.
        learning_rate: highest rate of AdamW, in one warm-up and decay (OneCycleLR).
        batch_size: clips per step.
        dropout: before the last layer.
        weight_decay: of AdamW.
        random_state: seed of the weights, the order and the dropout; torch's own generator is left alone.

    >>> mels = np.random.default_rng(0).uniform(0, 80, size=(8, 20, 16)).astype("float32")
    >>> model = CNNClassifier(width=2, epochs=1, random_state=0).fit(mels, ["joy", "fear"] * 4)
    >>> model.predict_proba(mels).shape, model.classes_.tolist()
    ((8, 2), ['fear', 'joy'])
    """

    network = ConvolutionalNetwork

    def __init__(
        self,
        width: int = 12,
        epochs: int = 20,
        learning_rate: float = 3e-3,
        batch_size: int = 32,
        dropout: float = 0.3,
        weight_decay: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(width, epochs, learning_rate, batch_size, dropout, weight_decay, random_state)


class LSTMClassifier(_LogMelClassifier):
    """A small LSTM on log-mels (see `RecurrentNetwork`); 50 k parameters for six classes.

    Padding at the end (zeros) does not change its answer. All defaults are our choice.

    Args:
        width: hidden units. The other arguments are those of `CNNClassifier`.

    >>> mels = np.random.default_rng(0).uniform(0, 80, size=(8, 20, 16)).astype("float32")
    >>> model = LSTMClassifier(width=2, epochs=1, random_state=0).fit(mels, ["joy", "fear"] * 4)
    >>> padded = np.pad(mels, ((0, 0), (0, 5), (0, 0)))
    >>> np.allclose(model.predict_proba(mels), model.predict_proba(padded))
    True
    """

    network = RecurrentNetwork

    def __init__(
        self,
        width: int = 64,
        epochs: int = 20,
        learning_rate: float = 3e-3,
        batch_size: int = 32,
        dropout: float = 0.3,
        weight_decay: float = 0.01,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        super().__init__(width, epochs, learning_rate, batch_size, dropout, weight_decay, random_state)


def _checked(X: ArrayLike, bands: int | None = None) -> NDArray[np.float32]:
    try:
        mels = check_array(X, dtype=np.float32, allow_nd=True, ensure_2d=False, input_name="X")
    except ValueError as error:
        raise DataError(f"the log-mels cannot be used: {error}") from None
    if mels.ndim != 3:
        raise DataError(f"the log-mels have the shape {mels.shape}: give [clips, frames, bands], as from LogMel.")
    if bands is not None and mels.shape[2] != bands:
        raise DataError(f"the log-mels have {mels.shape[2]} bands, the network was trained on {bands}: use its LogMel.")
    return mels


def _lengths(mels: NDArray[np.float32]) -> NDArray[np.int64]:
    """Frames up to the last that is not all zero (padding, or silence below the floor); at least one."""
    sounding = (mels != 0).any(axis=2)
    last = np.where(sounding, np.arange(1, sounding.shape[1] + 1), 1)
    return last.max(axis=1)


def _sounding(lengths: Tensor, frames: int) -> Tensor:
    return torch.arange(frames) < lengths[:, None]
