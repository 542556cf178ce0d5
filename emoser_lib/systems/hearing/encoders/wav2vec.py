"""wav2vec 2.0 and WavLM."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.corpora.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from transformers import Wav2Vec2FeatureExtractor
from emoser_lib.systems.declared import Context
from emoser_lib.systems.hearing.encoders.encoder import Encoder


class Wav2VecFrames(Encoder):
    """wav2vec 2.0 or WavLM. Those that normalise by group (the base ones) hear padding, so they go clip by clip."""

    def __init__(self, model: Any, extractor: "Wav2Vec2FeatureExtractor", context: Context = "clip") -> None:
        super().__init__()
        self.model: Any = model
        self.extractor = extractor
        self.context = context
        self.width, self.layers = self.model.config.hidden_size, self.model.config.num_hidden_layers + 1
        # Layer normalisation sees one clip's moment, group normalisation the whole row with its padding.
        self.batches = self.model.config.feat_extract_norm == "layer"

    def frames_of(self, samples: int) -> int:
        """What the convolutions leave, which do not pad."""
        return int(self.model._get_feat_extract_output_lengths(samples))

    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        """Each clip normalised on its own, if the checkpoint asks for it."""
        normalised = [
            self.extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_values"][0]
            for waveform in waveforms
        ]
        values = self.floats(normalised)
        samples = torch.tensor([len(one) for one in values])
        lengths = torch.tensor([self.frames_of(len(one)) for one in values])
        mask = None
        if self.context == "batch":
            lengths = lengths.max().expand(len(lengths))
        elif len(set(samples.tolist())) > 1:
            mask = (torch.arange(int(samples.max())) < samples[:, None]).to(self.device)
        batch = pad_sequence(values, batch_first=True).to(next(self.parameters()).dtype)
        with warnings.catch_warnings():  # WavLM's position bias is no mask of true and false
            warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")
            out = self.model(batch, attention_mask=mask, output_hidden_states=True)
        return [*out.hidden_states[:-1], out.last_hidden_state], lengths
