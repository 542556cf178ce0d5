"""Load the weights of a checkpoint into a model of transformers, on a device and in a precision."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils import logging

from emoser_lib.errors import DataError, EmoserError, UsageError, did_you_mean
from emoser_lib.systems.checkpoints.folders import DTYPES, weights_files
from emoser_lib.systems.device import declared_device, enough_memory

WAYS_OUT = {
    "custom code": "its code is not run here, take a checkpoint of a model that transformers has itself",
    "for this kind of AutoModel": "it does not write on from a text, take a causal language model",
    "model type `": "take a checkpoint of a model that this version of transformers has",
    "odel_type": "take a checkpoint of a model that this version of transformers has",
    "ignore_mismatched_sizes": "its config.json does not fit its weights, download both again",
    "allocate memory": "use dtype bfloat16, half of float32, or a smaller checkpoint",
}
"""Words of what transformers says -> what to do."""


def placement(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return where weights are loaded and in which precision, as torch has it; arguments as `load_llm`.

    Call it before anything is downloaded or read.

    Raises:
        UsageError: there is no such device or dtype.
    """
    if dtype == "float16":
        raise UsageError("dtype is 'float16', in which activations of some models overflow: use bfloat16, as small.")
    if dtype not in DTYPES:
        raise UsageError(f"there is no dtype '{dtype}'{did_you_mean(dtype, list(DTYPES))}: use {', '.join(DTYPES)}.")
    return declared_device(device), getattr(torch, dtype)


def load_weights(auto: Any, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Load the weights in a checkpoint's folder into a model of transformers, in eval mode.

    Args:
        auto: the class that makes it, such as ``AutoModelForCausalLM``.
        folder: from `find_checkpoint`.
        device, dtype: from `placement`.

    Raises:
        DataError: the files do not make a whole model.
    """
    smaller = "use dtype bfloat16, half of float32, or a smaller checkpoint"
    room = partial(enough_memory, what=f"the weights of {folder}", way_out=smaller)
    with quiet(), told_in_a_sentence(folder), room("cpu"):
        model, loading = auto.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    # transformers would go on with random numbers for tensors that the files lack.
    if lacking := sorted(loading["missing_keys"]):
        others = sorted(loading["unexpected_keys"])
        is_so = f"its weights ({', '.join(others[:1])}) are not of the model in config.json, take both from one place"
        raise DataError(
            f"checkpoint {folder} lacks {len(lacking)} of the model's tensors, such as {lacking[0]}: "
            f"{is_so if others else 'download the whole of it again'}."
        )
    # And without those that the files have for more layers than config.json says.
    layers = {_numberless(name) for name in model.state_dict()}
    more = [name for name in sorted(loading["unexpected_keys"]) if _numberless(name) in layers]
    if more or getattr(model.config, "num_hidden_layers", 1) < 1:
        raise DataError(
            f"checkpoint {folder} has more layers in its weights than in its config.json ({', '.join(more[:1])}): "
            "download both again."
        )
    with room(device):
        check_weights(model, folder)
        return model.to(device).eval()


def _numberless(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def check_weights(model: torch.nn.Module, folder: Path) -> None:
    """Refuse a model with weights that are no numbers: all it says would be one label.

    Raises:
        DataError: a tensor has NaN or infinities.
    """
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise DataError(
                f"checkpoint {folder} has weights in {name} that are not finite: download or convert it again, or use "
                "dtype float32."
            )


@contextmanager
def told_in_a_sentence(folder: Path) -> Iterator[None]:
    """Turn what transformers says about a folder it cannot load into one sentence."""
    try:
        yield
    except EmoserError:
        raise
    except Exception as error:
        # Of any kind: transformers trusts a configuration, and computes with what it says.
        said = " ".join(f"{error or type(error).__name__}".split())
        way_out = next(
            (way for words, way in WAYS_OUT.items() if words in said), "compare its files with the publisher's"
        )
        raise DataError(f"checkpoint {folder} cannot be loaded ({said[:200].rstrip('.')}): {way_out}.") from None


def check_shapes(model: torch.nn.Module, folder: Path) -> None:
    """Refuse a configuration that promises a model of another size than the weights beside it have.

    Args:
        model: as the configuration has it; on the meta device it costs nothing.
        folder: of the checkpoint.

    Raises:
        DataError: a tensor has another shape in the file.
    """
    stated = {name: list(parameter.shape) for name, parameter in model.named_parameters()}
    for path in weights_files(folder):
        with safe_open(path, framework="np") as file:
            for name in stated.keys() & set(file.keys()):
                if (there := file.get_slice(name).get_shape()) != stated[name]:
                    raise DataError(
                        f"{folder / 'config.json'} says {name} is {stated[name]}, {path.name} has {there}: "
                        "download both again."
                    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence progress bars and notes of transformers, which would land in a notebook's output."""

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
