"""Bridges: what maps an encoder's frames into the embedding space of a language model."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Bridge, Linear, Own, Queries
from emoser_lib.systems.hearing.encoders.encoder import Frames


class LayerSum(nn.Module):
    """A sum of an encoder's layers with learnt weights that add up to 1; equal at first.

    Each layer's frames are normalised first, without parameters: layers differ in scale, and some have a few numbers
    that are far larger than all others (our choice).

    Args:
        layers: how many.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, values: Tensor) -> Tensor:
        """[clips, layers, T, width] -> [clips, T, width]."""
        even = nn.functional.layer_norm(values, values.shape[-1:])
        return torch.einsum("l,cltw->ctw", self.scores.softmax(dim=0), even)


class LinearProjector(nn.Module):
    """`Linear`, made.

    Args:
        bridge: its declaration.
        width: of the encoder's frames.
        embedding: width of the language model.

    >>> sum(p.numel() for p in LinearProjector(Linear(), 1280, 2048).parameters())
    2623488
    """

    def __init__(self, bridge: Linear, width: int, embedding: int) -> None:
        super().__init__()
        self.stack, self.pool = bridge.stack, bridge.pool
        self.linear = nn.Linear(width * bridge.stack, embedding)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[clips, T, width] -> [clips, T / k rounded up, embedding] and the new lengths; the last group of a clip may
        be short: it is filled with zeros (stack), or averaged over what is there (pool)."""
        size = self.stack * self.pool
        if size == 1:
            return self.linear(frames), lengths
        clips, longest, width = frames.shape
        groups = nn.functional.pad(frames, (0, 0, 0, -longest % size)).view(clips, -1, size, width)
        counts = -(-lengths // size)
        if self.stack > 1:
            return self.linear(groups.flatten(2)), counts
        places = torch.arange(groups.shape[1] * size, device=frames.device).view(1, -1, size)
        there = (places < lengths.to(frames.device)[:, None, None]).sum(dim=2, keepdim=True).clamp(min=1)
        return self.linear(groups.sum(dim=2) / there), counts


class QueryPoolingMapper(nn.Module):
    """`Queries`, made.

    Args:
        bridge: its declaration.
        width: of the encoder's frames.
        embedding: width of the language model.
    """

    def __init__(self, bridge: Queries, width: int, embedding: int) -> None:
        super().__init__()
        self.positions = bridge.positions
        self.entrance = nn.Linear(width, bridge.width)
        self.queries = nn.Parameter(torch.randn(bridge.queries, bridge.width) * bridge.width**-0.5)
        block = nn.TransformerEncoderLayer(
            bridge.width,
            bridge.heads,
            bridge.mlp,
            bridge.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=bridge.norm == "pre",
        )
        last = nn.LayerNorm(bridge.width) if bridge.norm == "pre" else None
        self.encoder = nn.TransformerEncoder(block, bridge.layers, norm=last, enable_nested_tensor=False)
        self.exit = nn.Linear(bridge.width, embedding)

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """[clips, T, width] -> [clips, queries, embedding]; padding is masked, so it changes nothing."""
        clips, longest, _ = frames.shape
        count = len(self.queries)
        x = self.entrance(frames)
        if self.positions == "sinusoidal":
            x = x + _sinusoids(longest, x.shape[-1]).to(x)
        joint = torch.cat([x, self.queries.expand(clips, -1, -1)], dim=1)
        padding = torch.arange(longest + count) >= lengths.cpu()[:, None]
        padding[:, longest:] = False
        out = self.encoder(joint, src_key_padding_mask=padding.to(x.device))
        return self.exit(out[:, longest:]), torch.full((clips,), count)


class OwnBridge(nn.Module):
    """`Own`, made.

    Args:
        bridge: its declaration.
        width: of the encoder's frames.
        embedding: width of the language model.

    Raises:
        UsageError: they differ.
    """

    def __init__(self, bridge: Own, width: int, embedding: int) -> None:
        super().__init__()
        if width != embedding:
            raise UsageError(
                f"The encoder's frames have {width} numbers and the language model reads {embedding}: they are not of "
                "one checkpoint, put a bridge between them."
            )

    def forward(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same frames and lengths."""
        return frames, lengths


class Joined(nn.Module):
    """A bridge behind the choice of layers: what is trained of an audio system with everything else frozen.

    Args:
        bridge: the declaration.
        layers: of the frames that come in: 1, or as many as the learnt sum weighs.
        width: of the frames.
        embedding: width of the language model.
    """

    def __init__(self, bridge: Bridge, layers: int, width: int, embedding: int) -> None:
        super().__init__()
        self.sum = LayerSum(layers) if layers > 1 else None
        make: Any = {Linear: LinearProjector, Queries: QueryPoolingMapper, Own: OwnBridge}[type(bridge)]
        self.bridge = make(bridge, width, embedding)

    @property
    def outer(self) -> list[nn.Parameter]:
        """What stands next to a frozen model: the sum of its layers, and the layer that gives embeddings."""
        last = getattr(self.bridge, "exit", None) or getattr(self.bridge, "linear", None)
        return [p for part in (self.sum, last) if part is not None for p in part.parameters()]

    def forward(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Embeddings [clips, N, embedding] and how many of them are each clip's, int64 [clips]."""
        own = next(self.parameters(), None)
        values = frames.values if own is None else frames.values.to(own.dtype)
        values = values[:, 0] if self.sum is None else self.sum(values)
        return self.bridge(values, frames.lengths)


def places(bridge: Bridge, frames: int) -> int:
    """How many places of the language model's input a clip of so many frames takes.

    >>> places(Linear(), 120), places(Linear(stack=4), 121), places(Queries(), 121), places(Own(), 121)
    (120, 31, 32, 121)
    """
    if isinstance(bridge, Linear):
        return -(-frames // (bridge.stack * bridge.pool))
    return bridge.queries if isinstance(bridge, Queries) else frames


def _sinusoids(length: int, width: int) -> Tensor:
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
