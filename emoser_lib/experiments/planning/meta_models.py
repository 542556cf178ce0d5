"""Models without weights: on torch's meta device, which has shapes but no numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.planning.shapes import shapes_only
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.checkpoints.emotion2vec import build_emotion2vec
from emoser_lib.systems.checkpoints.folders import configuration_of, local_checkpoint
from emoser_lib.systems.checkpoints.loading import check_shapes, told_in_a_sentence
from emoser_lib.systems.reading.packed_attention import attend_by_clip

EMOTION2VEC_PARAMETERS = 93_800_000
"""Of emotion2vec_base, as its authors state them: where FunASR is not installed."""


@dataclass(frozen=True)
class MetaEncoder:
    """An encoder with shapes but without numbers.

    Attributes:
        model: the part that is used; ``None`` where it cannot be built here.
        parameters, width, layers: of that part.
        whole: parameters of the whole checkpoint.
        kind: ``model_type`` of its configuration.
    """

    model: nn.Module | None
    parameters: int
    width: int
    layers: int
    whole: int
    kind: str


def configuration(name: str) -> PretrainedConfig:
    """Return the configuration of a checkpoint: its own file where it is here, else what is known about it.

    Raises:
        UsageError: the checkpoint is not known.
        DataError: its folder is not whole, or its config.json is of no model that transformers has.
    """
    folder = local_checkpoint(name)
    if folder is None:
        return AutoConfig.for_model(**CHECKPOINTS[name].architecture)
    with told_in_a_sentence(folder):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def meta_model(name: str, dtype: str = "float32") -> PreTrainedModel:
    """Build a checkpoint's model with shapes but without numbers.

    Raises:
        UsageError, DataError: as `configuration`; also where it makes no language model, or one that does not fit its
            weights.
    """
    made, folder = configuration(name), local_checkpoint(name)
    with shapes_only(), told_in_a_sentence(folder or Path(name)):
        model = AutoModelForCausalLM.from_config(made, dtype=getattr(torch, dtype))
    if folder:
        check_shapes(model, folder)
    return attend_by_clip(model)


@cache
def meta_encoder(name: str) -> MetaEncoder:
    """Build an encoder on the meta device, by its own configuration where it is here, else by what is known.

    Raises:
        UsageError: the encoder is not known.
        DataError: its folder is not whole.
    """
    folder = local_checkpoint(name, "encoder")
    configuration = dict(CHECKPOINTS[name].architecture) if folder is None else configuration_of(folder)
    kind = configuration["model_type"]
    if kind == "emotion2vec":
        return _meta_emotion2vec(name, configuration["model_conf"], (folder or Path(name)) / "config.json")
    try:
        config = AutoConfig.for_model(**configuration)
        with shapes_only():
            whole: Any = AutoModel.from_config(config)
    except (ValueError, TypeError, KeyError):
        raise DataError(f"config.json of {name} is of no model that transformers has: restore the file.") from None
    model = whole.get_encoder() if kind == "whisper" else whole
    width = config.d_model if kind == "whisper" else config.hidden_size
    layers = config.encoder_layers if kind == "whisper" else config.num_hidden_layers
    return MetaEncoder(model, size(model), width, layers + 1, size(whole), kind)


def _meta_emotion2vec(name: str, model_conf: Mapping[str, Any], where: Path) -> MetaEncoder:
    try:
        with shapes_only():
            model = build_emotion2vec(dict(model_conf), where)
    except UsageError:  # FunASR is not installed
        if name not in CHECKPOINTS:
            raise
        model, parameters = None, EMOTION2VEC_PARAMETERS
    else:
        parameters = size(model)
    return MetaEncoder(model, parameters, model_conf["embed_dim"], model_conf["depth"] + 1, parameters, "emotion2vec")


def size(model: nn.Module) -> int:
    """Count the parameters of a module.

    >>> size(nn.Linear(2, 3))
    9
    """
    return sum(parameter.numel() for parameter in model.parameters())
