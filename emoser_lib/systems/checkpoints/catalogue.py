"""The checkpoints that are known by name: language models and audio encoders, with licence, revision and sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

CheckpointKind = Literal["llm", "encoder", "audio llm"]


@dataclass(frozen=True)
class CheckpointFacts:
    """Facts about a checkpoint that are known before any of its files is here.

    Attributes:
        licence: short name of its licence.
        note: what was made of it: "base" or "instruction-tuned"; of an encoder, what it was trained for.
        kind: "llm": a language model; "encoder": an audio encoder; "audio llm": both in one, as Qwen-Audio.
        gated: whether its licence must be accepted on the hub before a download.
        revision: the commit on the hub that is downloaded; ``None``: it is not there, or not as safetensors
            (`emoser checkpoint convert`).
        dtype: in which the hub stores the weights.
        architecture: its configuration as far as it decides sizes, ``model_type`` included; empty where it is shipped.
        languages: in which it is available, by its model card; empty where that was not looked up.
    """

    licence: str
    note: str
    kind: CheckpointKind = "llm"
    gated: bool = False
    revision: str | None = None
    dtype: str = "bfloat16"
    architecture: Mapping[str, Any] = field(default_factory=dict, repr=False)
    languages: str = ""


def _llm(
    model_type: str, vocabulary: int, width: int, layers: int, heads: tuple[int, int, int], mlp: int, tied: bool = True
) -> Mapping[str, Any]:
    """``heads``: of queries, of keys and values, and their width."""
    return MappingProxyType(
        {
            "model_type": model_type,
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads[0],
            "num_key_value_heads": heads[1],
            "head_dim": heads[2],
            "intermediate_size": mlp,
            "tie_word_embeddings": tied,
        }
    )


def _whisper(width: int, layers: int, heads: int, mels: int, vocabulary: int) -> Mapping[str, Any]:
    shared = {
        f"{part}_{what}": n for part in ("encoder", "decoder") for what, n in _stack(width, layers, heads).items()
    }
    return MappingProxyType(
        {"model_type": "whisper", "d_model": width, "num_mel_bins": mels, "vocab_size": vocabulary} | shared
    )


def _stack(width: int, layers: int, heads: int) -> dict[str, int]:
    return {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}


def _wav2vec(model_type: str) -> Mapping[str, Any]:
    """The large ones, which normalise by layer."""
    return MappingProxyType(
        {
            "model_type": model_type,
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "feat_extract_norm": "layer",
            "conv_bias": model_type == "wav2vec2",
            "do_stable_layer_norm": True,
        }
    )


def emotion2vec_configuration(width: int, layers: int, heads: int, prenet: int) -> dict[str, Any]:
    """Return FunASR's ``model_conf`` of an emotion2vec of these sizes, without what only its training needs.

    What is not about size is as in emotion2vec_base.
    """
    audio = {
        "type": "AUDIO",
        "prenet_depth": prenet,
        "prenet_layerdrop": 0.05,
        "prenet_dropout": 0.1,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_extra_tokens": 10,
        "init_extra_token_zero": True,
        "local_grad_mult": 1.0,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "learned_alibi": False,
        "alibi_max_pos": None,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": False,
        "num_alibi_heads": heads,
        "model_depth": layers,
        "decoder": None,
        "extractor_mode": "layer_norm",
        "feature_encoder_spec": "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512, 2, 2)] + [(512, 2, 2)]",
        "conv_pos_width": 95,
        "conv_pos_groups": 16,
        "conv_pos_depth": 5,
        "conv_pos_pre_ln": False,
    }
    return {
        "depth": layers,
        "embed_dim": width,
        "num_heads": heads,
        "mlp_ratio": 4.0,
        "norm_eps": 1e-5,
        "norm_affine": True,
        "layer_norm_first": False,
        "normalize": True,
        "encoder_dropout": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "post_mlp_drop": 0.1,
        "dropout_input": 0.0,
        "layerdrop": 0.05,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "average_top_k_layers": layers,
        "end_of_block_targets": False,
        "loss_beta": 0.0,
        "loss_scale": None,
        "clone_batch": 8,
        "modalities": {"audio": audio},
    }


GEMMA_2B = _llm("gemma", 256_000, 2048, 18, (8, 1, 256), 16_384)

QWEN_AUDIO: Mapping[str, Any] = MappingProxyType(
    {
        "model_type": "qwen",
        "vocab_size": 155_947,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "kv_channels": 128,
        "intermediate_size": 22_016,
        "layer_norm_epsilon": 1e-6,
        "rotary_emb_base": 10_000,
        "no_bias": True,
        "audio": {
            "n_mels": 80,
            "n_ctx": 1500,
            "n_state": 1280,
            "n_head": 20,
            "n_layer": 32,
            "output_dim": 4096,
            "avg_pool": True,
            "add_audio_bos_eos_token": True,
            "audio_start_id": 155_163,
        },
    }
)
"""Qwen-Audio-Chat's config.json, as far as it decides sizes."""

