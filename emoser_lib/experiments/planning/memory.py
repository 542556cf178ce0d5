"""The memory that one training takes, counted on torch's meta device, which has shapes but no numbers.

What a whole run takes is in `dry_run`.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import computed_field
from torch import Tensor, nn
from torch.nn import functional
from transformers import DynamicCache

from emoser_lib.experiments.planning.shapes import shapes_only
from emoser_lib.systems.declared import Lora
from emoser_lib.systems.hearing.bridges import Joined
from emoser_lib.systems.hearing.encoders.encoder import Frames
from emoser_lib.systems.reading.label_logits import batcher, packed_attention_of
from emoser_lib.systems.reading.lora import add_lora
from emoser_lib.systems.reading.packing import PackedBatch
from emoser_lib.values import Immutable

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from emoser_lib.systems.reading.label_logits import CausalLM

PREFIX_TOKENS, REST_TOKENS = 72, 112
"""Tokens of Table 1's prompt, and of a clip with the template's end: enough for 99 % of EmoSPeech's clips with the
tokenizer of SmolLM2; Gemma's needs 51 and 74."""

ADAM = 2
"""Numbers the optimiser keeps for each trained parameter."""


class Memory(Immutable):
    """Bytes in the memory of the device during a training. Not counted: the library's own, buffers for products, and
    memory that lies between tensors; a tenth on top is a fair guess.

    Attributes:
        weights: of the frozen models, in the run's dtype.
        trained: adapter and bridge, float32 whatever the model's dtype, as peft makes an adapter.
        gradients: of all that is trained.
        optimiser: Adam's two running means of each trained parameter.
        activations: what the forward pass of one packed batch keeps for the backward pass: `PREFIX_TOKENS` and
            `REST_TOKENS` for each clip, the places of its audio, logits at the label only. Attention as a plain
            product, which keeps its weights too; most kernels do not, so that this is a few percent too much. With
            activation checkpointing: the input of each layer, and what is in one layer.
    """

    weights: int
    trained: int
    gradients: int
    optimiser: int
    activations: int

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        """All of them."""
        return self.weights + self.trained + self.gradients + self.optimiser + self.activations


