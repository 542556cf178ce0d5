"""An audio encoder's .bin or .pt as safetensors: read once, by checksum, with nothing in it executed."""

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModel

from emoser_lib.corpora import absolute
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.files import MANIFEST, damage, locked, remove, seal
from emoser_lib.systems.checkpoints.catalogue import CHECKPOINTS
from emoser_lib.systems.checkpoints.emotion2vec import build_emotion2vec, load_emotion2vec, read_funasr_configuration
from emoser_lib.systems.checkpoints.folders import check_folder, configuration_of, weights_sha256
from emoser_lib.systems.checkpoints.loading import load_weights, placement

PINNED: Mapping[str, str] = MappingProxyType(
    {"microsoft/wavlm-large": "fdee460e529396ddb2f8c8e8ce0ad74cfb747b726bc6f612e666c7c1e1963c9d"}
)
"""Checkpoint -> sha256 of its pytorch_model.bin, as public experiments state it. For others a user must state it."""

CONVERTED_WEIGHTS = ("pytorch_model.bin", "*.pt")

BY_TRANSFORMERS = ("wavlm", "wav2vec2", "whisper")

WRAPPED_IN = ("model", "state_dict", "model_state_dict")
"""Where fairseq and FunASR put the tensors in a .pt."""


@dataclass(frozen=True)
class ConvertedEncoder:
    """A checkpoint that was converted.

    Attributes:
        folder: where it is.
        sha256: of its weights as safetensors, see `weights_sha256`.
        source_sha256: of the file it came from.
        tensors: how many.
        left_out: names of the tensors that the encoder does not have: those of its pre-training.
    """

    folder: Path
    sha256: str
    source_sha256: str
    tensors: int
    left_out: tuple[str, ...] = ()


