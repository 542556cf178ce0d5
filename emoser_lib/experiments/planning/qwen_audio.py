"""What planned runs of Qwen-Audio need: counted on the native classes, on torch's meta device."""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import torch
from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration, Qwen2ForCausalLM

from emoser_lib.corpora.audio import SAMPLE_RATE
from emoser_lib.experiments.planning.hearing import CLIP_SECONDS, Recordings, clips_of
from emoser_lib.experiments.planning.memory import REST_TOKENS, adapter_needs, number_bytes
from emoser_lib.experiments.planning.meta_models import size
from emoser_lib.experiments.planning.shapes import shapes_only
from emoser_lib.experiments.settings.qwen_audio import QwenAudioSettings, QwenLoraSettings
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.checkpoints.folders import configuration_of, local_checkpoint
from emoser_lib.systems.declared import Lora
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, native_configuration, shapes

QWEN_PREFIX_TOKENS = 19
"""Tokens before the audio."""

VECTOR = 640
"""Samples a vector of audio stands for: 40 ms."""


@dataclass(frozen=True)
class QwenNeeds:
    """Needs of a run of Qwen-Audio.

    Attributes:
        read: parameters of the checkpoint as published.
        whole: what `dry_run.Needs` says of the model, its adapters and its trainings.
        ears: what `EncoderNeeds` says of its encoder, with the projection layer.
    """

    read: int
    whole: dict[str, Any]
    ears: dict[str, Any]


def qwen_needs(settings: QwenAudioSettings) -> QwenNeeds:
    """Count what a run needs; see `QwenNeeds`.

    Raises:
        UsageError: the checkpoint is not known.
        DataError: its folder is not whole.
    """
    native, read = _configuration(settings.checkpoint)
    model = native_model(settings.checkpoint, settings.dtype)
    ears = size(model.model.audio_tower) + size(model.model.multi_modal_projector)
    number = number_bytes(settings.dtype)
    frames = vectors()
    kept = frames * native.text_config.hidden_size * number
    if isinstance(settings, QwenLoraSettings) and settings.ears_rank:
        kept = 0
    whole: dict[str, Any] = {"parameters": size(model), "weights_bytes": size(model) * number}
    if isinstance(settings, QwenLoraSettings):
        whole |= _trained(settings, ears * number, frames)
    made = Recordings(clips=clips_of(settings), frames=frames, clip_bytes=kept)
    return QwenNeeds(read, whole, {"parameters": ears, "counted": True, "recordings": made})


def native_model(checkpoint: str, dtype: str = "float32") -> Any:
    """Build the native class of a checkpoint, without numbers."""
    native, _ = _configuration(checkpoint)
    with shapes_only():
        return Qwen2AudioForConditionalGeneration(native).to(getattr(torch, dtype))


def native_language(checkpoint: str, dtype: str = "float32") -> Any:
    """Build its language model alone, without numbers."""
    native, _ = _configuration(checkpoint)
    with shapes_only():
        return Qwen2ForCausalLM(native.text_config).to(getattr(torch, dtype))


def vectors() -> int:
    """Count the places that the audio of one clip takes."""
    return ceil(CLIP_SECONDS * SAMPLE_RATE / VECTOR)


def _configuration(name: str) -> tuple[Any, int]:
    """The native configuration, and how many parameters the published checkpoint has."""
    folder = local_checkpoint(name, "audio llm")
    told = dict(CHECKPOINTS[name].architecture) if folder is None else configuration_of(folder)
    if told["model_type"] == "qwen2_audio":
        config: Any = Qwen2AudioConfig(**told)
        with shapes_only():
            # The two rows of the audio tags were parameters of their own.
            return config, size(Qwen2AudioForConditionalGeneration(config)) + 2 * config.text_config.hidden_size
    first = ConfigurationV1.model_validate(told)
    return Qwen2AudioConfig(**native_configuration(first, "bfloat16")), sum(map(prod, shapes(first).values()))


def _trained(settings: QwenLoraSettings, ears: int, frames: int) -> dict[str, Any]:
    adapters = []
    for rank in settings.ranks:
        language = native_language(settings.checkpoint, settings.dtype)
        lora = Lora(rank, rank, settings.targets, settings.dropout)
        how = (settings.batch_size, settings.activation_checkpointing, QWEN_PREFIX_TOKENS, REST_TOKENS + frames, ears)
        adapters.append(adapter_needs(language, lora, *how))
    cells = len(settings.ranks) * len(settings.alphas)
    return {"adapters": tuple(adapters), "trainings": cells * len(settings.folds) + settings.refit}
