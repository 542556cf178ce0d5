"""emotion2vec as an encoder: clip by clip, or as the released code of THAU-UPM runs it."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Context
from emoser_lib.systems.hearing.encoders.encoder import Encoder


class Emotion2vecFrames(Encoder):
    """emotion2vec, clip by clip: batching changes values near the padding even with the right mask.

    With the context "batch" it does what the released code of THAU-UPM does: the waveforms of a batch are padded with
    zeros and normalised together, and the mask that says where there is sound is handed over as the one that says where
    there is padding.
    """

    batches = False
    packages: ClassVar[tuple[str, ...]] = ("torch", "funasr")

    def __init__(self, model: Any, context: Context = "clip") -> None:
        super().__init__()
        self.model: Any = model
        self.context = context
        self.width, self.layers = self.model.cfg.embed_dim, self.model.cfg.depth + 1

    def frames_of(self, samples: int) -> int:
        """What the convolutions leave, which do not pad."""
        for _, kernel, stride in self.model.modality_encoders["AUDIO"].feature_enc_layers:
            samples = (samples - kernel) // stride + 1
        return samples

    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        """What each block gives; the extra tokens are taken off."""
        if self.context == "batch":
            return self._as_released(waveforms)
        if len(waveforms) != 1:
            raise UsageError(f"{self.name} takes one clip at a time, not {len(waveforms)}: call encode.")
        [values] = self.floats(waveforms)
        return self.run(values[None].to(next(self.parameters()).dtype))

    def _as_released(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        values = pad_sequence(self.floats(waveforms), batch_first=True)
        lengths = torch.tensor([len(waveform) for waveform in waveforms], device=values.device)
        sound = torch.arange(values.shape[1], device=values.device) < lengths[:, None]
        together = nn.functional.layer_norm(values, values.shape)
        return self.layers_of(together.to(next(self.parameters()).dtype), padding_mask=sound)

    def run(self, values: Tensor, padding_mask: Tensor | None = None) -> tuple[Sequence[Tensor], Tensor]:
        """The layers for waveforms [clips, samples], each row normalised as a whole if the checkpoint asks for it.

        Args:
            values: the waveforms.
            padding_mask: see `layers_of`.
        """
        if self.model.cfg.normalize:
            values = torch.stack([nn.functional.layer_norm(row, row.shape) for row in values])
        return self.layers_of(values, padding_mask)

    def layers_of(self, values: Tensor, padding_mask: Tensor | None = None) -> tuple[Sequence[Tensor], Tensor]:
        """The layers for normalised waveforms [clips, samples], and the frames of each row, padding included.

        Args:
            values: the waveforms.
            padding_mask: bool [clips, samples], True where there is padding.
        """
        extra = self.model.modality_encoders["AUDIO"].modality_cfg.num_extra_tokens
        collected: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _, given, out: collected.extend((given[0], out[0])))
            for block in self.model.blocks
        ]
        try:
            last = self.model.extract_features(values, padding_mask=padding_mask)["x"]
        finally:
            for hook in hooks:
                hook.remove()
        hidden = [collected[0], *collected[1::2]]
        states = [*(one[:, extra:] for one in hidden[:-1]), last]
        return states, torch.full((len(values),), last.shape[1])