def convert_encoder(
    source: str | Path, destination: str | Path, name: str | None = None, sha256: str | None = None
) -> ConvertedEncoder:
    """Write an encoder's weights as safetensors into a new folder, whole or not at all, with a manifest.

    A folder of an earlier conversion that is not whole any more is made again, with a warning.

    Args:
        source: ``pytorch_model.bin`` (WavLM, wav2vec 2.0) or emotion2vec's ``.pt``, with config.json and
            preprocessor_config.json, or FunASR's config.yaml, beside it; or the folder of these.
        destination: the new folder, such as ``$EMOSER_MODELS/microsoft--wavlm-large``.
        name: the checkpoint it is to be; its sha256 is in ``PINNED``.
        sha256: of the source, as its publisher states it; for those that are not in ``PINNED``.

    Raises:
        UsageError: the source is not there, the destination is, or nothing says which bytes are the right ones.
        DataError: the bytes are others, or do not make an encoder, or the disk is full.
    """
    weights = _weights(absolute(source))
    folder = _free(absolute(destination))
    kind, configuration, beside = _configuration(weights.parent)
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        _check_sha256(weights, digest, name, sha256)
        file.seek(0)
        tensors = _tensors(weights, file)
    left_out: tuple[str, ...] = ()
    if kind == "emotion2vec":
        model_conf = configuration["model_conf"]
        tensors, left_out = _of_the_encoder(tensors, build_emotion2vec(model_conf, weights.parent / "config.yaml"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial")
    with locked(folder.with_name(f".{folder.name}.lock")):
        remove(partial)  # of one that was killed
        try:
            _write(partial, tensors, configuration, beside)
            _load_once(partial, kind, weights)
            seal(partial)
            remove(_free(folder))
            partial.replace(folder)
        except (SafetensorError, OSError) as error:
            said = getattr(error, "strerror", None) or error
            raise DataError(f"{folder} cannot be written ({said}): make room there or name another folder.") from None
        finally:
            remove(partial)
    return ConvertedEncoder(folder, weights_sha256(folder), digest, len(tensors), left_out)


def _weights(source: Path) -> Path:
    if source.is_file():
        return source
    found = sorted(path for pattern in CONVERTED_WEIGHTS for path in source.glob(pattern))
    if len(found) != 1:
        what = f"has {len(found)} files of weights" if source.is_dir() else "is not there"
        raise UsageError(f"{source} {what}: name one {' or '.join(CONVERTED_WEIGHTS)} file.")
    return found[0]


def _free(folder: Path) -> Path:
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if (folder / MANIFEST).is_file() and (said := damage(folder)):
        warnings.warn(f"{folder} is not whole ({said}): it is converted again", stacklevel=3)
        return folder
    if os.path.lexists(folder):
        try:
            check_folder(folder)
            what = "is a whole checkpoint already"
        except (DataError, NotADirectoryError):
            what = "is there already"
        raise UsageError(f"{folder} {what}: name a new folder, or remove that one.")
    return folder


def _configuration(folder: Path) -> tuple[str, dict[str, Any], list[Path]]:
    """Model type, configuration, and the files to be copied."""
    if (folder / "config.yaml").is_file():
        model_conf = read_funasr_configuration(folder / "config.yaml")
        return "emotion2vec", {"model_type": "emotion2vec", "model_conf": model_conf}, []
    configuration = configuration_of(folder)
    kind = str(configuration.get("model_type"))
    if kind not in BY_TRANSFORMERS:
        raise DataError(
            f"{folder / 'config.json'} is of a {kind}, not of a {', '.join(BY_TRANSFORMERS)}: "
            "only audio encoders are converted, emotion2vec by its config.yaml."
        )
    preprocessor = folder / "preprocessor_config.json"
    if not preprocessor.is_file():
        raise DataError(f"{preprocessor} is not there: download it from where the weights are.")
    return kind, configuration, [preprocessor]


def _check_sha256(weights: Path, digest: str, name: str | None, sha256: str | None) -> None:
    """Refuse bytes that nobody vouches for.

    Raises:
        UsageError: nothing says which they should be.
        DataError: they are others.
    """
    if name is not None and name not in CHECKPOINTS:
        raise UsageError(f"there is no checkpoint '{name}'{did_you_mean(name, list(CHECKPOINTS))}: leave --name out.")
    pinned = PINNED.get(name) if name else next((known for known in PINNED.values() if known == digest), None)
    if sha256 is not None and not (len(sha256) == 64 and set(sha256.lower()) <= set("0123456789abcdef")):
        raise UsageError(f"'{sha256}' is not a sha256: it has 64 digits from 0 to f.")
    if pinned is None and sha256 is None:
        raise UsageError(
            f"no sha256 is pinned for {name or weights.name}: give the one its publisher states with --sha256 HEX."
        )
    for wanted in filter(None, (pinned, sha256 and sha256.lower())):
        if digest != wanted:
            raise DataError(f"{weights} has the sha256 {digest}, not {wanted}: download it again.")


def _tensors(weights: Path, file: BinaryIO) -> dict[str, Tensor]:
    """The tensors by name; ``weights_only`` builds nothing but tensors, numbers, texts and containers of them."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        said = str(error).strip().partition("\n")[0][:200].rstrip(".") or type(error).__name__
        raise DataError(f"{weights} cannot be read as tensors only ({said}): download it again.") from None
    wrapped = [content[key] for key in WRAPPED_IN if isinstance(content, dict) and isinstance(content.get(key), dict)]
    tensors = wrapped[0] if wrapped else content
    if not isinstance(tensors, dict) or not tensors or not all(isinstance(one, Tensor) for one in tensors.values()):
        raise DataError(f"{weights} does not hold tensors by name: is it the file of the weights?")
    # safetensors keeps each tensor once and whole: copies of what is shared.
    return {str(key).removeprefix("d2v_model."): tensor.clone().contiguous() for key, tensor in tensors.items()}


def _of_the_encoder(tensors: Mapping[str, Tensor], model: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    names = model.state_dict().keys()
    left_out = tuple(sorted(tensors.keys() - names))
    return {key: tensor for key, tensor in tensors.items() if key in names}, left_out


def _write(folder: Path, tensors: dict[str, Tensor], configuration: Mapping[str, Any], beside: list[Path]) -> None:
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(configuration, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    for path in beside:
        shutil.copyfile(path, folder / path.name)


def _load_once(folder: Path, kind: str, weights: Path) -> None:
    """Whether a model can be made of it shows now, not before a training."""
    try:
        if kind == "emotion2vec":
            load_emotion2vec(folder, *placement("cpu", "float32"))
        else:
            load_weights(AutoModel, check_folder(folder), *placement("cpu", "float32"))
    except DataError as error:
        raise DataError(str(error).replace(str(folder), str(weights))) from None
