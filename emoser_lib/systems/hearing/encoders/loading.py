"""Load an audio encoder by name."""

from pathlib import Path

import torch
from transformers import AutoModel, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor, WhisperModel

from emoser_lib.errors import UsageError
from emoser_lib.systems.checkpoints.emotion2vec import load_emotion2vec
from emoser_lib.systems.checkpoints.folders import configuration_of, find_checkpoint, note_of, weights_sha256
from emoser_lib.systems.checkpoints.loading import load_weights, placement, told_in_a_sentence
from emoser_lib.systems.declared import Context
from emoser_lib.systems.hearing.encoders.emotion2vec import Emotion2vecFrames
from emoser_lib.systems.hearing.encoders.encoder import Encoder, configuration_sha256
from emoser_lib.systems.hearing.encoders.wav2vec import Wav2VecFrames
from emoser_lib.systems.hearing.encoders.whisper import WhisperFrames


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
    placed = placement(device, dtype)
    folder = find_checkpoint(name, kind="encoder")
    kind = configuration_of(folder)["model_type"]
    if context == "window" and kind != "whisper":
        raise UsageError(f"{name} has no window to fill, only Whisper has: use context 'clip'.")
    made = ENCODERS[kind](folder, *placed, context)
    made.name, made.sha256 = name, weights_sha256(folder)
    made.configuration = configuration_sha256(folder)
    made.note = note_of(name, made.sha256)
    return made.requires_grad_(False).eval()


def _whisper(folder: Path, device: torch.device, dtype: torch.dtype, context: Context) -> Encoder:
    model = load_weights(WhisperModel, folder, device, dtype)
    with told_in_a_sentence(folder):
        return WhisperFrames(model.get_encoder(), WhisperFeatureExtractor.from_pretrained(folder), context)


def _wav2vec(folder: Path, device: torch.device, dtype: torch.dtype, context: Context) -> Encoder:
    model = load_weights(AutoModel, folder, device, dtype)
    with told_in_a_sentence(folder):
        return Wav2VecFrames(model, Wav2Vec2FeatureExtractor.from_pretrained(folder), context)


def _emotion2vec(folder: Path, device: torch.device, dtype: torch.dtype, context: Context) -> Encoder:
    return Emotion2vecFrames(load_emotion2vec(folder, device, dtype), context)


ENCODERS = {"whisper": _whisper, "wavlm": _wav2vec, "wav2vec2": _wav2vec, "emotion2vec": _emotion2vec}
"""How an encoder is made, by the ``model_type`` of its configuration."""
