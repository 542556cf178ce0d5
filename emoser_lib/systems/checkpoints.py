"""Language models by name: where their files are, whether they are whole, and how they are loaded.

A checkpoint is looked for in the package, then in ``$EMOSER_MODELS/<org>--<name>``, then on the Hugging Face hub at a
pinned revision. Only safetensors are read, and no code that comes with a checkpoint is ever run.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from emoser_lib.corpora import absolute, cache_home
from emoser_lib.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEMO = "emoser/demo-gemma"
DEMO_FOLDER = Path(__file__).parent / "demo_models" / "demo-gemma"
FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
"""What is downloaded: never ``*.bin`` or ``*.py``."""
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class CheckpointFacts:
    """What is known about a checkpoint before any of its files is here.

    Attributes:
        licence: short name of its licence.
        note: what was made of it: "base" or "instruction-tuned".
        gated: whether its licence must be accepted on the hub before a download.
        revision: the commit on the hub that is downloaded; ``None``: it is not there.
        dtype: in which the hub stores the weights.
        architecture: its configuration as far as it decides sizes, ``model_type`` included; empty where it is shipped.
    """

    licence: str
    note: str
    gated: bool = False
    revision: str | None = None
    dtype: str = "bfloat16"
    architecture: Mapping[str, Any] = field(default_factory=dict, repr=False)


def _architecture(
    model_type: str, vocabulary: int, width: int, layers: int, heads: tuple[int, int, int], mlp: int
) -> Mapping[str, Any]:
    """``heads``: of queries, of keys and values, and their width. All of these tie their embeddings."""
    return MappingProxyType(
        {
            "model_type": model_type,
            "vocab_size": vocabulary,
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": heads[0],
            "num_key_value_heads": heads[1],
            "head_dim": heads[2],
            "intermediate_size": mlp,
            "tie_word_embeddings": True,
        }
    )


GEMMA_2B = _architecture("gemma", 256_000, 2048, 18, (8, 1, 256), 16_384)
GEMMA_LICENCE = "Gemma terms of use"

CHECKPOINTS: Mapping[str, CheckpointFacts] = MappingProxyType(
    {
        DEMO: CheckpointFacts("MIT", "trained by a script of this project", dtype="float16"),
        "google/gemma-1.1-2b-it": CheckpointFacts(
            GEMMA_LICENCE,
            "instruction-tuned",
            gated=True,
            revision="d750f5eceb83e978c09e2b3597c2a8784e381022",
            architecture=GEMMA_2B,
        ),
        "google/gemma-2b": CheckpointFacts(
            GEMMA_LICENCE,
            "base",
            gated=True,
            revision="9cf48e52b224239de00d483ec8eb84fb8d0f3a3a",
            architecture=GEMMA_2B,
        ),
        "google/gemma-3-270m": CheckpointFacts(
            GEMMA_LICENCE,
            "base",
            gated=True,
            revision="9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1",
            architecture=_architecture("gemma3_text", 262_144, 640, 18, (4, 1, 256), 2048),
        ),
        "HuggingFaceTB/SmolLM2-135M-Instruct": CheckpointFacts(
            "Apache-2.0",
            "instruction-tuned",
            revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
            architecture=_architecture("llama", 49_152, 576, 30, (9, 3, 64), 1536),
        ),
        "meta-llama/Llama-3.2-3B-Instruct": CheckpointFacts(
            "Llama 3.2 Community License",
            "instruction-tuned",
            gated=True,
            revision="0cb88a4f764b7a12671c53f0838cd831a0843b95",
            architecture=_architecture("llama", 128_256, 3072, 28, (24, 8, 128), 8192),
        ),
    }
)
"""By the name on the hub. Each revision is the one that public experiments pin or have in their caches."""

PROVENANCE: Mapping[str, str] = MappingProxyType(
    {
        "cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04": "de-quantised from Q4_K_M",
        "a672150fb4f99d7c8f4168cecdd464069c0ef3a37d8113f22ddb9d48031d03cd": "de-quantised from Q4_1",
    }
)
"""`weights_sha256` -> what was done to these very bytes. A checkpoint with other bytes is another model."""


@dataclass(frozen=True)
class LLM:
    """A language model that is loaded, and what it is.

    Attributes:
        name: as it was asked for.
        model: in eval mode.
        tokenizer: its own.
        sha256: of its weights, see `weights_sha256`.
        note: what kind of model these bytes are, such as "base, de-quantised from Q4_K_M"; may be empty.
    """

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    sha256: str
    note: str = ""

    @property
    def title(self) -> str:
        """For records and pages: "gemma-3-270m (base, de-quantised from Q4_K_M)"."""
        short = self.name.rstrip("/").rpartition("/")[2]
        return f"{short} ({self.note})" if self.note else short


def models_home() -> Path:
    """The folder that holds checkpoints: ``$EMOSER_MODELS``, by default ``models`` in `cache_home`."""
    return absolute(os.environ.get("EMOSER_MODELS") or cache_home() / "models")


def local_checkpoint(name: str) -> Path | None:
    """The folder of a checkpoint that is here already, ``None`` if it would have to be downloaded.

    Args:
        name: "emoser/demo-gemma", a name on the hub, or the absolute path of a folder of your own.

    Raises:
        UsageError: there is no checkpoint of this name.
        DataError: its folder is here but not whole.

    >>> local_checkpoint("google/gemma-1.1-2B-it")
    Traceback (most recent call last):
    emoser_lib.errors.UsageError: there is no checkpoint 'google/gemma-1.1-2B-it' (did you mean
    'google/gemma-1.1-2b-it'?): known are emoser/demo-gemma, ...
    """
    folder = _folder_of(name)
    if folder.is_dir():
        return check_folder(folder)
    if name not in CHECKPOINTS:
        raise UsageError(
            f"there is no checkpoint '{name}'{did_you_mean(name, list(CHECKPOINTS))}: known are "
            f"{', '.join(CHECKPOINTS)}, and any whole folder at {models_home()}/<org>--<name> or at an absolute path."
        )
    if CHECKPOINTS[name].revision is None:
        raise DataError(f"checkpoint {name} is not at {folder}: put its folder there.")
    return _from_hub(name, local_files_only=True)


def find_checkpoint(name: str) -> Path:
    """The folder of a checkpoint, downloaded from the Hugging Face hub at its pinned revision if it is not here.

    Args:
        name: "emoser/demo-gemma", a name on the hub, or the absolute path of a folder of your own.

    Raises:
        UsageError: there is no checkpoint of this name.
        DataError: its folder is not whole, its licence was not accepted, or the hub cannot be reached.
    """
    folder = local_checkpoint(name) or _from_hub(name, local_files_only=False)
    assert folder is not None
    return folder


def _folder_of(name: str) -> Path:
    """Where a checkpoint of this name is put by hand."""
    if name == DEMO:
        return DEMO_FOLDER
    if name.startswith("~") or Path(name).is_absolute():
        folder = absolute(name)
        if not folder.is_dir():
            raise UsageError(f"llm '{name}' is not a folder: name one that holds a checkpoint.")
        return folder
    organisation, slash, model = name.partition("/")
    if not (organisation and slash and model) or "/" in model or organisation.strip(".") == "":
        hint = did_you_mean(name, list(CHECKPOINTS))
        raise UsageError(
            f"llm '{name}' is neither of the form org/name nor an absolute path{hint}: known are "
            f"{', '.join(CHECKPOINTS)}."
        )
    return models_home() / f"{organisation}--{model}"


def check_folder(folder: Path) -> Path:
    """Return the folder if it holds a whole checkpoint: configuration, tokenizer and weights.

    Raises:
        DataError: something is not there, is cut short, or is not safetensors.
    """
    get_it = "copy or download the whole checkpoint again"
    if not (folder / "config.json").is_file():
        raise DataError(f"checkpoint {folder} is not whole, config.json is not there: {get_it}.")
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        raise DataError(f"checkpoint {folder} is not whole, tokenizer.json is not there: {get_it}.")
    for path in weights_files(folder):
        if not path.is_file():
            raise DataError(f"checkpoint {folder} is not whole, {path.name} is not there: {get_it}.")
        _check_weights(path)
    return folder


def weights_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the weights of a checkpoint, by its index where it has one.

    Raises:
        DataError: there are none.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError):
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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): copy or download the file again.") from None


def _from_hub(name: str, local_files_only: bool) -> Path | None:
    from huggingface_hub import errors, snapshot_download

    facts = CHECKPOINTS[name]
    here = models_home() / name.replace("/", "--")
    try:
        path = snapshot_download(
            name, revision=facts.revision, allow_patterns=list(FILES), local_files_only=local_files_only
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
    """What to do about a checkpoint whose licence was not accepted on the hub.

    >>> gate_sentence("google/gemma-2b").partition(" and ")[0]
    'google/gemma-2b is gated: accept the Gemma terms of use at https://huggingface.co/google/gemma-2b'
    """
    return (
        f"{name} is gated: accept the {CHECKPOINTS[name].licence} at https://huggingface.co/{name} and log in with "
        f"`hf auth login`, or put its folder at {models_home() / name.replace('/', '--')}."
    )


def weights_sha256(folder: Path) -> str:
    """One sha256 for the weights of a checkpoint: about a second for 1 GB.

    Of one file it is the file's own; of several it is that of the lines "<sha256>  <file name>", sorted by name.

    Raises:
        DataError: there are no weights in the folder.
    """
    digests = []
    for path in weights_files(folder):
        with path.open("rb") as file:
            digests.append((hashlib.file_digest(file, "sha256").hexdigest(), path.name))
    if len(digests) == 1:
        return digests[0][0]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for digest, name in digests).encode()).hexdigest()


def load_llm(name: str, *, device: str = "auto", dtype: str = "float32") -> LLM:
    """Load a language model and its tokenizer.

    Args:
        name: see `find_checkpoint`.
        device: where it computes: "cpu", "cuda", "cuda:1"; "auto": on the first GPU that torch sees, else the CPU.
        dtype: of its weights: "float32", "bfloat16" or "float16"; those on disk are converted.

    Raises:
        UsageError: there is no such checkpoint, device or dtype.
        DataError: the checkpoint is not whole or cannot be had.
    """
    if dtype not in DTYPES:
        raise UsageError(f"there is no dtype '{dtype}'{did_you_mean(dtype, list(DTYPES))}: use {', '.join(DTYPES)}.")
    folder = find_checkpoint(name)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in ("cpu", *gpus, *(["cuda"] if gpus else [])):
        raise UsageError(f"there is no device '{device}' on this machine: use cpu (`emoser doctor` says more).")
    with _quiet():
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                attn_implementation="sdpa",
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:200].rstrip(".")
            raise DataError(f"checkpoint {folder} cannot be loaded ({said}): download the whole of it again.") from None
    model, loading = loaded
    # transformers would go on with random numbers for tensors that the files lack.
    if lacking := sorted(loading["missing_keys"]):
        raise DataError(
            f"checkpoint {folder} lacks {len(lacking)} of the model's tensors, such as {lacking[0]}: "
            "download the whole of it again."
        )
    sha256 = weights_sha256(folder)
    notes = (CHECKPOINTS[name].note if name in CHECKPOINTS else "", PROVENANCE.get(sha256, ""))
    return LLM(name, model.to(device).eval(), tokenizer, sha256, ", ".join(note for note in notes if note))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and notes of transformers, which would land in a notebook's output."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
