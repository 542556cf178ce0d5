"""The dry run: counts that can be checked by hand, memory that a real model has, and `emoser plan`."""

import json
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from transformers import BloomConfig, BloomForCausalLM, LlamaConfig, LlamaForCausalLM

from emoser_lib import cli
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.planning.dry_run import DryRun, RunNeeds, describe_plan, dry_run
from emoser_lib.experiments.planning.memory import (
    PREFIX_TOKENS,
    REST_TOKENS,
    AudioInput,
    BatchShape,
    Memory,
    activation_bytes,
)
from emoser_lib.experiments.planning.meta_models import configuration, meta_encoder, meta_model
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.systems.checkpoints.catalogue import DEMO
from emoser_lib.systems.checkpoints.folders import names
from emoser_lib.systems.declared import Bridge, Linear, Lora, Queries
from emoser_lib.systems.hearing.audio_llm import AudioBatch, AudioLLM
from emoser_lib.systems.hearing.bridges import Joined, places
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.prompts.text import AUDIO
from emoser_lib.systems.reading.label_logits import batcher, label_logits
from emoser_lib.systems.reading.lora import add_lora
from emoser_lib.systems.reading.packing import pack_choices
from emoser_lib.systems.reading.prefix_cache import PrefixCache

GRID = """
llm: str = "google/gemma-1.1-2b-it"  # which model
dtype: str = "float32"  # of its weights
ranks: list[int] = [16]  # of the adapter
alphas: list[int] = [16, 32]  # of the adapter
targets: str = "all-linear"  # which matrices
dropout: float = 0.05  # on the adapter's input
batch_size: int = 4  # clips
activation_checkpointing: bool = False  # less memory
folds: list[int] = [0, 1, 2, 3, 4]  # which
refit: bool = True  # on all clips
"""
PROFILE = """
01-words: {all: {}}
04-asks: {zero-shot: {}}
05-learns: {grid: {}, demo: {llm: HuggingFaceTB/SmolLM2-135M-Instruct}}
"""


