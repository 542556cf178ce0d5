"""emotion2vec, built by FunASR from a checked configuration and filled from safetensors, whole or not at all.

FunASR hands ``feature_encoder_spec`` to ``eval``: here it is read as lists of numbers first, and FunASR gets what was
read, never what a file says.
"""

import ast
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from emoser_lib.errors import DataError, UsageError
from emoser_lib.systems.checkpoints.folders import configuration_of, weights_files
from emoser_lib.systems.checkpoints.loading import check_weights

MOST_LAYERS, MOST = 64, 65_536
"""Convolutions, and each of their numbers: far more than any checkpoint has."""


def load_emotion2vec(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """Load FunASR's ``Emotion2vec`` from a checkpoint's folder (config.json, model.safetensors), in eval mode.

    Args:
        folder: from `find_checkpoint`.
        device, dtype: from `placement`.

    Raises:
        UsageError: FunASR is not installed.
        DataError: the configuration or the weights do not fit.
    """

    where = folder / "config.json"
    model = build_emotion2vec(configuration_of(folder).get("model_conf"), where)
    tensors = {name: tensor for path in weights_files(folder) for name, tensor in load_file(path).items()}
    fill(model, tensors, folder)
    model = model.to(device, dtype).eval()
    check_weights(model, folder)
    return model


def build_emotion2vec(model_conf: object, where: Path) -> Any:
    """Build an ``Emotion2vec`` with random weights.

    Args:
        model_conf: as in FunASR's config.yaml.
        where: the file it is from, for errors.

    Raises:
        UsageError: FunASR is not installed.
        DataError: it is not the configuration of an emotion2vec.
    """
    checked = _checked(model_conf, where)
    emotion2vec = _funasr()
    try:
        return emotion2vec(model_conf=checked)
    except Exception as error:  # whatever FunASR stumbles over is in the configuration
        raise DataError(f"{where} does not make an emotion2vec ({_said(error)}): copy or download it again.") from None


def read_funasr_configuration(path: Path) -> dict[str, Any]:
    """Read the ``model_conf`` of FunASR's config.yaml, without the decoder, which only pre-training needs.

    Raises:
        UsageError: FunASR is not installed.
        DataError: there is none in the file.
    """
    _funasr()
    from omegaconf import OmegaConf  # FunASR's own reader: for PyYAML 1e-05 is a text

    try:
        model_conf: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)["model_conf"]  # type: ignore[index, call-overload]
        model_conf["modalities"]["audio"]["decoder"] = None
    except Exception as error:  # whatever a yaml file can be wrong in
        raise DataError(f"{path} does not make an emotion2vec ({_said(error)}): download it again.") from None
    return dict(model_conf)


def fill(model: Any, tensors: Mapping[str, Any], where: Path) -> None:
    """Give a model its weights: all of them and no others.

    Raises:
        DataError: some lack, some are too many, or some have another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    here = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    lacking, unknown = sorted(wanted.keys() - here.keys()), sorted(here.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & here.keys() if wanted[name] != here[name])
    for names, what in ((lacking, "lacks"), (unknown, "has too many"), (other, "has with another shape")):
        if names:
            raise DataError(
                f"checkpoint {where} {what} {len(names)} of the model's tensors, such as {names[0]}: "
                "convert or download the whole of it again."
            )
    model.load_state_dict(tensors)


def read_encoder_spec(spec: str) -> list[tuple[int, int, int]]:
    """Parse the convolutions that a ``feature_encoder_spec`` lists: (channels, kernel, stride) each.

    Args:
        spec: lists of numbers, joined with + and repeated with \\*; nothing else is read, and nothing is evaluated.

    Raises:
        ValueError: it is anything else.

    >>> read_encoder_spec("[(512, 10, 5)] + [(512, 3, 2)] * 2")
    [(512, 10, 5), (512, 3, 2), (512, 3, 2)]
    >>> read_encoder_spec("__import__('os').getcwd()")
    Traceback (most recent call last):
    ValueError: Call in feature_encoder_spec
    """
    try:
        value = _value(ast.parse(spec, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"feature_encoder_spec is not a list ({type(error).__name__})") from None
    if not isinstance(value, list) or not value or not all(isinstance(one, tuple) and len(one) == 3 for one in value):
        raise ValueError("feature_encoder_spec is not a list of (channels, kernel, stride)")
    if not all(isinstance(number, int) and 1 <= number <= MOST for one in value for number in one):
        raise ValueError(f"feature_encoder_spec has a number that is not from 1 to {MOST}")
    return value


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return number
        case ast.Tuple(elts=parts):
            return tuple(map(_value, parts))
        case ast.List(elts=parts):
            return [_value(part) for part in parts]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _at_most(_list(left) + _list(right))
        case ast.BinOp(left=left, op=ast.Mult(), right=ast.Constant(value=int() as times)) if times <= MOST_LAYERS:
            return _at_most(_list(left) * times)
    raise ValueError(f"{type(node).__name__} in feature_encoder_spec")


def _list(node: ast.expr) -> list[Any]:
    value = _value(node)
    if not isinstance(value, list):
        raise ValueError("feature_encoder_spec joins or repeats what is not a list")
    return value


def _at_most(layers: list[Any]) -> list[Any]:
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"feature_encoder_spec has over {MOST_LAYERS} convolutions")
    return layers


def _checked(model_conf: object, where: Path) -> dict[str, Any]:
    """A copy whose ``feature_encoder_spec`` is written anew, and that refers to nothing outside itself."""
    checked = deepcopy(model_conf)
    try:
        if not isinstance(checked["norm_eps"], float):  # type: ignore[index]
            raise ValueError("norm_eps is not a number such as 1e-5")  # torch would find out while encoding
        audio = checked["modalities"]["audio"]  # type: ignore[index]
        audio["feature_encoder_spec"] = repr(read_encoder_spec(str(audio["feature_encoder_spec"])))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where} does not make an emotion2vec ({_said(error)}): copy or download it again.") from None
    if "${" in repr(checked):  # omegaconf would look such a name up, in the environment too
        raise DataError(f"{where} refers to values outside itself (${{…}}): write the values there.")
    assert isinstance(checked, dict)
    return checked


def _funasr() -> Any:
    """The class; with all of FunASR, which imports itself as a whole (about 5 s) and says what it misses for others."""
    try:
        with _undisturbed():
            from funasr.models.emotion2vec.model import Emotion2vec
    except ImportError as error:
        raise UsageError(
            f"emotion2vec needs FunASR, which cannot be imported ({_said(error)}): install the extra with "
            "`pip install 'emoser[emotion2vec]'`."
        ) from None
    return Emotion2vec


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Without the lines that are printed, the log handler and the warning filters that FunASR's import leaves.

    Nor its warnings: it imports what else is installed, and pydub, of the page, looks for programs of its own.
    """
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
