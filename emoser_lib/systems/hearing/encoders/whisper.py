"""The encoder half of Whisper."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gelu
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.corpora.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from transformers import WhisperFeatureExtractor
from emoser_lib.systems.declared import Context
from emoser_lib.systems.hearing.encoders.encoder import FRAME_SAMPLES, Encoder


class WhisperFrames(Encoder):
    """The encoder half of a Whisper model."""

    shortest = 1

    def __init__(self, model: Any, extractor: "WhisperFeatureExtractor", context: Context = "clip") -> None:
        super().__init__()
        self.model: Any = model
        self.extractor = extractor
        self.context = context
        self.width, self.layers = self.model.config.d_model, self.model.config.encoder_layers + 1
        self.longest = self.model.config.max_source_positions * FRAME_SAMPLES / SAMPLE_RATE

    def frames_of(self, samples: int) -> int:
        """One for each `FRAME_SAMPLES` samples begun."""
        return -(-samples // FRAME_SAMPLES)

    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        """See `whisper_layers`; the last one normalised."""
        lengths = torch.tensor([self.frames_of(len(waveform)) for waveform in waveforms])
        if self.context == "batch":
            lengths = lengths.max().expand(len(lengths))
        mels = [self._mel(waveform, int(frames)) for waveform, frames in zip(waveforms, lengths, strict=True)]
        mel = pad_sequence([one.T for one in mels], batch_first=True).transpose(1, 2)
        hidden = whisper_layers(self.model, mel, lengths if self.context == "clip" else None)
        hidden[-1] = self.model.layer_norm(hidden[-1])
        kept = int(lengths.max())
        return [states[:, :kept] for states in hidden], lengths

    def _mel(self, waveform: np.ndarray, frames: int) -> Tensor:
        samples = self.extractor.n_samples if self.context == "window" else frames * FRAME_SAMPLES
        padded = np.pad(np.asarray(waveform, dtype=np.float32), (0, samples - len(waveform)))
        features = self.extractor(padded, sampling_rate=SAMPLE_RATE, padding="do_not_pad", truncation=False)
        mel = torch.as_tensor(np.asarray(features["input_features"][0]))
        return mel.to(self.device, self.model.conv1.weight.dtype)


def whisper_layers(model: Any, mel: Tensor, lengths: Tensor | None = None) -> list[Tensor]:
    """What goes into the first layer of a Whisper encoder and what each one gives, each [clips, T, width].

    The model's own forward takes full windows only; this takes as many frames as there are.

    Args:
        model: the encoder; its last normalisation is not applied.
        mel: [clips, mels, 2 T].
        lengths: int64 [clips], how many of T are each clip's: nothing looks beyond. ``None``: all of them.
    """
    # Two mel frames become one frame, and the second convolution never looks past the second of a pair: so zeros
    # after a clip are what its own end is padded with.
    x = gelu(model.conv1(mel))
    x = gelu(model.conv2(x)).transpose(1, 2)
    x = x + model.embed_positions.weight[: x.shape[1]]
    mask = None
    if lengths is not None and len(set(lengths.tolist())) > 1:
        heard = torch.arange(x.shape[1]) < lengths[:, None]
        mask = heard[:, None, None].expand(-1, 1, x.shape[1], -1).to(x.device)
    hidden = [x]
    for layer in model.layers:
        hidden.append(layer(hidden[-1], mask))
    return hidden
