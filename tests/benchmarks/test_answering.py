"""The benchmark of Qwen-Audio: all ways train the same, ours computes less, and the page shows what was measured."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import answering, hearing


@pytest.mark.slow
def test_it_all_runs_and_the_page_shows_it(
    built: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    found = json.loads(answering.run(quick=True, out=tmp_path / "out").read_text())
    [steps] = found["steps"]
    assert steps["largest_loss_difference"] <= hearing.TOLERANCE * 10
    assert steps["gflop"]["ours"] < steps["gflop"]["padded"] < steps["gflop"]["heard anew"]
    flops = {name: of["gflop"] for name, of in found["answers"].items()}
    short, long = (name for name in flops if name.startswith("written"))
    assert flops["scored, frames kept"] < flops["scored"] < flops[short] < flops[long], "the encoder, then each token"
    page = built("benchmark-answering", "answering", "answering/result.json", found)
    assert f"An answer {long}, takes" in page
    assert f"padded rows take {steps['times_slower']['padded']:.2f} times as long as ours" in page


def test_before_anything_was_measured_the_page_says_so(built: Callable[..., str]) -> None:
    assert "Nothing has been measured yet." in built("benchmark-answering", "answering", "answering/result.json", None)


def test_what_is_written_is_asked_what_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of different prompts cannot be compared: the native class gets ours, with its own number of places."""
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "cache"))
    bench = answering.Bench(answering.QUICK)
    seen: list[list[int]] = []
    generated = bench.native.generate

    def watch(**given: torch.Tensor) -> torch.Tensor:
        rows = zip(given["input_ids"].tolist(), given["attention_mask"].sum(1).tolist(), strict=True)
        seen.extend(row[-length:] for row, length in rows)
        return generated(**given)  # type: ignore[return-value]

    monkeypatch.setattr(bench.native, "generate", watch)
    answering.generate(bench, 2, tmp_path)
    _, scored, _, _ = bench.heard(tmp_path)
    for row, rest, sound in zip(seen, scored.rests, scored.sounds, strict=True):
        count = bench.qwen.encoder.frames_of(len(bench.corpus.waveform(sound)))
        assert row == answering.filled([*scored.prefix, *rest], [bench.qwen.placeholder] * count)