class Adapter(Immutable):
    """Needs of one rank of a grid.

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


@dataclass(frozen=True)
class AudioInput:
    """Shape of what the language model hears of a batch.

    Attributes:
        bridge: that makes it.
        frames: of each entry, [entries, layers, T, width].
        places: of the language model's input that one entry takes, see `bridges.places`.
    """

    bridge: Joined
    frames: Frames
    places: int


def number_bytes(dtype: str) -> int:
    """Return the bytes of one number.

    >>> number_bytes("bfloat16")
    2
    """
    return getattr(torch, dtype).itemsize


@dataclass(frozen=True)
class BatchShape:
    """Shape of a packed batch.

    Attributes:
        batch_size: clips, or windows of clips.
        prefix: tokens that all clips share; of a frozen model its keys and values are there already.
        rest: tokens of each clip, without its audio.
        heard: its audio, which comes after the rest (where it stands does not matter here); ``None``: text only.
        targets: tokens of each clip that are learnt.
    """

    batch_size: int
    prefix: int = PREFIX_TOKENS
    rest: int = REST_TOKENS
    heard: AudioInput | None = None
    targets: int = 1


def activation_bytes(model: "CausalLM", shape: BatchShape) -> int:
    """Count what the forward pass of a packed batch keeps for the backward pass, in autograd's graph.

    Layers of one type keep the same, so that two of them are run, and the others counted.

    Args:
        model: with an adapter or, with audio, frozen; on any device.
        shape: of the batch.
    """
    types = _layer_types(model)
    places = {kind: [at for at, other in enumerate(types) if other == kind] for kind in dict.fromkeys(types)}
    first = [at[0] for at in places.values()]
    one = total = _kept_by(model, shape, first)
    for at in places.values():
        if len(at) > 1:
            total += (len(at) - 1) * (_kept_by(model, shape, sorted([*first, at[1]])) - one)
    return total


def _kept_by(model: "CausalLM", shape: BatchShape, layers: Sequence[int]) -> int:
    """What is kept by a model of these of its layers."""
    modules: list[nn.Module] = [model, *([shape.heard.bridge] if shape.heard else [])]
    with _of_layers(model, layers), _kept(modules) as sizes:
        packed_forward(model, shape)()
    return sum(sizes.values())


def _layer_types(model: "CausalLM") -> list[str]:
    """The type of each layer, in order."""
    config = model.config.get_text_config()
    return list(getattr(config, "layer_types", None) or ["all"] * config.num_hidden_layers)


@contextmanager
def _of_layers(model: "CausalLM", chosen: Sequence[int]) -> Iterator[None]:
    """Leave a model these of its layers for a while."""
    config = model.config.get_text_config()
    owner, name, layers = next(
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.ModuleList) and len(child) == config.num_hidden_layers
    )
    types = getattr(config, "layer_types", None)
    try:
        setattr(owner, name, nn.ModuleList(layers[at] for at in chosen))
        config.num_hidden_layers = len(chosen)
        if types:
            config.layer_types = [types[at] for at in chosen]
        yield
    finally:
        setattr(owner, name, layers)
        config.num_hidden_layers = len(layers)
        if types:
            config.layer_types = types


def packed_forward(model: "CausalLM", shape: BatchShape) -> Callable[[], Tensor]:
    """Prepare the forward pass of one packed batch with its loss; arguments as `activation_bytes`."""
    heard, prefix, targets = shape.heard, shape.prefix, shape.targets
    device = next(model.parameters()).device
    places = heard.places if heard else 0
    clip = [0] * (shape.rest + places)
    batch = batcher(model)([0] * prefix, [clip] * shape.batch_size, [[0] * targets] * shape.batch_size).to(device)
    model.train(any(parameter.requires_grad for parameter in model.parameters()))  # a frozen one has no dropout
    states, start = _prefix_states(model, prefix), 0
    if isinstance(batch, PackedBatch):
        start = 0 if states is None else prefix
        # The last positions instead of the batch's own: how many a mask holds is not known without numbers.
        attention, keep = packed_attention_of(model, batch, start), shape.batch_size * targets
        given: dict[str, Any] = {"position_ids": batch.position_ids[:, start:], "past_key_values": states}
    else:
        attention, keep, given = {"attention_mask": batch.attention_mask}, targets, {}
    if heard:
        heard.bridge.train()

    def forward() -> Tensor:
        ids = batch.input_ids[:, start:]
        read = {"input_ids": ids} if heard is None else {"inputs_embeds": _embeddings(model, ids, heard)}
        use_cache = bool(given) and states is not None
        logits = model(**read, **attention, logits_to_keep=keep, use_cache=use_cache, **given).logits
        return functional.cross_entropy(logits.flatten(0, 1).float(), batch.labels.pieces)

    return forward


def adapter_needs(
    model: "PreTrainedModel",
    lora: Lora,
    batch_size: int,
    checkpointing: bool,
    prefix: int = PREFIX_TOKENS,
    rest: int = REST_TOKENS,
    frozen: int = 0,
) -> Adapter:
    """Count what training a language model's adapter takes.

    Args:
        model: on the meta device; it gets the adapter.
        lora: that one.
        batch_size, prefix, rest: see `BatchShape`; what is heard counts as rest.
        checkpointing: whether activations are computed twice.
        frozen: bytes of other weights that are there.
    """
    weights = sum(parameter.nbytes for parameter in model.parameters())
    adapted = quietly_adapted(model, lora)
    trained = [p for p in adapted.parameters() if p.requires_grad]
    held = sum(p.nbytes for p in trained)
    activations = activation_bytes(adapted, BatchShape(batch_size, prefix, rest))
    if checkpointing:
        layers, width = model.config.num_hidden_layers, model.config.hidden_size
        inputs = layers * (prefix + batch_size * rest) * width * model.dtype.itemsize
        activations = min(activations, inputs + activations // layers)
    return Adapter(
        rank=lora.rank,
        targets=lora.targets,
        trainable=sum(p.numel() for p in trained),
        memory=Memory(
            weights=weights + frozen, trained=held, gradients=held, optimiser=ADAM * held, activations=activations
        ),
    )


def quietly_adapted(model: "PreTrainedModel", lora: Lora) -> "PeftModel":
    """Call `add_lora` without peft's warning, where nobody trains: transformers 6 gives up a name that peft asks
    for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        with shapes_only():
            return add_lora(model, lora)


def module_activation_bytes(module: nn.Module, *given: Any) -> int:
    """Count as `activation_bytes` does, of any module that is called with ``given``."""
    with _kept([module]) as sizes:
        module.train()(*given)
    return sum(sizes.values())


def _prefix_states(model: "CausalLM", prefix: int) -> DynamicCache | None:
    """Keys and values of the prefix, which a frozen model is given."""
    if not prefix or any(parameter.requires_grad for parameter in model.parameters()):
        return None
    states = DynamicCache()
    ids = torch.zeros(1, prefix, dtype=torch.long, device=next(model.parameters()).device)
    with torch.no_grad():
        model(input_ids=ids, past_key_values=states, use_cache=True, logits_to_keep=1)
    return states


def _embeddings(model: "CausalLM", ids: Tensor, heard: AudioInput) -> Tensor:
    """The embeddings of all tokens, those in the audio's places from the bridge."""
    text = model.get_input_embeddings()(ids)
    sound, _ = heard.bridge(heard.frames)
    sound = sound.flatten(0, 1).to(text.dtype)
    rows, width = text.shape[0], text.shape[2]
    places = torch.arange(len(sound), device=text.device)
    return text.reshape(-1, width).index_copy(0, places, sound).view(rows, -1, width)


@contextmanager
def _kept(modules: Iterable[nn.Module]) -> Iterator[dict[int, int]]:
    """Collect the bytes of each storage that autograd keeps, the modules' own parameters left out."""
    own = {_storage(parameter) for module in modules for parameter in module.parameters()}
    sizes: dict[int, int] = {}
    alive: list[Any] = []  # an address is given to another tensor as soon as its first owner is gone

    def keep(tensor: Tensor) -> Tensor:
        if (address := _storage(tensor)) not in own:
            sizes[address] = tensor.untyped_storage().nbytes()
            alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
