"""Put a declared audio system together from its loaded parts."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from peft import LoraConfig, inject_adapter_in_model

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import AudioSystem, Lora
from emoser_lib.systems.hearing.audio_llm import AudioLLM
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.reading.llm import LLM
from emoser_lib.systems.reading.lora import TARGETS, adapted, add_lora

if TYPE_CHECKING:
    from emoser_lib.systems.reading.label_logits import CausalLM


@contextmanager
def assembled(llm: LLM, system: AudioSystem, encoder: Encoder) -> Iterator[AudioLLM]:
    """The system's parts put together, with their first values, for as long as the block lasts."""
    llm.model.requires_grad_(False).eval()
    make = _maker(system, encoder)
    if system.adaptation is None:
        torch.manual_seed(system.training.seed)
        yield make(llm.model)
        return
    with adapted(llm.model, system.adaptation, system.training.seed) as model:
        yield make(model)


def assemble(llm: LLM, system: AudioSystem, encoder: Encoder) -> AudioLLM:
    """The same for good: for a system whose parameters are loaded, where the language model serves no other one."""
    llm.model.requires_grad_(False).eval()
    return _maker(system, encoder)(llm.model if system.adaptation is None else add_lora(llm.model, system.adaptation))


def _maker(system: AudioSystem, encoder: Encoder) -> "Callable[[CausalLM], AudioLLM]":
    return partial(
        AudioLLM,
        bridge=system.bridge,
        width=encoder.width,
        layers=encoder.layers if system.layer == "weighted" else 1,
        encoder=None if system.encoding == "cached" else _ears(system, encoder),
        layer=system.encoder_layer,
        scaled=system.scaled,
    )


def _ears(system: AudioSystem, encoder: Encoder) -> Encoder:
    """A copy of the encoder, so that the one that was given stays as its checkpoint is, with what is trained of it."""
    own = copy.deepcopy(encoder).requires_grad_(system.encoding == "trained")
    if system.encoding == "trained":
        own = own.float()  # in 16 bits small updates vanish
    if system.ears is None:
        return own
    torch.manual_seed(system.training.seed)
    return add_encoder_lora(own, system.ears)


def add_encoder_lora(encoder: "Encoder", lora: Lora) -> "Encoder":
    """Put a fresh adapter into an audio encoder, in place; of it only the adapter is trained.

    Args:
        encoder: of transformers' classes.
        lora: "all-linear" adapts all linear layers of its attention and feed-forward blocks.

    Raises:
        UsageError: it has no matrices of these names (emotion2vec).
    """
    names = {"all-linear": r".*layers\.\d+\.(.*\.)?(\w+_proj|fc1|fc2|\w+_dense)"}
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=names.get(lora.targets, TARGETS[lora.targets]),
    )
    try:
        inject_adapter_in_model(config, encoder.requires_grad_(False))
    except ValueError:
        raise UsageError(f"{encoder.name} has no matrices for an adapter of {lora.targets}: train it whole.") from None
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # as peft does in a language model
    return encoder
