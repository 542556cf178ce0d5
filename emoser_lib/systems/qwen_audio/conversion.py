"""A v1 checkpoint of Qwen-Audio as one that transformers' own classes load: exactly, shard by shard, resumable.

Nothing in the source is ever imported or run: only its safetensors, config.json and qwen.tiktoken are read.
"""

import json
import math
import os
import shutil
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import GenerationConfig, WhisperFeatureExtractor

from emoser_lib.corpora import absolute, cache_home
from emoser_lib.errors import DataError, UsageError
from emoser_lib.files import (
    MANIFEST,
    damage,
    file_sha256,
    locked,
    make_folder,
    remove,
    seal,
    write_whole,
    written_sha256,
)
from emoser_lib.systems.checkpoints.folders import configuration_of, find_checkpoint, weights_files, weights_sha256
from emoser_lib.systems.qwen_audio.chat import CHAT_TEMPLATE
from emoser_lib.systems.qwen_audio.layout import FUSED, ConfigurationV1, native_configuration, native_names, shapes
from emoser_lib.systems.qwen_audio.tokens import AUDIO_START, PLACEHOLDER, read_ranks, special_tokens, tokenizer_from

VOCABULARY = "qwen.tiktoken"

JOURNAL = "conversion.json"
"""Which source a folder was made of: what a conversion that was stopped may go on with."""

EMBEDDINGS, AUDIO_TAGS = "transformer.wte.weight", "transformer.audio.audio_bos_eos_token.weight"

STORED_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}

SPARE = 64 * 2**20
"""Bytes for the files that are not weights."""


@dataclass(frozen=True)
class ConvertedQwenAudio:
    """A checkpoint that was converted.

    Attributes:
        folder: where it is.
        sha256: of its weights, see `checkpoints.weights_sha256`.
        shards: files of weights.
        parameters_in, parameters_out: numbers in the source and here; two rows move into rows that are there already.
        tokenizer: whether the source had one.
    """

    folder: Path
    sha256: str
    shards: int
    parameters_in: int
    parameters_out: int
    tokenizer: bool


@dataclass(frozen=True)
class _Source:
    """A v1 checkpoint that was looked at: what is in it, and nothing wrong with it so far."""

    configuration: ConfigurationV1
    shards: list[Path]
    shard_of: dict[str, Path]
    dtypes: dict[str, str]
    vocabulary: Path | None

    def shape(self, name: str) -> tuple[int, ...]:
        return shapes(self.configuration)[name]


def convert_qwen_audio(source: str | Path, destination: str | Path) -> ConvertedQwenAudio:
    """Write a v1 checkpoint of Qwen-Audio as ``Qwen2AudioForConditionalGeneration``, whole or not at all.

    It works in ``DESTINATION.partial`` and renames that last, with a manifest of all its files. One that was stopped,
    even killed, goes on after the last shard it wrote. A folder of an earlier conversion that is not whole is made
    again, with a warning. At most one shard is in memory; numbers are copied as they are.

    Args:
        source: the folder with config.json, one or more safetensors and, for a model with a tokenizer, qwen.tiktoken.
        destination: the new folder.

    Raises:
        UsageError: the source is not there, or the destination is.
        DataError: the source is damaged, not whole, or another model; or the disk is full.
    """
    return _convert(source, destination, ours=False)


def _convert(source: str | Path, destination: str | Path, ours: bool) -> ConvertedQwenAudio:
    """`convert_qwen_audio`; ``ours``: whatever stands in the destination's place is of an earlier conversion."""
    origin, folder = absolute(source), absolute(destination)
    if not origin.exists():
        raise UsageError(f"{origin} is not there: name the folder of the checkpoint.")
    _refuse_existing(folder, ours)
    found = _look_at(origin)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f"{folder.name}.partial")
    lock = folder.with_name(f".{folder.name}.lock")
    with locked(lock):
        if wrong := _refuse_existing(folder, ours):
            warnings.warn(f"{folder} is not whole ({wrong}): it is converted again", stacklevel=4)
        _begin(partial, found)
        try:
            names = [_write_shard(partial, found, number) for number in range(len(found.shards))]
            _write_the_rest(partial, found, names)
            for checksum in partial.glob("*.sha256"):
                checksum.unlink()
            seal(partial)
        except (SafetensorError, OSError) as error:
            said = getattr(error, "strerror", None) or error
            raise DataError(
                f"{partial} cannot be written ({said}): make room there, then give the same command again, it goes on."
            ) from None
        if os.path.lexists(folder):
            remove(folder)
        partial.rename(folder)
        lock.unlink(missing_ok=True)  # whoever waited for it finds the folder
    counts = [sum(map(math.prod, of)) for of in (list(shapes(found.configuration).values()), _native_shapes(found))]
    return ConvertedQwenAudio(
        folder, weights_sha256(folder), len(found.shards), counts[0], counts[1], found.vocabulary is not None
    )


