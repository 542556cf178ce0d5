"""What answering one clip costs: floating-point operations, counted on torch's meta device. No numbers, no clock."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from emoser_lib.experiments.planning.hearing import (
    PlannedTraining,
    batch_shape,
    clip_entries,
    meta_bridge,
    trained_systems,
)
from emoser_lib.experiments.planning.memory import PREFIX_TOKENS, REST_TOKENS, BatchShape, packed_forward
from emoser_lib.experiments.planning.meta_models import MetaEncoder, meta_encoder, meta_model
from emoser_lib.experiments.planning.qwen_audio import QWEN_PREFIX_TOKENS, native_language, native_model, vectors
from emoser_lib.experiments.runs.profiles import PlannedRun, settings_of
from emoser_lib.experiments.settings.hearing import AudioSettings
from emoser_lib.experiments.settings.qwen_audio import QwenAudioSettings
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.hearing.encoders.encoder import FRAME_SAMPLES
from emoser_lib.systems.hearing.encoders.whisper import whisper_layers

WINDOW_FRAMES = 1500
"""Of Whisper's full window, which Qwen-Audio's encoder always hears."""


def answering_flops(planned: PlannedRun) -> dict[str, int | None]:
    """Count the FLOPs of answering one clip, for each system of a planned run.

    A clip of `CLIP_SECONDS` and a prompt of the planned length, alone: the encoder, the bridge, the language
    model over all tokens, the logits at the answer only. An adapter is taken as merged into its matrices.

    Returns:
        System -> FLOPs (a product and a sum are two); of a run that reads only, or of Qwen-Audio, the one system is
        "". ``None`` where the encoder cannot be built here (emotion2vec without FunASR).
    """
    settings = settings_of(planned)
    if isinstance(settings, QwenAudioSettings):
        return {"": _qwen(settings.checkpoint)}
    if isinstance(settings, AudioSettings):
        return {trained.name: _audio(trained, settings) for trained in trained_systems(settings)}
    return {"": _reading(planned.parameters["llm"])}


def counted(run: Callable[[], object]) -> int:
    """Count the FLOPs of a call, as torch does.

    >>> a = torch.empty(2, 3, device="meta")
    >>> counted(lambda: a @ a.T)
    24
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


@cache
def _reading(llm: str) -> int:
    return counted(packed_forward(meta_model(llm).requires_grad_(False), BatchShape(1, 0, PREFIX_TOKENS + REST_TOKENS)))


def _audio(trained: PlannedTraining, settings: AudioSettings) -> int | None:
    plain = AudioSystem(
        prompt=trained.system.prompt,
        layer=trained.system.layer,
        bridge=trained.system.bridge,
        window_seconds=trained.system.window_seconds,
    )
    return _hearing(settings.llm, trained.encoder, plain, settings.hears == "window")


@cache  # systems of a run mostly differ in their training
def _hearing(llm: str, hears: str, system: AudioSystem, full: bool) -> int | None:
    encoder, model = meta_encoder(hears), meta_model(llm).requires_grad_(False)
    bridge = meta_bridge(system, encoder, model.config.get_text_config().hidden_size)
    windows, frames = clip_entries(system)
    ears = encoder_flops(encoder, WINDOW_FRAMES if full else frames)
    if ears is None:
        return None
    shape = batch_shape(system, 1, bridge, encoder)
    alone = replace(shape, prefix=0, rest=shape.prefix + shape.rest)
    return windows * (ears + counted(packed_forward(model, alone)))


def encoder_flops(encoder: MetaEncoder, frames: int) -> int | None:
    """Count the FLOPs of an encoder for so many frames of one clip; ``None`` where it cannot be built here."""
    model: Any = encoder.model
    if model is None:
        return None
    how: Any = {"device": "meta", "dtype": next(model.parameters()).dtype}
    if encoder.kind == "whisper":
        mel = torch.empty(1, model.config.num_mel_bins, 2 * frames, **how)
        return counted(lambda: whisper_layers(model.eval(), mel))
    sound = torch.empty(1, frames * FRAME_SAMPLES, **how)
    if encoder.kind == "emotion2vec":
        return counted(lambda: model.eval().extract_features(sound, padding_mask=None))
    return counted(lambda: model.eval()(sound))


@cache
def _qwen(checkpoint: str) -> int:
    model = native_model(checkpoint).requires_grad_(False).eval()
    tower, projector = model.model.audio_tower, model.model.multi_modal_projector
    mel = torch.empty(1, tower.config.num_mel_bins, 2 * WINDOW_FRAMES, device="meta")
    heard = torch.empty(1, vectors(), tower.config.d_model, device="meta")
    language = native_language(checkpoint).requires_grad_(False)
    return (
        counted(lambda: tower(mel))
        + counted(lambda: projector(heard))
        + counted(packed_forward(language, BatchShape(1, 0, QWEN_PREFIX_TOKENS + REST_TOKENS + vectors())))
    )
