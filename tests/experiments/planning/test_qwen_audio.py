"""What Qwen-Audio needs: counts that the facts state, and a GPU like the paper's."""

from pathlib import Path
from typing import Any

import pytest

from emoser_lib.errors import UsageError
from emoser_lib.experiments import QwenLoraSettings, QwenZeroShotSettings
from emoser_lib.experiments.planning.dry_run import describe_plan, dry_run
from emoser_lib.experiments.planning.qwen_audio import qwen_needs
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.systems.checkpoints.catalogue import DEMO_QWEN

REAL: dict[str, Any] = {
    "corpus": "demo",
    "seed": 0,
    "checkpoint": "Qwen/Qwen-Audio-Chat",
    "dtype": "bfloat16",
    "transcript": True,
    "words": "nouns",
    "resamples": 100,
}
LORA: dict[str, Any] = {
    "ranks": [64, 256],
    "alphas": [1024, 8192],
    "targets": "c_attn",
    "dropout": 0.05,
    "ears_rank": 0,
    "epochs": 6,
    "batch_size": 3,
    "accumulation": 6,
    "learning_rate": 1e-4,
    "warmup": 0.05,
    "weight_decay": 0.1,
    "clip": 0.5,
    "activation_checkpointing": True,
    "scheme": "paper",
    "folds": [0, 1, 2, 3, 4],
    "train_clips": 0,
    "refit": True,
    "predictions": "",
}


def test_it_is_counted_as_published_and_as_converted() -> None:
    """facts/qwen-audio.md."""
    asked = {"split": "train", "clips": 0, "batch_size": 8, "max_new_tokens": 12}
    needs = qwen_needs(QwenZeroShotSettings.check(**REAL, **asked))
    assert (needs.read, needs.whole["parameters"]) == (8_396_222_464, 8_396_214_272)
    assert needs.whole["weights_bytes"] == 2 * 8_396_214_272
    assert needs.ears["recordings"].frames == 230, "25 a second, of a clip of 9.2 s"


def test_its_adapters_are_those_of_the_joint_matrix_and_fit_the_papers_gpu() -> None:
    """facts/papers.md: rank 64 and 256; 40 GB."""
    needs = qwen_needs(QwenLoraSettings.check(**REAL, **LORA))
    adapters = needs.whole["adapters"]
    assert {one.rank: one.trainable for one in adapters} == {64: 33_554_432, 256: 134_217_728}
    assert all(16.8e9 < one.memory.total < 40e9 for one in adapters)
    assert needs.whole["trainings"] == 4 * 5 + 1
    separate = qwen_needs(QwenLoraSettings.check(**REAL, **LORA | {"targets": "q,k,v"}))
    assert separate.whole["adapters"][0].trainable == 33_554_432 * 3 // 2


def test_ears_with_an_adapter_keep_no_frames_and_the_demo_is_counted_too() -> None:
    demo = REAL | {"checkpoint": DEMO_QWEN, "dtype": "float32"}
    frozen = qwen_needs(QwenLoraSettings.check(**demo, **LORA))
    adapted = qwen_needs(QwenLoraSettings.check(**demo, **LORA | {"ears_rank": 4}))
    assert frozen.ears["recordings"].clip_bytes > adapted.ears["recordings"].clip_bytes == 0
    assert frozen.read - frozen.whole["parameters"] == 2 * 96


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"folds": [], "refit": False}, "nothing is trained"),
        ({"folds": []}, "which of 4 adapters is the best"),
        ({"ranks": [64, 64]}, "ranks has a value twice"),
        ({"checkpoint": "google/gemma-3-270m"}, "is not a language model with ears of its own"),
    ],
)
def test_settings_that_do_not_fit_are_one_sentence(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        QwenLoraSettings.check(**REAL | LORA | changed)


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
    text = describe_plan(told)
    assert "8,396,222,464 parameters read" in text
    assert "`emoser qwen-audio convert`" in text
