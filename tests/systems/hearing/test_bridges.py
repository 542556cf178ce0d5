"""Bridges: their sizes, what they do with frames, and that padding changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.errors import UsageError
from emoser_lib.systems.declared import Bridge, Linear, Queries
from emoser_lib.systems.hearing.bridges import Joined, places
from emoser_lib.systems.hearing.encoders.encoder import Frames

SMALL = Queries(queries=5, layers=2, heads=2, width=16, mlp=32, dropout=0.0)
BRIDGES = [Linear(), Linear(stack=4), Linear(pool=3), SMALL, Queries(3, 1, 4, 16, 8, 0.0, "post", "sinusoidal")]


def frames(lengths: list[int], width: int = 12, layers: int = 1, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(layers, length, width, generator=draw) for length in lengths]


def batch(clips: list[torch.Tensor]) -> Frames:
    longest = max(clip.shape[1] for clip in clips)
    padded = [torch.nn.functional.pad(clip, (0, 0, 0, longest - clip.shape[1])) for clip in clips]
    return Frames(torch.stack(padded), torch.tensor([clip.shape[1] for clip in clips]))


def joined(bridge: Bridge, layers: int = 1, width: int = 12) -> Joined:
    torch.manual_seed(0)
    return Joined(bridge, layers, width, 20).eval()


@pytest.mark.parametrize(("width", "parameters"), [(1280, 2_623_488), (768, 1_574_912)])
def test_the_papers_projectors_have_so_many_parameters(width: int, parameters: int) -> None:
    assert sum(p.numel() for p in Joined(Linear(), 1, width, 2048).parameters()) == parameters


def test_the_mapper_has_the_parameters_of_its_parts() -> None:
    b = Queries()
    attention = 4 * (b.width * b.width + b.width)
    feed_forward = 2 * b.width * b.mlp + b.mlp + b.width
    layers = b.layers * (attention + feed_forward + 4 * b.width)
    ends = 1024 * b.width + b.width + b.width * 3072 + 3072
    parameters = sum(p.numel() for p in Joined(b, 1, 1024, 3072).parameters())
    assert parameters == layers + ends + b.queries * b.width + 2 * b.width


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(BRIDGES), st.lists(st.integers(1, 30), min_size=1, max_size=5), st.sampled_from([1, 3]))
def test_a_clip_is_mapped_alone_as_in_a_batch(bridge: Bridge, lengths: list[int], layers: int) -> None:
    clips = frames(lengths, layers=layers)
    model = joined(bridge, layers)
    with torch.no_grad():
        together, counts = model(batch(clips))
        for number, clip in enumerate(clips):
            alone, [count] = model(batch([clip]))
            assert counts[number] == count == places(bridge, clip.shape[1]) <= alone.shape[1]
            torch.testing.assert_close(together[number, :count], alone[0, :count], atol=1e-5, rtol=1e-5)


def test_stacking_joins_frames_and_pooling_averages_them() -> None:
    [clip] = frames([7])
    stacked, pooled = joined(Linear(stack=3)), joined(Linear(pool=3))
    with torch.no_grad():
        last = torch.cat([clip[0, 6], torch.zeros(24)])
        torch.testing.assert_close(stacked(batch([clip]))[0][0, 2], stacked.bridge.linear(last))
        torch.testing.assert_close(stacked(batch([clip]))[0][0, 1], stacked.bridge.linear(clip[0, 3:6].flatten()))
        torch.testing.assert_close(pooled(batch([clip]))[0][0, 2], pooled.bridge.linear(clip[0, 6]))
        torch.testing.assert_close(pooled(batch([clip]))[0][0, 0], pooled.bridge.linear(clip[0, :3].mean(dim=0)))


def test_the_sum_of_layers_is_the_mean_of_the_normalised_at_first_and_learns() -> None:
    [clip] = frames([4], layers=3)
    model = joined(Linear(), layers=3)
    out, _ = model(batch([clip]))
    even = (clip - clip.mean(2, keepdim=True)) / clip.std(2, correction=0, keepdim=True)
    torch.testing.assert_close(out[0], model.bridge.linear(even.mean(dim=0)), atol=1e-4, rtol=1e-4)
    out.square().sum().backward()
    assert model.sum is not None and model.sum.scores.grad is not None and model.sum.scores.grad.abs().min() > 0


def test_queries_hear_every_frame_and_their_order_only_with_positions() -> None:
    [clip] = frames([9])
    turned = clip.flip(1)
    for positions, same in (("none", True), ("sinusoidal", False)):
        model = joined(Queries(5, 1, 2, 16, 32, 0.0, "pre", positions))
        with torch.no_grad():
            difference = (model(batch([clip]))[0] - model(batch([turned]))[0]).abs().max()
        assert (difference < 1e-5) == same
    changed = clip.clone()
    changed[0, 8] += 1
    model = joined(SMALL)
    assert (model(batch([clip]))[0] - model(batch([changed]))[0]).abs().min() > 0


def test_bridges_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="stack is 2 and pool 2: set one of them"):
        Linear(2, 2)
    with pytest.raises(UsageError, match="stack is 0"):
        Linear(0)
    with pytest.raises(UsageError, match="width 768 must be even and a multiple of its 7 heads"):
        Queries(heads=7)


def test_queries_see_each_other() -> None:
    [clip] = frames([6])
    model = joined(SMALL)
    with torch.no_grad():
        before = model(batch([clip]))[0]
        model.bridge.queries[0, 0] += 1
        after = model(batch([clip]))[0]
    assert (after - before).abs().amax(dim=2).min() > 1e-5, "a query did not notice that another one changed"
