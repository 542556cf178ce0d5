"""Everything tiny that tests share: encoders, language models, audio tasks, Qwen-Audio's first version, noise."""

import base64
import copy
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    PhiConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from emoser_lib.systems.checkpoints.catalogue import emotion2vec_configuration
from emoser_lib.systems.checkpoints.emotion2vec import build_emotion2vec
from emoser_lib.systems.declared import Bridge, Loss
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.audio_task import AudioExamples, AudioTask
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.qwen_audio import QwenAudio, convert_qwen_audio, load
from emoser_lib.systems.qwen_audio.layout import ConfigurationV1, shapes
from emoser_lib.systems.reading.packed_attention import attend_by_clip

Clips = list[tuple[str, np.ndarray]]

EMOTION2VEC = emotion2vec_configuration(width=32, layers=2, heads=4, prenet=1) | {"mlp_ratio": 2.0}
EMOTION2VEC["modalities"]["audio"] |= {
    "num_extra_tokens": 3,
    "feature_encoder_spec": "[(16,10,5)] + [(16,3,2)]*4 + [(16,2,2)] + [(16,2,2)]",
    "conv_pos_width": 9,
    "conv_pos_groups": 4,
    "conv_pos_depth": 2,
}
"""A configuration as FunASR's config.yaml has it, small."""


def _whisper(folder: Path) -> None:
    shape = {
        f"{half}_{what}": n for half in ("encoder", "decoder") for what, n in (("attention_heads", 2), ("ffn_dim", 64))
    }
    tokens = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 1)
    config = WhisperConfig(
        vocab_size=9, d_model=32, encoder_layers=2, decoder_layers=1, num_mel_bins=16, init_std=0.2, **shape, **tokens
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)


def _wav2vec(folder: Path, kind: str, norm: str) -> None:
    config_class, model_class = (WavLMConfig, WavLMModel) if kind == "wavlm" else (Wav2Vec2Config, Wav2Vec2Model)
    config = config_class(
        vocab_size=9,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(16,) * 7,
        conv_bias=norm == "layer",
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        initializer_range=0.2,
    )
    model_class(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer", do_normalize=norm == "layer").save_pretrained(
        folder
    )


def _emotion2vec(folder: Path, normalize: bool = True) -> None:
    folder.mkdir(parents=True)
    model_conf = copy.deepcopy(EMOTION2VEC) | {"normalize": normalize}
    model = build_emotion2vec(model_conf, folder / "config.json")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    configuration = {"model_type": "emotion2vec", "model_conf": model_conf}
    (folder / "config.json").write_text(json.dumps(configuration))


ENCODERS: dict[str, Callable[[Path], None]] = {
    "whisper": _whisper,
    "wavlm": lambda folder: _wav2vec(folder, "wavlm", "layer"),
    "wavlm-group": lambda folder: _wav2vec(folder, "wavlm", "group"),
    "wav2vec2": lambda folder: _wav2vec(folder, "wav2vec2", "layer"),
    "emotion2vec": _emotion2vec,
    "emotion2vec-plain": lambda folder: _emotion2vec(folder, normalize=False),
}
"""How a checkpoint folder of a tiny random encoder is written, by its kind."""


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
LLMS: dict[str, PretrainedConfig] = {
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


class KeptFrames:
    """Frames by key, as the cache gives them."""

    def __init__(self, lengths: Sequence[int], seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.frames = {str(i): torch.randn(1, length, WIDTH, generator=draw) for i, length in enumerate(lengths)}

    def batch(self, clips: Sequence[str]) -> Frames:
        lengths = torch.tensor([self.frames[clip].shape[1] for clip in clips])
        size = int(lengths.max())
        padded = [torch.nn.functional.pad(self.frames[c], (0, 0, 0, size - self.frames[c].shape[1])) for c in clips]
        return Frames(torch.stack(padded), lengths)


def llm(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(LLMS[name], attn_implementation="sdpa")
    return attend_by_clip(model).requires_grad_(False).eval()


def examples(clips: int = 4, prefix: Sequence[int] = PREFIX, **more: Any) -> AudioExamples:
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
    features: Any = KeptFrames(lengths)
    return AudioTask(model, WORDS, loss or Loss(), weights, learnt, held_out or learnt, features, **more)


QWEN_WORDS = ("an", "ang", "anger", "jo", "joy", " a", " j", "ñ", "sad", "nes", "sadnes", "au", "dio", "1:")


def qwen_fixtures() -> Path:
    """The folder with outputs of the original implementation."""
    return Path(os.environ["EMOSER_FIXTURES"]) / "qwen_audio_v1"


def write_vocabulary(path: Path) -> int:
    """The 256 bytes and a few words in tiktoken's format; how many ranks."""
    tokens = [bytes([byte]) for byte in range(256)]
    for word in QWEN_WORDS:
        # Each word is made of two that are there: that is what merging needs.
        raw = word.encode()
        tokens += [raw[: length + 1] for length in range(1, len(raw)) if raw[: length + 1] not in tokens]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(tokens)]
    path.write_text("".join(lines), encoding="ascii")
    return len(tokens)


def v1_configuration(vocabulary: int = 0, **changes: Any) -> dict[str, Any]:
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
    config = v1_configuration(ranks)
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


def qwen(folder: Path) -> QwenAudio:
    """One with a tokenizer, converted and loaded."""
    convert_qwen_audio(write_v1(folder / "source", tokenizer=True), folder / "dest")
    return load(folder / "dest", device="cpu")


def sounds(n: int, samples: int = 3_000) -> Clips:
    """Clips of different lengths."""
    rng = np.random.default_rng(0)
    return [(f"clip-{i}", rng.standard_normal(samples + 400 * i).astype(np.float32)) for i in range(n)]


def entries(home: Path) -> list[Path]:
    """The files of a cache's clips."""
    return sorted(home.glob("*/*/*.safetensors"))


def never(*_: object) -> list[Tensor]:
    """In the place of an encoder that has nothing left to do."""
    raise AssertionError("encoded again")