@pytest.fixture
def chapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three notebooks with a profile; no checkpoint is on this machine, and nobody is logged in."""
    folder = tmp_path / "notebooks"
    (folder / "profiles").mkdir(parents=True)
    asks = 'llm: str = "google/gemma-2b"  # which\ndtype: str = "bfloat16"  # of its weights'
    for name, parameters in {"01-words": "seed: int = 0  # any", "04-asks": asks, "05-learns": GRID}.items():
        cell = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), folder / f"{name}.ipynb")
    (folder / "profiles" / "paper.yaml").write_text(PROFILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMOSER_MODELS", str(tmp_path / "none"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    # The hub's library reads these from the environment at import, which is over.
    for name, value in {
        "HF_HUB_CACHE": tmp_path / "hf",
        "HF_TOKEN_PATH": tmp_path / "token",
        "HF_HUB_OFFLINE": True,
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    return folder


def planned(chapters: Path, **changed: Any) -> DryRun:
    return dry_run(plan(chapters / "05-learns.ipynb", "paper", "grid", changed), "paper")


@dataclass
class Done:
    """What came of a command."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def emoser(chapters: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command `emoser plan --profile paper …`, in this process: torch takes seconds to import."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command sets its own
        monkeypatch.setattr(sys, "argv", ["emoser", "plan", "--profile", "paper", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Done(int(str(end.value.code)), *capsys.readouterr())

    return run


def test_the_papers_model_has_as_many_parameters_as_the_papers_library_counts(chapters: Path) -> None:
    [need] = planned(chapters).runs
    assert need.parameters == 2_506_172_416
    [adapter] = need.adapters
    # A matrix from n to m numbers gets rank (n + m) more: q and o, k and v, gate and up and down, in 18 layers.
    width, heads, head, mlp = 2048, 8 * 256, 256, 16_384
    by_hand = 16 * 18 * (2 * (width + heads) + 2 * (width + head) + 3 * (width + mlp))
    assert adapter.trainable == by_hand == 19_611_648
    assert adapter.memory.weights == 4 * need.parameters
    assert adapter.memory.trained == adapter.memory.gradients == 4 * by_hand
    assert adapter.memory.optimiser == 8 * by_hand
    assert need.download_bytes == 2 * need.parameters  # the hub stores bfloat16
    assert need.trainings == 1 * 2 * 5 + 1


def tiny(folder: Path) -> LlamaForCausalLM:
    """Put a tiny checkpoint of random numbers there, as far as a dry run looks at it."""
    config = LlamaConfig(vocab_size=9, hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=2)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return model


def test_what_a_parameter_changes(chapters: Path) -> None:
    model = tiny(chapters.parent / "none" / "own--tiny")
    [need] = planned(chapters, llm="own/tiny", ranks=[2, 4]).runs
    assert (need.parameters, need.licence, need.access) == (model.num_parameters(), None, "here")
    two, four = need.adapters
    assert four.trainable == 2 * two.trainable
    assert four.memory.total > two.memory.total

    def memory(**changed: Any) -> Memory:
        return planned(chapters, llm="own/tiny", ranks=[2], **changed).runs[0].adapters[0].memory

    assert memory(targets="q,v").trained < two.memory.trained
    assert memory(dtype="bfloat16").weights == two.memory.weights / 2
    assert memory(dtype="bfloat16").trained == two.memory.trained
    assert memory(batch_size=8).activations > 1.5 * two.memory.activations
    assert memory(activation_checkpointing=True).activations < two.memory.activations / 3
    assert memory(dropout=0.0).activations < two.memory.activations
    assert planned(chapters, llm="own/tiny", folds=[0], refit=False).runs[0].trainings == 2


def test_activations_are_those_of_a_real_forward_pass() -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )
    real = add_lora(LlamaForCausalLM(config), Lora(4, 8))
    with torch.device("meta"):
        unreal = add_lora(LlamaForCausalLM(config), Lora(4, 8))
    counted = activation_bytes(unreal, BatchShape(3, prefix=20, rest=10))
    own = {parameter.untyped_storage().data_ptr() for parameter in real.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    batch = batcher(real)([1] * 20, [[2] * 10] * 3, [[3]] * 3)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        torch.nn.functional.cross_entropy(label_logits(real.train(), batch)[batch.labels.at], batch.labels.pieces)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    # Where nothing is computed, attention keeps its weights too; the kernel that is used here does not.
    assert measured <= counted < 1.1 * measured


FRAMES, WIDTH, CLIPS = 12, 8, 3
BRIDGES = [Linear(), Linear(stack=4), Queries(4, 1, 2, 16, 32, 0.0)]


@pytest.mark.parametrize("bridge", BRIDGES, ids=["linear", "stacked", "queries"])
@pytest.mark.parametrize("adapted", [False, True], ids=["frozen", "adapted"])
def test_activations_of_a_system_that_hears_are_those_of_a_real_forward_pass(bridge: Bridge, adapted: bool) -> None:
    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2
    )

    def made() -> Any:
        model = LlamaForCausalLM(config).requires_grad_(False).eval()
        return add_lora(model, Lora(4, 8)) if adapted else model

    count = places(bridge, FRAMES)
    lengths = torch.full((CLIPS,), FRAMES)
    with torch.device("meta"):
        unreal, joined = made(), Joined(bridge, 1, WIDTH, 16)
    heard = AudioInput(joined, Frames(torch.empty(CLIPS, 1, FRAMES, WIDTH, device="meta"), lengths), count)
    counted = activation_bytes(unreal, BatchShape(CLIPS, prefix=20, rest=10, heard=heard))

    model = AudioLLM(made(), bridge, WIDTH).train()
    prompt = pack_choices([1] * 20, [[AUDIO] * count + [2] * 10] * CLIPS, [[3], [4]])
    sound = Frames(torch.randn(CLIPS, 1, FRAMES, WIDTH), lengths)
    batch = AudioBatch(prompt, sound, torch.zeros(CLIPS, dtype=torch.long), torch.ones(CLIPS))
    states = None if adapted else PrefixCache(model.llm, [1] * 20).states()
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.losses(batch, states)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert measured / 1.1 < counted < 1.3 * measured


def test_a_model_that_takes_no_packed_batch_is_planned_too() -> None:
    with torch.device("meta"):
        model = BloomForCausalLM(BloomConfig(vocab_size=50, hidden_size=16, n_layer=1, n_head=2))
    with pytest.warns(UserWarning, match="plain right-padded batches"):
        kept = activation_bytes(add_lora(model, Lora(2, 2)), BatchShape(2))
    assert kept > 2 * (PREFIX_TOKENS + REST_TOKENS) * 16


@pytest.mark.parametrize("name", [name for name in names("llm") if name != DEMO])
def test_every_known_architecture_is_built_and_adapted(name: str) -> None:
    model = meta_model(name)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert add_lora(model, Lora(1, 1)).get_nb_trainable_parameters()[0] > 0


def test_a_checkpoint_that_is_here_needs_no_download_and_no_licence(chapters: Path) -> None:
    folder = chapters.parent / "none" / "google--gemma-1.1-2b-it"
    model = tiny(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(DataError, match=r"tokenizer.json is not there"):
        planned(chapters)
    (folder / "tokenizer.json").write_text("{}")
    done = planned(chapters)
    assert (done.runs[0].access, done.download_bytes, done.refused) == ("here", 0, ())
    assert done.runs[0].parameters == model.num_parameters()
    (folder / "config.json").write_text('{"model_type": "of-nobody"}')
    with pytest.raises(DataError, match=r"cannot be loaded .*take a checkpoint of a model that this version"):
        configuration("google/gemma-1.1-2b-it")


def test_a_wrong_name_suggests_the_right_one(chapters: Path) -> None:
    with pytest.raises(UsageError, match=r"'google/gema-2b' \(did you mean 'google/gemma-2b'\?\)"):
        planned(chapters, llm="google/gema-2b")


def test_the_command_tells_a_program(emoser: Callable[..., Done]) -> None:
    done = emoser("--json")
    told = json.loads(done.stdout)
    assert list(told) == ["profile", "runs", "download_bytes", "cache_bytes", "memory_bytes", "trainings", "refused"]
    none, asks, grid, small = told["runs"]
    assert (none["notebook"], none["checkpoint"], none["adapters"]) == ("01-words", None, [])
    assert (asks["licence"], asks["gated"], asks["access"]) == ("Gemma terms of use", True, "refused")
    assert asks["weights_bytes"] == 2 * 2_506_172_416
    assert grid["adapters"][0]["trainable"] == 19_611_648
    assert grid["key"].startswith("paper-")
    assert (small["licence"], small["gated"], small["access"]) == ("Apache-2.0", False, "open")
    assert told["download_bytes"] == 2 * (2 * 2_506_172_416 + 134_515_008)
    assert told["memory_bytes"] == grid["adapters"][0]["memory"]["total"]
    assert told["trainings"] == 22
    # Both gated models have a sentence of their own, once each.
    assert done.code == 1
    assert done.stderr.splitlines() == [f"emoser: {sentence}" for sentence in told["refused"]]
    assert [line.split()[1] for line in done.stderr.splitlines()] == ["google/gemma-2b", "google/gemma-1.1-2b-it"]


def test_the_command_tells_a_person(emoser: Callable[..., Done]) -> None:
    small = ["05-learns", "--only", "demo", "-p", "ranks", "[2]"]
    done = emoser(*small)
    assert (done.code, done.stderr) == (0, "")
    first, rank, trainings, together = done.stdout.splitlines()
    assert "134,515,008 parameters, 538 MB of memory; 269 MB to download (Apache-2.0)" in first
    assert rank.startswith("  rank 2, all-linear: 610,560 trainable;")
    assert trainings == "  11 trainings, hours unknown: this machine has no record of such a run"
    assert together.startswith("together: 11 trainings")


def refused(code: int, words: str, done: Done) -> None:
    assert (done.code, done.stdout) == (code, "")
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("did you mean 'google/gemma-2b'", ["04-asks", "-p", "llm", "google/gema-2b"]),
        ("'/nowhere/own' is not a folder", ["04-asks", "-p", "llm", "/nowhere/own"]),
        ("did you mean 'grid'", ["05-learns", "--only", "gird"]),
        ("there is no profile 'papre'", ["--profile", "papre"]),
        ("name it", ["--only", "grid"]),
        ("there is no notebook '06'", ["06"]),
    ],
)
def test_wrong_usage_of_the_command(emoser: Callable[..., Done], words: str, arguments: list[str]) -> None:
    refused(2, words, emoser(*arguments))


