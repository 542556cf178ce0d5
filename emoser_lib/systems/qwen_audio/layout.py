"""What a v1 checkpoint of Qwen-Audio holds, tensor by tensor, and what each is called by transformers' own classes."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

Positive = Annotated[int, Field(gt=0)]

TensorShape = tuple[int, ...]

PLACEHOLDER_ID = 151851
"""Of the released vocabulary; a checkpoint with another one says ``audio_pad_id``."""


class AudioV1(BaseModel):
    """``audio`` in a v1 config.json: a Whisper encoder that averages pairs of frames before its last normalisation."""

    n_mels: Positive
    n_ctx: Positive
    n_state: Positive
    n_head: Positive
    n_layer: Positive
    output_dim: Positive
    avg_pool: Literal[True]
    add_audio_bos_eos_token: Literal[True]
    audio_start_id: Positive


class ConfigurationV1(BaseModel):
    """A v1 config.json, as far as the native classes have to know it. Other values than these have no native form."""

    vocab_size: Positive
    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    kv_channels: Positive
    intermediate_size: Positive
    """Twice the width of the MLP."""
    layer_norm_epsilon: float
    rotary_emb_base: float
    rotary_pct: Annotated[float, Field(ge=1, le=1)] = 1.0
    no_bias: Literal[True]
    tie_word_embeddings: Literal[False] = False
    seq_length: Positive = 2048
    """Up to here neither NTK nor log-n scaling acts."""
    audio_pad_id: Positive = PLACEHOLDER_ID
    audio: AudioV1

    @model_validator(mode="after")
    def _parts_fit(self) -> "ConfigurationV1":
        audio = self.audio
        if audio.output_dim != self.hidden_size:
            raise ValueError(f"audio.output_dim is {audio.output_dim} and hidden_size {self.hidden_size}: not equal")
        if self.intermediate_size % 2 or audio.n_state % audio.n_head:
            raise ValueError("intermediate_size is odd, or audio.n_state no multiple of audio.n_head")
        if max(self.audio_pad_id, audio.audio_start_id + 1) >= self.vocab_size:
            raise ValueError("audio_pad_id or audio.audio_start_id is beyond vocab_size")
        return self

    @property
    def attention_width(self) -> int:
        """Of queries, of keys and of values."""
        return self.num_attention_heads * self.kv_channels


def shapes(configuration: ConfigurationV1) -> dict[str, TensorShape]:
    """Every tensor of a v1 checkpoint and its shape.

    >>> released = ConfigurationV1(
    ...     vocab_size=155947, hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, kv_channels=128,
    ...     intermediate_size=22016, layer_norm_epsilon=1e-6, rotary_emb_base=10000, no_bias=True,
    ...     audio=dict(n_mels=80, n_ctx=1500, n_state=1280, n_head=20, n_layer=32, output_dim=4096, avg_pool=True,
    ...                add_audio_bos_eos_token=True, audio_start_id=155163))
    >>> import math
    >>> sum(map(math.prod, shapes(released).values()))
    8396222464
    """
    c, audio = configuration, configuration.audio
    width, heads, mlp = c.hidden_size, c.attention_width, c.intermediate_size // 2
    found: dict[str, TensorShape] = {
        "transformer.wte.weight": (c.vocab_size, width),
        "transformer.ln_f.weight": (width,),
        "lm_head.weight": (c.vocab_size, width),
    }
    for layer in range(c.num_hidden_layers):
        found |= {
            f"transformer.h.{layer}.{name}": shape
            for name, shape in {
                "ln_1.weight": (width,),
                "ln_2.weight": (width,),
                "attn.c_attn.weight": (3 * heads, width),
                "attn.c_attn.bias": (3 * heads,),
                "attn.c_proj.weight": (width, heads),
                "mlp.w1.weight": (mlp, width),
                "mlp.w2.weight": (mlp, width),
                "mlp.c_proj.weight": (width, mlp),
            }.items()
        }
    state = audio.n_state
    found |= {
        f"transformer.audio.{name}": shape
        for name, shape in {
            "conv1.weight": (state, audio.n_mels, 3),
            "conv1.bias": (state,),
            "conv2.weight": (state, state, 3),
            "conv2.bias": (state,),
            "positional_embedding": (audio.n_ctx, state),
            "ln_post.weight": (state,),
            "ln_post.bias": (state,),
            "proj.weight": (width, state),
            "proj.bias": (width,),
            "audio_bos_eos_token.weight": (2, width),
        }.items()
    }
    for block in range(audio.n_layer):
        found |= {f"transformer.audio.blocks.{block}.{name}": shape for name, shape in _block_shapes(state)}
    return found


def _block_shapes(state: int) -> Iterator[tuple[str, TensorShape]]:
    for part in ("query", "key", "value", "out"):
        yield f"attn.{part}.weight", (state, state)
        if part != "key":
            yield f"attn.{part}.bias", (state,)
    for norm in ("attn_ln", "mlp_ln"):
        yield f"{norm}.weight", (state,)
        yield f"{norm}.bias", (state,)
    yield from (("mlp.0.weight", (4 * state, state)), ("mlp.0.bias", (4 * state,)))
    yield from (("mlp.2.weight", (state, 4 * state)), ("mlp.2.bias", (state,)))


_LAYER = {
    "ln_1": "input_layernorm",
    "ln_2": "post_attention_layernorm",
    "attn.c_proj": "self_attn.o_proj",
    "mlp.w1": "mlp.up_proj",
    "mlp.w2": "mlp.gate_proj",
    "mlp.c_proj": "mlp.down_proj",
}

_BLOCK = {
    "attn_ln": "self_attn_layer_norm",
    "mlp_ln": "final_layer_norm",
    "attn.query": "self_attn.q_proj",
    "attn.key": "self_attn.k_proj",
    "attn.value": "self_attn.v_proj",
    "attn.out": "self_attn.out_proj",
    "mlp.0": "fc1",
    "mlp.2": "fc2",
}

_WHOLE = {
    "transformer.wte.weight": "language_model.model.embed_tokens.weight",
    "transformer.ln_f.weight": "language_model.model.norm.weight",
    "lm_head.weight": "language_model.lm_head.weight",
    "transformer.audio.positional_embedding": "audio_tower.embed_positions.weight",
    "transformer.audio.proj.weight": "multi_modal_projector.linear.weight",
    "transformer.audio.proj.bias": "multi_modal_projector.linear.bias",
    "transformer.audio.ln_post.weight": "audio_tower.layer_norm.weight",
    "transformer.audio.ln_post.bias": "audio_tower.layer_norm.bias",
}

FUSED = ("q_proj", "k_proj", "v_proj")
"""What the three equal parts of c_attn become."""


def native_names(name: str) -> tuple[str, ...]:
    """What a tensor of a v1 checkpoint is called by ``Qwen2AudioForConditionalGeneration``: three names for c_attn's
    three equal parts, none for the two rows that go into the embeddings.

    >>> native_names("transformer.h.3.attn.c_attn.bias")[0]
    'language_model.model.layers.3.self_attn.q_proj.bias'
    >>> native_names("transformer.h.3.mlp.w2.weight")
    ('language_model.model.layers.3.mlp.gate_proj.weight',)
    """
    if name in _WHOLE:
        return (_WHOLE[name],)
    part, _, kind = name.rpartition(".")
    if part.startswith("transformer.h."):
        number, _, what = part.removeprefix("transformer.h.").partition(".")
        layer = f"language_model.model.layers.{number}"
        if what == "attn.c_attn":
            return tuple(f"{layer}.self_attn.{one}.{kind}" for one in FUSED)
        return (f"{layer}.{_LAYER[what]}.{kind}",)
    part = part.removeprefix("transformer.audio.")
    if part.startswith("blocks."):
        number, _, what = part.removeprefix("blocks.").partition(".")
        return (f"audio_tower.layers.{number}.{_BLOCK[what]}.{kind}",)
    return () if part == "audio_bos_eos_token" else (f"audio_tower.{part}.{kind}",)


def native_configuration(configuration: ConfigurationV1, dtype: str) -> dict[str, Any]:
    """The same model's config.json for transformers' own classes.

    Args:
        configuration: of the v1 checkpoint.
        dtype: of its tensors, as torch calls it: "bfloat16".
    """
    c, audio = configuration, configuration.audio
    return {
        "architectures": ["Qwen2AudioForConditionalGeneration"],
        "model_type": "qwen2_audio",
        "dtype": dtype,
        "audio_token_index": c.audio_pad_id,
        "audio_config": {
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": audio.n_mels,
            "max_source_positions": audio.n_ctx,
            "d_model": audio.n_state,
            "encoder_attention_heads": audio.n_head,
            "encoder_layers": audio.n_layer,
            "encoder_ffn_dim": 4 * audio.n_state,
        },
        "text_config": {
            "model_type": "qwen2",
            "vocab_size": c.vocab_size,
            "hidden_size": c.hidden_size,
            "num_hidden_layers": c.num_hidden_layers,
            "num_attention_heads": c.num_attention_heads,
            "num_key_value_heads": c.num_attention_heads,
            "head_dim": c.kv_channels,
            "intermediate_size": c.intermediate_size // 2,
            "max_position_embeddings": c.seq_length,
            "rms_norm_eps": c.layer_norm_epsilon,
            "rope_parameters": {"rope_type": "default", "rope_theta": c.rotary_emb_base},
            "tie_word_embeddings": False,
            "audio_start_id": audio.audio_start_id,
        },
    }
