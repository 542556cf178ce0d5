"""Checkpoints by name: where their files are, whether they are whole, and what they are.

A checkpoint is looked for in the package, then in ``$EMOSER_MODELS/<org>--<name>``, then on the Hugging Face hub at a
pinned revision. Only safetensors are read, and no code that comes with a checkpoint is ever run.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from huggingface_hub import errors, snapshot_download
from safetensors import SafetensorError, safe_open

from emoser_lib.corpora import absolute, cache_home
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.files import MANIFEST, damage, file_sha256, written_sha256
from emoser_lib.systems.checkpoints.catalogue import (
    CHECKPOINTS,
    DEMO,
    DEMO_ENCODERS,
    DEMO_QWEN,
    PROVENANCE,
    CheckpointKind,
)

SHIPPED = Path(__file__).parent / "demo_models"


DEMO_LLM_FOLDER = SHIPPED / "demo-gemma"


DOWNLOADED = ("model.safetensors", "model-*.safetensors", "*.json", "*.jinja", "tokenizer.model")
"""What is downloaded: never ``*.bin`` or ``*.py``, and no second copy of the weights (``model.fp32-*.safetensors``)."""


ENCODER_TYPES = ("whisper", "wavlm", "wav2vec2", "emotion2vec")
"""``model_type`` of the audio encoders."""


AUDIO_LLM_TYPES = ("qwen", "qwen2_audio")
"""``model_type`` of Qwen-Audio, as published and as converted."""


KINDS_IN_WORDS: dict[CheckpointKind, str] = {
    "llm": "a language model",
    "encoder": "an audio encoder",
    "audio llm": "a language model with ears of its own",
}


AGAIN = "convert it again, with the same command and into the same folder"
"""The way out where a conversion is not whole any more (`emoser_lib.files.seal`)."""


BUNDLED = (DEMO, *DEMO_ENCODERS, DEMO_QWEN)
"""Those in the package."""


def models_home() -> Path:
    """Return the folder that holds checkpoints: ``$EMOSER_MODELS``, by default ``models`` in `cache_home`."""
    return absolute(os.environ.get("EMOSER_MODELS") or cache_home() / "models")


def local_checkpoint(name: str, kind: CheckpointKind = "llm") -> Path | None:
    """Find the folder of a checkpoint that is here already, ``None`` if it would have to be downloaded.

    Args:
        name: "emoser/demo-gemma", a name on the hub, or the absolute path of a folder of your own.
        kind: what it is to be.

    Raises:
        UsageError: there is no checkpoint of this name, or it is of the other kind.
        DataError: its folder is here but not whole.

    >>> local_checkpoint("google/gemma-1.1-2B-it")
    Traceback (most recent call last):
    emoser_lib.errors.UsageError: there is no checkpoint 'google/gemma-1.1-2B-it' (did you mean
    'google/gemma-1.1-2b-it'?): known are emoser/demo-gemma, ...
    """
    folder = _folder_of(name, kind)
    if folder.is_dir():
        check_folder(folder)
        if kind_of(folder) != kind:
            raise UsageError(f"checkpoint '{name}' is not {KINDS_IN_WORDS[kind]}: {known(kind)}.")
        return folder
    if name not in CHECKPOINTS:
        raise UsageError(
            f"there is no checkpoint '{name}'{did_you_mean(name, names(kind))}: {known(kind)}, and any whole folder at "
            f"{models_home()}/<org>--<name> or at an absolute path."
        )
    if CHECKPOINTS[name].kind != kind:
        raise UsageError(f"checkpoint '{name}' is not {KINDS_IN_WORDS[kind]}: {known(kind)}.")
    if name in BUNDLED:
        raise DataError(f"checkpoint {name} is not at {folder}: put its folder there.")
    return _from_hub(name, local_files_only=True)


def names(kind: CheckpointKind) -> list[str]:
    """List the known checkpoints of one kind."""
    return [name for name, facts in CHECKPOINTS.items() if facts.kind == kind]


def known(kind: CheckpointKind) -> str:
    """Write the known checkpoints of one kind as a sentence, for an error's way out."""
    return f"known are {', '.join(names(kind))}"


