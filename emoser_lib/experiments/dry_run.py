"""What planned runs need, without weights: parameters, memory, download and licences.

Models are built on torch's meta device, which has shapes but no numbers.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from typing import Any, Literal

import torch
from peft import PeftModel
from pydantic import BaseModel, ConfigDict, computed_field
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from emoser_lib.errors import DataError
from emoser_lib.experiments.profiles import PlannedRun
from emoser_lib.systems.checkpoints import CHECKPOINTS, DTYPES, gate_sentence, local_checkpoint
from emoser_lib.systems.label_logits import attention_masks, batcher
from emoser_lib.systems.lora import Lora, add_lora
from emoser_lib.systems.packing import PackedBatch

PREFIX, REST = 72, 112
"""Tokens of Table 1's prompt, and of a clip with the template's end: enough for 99 % of EmoSPeech's clips with the
tokenizer of SmolLM2; Gemma's needs 51 and 74."""

ADAM = 2
"""Numbers the optimiser keeps for each trained parameter."""

GATE = {
    "here": "",
    "accepted": ", accepted",
    "refused": ", not accepted or not logged in",
    "unknown": ", the hub did not answer",
}
"""How access to a gated checkpoint is told."""

Access = Literal["here", "open", "accepted", "refused", "unknown"]


class Strict(BaseModel):
    """Base of the shapes below."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Memory(Strict):
    """Bytes in the memory of the device while an adapter is trained. Not counted: the library's own, buffers for
    products, and memory that lies between tensors; a tenth on top is a fair guess.

    Attributes:
        weights: of the frozen model, in the run's dtype.
        adapter: float32, whatever the model's dtype, as peft makes it.
        gradients: of the adapter.
        optimiser: Adam's two running means of each trained parameter.
        activations: what the forward pass of one packed batch keeps for the backward pass: `PREFIX` tokens and `REST`
            for each clip, logits at the label only. Attention as a plain product, which keeps its weights too; most
            kernels do not, so that this is a few percent too much. With activation checkpointing: the input of each
            layer, and what is in one layer.
    """

    weights: int
    adapter: int
    gradients: int
    optimiser: int
    activations: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.adapter + self.gradients + self.optimiser + self.activations


class Adapter(Strict):
    """What one rank of a grid needs.

    Attributes:
        rank: of the adapter.
        targets: the matrices that get one.
        trainable: trained parameters, peft's own count.
        memory: while it is trained.
    """

    rank: int
    targets: str
    trainable: int
    memory: Memory


class Needs(Strict):
    """What one run needs. ``None`` and 0 where it needs no checkpoint.

    Attributes:
        notebook, run, key: which run, see `PlannedRun`.
        checkpoint: its name.
        licence: short name of the checkpoint's licence; ``None`` for a folder of your own.
        gated: whether the licence must be accepted on the hub.
        access: ``here``: the files are on this machine; ``open``: anyone may download them; ``accepted`` or
            ``refused``: what the hub says of a gated one to whoever is logged in; ``unknown``: it did not answer.
        parameters: of the model, without adapter.
        weights_bytes: of the model in the run's dtype: what zero-shot needs, besides a batch.
        download_bytes: of the weights as the hub stores them, 0 if they are here; the tokenizer adds up to 40 MB.
        adapters: one for each rank of the grid.
        trainings: ranks × alphas × folds, and the refit.
    """

    notebook: str
    run: str
    key: str
    checkpoint: str | None = None
    licence: str | None = None
    gated: bool = False
    access: Access | None = None
    parameters: int = 0
    weights_bytes: int = 0
    download_bytes: int = 0
    adapters: tuple[Adapter, ...] = ()
    trainings: int = 0


class DryRun(Strict):
    """What the runs of a profile need, one by one and together.

    Attributes:
        profile: its name.
        runs: in the order of the notebooks.
        download_bytes: each checkpoint once.
        memory_bytes: of the run that needs most.
        trainings: of all runs.
        refused: one sentence for each checkpoint whose licence was not accepted.
    """

    profile: str
    runs: tuple[Needs, ...]
    download_bytes: int
    memory_bytes: int
    trainings: int
    refused: tuple[str, ...]


def dry_run(planned: Sequence[PlannedRun], profile: str) -> DryRun:
    """Work out what planned runs need; no weights are read, none are downloaded.

    A run with a parameter ``llm`` needs that checkpoint, in its ``dtype``; with ``ranks`` it trains adapters as
    `GemmaLoraSettings` says.

    Raises:
        UsageError: a checkpoint is not known.
        DataError: a checkpoint's folder is not whole.
    """
    adapter = cache(_adapter)  # runs of a profile often share theirs
    runs = tuple(_needs(run, adapter) for run in planned)
    downloads = {need.checkpoint: need.download_bytes for need in runs}
    memory = [need.weights_bytes for need in runs]
    memory += [of_rank.memory.total for need in runs for of_rank in need.adapters]
    refused = dict.fromkeys(need.checkpoint for need in runs if need.access == "refused")
    return DryRun(
        profile=profile,
        runs=runs,
        download_bytes=sum(downloads.values()),
        memory_bytes=max(memory, default=0),
        trainings=sum(need.trainings for need in runs),
        refused=tuple(gate_sentence(name) for name in refused if name),
    )


def describe(done: DryRun) -> str:
    """A dry run in lines for people.

    >>> print(describe(dry_run([], "demo")))
    together: 0 trainings, 0 MB of memory at most, 0 MB to download
    """
    lines = [line for need in done.runs for line in _lines(need)]
    memory, download = _size(done.memory_bytes), _size(done.download_bytes)
    return "\n".join(
        [*lines, f"together: {_trainings(done.trainings)}, {memory} of memory at most, {download} to download"]
    )


def _lines(need: Needs) -> Iterator[str]:
    name = f"{need.notebook} ({need.run})"
    if need.checkpoint is None:
        yield f"{name}: no checkpoint"
        return
    gate = f"; gated{GATE[need.access]}" if need.gated and need.access else ""
    files = "here" if need.access == "here" else f"{_size(need.download_bytes)} to download"
    yield (
        f"{name}: {need.checkpoint}, {need.parameters:,} parameters, {_size(need.weights_bytes)} of memory; {files} "
        f"({need.licence or 'licence not known'}{gate})"
    )
    for adapter in need.adapters:
        held = adapter.memory
        trained = _size(held.adapter + held.gradients + held.optimiser)
        yield (
            f"  rank {adapter.rank}, {adapter.targets}: {adapter.trainable:,} trainable; {_size(held.total)} of memory "
            f"= weights {_size(held.weights)} + adapter, gradients and optimiser {trained} + activations "
            f"{_size(held.activations)}"
        )
    if need.trainings:
        yield f"  {_trainings(need.trainings)}"


def _trainings(number: int) -> str:
    return "1 training" if number == 1 else f"{number} trainings"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _needs(planned: PlannedRun, adapter: Callable[..., Adapter]) -> Needs:
    needs = partial(Needs, notebook=planned.chapter, run=planned.name, key=planned.key)
    given = planned.parameters
    if "llm" not in given:
        return needs()
    name, dtype = given["llm"], given.get("dtype", DTYPES[0])
    here, facts = local_checkpoint(name) is not None, CHECKPOINTS.get(name)
    parameters = meta_model(name).num_parameters()
    return needs(
        checkpoint=name,
        licence=facts.licence if facts else None,
        gated=bool(facts and facts.gated),
        access="here" if here else _access(name),
        parameters=parameters,
        weights_bytes=parameters * _bytes(dtype),
        download_bytes=0 if here or not facts else parameters * _bytes(facts.dtype),
        **_sweep(name, dtype, given, adapter) if "ranks" in given else {},
    )


def _sweep(name: str, dtype: str, given: Mapping[str, Any], adapter: Callable[..., Adapter]) -> dict[str, Any]:
    how = dtype, given["batch_size"], given["activation_checkpointing"]
    loras = [Lora(rank, rank, given["targets"], given["dropout"]) for rank in given["ranks"]]
    return {
        "adapters": tuple(adapter(name, lora, *how) for lora in loras),
        "trainings": len(given["ranks"]) * len(given["alphas"]) * len(given["folds"]) + given["refit"],
    }


def _access(name: str) -> Access:
    """Whether the hub would give us the files of a checkpoint that is not here."""
    from huggingface_hub import auth_check, errors, get_token

    if not CHECKPOINTS[name].gated:
        return "open"
    if get_token() is None:
        return "refused"
    try:
        auth_check(name)
    except errors.HfHubHTTPError as error:
        return "refused" if error.response.status_code in (401, 403) else "unknown"
    except (errors.HTTPError, OSError):
        return "unknown"
    return "accepted"


def configuration(name: str) -> PretrainedConfig:
    """The configuration of a checkpoint: its own file where it is here, else what is known about it.

    Raises:
        UsageError: the checkpoint is not known.
        DataError: its folder is not whole, or its config.json is of no model that transformers has.
    """
    folder = local_checkpoint(name)
    if folder is None:
        return AutoConfig.for_model(**CHECKPOINTS[name].architecture)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError):
        raise DataError(f"{folder / 'config.json'} is of no model that transformers has: restore the file.") from None


def meta_model(name: str, dtype: str = "float32") -> PreTrainedModel:
    """A checkpoint's model with shapes but without numbers."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(configuration(name), dtype=getattr(torch, dtype))


