"""Frozen audio encoders: Whisper, WavLM, wav2vec 2.0 and emotion2vec, from waveforms to frames.

All give about 50 frames a second, trimmed to the clip. A clip gets the same frames alone and in a batch.
"""

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu
from torch.nn.utils.rnn import pad_sequence

from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints import configuration_of, find_checkpoint, load_weights, note_of, weights_sha256
from emoser_lib.systems.packing import Movable

if TYPE_CHECKING:
    from transformers import Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

HOP = 320
"""Samples from one frame to the next: 20 ms."""

Layer = int | Literal["all"]
"""A layer's output: 0 is what goes into the first layer, -1 the last one; "all": every one of them."""

Context = Literal["clip", "window", "batch"]
"""What an encoder hears besides a clip. "clip": nothing. "window": silence up to 30 s, as in Whisper's own training;
the frames of the clip are kept. "batch": the batch's padding, unmasked, all of whose frames are kept, as in the
released code of seed 1; so a clip's frames depend on the clips beside it and cannot be cached."""


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
    longest: float = 60.0
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
                "(`emoser corpus check` names such clips) or set window_seconds."
            )

    def floats(self, waveforms: Sequence[np.ndarray]) -> list[Tensor]:
        """The waveforms as tensors on the encoder's device."""
        return [torch.from_numpy(np.ascontiguousarray(w, dtype=np.float32)).to(self.device) for w in waveforms]


class WhisperFrames(Encoder):
    """The encoder half of a Whisper model."""

    shortest = 1

    def __init__(self, model: Any, extractor: "WhisperFeatureExtractor", context: Context = "clip") -> None:
        super().__init__()
        self.model: Any = model
        self.extractor = extractor
        self.context = context
        self.width, self.layers = self.model.config.d_model, self.model.config.encoder_layers + 1
        self.longest = self.model.config.max_source_positions * HOP / SAMPLE_RATE

    def frames_of(self, samples: int) -> int:
        """One for each `HOP` samples begun."""
        return -(-samples // HOP)

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
        samples = self.extractor.n_samples if self.context == "window" else frames * HOP
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


def load_encoder(name: str, *, device: str = "auto", dtype: str = "float32", context: Context = "clip") -> Encoder:
    """Load an audio encoder, frozen, in eval mode.

    Args:
        name: a known encoder, or the absolute path of a folder of your own, see `checkpoints.find_checkpoint`.
        device, dtype: as for `checkpoints.load_llm`.
        context: see `Context`; "window" is for Whisper only.

    Raises:
        UsageError: there is no such encoder, device or dtype, or FunASR is needed and not installed.
        DataError: the checkpoint is not whole or cannot be had.
    """
    folder = find_checkpoint(name, kind="encoder")
    kind = configuration_of(folder)["model_type"]
    if context == "window" and kind != "whisper":
        raise UsageError(f"{name} has no window to fill, only Whisper has: use context 'clip'.")
    made = ENCODERS[kind](folder, device, dtype, context)
    made.name, made.sha256 = name, weights_sha256(folder)
    made.configuration = configuration_sha256(folder)
    made.note = note_of(name, made.sha256)
    return made.requires_grad_(False).eval()


def configuration_sha256(folder: Path) -> str:
    """The weights alone do not say how many heads attend or whether the waveform is normalised."""
    files = [folder / name for name in ("config.json", "preprocessor_config.json")]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


def _whisper(folder: Path, device: str, dtype: str, context: Context) -> Encoder:
    from transformers import WhisperFeatureExtractor, WhisperModel

    model = load_weights(WhisperModel, folder, device, dtype)
    return WhisperFrames(model.get_encoder(), WhisperFeatureExtractor.from_pretrained(folder), context)


def _wav2vec(folder: Path, device: str, dtype: str, context: Context) -> Encoder:
    from transformers import AutoModel, Wav2Vec2FeatureExtractor

    model = load_weights(AutoModel, folder, device, dtype)
    return Wav2VecFrames(model, Wav2Vec2FeatureExtractor.from_pretrained(folder), context)


def _emotion2vec(folder: Path, device: str, dtype: str, context: Context) -> Encoder:
    from emoser_lib.systems.emotion2vec import load_emotion2vec
    from emoser_lib.systems.emotion2vec_frames import Emotion2vecFrames

    return Emotion2vecFrames(load_emotion2vec(folder, device, dtype), context)


ENCODERS = {"whisper": _whisper, "wavlm": _wav2vec, "wav2vec2": _wav2vec, "emotion2vec": _emotion2vec}
"""How an encoder is made, by the ``model_type`` of its configuration."""