GEMMA_LICENCE = "Gemma terms of use"

DEMO = "emoser/demo-gemma"

DEMO_ENCODERS = tuple(f"emoser/demo-{kind}" for kind in ("whisper", "wavlm", "wav2vec2", "emotion2vec"))

DEMO_QWEN = "emoser/demo-qwen-audio-v1"

CHECKPOINTS: Mapping[str, CheckpointFacts] = MappingProxyType(
    {
        DEMO: CheckpointFacts("MIT", "trained by a script of this project", dtype="float16"),
        "google/gemma-1.1-2b-it": CheckpointFacts(
            GEMMA_LICENCE,
            "instruction-tuned",
            gated=True,
            revision="d750f5eceb83e978c09e2b3597c2a8784e381022",
            architecture=GEMMA_2B,
            languages="English",
        ),
        "google/gemma-2b": CheckpointFacts(
            GEMMA_LICENCE,
            "base",
            gated=True,
            revision="9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
            architecture=GEMMA_2B,
            languages="English",
        ),
        "google/gemma-3-270m": CheckpointFacts(
            GEMMA_LICENCE,
            "base",
            gated=True,
            revision="9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1",
            architecture=_llm("gemma3_text", 262_144, 640, 18, (4, 1, 256), 2048),
        ),
        "HuggingFaceTB/SmolLM2-135M-Instruct": CheckpointFacts(
            "Apache-2.0",
            "instruction-tuned",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            architecture=_llm("llama", 49_152, 576, 30, (9, 3, 64), 1536),
        ),
        "meta-llama/Llama-3.2-3B-Instruct": CheckpointFacts(
            "Llama 3.2 Community License",
            "instruction-tuned",
            gated=True,
            revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
            architecture=_llm("llama", 128_256, 3072, 28, (24, 8, 128), 8192),
        ),
        "microsoft/phi-2": CheckpointFacts(
            "MIT",
            "base",
            revision="ef382358ec9e382308935a992d908de099b64c23",
            dtype="float16",
            architecture=_llm("phi", 51_200, 2560, 32, (32, 32, 80), 10_240, tied=False),
        ),
        **{
            name: CheckpointFacts("MIT", "trained by a script of this project", kind="encoder", dtype="float16")
            for name in DEMO_ENCODERS
        },
        DEMO_QWEN: CheckpointFacts("MIT", "trained by a script of this project", kind="audio llm", dtype="float16"),
        "Qwen/Qwen-Audio-Chat": CheckpointFacts(
            "Tongyi Qianwen licence",
            "instruction-tuned, converted from the published checkpoint",
            kind="audio llm",
            architecture=QWEN_AUDIO,
        ),
        "openai/whisper-large-v3": CheckpointFacts(
            "Apache-2.0",
            "speech recognition",
            kind="encoder",
            revision="06f233fe06e710322aca913c1bc4249a0d71fce1",
            dtype="float16",
            architecture=_whisper(1280, 32, 20, 128, 51_866),
        ),
        "openai/whisper-base": CheckpointFacts(
            "Apache-2.0",
            "speech recognition",
            kind="encoder",
            revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
            dtype="float32",
            architecture=_whisper(512, 6, 8, 80, 51_865),
        ),
        "microsoft/wavlm-large": CheckpointFacts(
            "CC BY-SA 3.0",
            "self-supervised; converted from pytorch_model.bin of commit c1423ed94bb01d80a3f5ce5bc39f6026a0f4828c",
            kind="encoder",
            dtype="float32",
            architecture=_wav2vec("wavlm"),
        ),
        "facebook/wav2vec2-large-robust": CheckpointFacts(
            "Apache-2.0",
            "self-supervised; converted from pytorch_model.bin",
            kind="encoder",
            dtype="float32",
            architecture=_wav2vec("wav2vec2"),
        ),
        "emotion2vec/emotion2vec_base": CheckpointFacts(
            "FunASR model licence",
            "self-supervised for emotion; converted from emotion2vec_base.pt",
            kind="encoder",
            dtype="float32",
            architecture=MappingProxyType(
                {"model_type": "emotion2vec", "model_conf": emotion2vec_configuration(768, 8, 12, 4)}
            ),
        ),
    }
)
"""By the name on the hub. Each revision is the one that public experiments pin or have in their caches."""

PROVENANCE: Mapping[str, str] = MappingProxyType(
    {
        "cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04": "de-quantised from Q4_K_M",
        "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd": "de-quantised from Q4_1",
    }
)
"""`weights_sha256` -> what was done to these very bytes. A checkpoint with other bytes is another model."""
