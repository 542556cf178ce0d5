"""Frozen audio encoders: Whisper, WavLM, wav2vec 2.0 and emotion2vec, from waveforms to frames.

All give about 50 frames a second, trimmed to the clip. A clip gets the same frames alone and in a batch.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints.limits import ENCODER_SECONDS
from emoser_lib.systems.declared import Context, Layer
from emoser_lib.systems.reading.packing import Movable

FRAME_SAMPLES = 320
"""Samples from one frame to the next: 20 ms."""


@dataclass(frozen=True)
class Frames(Movable):
    """The frames of a batch of clips.

    Args:
        values: float [clips, layers, T, width], padded with zeros at the end; one layer unless "all" were asked for.
        lengths: int64 [clips]; frames of each clip.
    """

    values: Tensor
    lengths: Tensor

    def of(self, clip: int) -> Tensor:
        """The frames of one clip, [layers, its length, width]."""
        return self.values[clip, :, : int(self.lengths[clip])]


class Encoder(nn.Module, ABC):
    """An audio encoder; made by `load_encoder`.

    Attributes:
        name: as it was asked for.
        sha256: of its weights.
        configuration: sha256 of what its folder says of model and input besides the weights.
        note: what is known of these bytes; may be empty.
        width: numbers a frame.
        layers: outputs to choose from, 0 to ``layers - 1``.
        longest: seconds it can hear at once.
        batches: whether clips of different lengths may share a batch without changing each other's frames.
        context: what it hears besides a clip, see `Context`.
    """

    shortest: ClassVar[int] = 400
    """Samples: with fewer the convolutions have no frame."""
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers")
    """Whose versions its frames may depend on."""

    name: str
    sha256: str
    configuration: str
    note: str
    width: int
    layers: int
    longest: float = ENCODER_SECONDS
    batches: bool = True
    context: Context = "clip"

    @abstractmethod
    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[Sequence[Tensor], Tensor]:
        """Every layer's output, each [clips, T, width], and the clips' lengths in frames."""

    @abstractmethod
    def frames_of(self, samples: int) -> int:
        """How many frames so many samples give."""

    @property
    def title(self) -> str:
        """For records and pages: "whisper-base (speech recognition)"."""
        short = self.name.rstrip("/").rpartition("/")[2]
        return f"{short} ({self.note})" if self.note else short

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def how(self) -> dict[str, Any]:
        """What else its frames depend on, besides weights, layer and audio."""
        return {
            "class": type(self).__name__,
            "dtype": str(next(self.parameters()).dtype),
            "context": self.context,
        }

    def forward(self, waveforms: Sequence[np.ndarray], layer: Layer = -1) -> Frames:
        """Encode clips.

        Args:
            waveforms: float32 [samples] each, 16 kHz.
            layer: whose output.

        Raises:
            DataError: a clip is shorter than a frame or longer than the encoder can hear.
            UsageError: there is no such layer.
        """
        for waveform in waveforms:
            self.check(waveform)
        self.check_layer(layer)
        outputs, lengths = self.outputs(waveforms)
        values = torch.stack(list(outputs) if layer == "all" else [outputs[layer]], dim=1)
        padding = torch.arange(values.shape[2], device=values.device) >= lengths.to(values.device)[:, None]
        return Frames(values.masked_fill(padding[:, None, :, None], 0.0), lengths)

    @torch.no_grad()
    def encode(self, waveforms: Sequence[np.ndarray], layer: Layer = -1) -> list[Tensor]:
        """The frames of each clip on its own, [layers, frames, width], without gradients; arguments as `forward`.

        Raises:
            UsageError: also where ``context`` is "batch", since the frames are then not the clip's own.
        """
        if self.context == "batch":
            raise UsageError(f"{self.name} hears the whole batch (context 'batch'): run it live, not from the cache.")
        if not self.batches and len(waveforms) > 1:
            return [frames for waveform in waveforms for frames in self.encode([waveform], layer)]
        frames = self(waveforms, layer)
        return [frames.of(clip) for clip in range(len(waveforms))]

    def check_layer(self, layer: Layer) -> None:
        """Refuse a layer that is not there.

        Raises:
            UsageError: see `forward`.
        """
        if layer != "all" and not -self.layers <= layer < self.layers:
            raise UsageError(f"{self.name} has the layers 0 to {self.layers - 1} and -1, not {layer}: choose one.")

    def check(self, waveform: np.ndarray, clip: str = "a clip") -> None:
        """Refuse what cannot be encoded.

        Args:
            waveform: [samples].
            clip: how the error names it.

        Raises:
            DataError: see `forward`.
        """
        seconds = len(waveform) / SAMPLE_RATE
        if len(waveform) < self.shortest:
            raise DataError(
                f"{clip} has {seconds:.3f} s of sound, {self.name} needs {self.shortest / SAMPLE_RATE:.3f} s: leave "
                "it out (`emoser corpus check` names such clips)."
            )
        if seconds > self.longest:
            raise DataError(
                f"{clip} has {seconds:.1f} s of sound, {self.name} hears {self.longest:g} s at once: cut it "
                "(`emoser corpus check` names such clips), as 10-emosllm does by itself (window_seconds)."
            )

    def floats(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """The waveforms as tensors on the encoder's device."""
        return [torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32)).to(self.device) for w in waveforms]


def configuration_sha256(folder: Path) -> str:
    """The weights alone do not say how many heads attend or whether the waveform is normalised."""
    files = [folder / name for name in ("config.json", "preprocessor_config.json")]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files if path.is_file())).hexdigest()