def find_checkpoint(name: str, kind: CheckpointKind = "llm") -> Path:
    """Find the folder of a checkpoint; if it is not here, download it from the hub at its pinned revision.

    Args:
        name: "emoser/demo-gemma", a name on the hub, or the absolute path of a folder of your own.
        kind: what it is to be.

    Raises:
        UsageError: there is no checkpoint of this name, or it is of the other kind.
        DataError: its folder is not whole, its licence was not accepted, or the hub cannot be reached.
    """
    folder = local_checkpoint(name, kind) or _from_hub(name, local_files_only=False)
    assert folder is not None
    return folder


def _folder_of(name: str, kind: CheckpointKind) -> Path:
    """Where a checkpoint of this name is put by hand."""
    organisation, slash, model = name.partition("/")
    if name in BUNDLED:
        return SHIPPED / model
    if name.startswith("~") or Path(name).is_absolute():
        folder = absolute(name)
        if not folder.is_dir():
            raise UsageError(f"{kind} '{name}' is not a folder: name one that holds a checkpoint.")
        return folder
    if not (organisation and slash and model) or "/" in model or organisation.strip(".") == "":
        hint = did_you_mean(name, names(kind))
        raise UsageError(f"{kind} '{name}' is neither of the form org/name nor an absolute path{hint}: {known(kind)}.")
    return models_home() / f"{organisation}--{model}"


def configuration_of(folder: Path) -> dict[str, Any]:
    """Read a checkpoint's config.json.

    Raises:
        DataError: it is not there, or not JSON.
    """
    path = folder / "config.json"
    try:
        configuration = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"checkpoint {folder} is not whole, config.json is not there: copy or download the whole checkpoint again."
        ) from None
    except (ValueError, RecursionError):
        raise DataError(f"{path} is not JSON: copy or download the file again.") from None
    if not isinstance(configuration, dict) or not isinstance(configuration.get("model_type", ""), str):
        raise DataError(f"{path} is no configuration of a model: copy or download it again.")
    return configuration


def kind_of(folder: Path) -> CheckpointKind:
    """Tell what kind of checkpoint a folder holds."""
    model_type = configuration_of(folder).get("model_type")
    if model_type in AUDIO_LLM_TYPES:
        return "audio llm"
    return "encoder" if model_type in ENCODER_TYPES else "llm"


def check_folder(folder: Path) -> Path:
    """Return the folder if it holds a whole checkpoint: configuration, tokenizer or feature extractor, and weights.

    Raises:
        DataError: something is not there, is cut short, or is not safetensors.
    """
    get_it = "copy or download the whole checkpoint again"
    if (folder / "adapter_config.json").is_file():
        raise DataError(
            f"checkpoint {folder} has an adapter beside its weights (adapter_config.json), which transformers would "
            "apply without a word: move its files out, or merge it into the weights (peft's merge_and_unload)."
        )
    needed: tuple[str, ...] = ("tokenizer.json", "tokenizer.model", "qwen.tiktoken")
    if kind_of(folder) == "encoder":  # emotion2vec's configuration says all there is to say of its input
        needed = ("preprocessor_config.json",) if configuration_of(folder)["model_type"] != "emotion2vec" else ()
    if needed and not any((folder / name).is_file() for name in needed):
        raise DataError(f"checkpoint {folder} is not whole, {needed[0]} is not there: {get_it}.")
    if (folder / MANIFEST).is_file() and (said := damage(folder, deep=False)):
        raise DataError(f"checkpoint {folder} is not whole, {said}: {AGAIN}.")
    for path in weights_files(folder):
        if not path.is_file():
            raise DataError(f"checkpoint {folder} is not whole, {path.name} is not there: {get_it}.")
        _check_weights(path)
    return folder


