"""Small language models with random weights, and an audio task on top of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
)

from emoser_lib.systems.declared import Bridge, Loss
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.packed_attention import attend_by_clip

WIDTH = 12
SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "pad_token_id": 0,
}
CONFIGS: dict[str, PretrainedConfig] = {
    "gemma": GemmaConfig(**SIZES, head_dim=8),
    "gemma3": Gemma3TextConfig(
        **SIZES,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "llama": LlamaConfig(**SIZES),
    "qwen2": Qwen2Config(**SIZES),
    "phi": PhiConfig(**SIZES),
}
PREFIX = [2, 3, 4, 5, 6]
WORDS = ((7,), (8, 9), (10,))
"""One label has two pieces."""


class Kept:
    """Frames by key, as the cache gives them."""

    def __init__(self, lengths: Sequence[int], seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.frames = {str(i): torch.randn(1, length, WIDTH, generator=draw) for i, length in enumerate(lengths)}

    def batch(self, clips: Sequence[str]) -> Frames:
        lengths = torch.tensor([self.frames[clip].shape[1] for clip in clips])
        size = int(lengths.max())
        padded = [torch.nn.functional.pad(self.frames[c], (0, 0, 0, size - self.frames[c].shape[1])) for c in clips]
        return Frames(torch.stack(padded), lengths)


def tiny(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="sdpa")
    return attend_by_clip(model).requires_grad_(False).eval()


def heard(clips: int = 4, prefix: Sequence[int] = PREFIX, **more: Any) -> AudioExamples:
    draw = np.random.default_rng(1)
    rests = [[*draw.integers(11, 60, 1 + clip).tolist(), AUDIO, 11, 12] for clip in range(clips)]
    labels = [clip % 3 for clip in range(clips)]
    return AudioExamples(prefix, rests, [str(clip) for clip in range(clips)], list(range(clips)), labels, **more)


def task(
    llm: Any,
    bridge: Bridge,
    learnt: AudioExamples,
    held_out: AudioExamples | None = None,
    loss: Loss | None = None,
    weights: Sequence[float] = (1.0, 2.0, 5.0),
    lengths: Sequence[int] = (9, 3, 14, 1),
    **more: Any,
) -> AudioTask:
    torch.manual_seed(1)
    model = AudioLLM(llm, bridge, WIDTH).eval()
    features: Any = Kept(lengths)
    return AudioTask(model, WORDS, loss or Loss(), weights, learnt, held_out or learnt, features, **more)