def converted(name: str) -> Path:
    """The folder of a converted checkpoint. One that is here as published is converted first, once.

    Args:
        name: a known one, or the absolute path of a folder, see `checkpoints.find_checkpoint`.

    Raises:
        UsageError: there is no such checkpoint, or it is not of Qwen-Audio.
        DataError: see `find_checkpoint` and `convert_qwen_audio`.
    """
    folder = find_checkpoint(name, "audio llm")
    if configuration_of(folder)["model_type"] == "qwen2_audio":
        return folder
    home = make_folder(cache_home() / "converted", cache_home())
    destination = home / f"{folder.name}-{weights_sha256(folder)[:16]}"
    if destination.is_symlink():  # it has an end at most elsewhere
        remove(destination)
    with suppress(UsageError):  # it is whole: by an earlier run, or by another process just now
        _convert(folder, destination, ours=True)
    return destination


def check_converted(folder: Path) -> None:
    """Refuse a folder that is not what a conversion leaves.

    Raises:
        DataError: it is another model, or a file of it is not there or is cut short.
    """
    if configuration_of(folder).get("model_type") != "qwen2_audio":
        raise DataError(f"{folder} is not a converted Qwen-Audio: convert it with `emoser qwen-audio convert`.")
    needed = [folder / name for name in ("preprocessor_config.json", JOURNAL)]
    if needed[-1].is_file() and VOCABULARY in needed[-1].read_text(encoding="utf-8"):
        needed.append(folder / "tokenizer.json")
    if lacking := [path for path in needed if not path.is_file()]:
        raise DataError(f"{lacking[0]} is not there: convert the checkpoint again.")
    for path in weights_files(folder):
        _header(path)


