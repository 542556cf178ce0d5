"""What Qwen-Audio hears: its encoder and its projector, as an `Encoder` whose frames its language model reads."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import WhisperFeatureExtractor

from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoders.whisper import whisper_layers

QWEN_FRAME_SAMPLES = 160
"""Samples a mel frame."""


class QwenFrames(Encoder):
    """A vector each 40 ms, of 30 s at most: what comes later is not heard, as in v1.

    The native encoder wants thirty seconds and so hears what v1 never did: the silence after a clip. Here it runs over
    the clip's own frames, as in v1; but a clip is heard as if alone, while in v1 its end depended on its batch.

    Args:
        tower, projector: of the native model.
        extractor: of the checkpoint.
    """

    shortest: ClassVar[int] = 3 * QWEN_FRAME_SAMPLES

    def __init__(self, tower: Any, projector: Any, extractor: WhisperFeatureExtractor) -> None:
        super().__init__()
        self.tower, self.projector, self.extractor = tower, projector, extractor
        self.width, self.layers = int(projector.linear.out_features), 1
        self.longest = float("inf")

    def frames_of(self, samples: int) -> int:
        """Four mel frames, the last two perhaps begun only, make one."""
        return self._pairs(samples) // 2

    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        """Averaged by pairs before the last normalisation, then projected."""
        pairs = [self._pairs(len(waveform)) for waveform in waveforms]
        mels = [self._mel(one)[:, : 2 * count] for one, count in zip(waveforms, pairs, strict=True)]
        mel = pad_sequence([one.T for one in mels], batch_first=True).transpose(1, 2)
        x = whisper_layers(self.tower, mel, torch.tensor(pairs))[-1]
        x = self.tower.avg_pooler(x.transpose(1, 2)).transpose(1, 2)
        return [self.projector(self.tower.layer_norm(x))], torch.tensor(pairs) // 2

    def _pairs(self, samples: int) -> int:
        return -(-(min(samples, self.extractor.n_samples) // QWEN_FRAME_SAMPLES) // 2)

    def _mel(self, waveform: np.ndarray) -> Tensor:
        """Of the clip as if silence followed up to thirty seconds, [mels, T]: that changes its last frames.

        No frame of the clip looks further than one window, and silence is never the loudest: the rest is left out.
        """
        heard = np.asarray(waveform[: self.extractor.n_samples], dtype=np.float32)
        silence = min(self.extractor.n_fft, self.extractor.n_samples - len(heard))
        padded = np.pad(heard, (0, silence))
        features = self.extractor(padded, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding="do_not_pad")
        return features["input_features"][0].to(self.device, self.tower.conv1.weight.dtype)