def test_a_folder_that_is_not_whole(emoser: Callable[..., Done], tmp_path: Path) -> None:
    refused(1, "is not whole, config.json is not there", emoser("04-asks", "-p", "llm", str(tmp_path)))


def hears(root: Path, chapter: str, only: str, **changed: Any) -> RunNeeds:
    [need] = dry_run(plan(root / "notebooks" / f"{chapter}.ipynb", "paper", only, changed), "paper").runs
    return need


@pytest.mark.usefixtures("chapters")
def test_whisper_gemma_is_counted_and_set_beside_the_papers_number(root: Path) -> None:
    need = hears(root, "08-whisper-gemma", "first")
    [encoder], [system] = need.encoders, need.systems
    assert (encoder.licence, encoder.gated, encoder.access) == ("Apache-2.0", False, "open")
    assert encoder.download_bytes == 2 * 1_543_490_560  # the whole checkpoint, though half of it is used
    assert system.bridge == 1280 * 2048 + 2048 == 2_623_488
    assert (system.adapter, system.encoder_trained) == (0, 0)
    assert system.parameters == encoder.parameters + system.bridge + 2_506_172_416
    assert system.stated == 3_200_000_000
    assert system.memory.weights == 4 * (system.parameters - system.bridge)
    assert system.memory.trained == system.memory.gradients == system.memory.optimiser / 2 == 4 * system.bridge
    frames = math.ceil(9.2 * 50)
    assert encoder.recordings.clips == 3750
    assert encoder.recordings.bytes == 3750 * frames * 1280 * 4
    assert need.trainings == system.trainings == 1
    said = describe_plan(dry_run([], "paper").model_copy(update={"runs": (need,)}))
    assert f"where the paper says 3.2 billion: {3_200_000_000 - system.parameters:,} fewer" in said