def _adapter(name: str, lora: Lora, dtype: str, batch_size: int, checkpointing: bool) -> Adapter:
    model = meta_model(name, dtype)
    weights = model.num_parameters() * _bytes(dtype)
    with warnings.catch_warnings():
        # peft asks transformers by a name that the latter gives up in its version 6.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapted = add_lora(model, lora)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    held = sum(p.nbytes for p in trained)
    activations = activation_bytes(adapted, batch_size)
    if checkpointing:
        layers, width = model.config.num_hidden_layers, model.config.hidden_size
        inputs = layers * (PREFIX + batch_size * REST) * width * _bytes(dtype)
        activations = min(activations, inputs + activations // layers)
    return Adapter(
        rank=lora.rank,
        targets=lora.targets,
        trainable=sum(p.numel() for p in trained),
        memory=Memory(
            weights=weights,
            adapter=held,
            gradients=held,
            optimiser=ADAM * held,
            activations=activations,
        ),
    )


def _bytes(dtype: str) -> int:
    """Of one number."""
    return getattr(torch, dtype).itemsize


def activation_bytes(model: PeftModel, batch_size: int, prefix: int = PREFIX, rest: int = REST) -> int:
    """What the forward pass of one packed batch keeps for the backward pass, counted in the graph that autograd makes.

    Args:
        model: with an adapter, on any device.
        batch_size: clips.
        prefix: tokens that all clips share.
        rest: tokens of each clip.
    """
    device = next(model.parameters()).device
    batch = batcher(model)([0] * prefix, [[0] * rest] * batch_size, [[0]] * batch_size).to(device)
    # The last positions instead of the batch's own: how many a mask holds is not known without numbers.
    if isinstance(batch, PackedBatch):
        masks, keep = attention_masks(model, batch), batch_size
        given: dict[str, Any] = {"position_ids": batch.position_ids}
    else:
        masks, keep, given = batch.attention_mask, 1, {}
    with _kept(model) as sizes:
        outputs = model.train()(
            input_ids=batch.input_ids, attention_mask=masks, logits_to_keep=keep, use_cache=False, **given
        )
        functional.cross_entropy(outputs.logits.flatten(0, 1).float(), batch.labels.pieces)
    return sum(sizes.values())


@contextmanager
def _kept(model: torch.nn.Module) -> Iterator[dict[int, int]]:
    """Collect the bytes of each storage that autograd keeps, the model's own parameters left out."""
    own = {_storage(parameter) for parameter in model.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Any] = []  # an address is given to another tensor as soon as its first owner is gone

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (address := _storage(tensor)) not in own:
            sizes[address] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
