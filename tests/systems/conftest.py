"""Tiny random audio encoders, written as checkpoint folders once a session."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from emoser_lib.systems.checkpoints.catalogue import emotion2vec_configuration

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
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

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
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model, WavLMConfig, WavLMModel

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
    from safetensors.torch import save_file

    from emoser_lib.systems.checkpoints.emotion2vec import build_emotion2vec

    folder.mkdir(parents=True)
    model_conf = copy.deepcopy(EMOTION2VEC) | {"normalize": normalize}
    model = build_emotion2vec(model_conf, folder / "config.json")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    configuration = {"model_type": "emotion2vec", "model_conf": model_conf}
    (folder / "config.json").write_text(json.dumps(configuration))


MAKERS: dict[str, Callable[[Path], None]] = {
    "whisper": _whisper,
    "wavlm": lambda folder: _wav2vec(folder, "wavlm", "layer"),
    "wavlm-group": lambda folder: _wav2vec(folder, "wavlm", "group"),
    "wav2vec2": lambda folder: _wav2vec(folder, "wav2vec2", "layer"),
    "emotion2vec": _emotion2vec,
    "emotion2vec-plain": lambda folder: _emotion2vec(folder, normalize=False),
}


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """The folder of a tiny random encoder by its kind: do not change it, copy it."""
    import torch

    @cache
    def make(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("encoders") / kind
        torch.manual_seed(0)
        MAKERS[kind](folder)
        return folder

    yield make


@pytest.fixture(scope="session")
def emotion2vec_conf() -> dict[str, Any]:
    """FunASR's ``model_conf`` of the tiny emotion2vec."""
    return EMOTION2VEC
