"""How much of what is heard is the voice, and frames from which each voice is taken out (speaker normalisation).

An encoder hears who speaks as well as how. A system that has learnt from few voices may do worse on new ones for that
reason alone.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from emoser_lib.corpora import Corpus
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.audio_training import Hearing
from emoser_lib.experiments.evaluation import predict_by_folds
from emoser_lib.experiments.folds import N_FOLDS, folds
from emoser_lib.systems import Clips, baseline
from emoser_lib.systems.feature_cache import Features

LEAST = 1e-6
"""What a standard deviation counts as at least: a number that never changes has none."""


class NormalisedFeatures(Features):
    """Frames whose mean is 0 and whose standard deviation is 1, in each layer and dimension, over each speaker's clips.

    Args:
        plain: the frames as they are, of all clips that a speaker is measured by.
        speakers: key of a clip or window -> who speaks.
    """

    def __init__(self, plain: Features, speakers: Mapping[str, str]) -> None:
        keys: dict[str, list[str]] = {}
        for key in plain.audio:
            keys.setdefault(speakers[key], []).append(key)
        measured = {speaker: _mean_and_deviation(plain, of) for speaker, of in keys.items()}
        # Another clip of a speaker makes other frames of all of them, so all of them are the identity.
        everyone = [plain.digest, [speakers[key] for key in plain.audio]]
        self._hold(plain, {key: measured[speakers[key]] for key in plain.audio}, json.dumps(everyone))

    def _hold(self, plain: Features, voices: Mapping[str, tuple[Tensor, Tensor]], everyone: str) -> None:
        self._plain, self._voices, self._everyone = plain, voices, everyone
        self.audio, self.lengths, self.layers, self.width = plain.audio, plain.lengths, plain.layers, plain.width

    def __getitem__(self, clip: str) -> Tensor:
        """One clip's frames, [layers, frames, width].

        Raises:
            KeyError, DataError: as of `Features`.
        """
        frames = self._plain[clip]
        mean, deviation = self._voices[clip]
        return ((frames - mean) / deviation).to(frames.dtype)

    def of(self, clips: Iterable[str]) -> Self:
        """The same for fewer clips, in this order; the speakers stay measured by all of them."""
        fewer = object.__new__(type(self))
        fewer._hold(self._plain.of(clips), self._voices, self._everyone)
        return fewer

    @property
    def digest(self) -> str:
        """Identity of these frames and of all that the speakers were measured by."""
        return hashlib.sha256(json.dumps([self._plain.digest, self._everyone]).encode()).hexdigest()


def _mean_and_deviation(plain: Features, keys: Iterable[str]) -> tuple[Tensor, Tensor]:
    """Of all frames of some clips, each [layers, 1, width]; a clip at a time is in memory."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for key in keys:
        frames = plain[key].double()
        count += frames.shape[1]
        total = total + frames.sum(dim=1, keepdim=True)
        squares = squares + frames.square().sum(dim=1, keepdim=True)
    mean = total / count
    variance = squares / count - mean.square()
    return mean.float(), variance.clamp(min=LEAST**2).sqrt().float()


def check_speakers(corpus: Corpus) -> None:
    """Say what is wrong before anything is heard.

    Raises:
        DataError: somebody's clip does not say who speaks.
    """
    unknown = corpus.frame["id"][corpus.frame["speaker"] == ""]
    if len(unknown):
        raise DataError(
            f"corpus '{corpus.name}': {len(unknown)} of {len(corpus.frame)} clips (first '{unknown.iloc[0]}') have an "
            "empty 'speaker', so no voice can be taken out: fill that column or leave normalised_by empty."
        )


def normalised(hearing: Hearing, by: str = "speaker") -> Hearing:
    """What was heard, with each speaker's frames at mean 0 and standard deviation 1.

    No label is looked at. But of each speaker other clips are needed, those that are asked about among them; and if
    somebody speaks with one emotion only, it is taken out with the voice.

    Args:
        hearing: from `hear`, of an encoder that stays as it is.
        by: "speaker"; empty: the frames stay as they are.

    Raises:
        UsageError: the encoder is trained.
        DataError: see `check_speakers`.
    """
    if not by:
        return hearing
    if hearing.features is None:
        raise UsageError("the encoder is trained, so its frames do not stay: normalise those of a frozen one.")
    check_speakers(hearing.corpus)
    speaker = hearing.corpus.frame.set_index("id")["speaker"]
    speakers = {key: speaker[clip] for clip, keys in hearing.windows.items() for key in keys}
    return replace(hearing, features=NormalisedFeatures(hearing.features, speakers))


def described(clips: Clips, hearing: Hearing) -> dict[str, np.ndarray]:
    """What the corpus's clips are described by, each [clips, columns] in the order of the corpus.

    Args:
        clips: all of them, with their acoustic statistics.
        hearing: of all of them: each clip's mean frame, of each layer. Not where the encoder is trained.
    """
    found = {"acoustic statistics": np.asarray(clips.audio)}
    if hearing.features is not None:
        means = [
            torch.cat([hearing.features[key] for key in hearing.windows[clip]], dim=1).double().mean(dim=1).flatten()
            for clip in hearing.corpus.frame["id"]
        ]
        found["mean frame"] = torch.stack(means).numpy()
    return found


def without_voice(values: np.ndarray, speakers: pd.Series) -> np.ndarray:
    """Each column at mean 0 and standard deviation 1 over each speaker's rows.

    Args:
        values: [clips, columns].
        speakers: of the clips, in the same order.

    >>> without_voice(np.array([[1.0], [3.0], [10.0], [30.0]]), pd.Series(["a", "a", "b", "b"])).tolist()
    [[-1.0], [1.0], [-1.0], [1.0]]
    """
    groups = pd.DataFrame(values).groupby(speakers.to_numpy())
    mean, deviation = groups.transform("mean").to_numpy(), groups.transform("std", ddof=0).to_numpy()
    return (values - mean) / np.maximum(deviation, LEAST)


def by_voice(corpus: Corpus, sources: Mapping[str, np.ndarray], seed: int = 0) -> dict[tuple[str, str], pd.Series]:
    """What the classifier of ``audio-svm`` answers where it knows the voices, where they are new, and without them.

    Args:
        corpus: gives the training labels and the speakers.
        sources: what clips are described by -> [clips, columns], in the order of the corpus.
        seed: of the classifier.

    Returns:
        Source and way -> predicted labels by clip id. "known voices": folds that deal out clips; "new voices": folds
        that deal out speakers; "new voices, normalised": the same, of `without_voice`. Nothing where the corpus does
        not say who speaks, or has fewer speakers than there are folds.
    """
    speakers = corpus.training()["speaker"]
    if (speakers == "").any() or speakers.nunique() < N_FOLDS:
        return {}
    known, new = folds(corpus, "paper"), folds(corpus, "speaker")
    told = {}
    for source, values in sources.items():
        alike = without_voice(values, corpus.frame["speaker"])
        for way, described, cuts in (
            ("known voices", values, known),
            ("new voices", values, new),
            ("new voices, normalised", alike, new),
        ):
            clips = Clips(audio=described)
            told[source, way] = predict_by_folds(baseline("audio-svm", seed), corpus, clips, cuts)
    return told
