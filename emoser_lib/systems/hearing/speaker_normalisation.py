"""Frames from which each speaker's own mean and spread are taken out (speaker normalisation)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Self

import torch
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from emoser_lib.systems.hearing.feature_cache import Features
from emoser_lib.versions import versions_behind

Voices = Mapping[str, tuple[Tensor, Tensor]]
"""Key of a clip or window -> mean and standard deviation of its speaker's frames, each [layers, 1, width]."""


class NormalisedFeatures(Features):
    """Frames whose mean is 0 and whose standard deviation is 1, in each layer and dimension, over each speaker's clips.

    Args:
        plain: the frames as they are.
        voices: what is taken out of them.
        measured_by: identity of all frames and speakers that it comes from.
    """

    def __init__(self, plain: Features, voices: Voices, measured_by: str) -> None:
        self._plain, self._voices, self._measured_by = plain, voices, measured_by
        self.audio, self.lengths, self.layers, self.width = plain.audio, plain.lengths, plain.layers, plain.width

    @classmethod
    def measure(cls, plain: Features, speakers: Mapping[str, str]) -> Self:
        """Measure each speaker by all of their clips, of which one at a time is in memory.

        Args:
            plain: the frames as they are.
            speakers: key of a clip or window -> who speaks.
        """
        scalers = {speaker: StandardScaler() for speaker in speakers.values()}
        for key in plain.audio:
            scalers[speakers[key]].partial_fit(plain[key].float().transpose(0, 1).flatten(1).numpy())
        shape = (plain.layers, 1, plain.width)
        measured = {
            speaker: (torch.tensor(of.mean_).float().view(shape), torch.tensor(of.scale_).float().view(shape))
            for speaker, of in scalers.items()
        }
        # Another clip of a speaker makes other frames of all of them.
        everyone = json.dumps([plain.digest, [speakers[key] for key in plain.audio]])
        return cls(plain, {key: measured[speakers[key]] for key in plain.audio}, everyone)

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
        return type(self)(self._plain.of(clips), self._voices, self._measured_by)

    @property
    def digest(self) -> str:
        """Identity of these frames, of all that the speakers were measured by, and of how."""
        how = versions_behind(__name__)
        return hashlib.sha256(json.dumps([self._plain.digest, self._measured_by, how]).encode()).hexdigest()