def weights_files(folder: Path) -> list[Path]:
    """List the safetensors files of a checkpoint's weights, by its index where it has one.

    Raises:
        DataError: there are none.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            names = set(map(str, json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            names = set()
        if not names:
            raise DataError(f"{index} is not an index of weights: download the file again.") from None
        return [folder / Path(name).name for name in sorted(names)]
    files = [folder / "model.safetensors"] if (folder / "model.safetensors").is_file() else []
    if not files:
        others = sorted(path.name for pattern in ("*.bin", "*.pt*", "*.gguf") for path in folder.glob(pattern))
        found = f"its weights are in {others[0]}, which is not read" if others else "it has no weights"
        raise DataError(f"checkpoint {folder}: {found}: convert or download them as model.safetensors.")
    return files


def _check_weights(path: Path) -> None:
    """The header of a safetensors file says how long the file is: a copy that was cut short shows at once."""

    try:
        with safe_open(path, framework="np"):  # "pt" would import torch
            pass
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): copy or download the file again.") from None


def _from_hub(name: str, local_files_only: bool) -> Path | None:

    facts = CHECKPOINTS[name]
    here = models_home() / name.replace("/", "--")
    if facts.revision is None:  # the hub has it as a pickle only, which is not read here
        if local_files_only:
            return None
        group = "qwen-audio" if facts.kind == "audio llm" else "checkpoint"
        raise DataError(
            f"checkpoint {name} is not at {here}: download it by hand and make that folder with "
            f"`emoser {group} convert`."
        )
    try:
        path = snapshot_download(
            name, revision=facts.revision, allow_patterns=list(DOWNLOADED), local_files_only=local_files_only
        )
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled):
        if local_files_only:
            return None
        raise DataError(
            f"checkpoint {name} is not at {here} and the Hugging Face hub cannot be reached: put its folder there "
            "or go online."
        ) from None
    except errors.HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise DataError(gate_sentence(name)) from None
        said = str(error).splitlines()[0].rstrip(".")
        raise DataError(f"checkpoint {name} cannot be downloaded ({said}): put its folder at {here}.") from None
    return check_folder(Path(path))


def gate_sentence(name: str) -> str:
    """Say what to do about a checkpoint whose licence was not accepted on the hub.

    >>> gate_sentence("google/gemma-2b").partition(" and ")[0]
    'google/gemma-2b is gated: accept the Gemma terms of use at https://huggingface.co/google/gemma-2b'
    """
    return (
        f"{name} is gated: accept the {CHECKPOINTS[name].licence} at https://huggingface.co/{name} and log in with "
        f"`hf auth login`, or put its folder at {models_home() / name.replace('/', '--')}."
    )


def weights_sha256(folder: Path) -> str:
    """Compute one sha256 for the weights of a checkpoint: about a second for 1 GB.

    Of one file it is the file's own; of several it is that of the lines "<sha256>  <file name>", sorted by name.

    Raises:
        DataError: there are no weights in the folder, or they are not those that were converted into it.
    """
    digests = []
    for path in weights_files(folder):
        digests.append((file_sha256(path), path.name))
        if written_sha256(folder, path.name) not in (None, digests[-1][0]):
            raise DataError(f"checkpoint {folder} is not whole, {path.name} is not what was written: {AGAIN}.")
    if len(digests) == 1:
        return digests[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()


def note_of(name: str, sha256: str) -> str:
    """Note what kind of model these bytes are, such as "base, de-quantised from Q4_K_M"; empty where unknown."""
    notes = (CHECKPOINTS[name].note if name in CHECKPOINTS else "", PROVENANCE.get(sha256, ""))
    return ", ".join(note for note in notes if note)


DTYPES = ("float32", "bfloat16")
"""Precisions in which weights are loaded; in float16 activations overflow (Gemma 3's do)."""
