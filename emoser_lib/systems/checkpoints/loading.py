"""Load the weights of a checkpoint into a model of transformers, on a device and in a precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.systems.checkpoints.folders import DTYPES
from emoser_lib.systems.device import declared_device, enough_memory


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
        raise DataError(
            f"checkpoint {folder} lacks {len(lacking)} of the model's tensors, such as {lacking[0]}: "
            "download the whole of it again."
        )
    with room(device):
        check_weights(model, folder)
        return model.to(device).eval()


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
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise DataError(f"checkpoint {folder} cannot be loaded ({said}): download the whole of it again.") from None


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
