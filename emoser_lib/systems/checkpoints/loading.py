"""Load the weights of a checkpoint into a model of transformers, on a device and in a precision."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import logging

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.systems.checkpoints.folders import DTYPES

if TYPE_CHECKING:
    pass


def load_weights(auto: Any, folder: Path, device: str, dtype: str) -> Any:
    """Load the weights in a checkpoint's folder into a model of transformers, in eval mode.

    Args:
        auto: the class that makes it, such as ``AutoModelForCausalLM``.
        folder: from `find_checkpoint`.
        device, dtype: see `load_llm`.

    Raises:
        UsageError: there is no such device or dtype.
        DataError: the files do not make a whole model.
    """

    if dtype not in DTYPES:
        raise UsageError(f"there is no dtype '{dtype}'{did_you_mean(dtype, list(DTYPES))}: use {', '.join(DTYPES)}.")
    device = existing_device(device)
    with quiet(), told_in_a_sentence(folder):
        model, loading = auto.from_pretrained(
            folder,
            dtype=getattr(torch, dtype),
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
    return model.to(device).eval()


def existing_device(device: str) -> str:
    """Return the device that is meant; "auto" is the first GPU that torch sees, else the CPU.

    Raises:
        UsageError: this machine does not have it.
    """

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in ("cpu", *gpus, *(["cuda"] if gpus else [])):
        raise UsageError(f"there is no device '{device}' on this machine: use cpu (`emoser doctor` says more).")
    return device


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
