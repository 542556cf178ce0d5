"""Weights that overflow, or are no numbers: refused, never every clip the first label."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from emoser_lib.corpora import load_corpus
from emoser_lib.errors import DataError
from emoser_lib.systems.checkpoints.folders import DEMO_LLM_FOLDER
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from emoser_lib.systems.hearing.feature_cache import FeatureCache
from emoser_lib.systems.prompts.text import prompt_named
from emoser_lib.systems.prompts.words import words_for
from emoser_lib.systems.reading.llm import LLM, load_llm
from emoser_lib.systems.reading.verbaliser import Verbaliser
from emoser_lib.systems.reading.zero_shot import label_scores

UP = "model.layers.0.mlp.up_proj.weight"
CLIPS = load_corpus("demo").frame.head(6)


def times(factor: float, folder: Path) -> str:
    """The demo's model with one matrix so many times as large; the norm after its layer takes the factor out again."""
    shutil.copytree(DEMO_LLM_FOLDER, folder)
    weights = load_file(folder / "model.safetensors")
    weights[UP] = weights[UP].float() * factor
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def scores(llm: LLM) -> np.ndarray:
    batch = prompt_named("gemma").encode(llm.tokenizer, list(CLIPS["transcription"]), "auto")
    words = Verbaliser.build(llm.tokenizer, words_for(load_corpus("demo").labels, "nouns"), after=batch.tail, end="")
    return label_scores(llm.model, batch, words, clips=list(CLIPS["id"]))


def test_what_overflows_in_16_bits_of_float16_does_not_in_bfloat16(llm: LLM, tmp_path: Path) -> None:
    large = times(3e4, tmp_path / "large")
    expected = scores(llm)
    np.testing.assert_allclose(scores(load_llm(large)), expected, atol=1e-3)
    half = scores(load_llm(large, dtype="bfloat16"))
    assert (half.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8


def test_scores_that_overflow_name_the_clip(tmp_path: Path) -> None:
    llm = load_llm(times(1e37, tmp_path / "huge"))
    with pytest.raises(DataError, match=f"the scores of clip {CLIPS['id'][0]} are not finite: use dtype float32"):
        scores(llm)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"broken has weights in {UP} that are not finite: download"):
        load_llm(times(float("nan"), tmp_path / "broken"))


@pytest.mark.parametrize("kind", ["whisper", "emotion2vec"])
def test_an_encoder_with_such_weights_is_refused(
    kind: str, encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(encoder_folder(kind), tmp_path / kind))
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("fc1.weight"))
    weights[name][0, 0] = torch.inf
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(DataError, match=f"has weights in {name} that are not finite"):
        load_encoder(str(folder))


def test_frames_that_overflow_name_the_clip_and_are_not_kept(
    encoder_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    encoder = load_encoder(str(encoder_folder("whisper")))
    with torch.no_grad():
        encoder.model.layer_norm.weight[0] = torch.inf
    with pytest.raises(DataError, match="the frames of clip loud are not finite"):
        FeatureCache(encoder, home=tmp_path).add([("loud", np.ones(1_600, np.float32))])
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_checkpoint_that_does_not_fit_in_memory_is_not_called_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *args, **given: torch.empty(2**60))
    with pytest.raises(DataError, match=r"the memory of cpu is too small for the weights of .*: use dtype bfloat16"):
        load_llm("emoser/demo-gemma")


def test_clips_that_do_not_fit_in_memory_say_what_to_lower(monkeypatch: pytest.MonkeyPatch, llm: LLM) -> None:
    monkeypatch.setattr(llm.model.model, "forward", lambda *args, **given: torch.empty(2**60))
    with pytest.raises(DataError, match="the memory of cpu is too small for 16 clips at once: lower batch_size"):
        scores(llm)