@pytest.mark.usefixtures("chapters")
def test_an_encoder_that_is_trained_along_needs_more(root: Path) -> None:
    given = {"encoder": "openai/whisper-base", "llm": "HuggingFaceTB/SmolLM2-135M-Instruct", "folds": [0]}
    frozen, trained = (hears(root, "08-whisper-gemma", "first", arm=arm, **given) for arm in ("published", "released"))
    assert trained.systems[0].encoder_trained == trained.encoders[0].parameters == 20_590_592
    assert trained.systems[0].memory.optimiser == frozen.systems[0].memory.optimiser + 8 * 20_590_592
    assert trained.systems[0].memory.activations > frozen.systems[0].memory.activations
    assert (trained.encoders[0].recordings.bytes, frozen.systems[0].stated) == (0, None)
    assert frozen.encoders[0].recordings.clip_bytes == 460 * 512 * 4
    given |= {"folds": [0, 1], "weights": ["none", "inverse", "normalised", "sqrt"], "refit": True}
    grid = hears(root, "08-whisper-gemma", "table-2", **given)
    # Two batch sizes, two rates, three more weights of the labels, two folds, and the refit.
    assert grid.trainings == (2 * 2 + 3) * 2 + 1


@pytest.mark.usefixtures("chapters")
def test_emotion2vec_gemma_is_counted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta_encoder.cache_clear()
    monkeypatch.setitem(sys.modules, "funasr.models.emotion2vec.model", None)
    changed = {"arms": ["published"], "folds": [0], "refit": False}
    need = hears(root, "09-emotion2vec-gemma", "arms", **changed)
    [encoder], [system] = need.encoders, need.systems
    assert system.bridge == 768 * 2048 + 2048 == 1_574_912
    assert (encoder.parameters, encoder.counted, encoder.access) == (93_800_000, False, "by hand")
    assert "as its authors state them (install FunASR to count them)" in describe_plan(
        dry_run([], "paper").model_copy(update={"runs": (need,)})
    )
    monkeypatch.undo()
    meta_encoder.cache_clear()


def test_emotion2vec_is_counted_on_funasrs_model() -> None:
    pytest.importorskip("funasr", reason="emotion2vec's own model is FunASR's, the extra emotion2vec")
    meta_encoder.cache_clear()
    made = meta_encoder("emotion2vec/emotion2vec_base")
    assert (made.width, made.layers) == (768, 9)
    assert made.model is not None
    assert made.parameters == pytest.approx(93.8e6, rel=0.01)


@pytest.mark.usefixtures("chapters")
def test_emosllm_is_counted(root: Path) -> None:
    given = {"llm": "HuggingFaceTB/SmolLM2-135M-Instruct", "other_encoders": ["openai/whisper-base"]}
    need = hears(root, "10-emosllm", "meld", **given)
    as_it_is, without, fewer, other, speech = need.systems
    assert [encoder.checkpoint for encoder in need.encoders] == ["microsoft/wavlm-large", "openai/whisper-base"]
    assert as_it_is.bridge - fewer.bridge == (32 - 8) * 768
    assert as_it_is.bridge - other.bridge == (1024 - 512) * 768
    assert as_it_is.adapter == 30 * 8 * (576 + 576 + 576 + 192) == speech.adapter
    assert as_it_is.parameters == 315_453_120 + as_it_is.bridge + 134_515_008 + as_it_is.adapter
    assert without.memory.activations < as_it_is.memory.activations
    assert fewer.memory.activations < as_it_is.memory.activations
    # 9.2 s are four windows of 3 s, in bfloat16; nobody here has the corpus.
    assert need.encoders[0].recordings.clip_bytes == 4 * 150 * 1024 * 2
    assert (need.encoders[0].recordings.clips, need.encoders[0].recordings.bytes) == (None, None)
    assert need.trainings == 5
    whole = hears(root, "10-emosllm", "meld", window_seconds=0.0, layer="weighted", **given)
    assert whole.encoders[0].recordings.clip_bytes == 460 * 1024 * 25 * 2
    assert whole.systems[0].bridge == as_it_is.bridge + 25
    # Of whole clips it is asked what is said, with logits at each token.
    assert whole.systems[-1].memory.activations > 1.5 * whole.systems[0].memory.activations
    json.loads(need.model_dump_json())
