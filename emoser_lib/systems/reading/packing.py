"""Batches of prompts in which no work is done twice: the shared beginning once, logits at the label only.

The prompts of one run share their beginning (the *prefix*); each clip adds its own *rest* (transcription and the
end of the template) and, to train or to score, its *target* (the token pieces of the label). A packed batch is one
sequence ``[prefix][rest 1][target 1][rest 2][target 2]…``; a mask lets each clip see the prefix and itself (and
`packed_attention` computes no more than that), and positions start again after the prefix, so loss, scores and
gradients are those of the usual right-padded batch.

The last piece of a target is predicted but predicts nothing, so no batch runs it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from emoser_lib.errors import UsageError


class Movable:
    """A frozen dataclass whose tensors go to a device together; accelerate calls ``to`` on what a collator returns."""

    def to(self, device: torch.device | str, **options: Any) -> Self:
        """The same on another device."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]
        moved = {name: value.to(device, **options) for name, value in values if hasattr(value, "to")}
        return replace(self, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class Labels(Movable):
    """Where the pieces of the targets are predicted.

    Args:
        keep: bool [rows, T]; the positions that need logits, R of them in all.
        at: int64 [N]; for each piece, which of the R logits (in the order of ``keep.nonzero()``) predicts it.
        pieces: int64 [N]; the token id of each piece.
        owner: int64 [N]; the target each piece belongs to.
        targets: number of targets; 0 where only the next token after each rest is asked for.
    """

    keep: Tensor
    at: Tensor
    pieces: Tensor
    owner: Tensor
    targets: int


@dataclass(frozen=True)
class PlainBatch(Movable):
    """Whole prompts, one a row, padded on the right.

    Args:
        input_ids: int64 [rows, T].
        attention_mask: int64 [rows, T]; 1 for tokens, 0 for padding.
        labels: where the targets are predicted.
    """

    input_ids: Tensor
    attention_mask: Tensor
    labels: Labels


@dataclass(frozen=True)
class PackedBatch(Movable):
    """All clips in one sequence of T tokens, the prefix once and first.

    Args:
        input_ids: int64 [1, T].
        position_ids: int64 [1, T]; each rest goes on where the prefix ends.
        clip: int64 [T]; 0 for the prefix, 1 to n for the clips.
        branch: int64 [T]; 0 for prefix and rests, 1, 2, … for the alternative targets of a clip.
        prefix_length: tokens of the prefix.
        clip_lengths: tokens of each clip, rest and targets.
        labels: where the targets are predicted.
    """

    input_ids: Tensor
    position_ids: Tensor
    clip: Tensor
    branch: Tensor
    prefix_length: int
    clip_lengths: tuple[int, ...]
    labels: Labels

    def visible(self, window: int | None = None) -> Tensor:
        """Which token (row) sees which (column), bool [T, T].

        Along one clip positions only grow, so they say what came before, and how long ago: a window counted in
        places of the packed sequence would cut the later rests off from the prefix.
        """
        clip, branch, position = self.clip, self.branch, self.position_ids[0]
        same_clip = (clip[None] == 0) | (clip[None] == clip[:, None])
        same_branch = (branch[None] == 0) | (branch[None] == branch[:, None])
        distance = position[:, None] - position[None]
        seen = same_clip & same_branch & (distance >= 0)
        return seen if window is None else seen & (distance < window)


def split_prefix(prompts: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Split tokenised prompts into their longest shared beginning and the rests, each of at least one token.

    >>> split_prefix([[1, 2, 3, 4], [1, 2, 5], [1, 2]])
    ([1], [[2, 3, 4], [2, 5], [2]])
    """
    longest = min((len(prompt) for prompt in prompts), default=1) - 1
    shared = 0
    while shared < longest and len({prompt[shared] for prompt in prompts}) == 1:
        shared += 1
    return list(prompts[0][:shared]) if prompts else [], [list(prompt[shared:]) for prompt in prompts]


def pack(
    prefix: Sequence[int], rests: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
) -> PackedBatch:
    """Pack clips into one sequence, the prefix once.

    Args:
        prefix: token ids all clips begin with; may be empty.
        rests: token ids of each clip after the prefix, up to where its label begins; at least one each.
        targets: the pieces of each clip's label (with an end token, if it is to be learnt). Without them the
            batch asks for the logits after each rest.

    Raises:
        UsageError: no rests, an empty rest or target, or not as many targets as rests.

    >>> batch = pack([7, 8], [[1, 2], [3]], [[4], [5, 6]])
    >>> batch.input_ids.tolist(), batch.position_ids.tolist(), batch.clip_lengths
    ([[7, 8, 1, 2, 3, 5]], [[0, 1, 2, 3, 2, 3]], (2, 2))
    >>> batch.visible().int()[4:].tolist()  # the second clip sees the prefix and itself
    [[1, 1, 0, 0, 1, 0], [1, 1, 0, 0, 1, 1]]
    """
    return _packed(prefix, rests, _one_choice_each(rests, targets))


def pack_choices(
    prefix: Sequence[int], rests: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]
) -> PackedBatch:
    """Pack clips with the same targets to choose from for each; target ``i * len(choices) + j`` is choice j of clip i.

    Labels of one piece add no token to the batch. Raises as `pack`.

    >>> batch = pack_choices([7, 8], [[1, 2], [3]], choices=[[4], [5, 6]])
    >>> batch.input_ids.tolist(), batch.labels.targets
    ([[7, 8, 1, 2, 5, 3, 5]], 4)
    """
    return _packed(prefix, rests, _same_choices(rests, choices))


def plain_batch(
    prefix: Sequence[int], rests: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None
) -> PlainBatch:
    """The same clips, one a row, padded on the right. Arguments and errors as `pack`.

    >>> plain_batch([7, 8], [[1, 2], [3]], [[4], [5, 6]]).input_ids.tolist()
    [[7, 8, 1, 2], [7, 8, 3, 5]]
    """
    return _padded(prefix, rests, _one_choice_each(rests, targets))


def plain_choices(
    prefix: Sequence[int], rests: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]
) -> PlainBatch:
    """As `pack_choices`, padded: a row for each clip and each beginning (all but the last piece) of a choice."""
    return _padded(prefix, rests, _same_choices(rests, choices))


Choices = Sequence[Sequence[Sequence[int]]]
"""For each clip, the targets to be scored; none where the next token is asked for."""


def _one_choice_each(rests: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None) -> Choices:
    if targets is None:
        return [[] for _ in rests]
    if len(targets) != len(rests):
        raise UsageError(f"{len(targets)} targets for {len(rests)} rests: give one target for each rest.")
    return [[target] for target in targets]


def _same_choices(rests: Sequence[Sequence[int]], choices: Sequence[Sequence[int]]) -> Choices:
    if not choices:
        raise UsageError("There are no choices to score: give the pieces of at least one label.")
    return [choices for _ in rests]


def _check(rests: Sequence[Sequence[int]], choices: Choices) -> None:
    if not rests:
        raise UsageError("The batch is empty: give at least one rest.")
    for number, (rest, targets) in enumerate(zip(rests, choices, strict=True)):
        if not rest:
            raise UsageError(f"Rest {number} is empty: leave it at least one token (see split_prefix).")
        if not all(targets):
            raise UsageError(f"A target of rest {number} is empty: a label needs at least one token.")


class _LabelList:
    """Collects places in a batch of which logits are wanted, and the pieces they predict."""

    def __init__(self) -> None:
        self.places: set[int] = set()
        self.at: list[int] = []
        self.pieces: list[int] = []
        self.owner: list[int] = []
        self.targets = 0

    def want(self, places: Iterable[int], target: Sequence[int] = ()) -> None:
        """Want logits at these places of the flattened batch; each predicts one piece of the target, if any."""
        places = list(places)
        self.places.update(places)
        if target:
            self.at += places
            self.pieces += target
            self.owner += [self.targets] * len(target)
            self.targets += 1

    def labels(self, rows: int, length: int) -> Labels:
        keep = torch.zeros(rows * length, dtype=torch.bool)
        kept = torch.tensor(sorted(self.places))
        keep[kept] = True
        at = torch.searchsorted(kept, torch.tensor(self.at, dtype=torch.long))
        pieces, owner = (torch.tensor(values, dtype=torch.long) for values in (self.pieces, self.owner))
        return Labels(keep.view(rows, length), at, pieces, owner, self.targets)


def _packed(prefix: Sequence[int], rests: Sequence[Sequence[int]], choices: Choices) -> PackedBatch:
    _check(rests, choices)
    tokens: list[tuple[int, int, int, int]] = []  # id, position, clip, branch
    wanted = _LabelList()

    def lay(run: Sequence[int], start: int, clip: int, branch: int) -> range:
        tokens.extend((token, start + place, clip, branch) for place, token in enumerate(run))
        return range(len(tokens) - len(run), len(tokens))

    lay(prefix, 0, 0, 0)
    for clip, (rest, targets) in enumerate(zip(rests, choices, strict=True), start=1):
        last = lay(rest, len(prefix), clip, 0)[-1]
        wanted.want([last])
        heads: dict[tuple[int, ...], range] = {}
        for target in targets:
            head = tuple(target[:-1])
            if head not in heads:
                heads[head] = lay(head, len(prefix) + len(rest), clip, len(heads) + 1)
            wanted.want([last, *heads[head]], target)
    ids, positions, clips, branches = torch.tensor(tokens).T
    lengths = tuple(torch.bincount(clips)[1:].tolist())
    return PackedBatch(ids[None], positions[None], clips, branches, len(prefix), lengths, wanted.labels(1, len(tokens)))


def _padded(prefix: Sequence[int], rests: Sequence[Sequence[int]], choices: Choices) -> PlainBatch:
    _check(rests, choices)
    rows: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for clip, (rest, targets) in enumerate(zip(rests, choices, strict=True)):
        for head in [tuple(target[:-1]) for target in targets] or [()]:
            rows[clip, head] = [*prefix, *rest, *head]
    length = max(map(len, rows.values()))
    wanted = _LabelList()
    starts = {row: number * length for number, row in enumerate(rows)}
    for clip, (rest, targets) in enumerate(zip(rests, choices, strict=True)):
        last = len(prefix) + len(rest) - 1
        for target in targets:
            first = starts[clip, tuple(target[:-1])] + last
            wanted.want(range(first, first + len(target)), target)
        if not targets:
            wanted.want([starts[clip, ()] + last])
    # Padding is masked and never asked for its logits, so its id does not matter.
    ids = [torch.tensor(row) for row in rows.values()]
    ones = [torch.ones_like(row) for row in ids]
    pad = torch.nn.utils.rnn.pad_sequence
    return PlainBatch(pad(ids, batch_first=True), pad(ones, batch_first=True), wanted.labels(len(rows), length))