def _refuse_existing(folder: Path, ours: bool) -> str:
    """Refuse a destination that is there already; of an earlier conversion that is no more whole, say why it is not."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return ""
    if (ours or (folder / MANIFEST).is_file()) and (said := damage(folder)):
        return said
    what = "is converted already" if (folder / JOURNAL).is_file() else "is there already"
    raise UsageError(f"{folder} {what}: name a new folder, or remove that one.")


def _look_at(origin: Path) -> _Source:
    """Everything that can be known to be wrong before a byte is written."""
    configuration = _configuration(origin)
    shards = weights_files(origin) if (origin / "model.safetensors.index.json").is_file() else []
    shards = shards or sorted(origin.glob("*.safetensors")) or weights_files(origin)
    shard_of: dict[str, Path] = {}
    dtypes: dict[str, str] = {}
    expected = shapes(configuration)
    for shard in shards:
        for name, (shape, dtype) in _header(shard).items():
            if name not in expected:
                raise DataError(f"{shard} has a tensor {name}, which Qwen-Audio has not: is it another model?")
            if name in shard_of:
                raise DataError(f"{shard} has {name}, and {shard_of[name].name} too: remove the file that is not its.")
            if shape != expected[name]:
                raise DataError(f"{name} in {shard} is {list(shape)}, not {list(expected[name])} as config.json says.")
            if dtype not in STORED_DTYPES:
                raise DataError(
                    f"{name} in {shard} is {dtype}: only {', '.join(STORED_DTYPES)} are weights of Qwen-Audio."
                )
            shard_of[name], dtypes[name] = shard, dtype
    if lacking := [name for name in expected if name not in shard_of]:
        raise DataError(
            f"{origin} lacks {len(lacking)} tensors, the first is {lacking[0]}: download the whole checkpoint again."
        )
    vocabulary = origin / VOCABULARY
    if vocabulary.is_file():
        _check_vocabulary(vocabulary, configuration)
    return _Source(configuration, shards, shard_of, dtypes, vocabulary if vocabulary.is_file() else None)


def _check_vocabulary(vocabulary: Path, configuration: ConfigurationV1) -> None:
    first, tokens = len(read_ranks(vocabulary)), special_tokens()
    ids = [first + tokens.index(token) for token in (PLACEHOLDER, AUDIO_START)]
    named = [configuration.audio_pad_id, configuration.audio.audio_start_id]
    if ids != named:
        raise DataError(
            f"{vocabulary} numbers {PLACEHOLDER} and {AUDIO_START} {ids}, config.json {named}: they are of two "
            "checkpoints."
        )


def _configuration(origin: Path) -> ConfigurationV1:
    if not origin.is_dir():
        raise DataError(f"{origin} is a file: name the folder of the checkpoint.")
    try:
        return ConfigurationV1.model_validate(configuration_of(origin))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = f"{where}: {first['msg']}" if where else first["msg"].removeprefix("Value error, ")
        raise DataError(f"{origin / 'config.json'} is not of Qwen-Audio's first version ({what}).") from None


def _header(shard: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> shape and dtype. A file that was cut short does not get this far."""
    if not shard.is_file():
        raise DataError(f"{shard} is not there: download the whole checkpoint again.")
    try:
        with safe_open(shard, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            return {name: (tuple(one.get_shape()), one.get_dtype()) for name, one in slices.items()}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{shard} cannot be read ({error}): download it again.") from None


def _begin(partial: Path, found: _Source) -> None:
    """A folder for this source: the one that was left behind if it is of the same, else an empty one."""
    journal = {
        "configuration": found.configuration.model_dump(),
        "files": {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in _files(found)},
    }
    text = json.dumps(journal, indent=2) + "\n"
    try:
        same = (partial / JOURNAL).read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        same = False
    if not same:
        remove(partial)
    for half in partial.glob(".*.partial"):
        half.unlink()
    left = sum(shard.stat().st_size for shard in found.shards) + SPARE
    left -= sum(path.stat().st_size for path in partial.glob("model-*.safetensors"))
    if shutil.disk_usage(partial.parent).free < left:
        raise DataError(f"{partial.parent} has no {left / 1e9:.1f} GB left: make room there, or name another folder.")
    partial.mkdir(exist_ok=True)
    _write_text(partial / JOURNAL, text)


def _files(found: _Source) -> list[Path]:
    return [*found.shards, *([found.vocabulary] if found.vocabulary else [])]


def _write_shard(partial: Path, found: _Source, number: int) -> dict[str, str]:
    """Write one shard unless it is there; native name -> file."""
    shard = found.shards[number]
    path = partial / f"model-{number + 1:05d}-of-{len(found.shards):05d}.safetensors"
    names = [name for name, where in found.shard_of.items() if where == shard]
    natives = {native: path.name for name in names for native in native_names(name)}
    checksum = path.with_suffix(".sha256")
    if not _is_whole(path, checksum):
        tensors: dict[str, Tensor] = {}
        with safe_open(shard, framework="pt") as file:
            for name in names:
                tensors |= _native(file, name, found)
        temporary = partial / "writing"
        save_file(tensors, temporary, metadata={"format": "pt"})
        temporary.chmod((partial / JOURNAL).stat().st_mode)  # safetensors lets nobody but the owner read
        temporary.replace(path)
        write_whole(checksum, file_sha256(path))
    return natives


def _is_whole(path: Path, checksum: Path) -> bool:
    """Whether a shard is as a conversion wrote it that was stopped later."""
    written = checksum.read_text("latin-1") if checksum.is_file() else written_sha256(path.parent, path.name)
    return path.is_file() and written == file_sha256(path)


def _native(file: Any, name: str, found: _Source) -> dict[str, Tensor]:
    """The tensors that one tensor becomes."""
    part = file.get_slice(name)
    natives = native_names(name)
    if len(natives) == len(FUSED):
        rows = found.configuration.attention_width
        tensors = {native: part[at * rows : (at + 1) * rows] for at, native in enumerate(natives)}
    else:
        tensors = dict.fromkeys(natives, part[:])
    if name == EMBEDDINGS:
        start = found.configuration.audio.audio_start_id
        with safe_open(found.shard_of[AUDIO_TAGS], framework="pt") as other:
            tensors[natives[0]] = tensors[natives[0]].clone()  # the file's own memory is not to be written to
            tensors[natives[0]][start : start + 2] = other.get_tensor(AUDIO_TAGS)
    if broken := [one for one in (tensors or {name: part[:]}).values() if not bool(torch.isfinite(one).all())]:
        raise DataError(
            f"{name} in {found.shard_of[name]} has {int((~torch.isfinite(broken[0])).sum())} values that are no "
            "numbers: download the file again."
        )
    return {native: tensor.contiguous() for native, tensor in tensors.items()}


def _write_the_rest(partial: Path, found: _Source, names: list[dict[str, str]]) -> None:

    configuration = found.configuration
    weight_map = {native: file for of in names for native, file in of.items()}
    size = sum(
        math.prod(found.shape(name)) * _bytes(dtype) for name, dtype in found.dtypes.items() if native_names(name)
    )
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    _write_text(partial / "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")
    most = Counter(found.dtypes.values()).most_common(1)[0][0]
    native = native_configuration(configuration, STORED_DTYPES[most])
    greedy: dict[str, Any] = {"do_sample": False}
    if found.vocabulary is not None:
        tokenizer = tokenizer_from(found.vocabulary)
        tokenizer.chat_template = CHAT_TEMPLATE
        tokenizer.model_max_length = configuration.seq_length
        tokenizer.save_pretrained(partial)
        greedy |= {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    GenerationConfig(**greedy).save_pretrained(partial)
    extractor = WhisperFeatureExtractor(feature_size=configuration.audio.n_mels)
    extractor.save_pretrained(partial)
    _write_text(partial / "config.json", json.dumps(native, indent=2) + "\n")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name("writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _native_shapes(found: _Source) -> list[tuple[int, ...]]:
    return [shape for name, shape in shapes(found.configuration).items() if native_names(name)]


def _bytes(dtype: str) -> int:
    return getattr(torch, STORED_DTYPES[dtype]).itemsize
