"""The benchmark of projector training: both ways train the same, and the page shows what was measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import hearing


@pytest.mark.slow
def test_it_all_runs_and_both_ways_train_the_same(
    built: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    found = json.loads(hearing.run(quick=True, out=tmp_path / "out").read_text())
    assert found["largest_loss_difference"] <= hearing.TOLERANCE
    assert 0 < found["largest_gradient_difference"] <= hearing.GRADIENT
    assert found["times_fewer_flops"]["later"] > max(1, found["times_fewer_flops"]["first"])
    plain, stacked, whole = found["rows"]
    assert all(of["loaded_mb"] < of["peak_mb"] for of in found["memory"].values()), "a child's own, not its parent's"
    assert stacked["positions"] < plain["positions"] < whole["positions"]
    assert stacked["gflop"] < plain["gflop"] < whole["gflop"]
    page = built("benchmark-hearing", "hearing", "hearing/result.json", found)
    assert f"an epoch is {found['times_faster']['later']:.2f} times faster" in page
    assert f"{found['times_fewer_flops']['later']:.2f} times fewer FLOPs; the first" in page
    assert "All of Whisper's window takes" in page


def test_losses_that_differ_end_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that compares two different trainings is worth nothing."""
    monkeypatch.setattr(hearing, "ours", lambda task, clips: 1.01 * task.loss(task.batch(clips), float(len(clips))))
    bench = hearing.Bench(hearing.QUICK, tmp_path)
    with pytest.raises(hearing.DataError, match="not the same training"):
        hearing.side_by_side(bench)


def test_a_gradient_that_differs_ends_the_measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss can agree where its gradient does not: this one's is turned round."""
    real = hearing.ours

    def turned(task: hearing.AudioTask, clips: list[int]) -> hearing.Tensor:
        loss = real(task, clips)
        return 2 * loss.detach() - loss

    monkeypatch.setattr(hearing, "ours", turned)
    with pytest.raises(hearing.DataError, match="gradients differ by 2"):
        hearing.side_by_side(hearing.Bench(hearing.QUICK, tmp_path))
