"""What Qwen-Audio needs: counts that the facts state, and a GPU like the paper's."""

from pathlib import Path

from emoser_lib.experiments.dry_run import describe, dry_run
from emoser_lib.experiments.profiles import plan


def test_qwen_audio_is_counted_as_published_and_as_converted(root: Path) -> None:
    """facts/qwen-audio.md: parameters in and out; facts/papers.md: the adapters."""
    names = ("06-qwen-audio-zero-shot", "07-qwen-audio-lora")
    runs = [run for name in names for run in plan(root / f"notebooks/{name}.ipynb", "paper")]
    told = dry_run(runs, "paper")
    for need in told.runs:
        assert (need.read, need.parameters) == (8_396_222_464, 8_396_214_272)
        assert need.downloads == {"Qwen/Qwen-Audio-Chat": 2 * 8_396_222_464}
    trainable = {one.rank: one.trainable for need in told.runs for one in need.adapters}
    assert trainable == {64: 33_554_432, 256: 134_217_728}
    assert all(one.memory.total < 40e9 for need in told.runs for one in need.adapters), "more than the paper's GPU has"
    text = describe(told)
    assert "8,396,222,464 parameters read" in text
    assert "`emoser qwen-audio convert`" in text
