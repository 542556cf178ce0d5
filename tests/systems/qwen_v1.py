"""Tiny random checkpoints in the form of Qwen-Audio's first version, and where the original's outputs are."""

import base64
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from emoser_lib.systems.qwen_audio import QwenAudio, convert_qwen_audio, load
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, shapes

WORDS = ("an", "ang", "anger", "jo", "joy", " a", " j", "ñ", "sad", "nes", "sadnes", "au", "dio", "1:")


def fixtures() -> Path:
    """The folder with outputs of the original implementation."""
    return Path(os.environ["EMOSER_FIXTURES"]) / "qwen_audio_v1"


def write_vocabulary(path: Path) -> int:
    """The 256 bytes and a few words in tiktoken's format; how many ranks."""
    tokens = [bytes([byte]) for byte in range(256)]
    for word in WORDS:
        # Each word is made of two that are there: that is what merging needs.
        raw = word.encode()
        tokens += [raw[: length + 1] for length in range(1, len(raw)) if raw[: length + 1] not in tokens]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    path.write_text("".join(lines), encoding="ascii")
    return len(tokens)


def configuration(vocabulary: int = 0, **changes: Any) -> dict[str, Any]:
    """A v1 config.json; ``vocabulary``: ranks of its tokenizer, 0 for a model without one."""
    audio = {"n_mels": 80, "n_ctx": 1500, "n_state": 16, "n_head": 2, "n_layer": 2, "output_dim": 24}
    first = vocabulary or 100
    size = vocabulary + 3522 if vocabulary else 120
    audio |= {"avg_pool": True, "add_audio_bos_eos_token": True}
    audio |= {"audio_start_id": first + 3520 if vocabulary else first}
    return {
        "vocab_size": size + 8,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "kv_channels": 12,
        "intermediate_size": 64,
        "layer_norm_epsilon": 1e-6,
        "rotary_emb_base": 10000,
        "no_bias": True,
        "audio_pad_id": first + 208 if vocabulary else first + 10,
        "audio": audio,
    } | changes


def write_v1(folder: Path, shards: int = 1, tokenizer: bool = False, dtype: torch.dtype = torch.float32) -> Path:
    """A whole checkpoint with random numbers, the same each time."""
    folder.mkdir(parents=True)
    ranks = write_vocabulary(folder / "qwen.tiktoken") if tokenizer else 0
    config = configuration(ranks)
    (folder / "config.json").write_text(json.dumps(config))
    draw = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {
        name: (torch.randn(shape, generator=draw) * 0.1).to(dtype)
        for name, shape in sorted(shapes(ConfigurationV1.model_validate(config)).items())
    }
    names = list(tensors)
    for number in range(shards):
        mine = {name: tensors[name] for name in names[number::shards]}
        ending = f"-{number + 1:05d}-of-{shards:05d}" if shards > 1 else ""
        save_file(mine, folder / f"model{ending}.safetensors")
    return folder


def tiny_qwen(folder: Path) -> QwenAudio:
    """One with a tokenizer, converted and loaded."""
    convert_qwen_audio(write_v1(folder / "source", tokenizer=True), folder / "dest")
    return load(folder / "dest", device="cpu")
