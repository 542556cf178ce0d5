"""Qwen-Audio asked as it is: each clip once, the same whatever it is asked with, nothing lost by a stop."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments import QwenZeroShotSettings
from emoser_lib.experiments.training import qwen_audio as qwen_zero_shot
from emoser_lib.experiments.training.qwen_audio import qwen_answers, qwen_label_scores
from emoser_lib.systems.declared import Lora
from emoser_lib.systems.qwen_audio import QwenAudio
from emoser_lib.systems.reading.zero_shot import Decoding
from tests import tiny

SHORT = Decoding(max_new_tokens=3)


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> QwenAudio:
    return tiny.qwen(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def settings(qwen: QwenAudio) -> QwenZeroShotSettings:
    given = {"transcript": True, "words": "nouns", "split": "test", "clips": 5, "batch_size": 2, "max_new_tokens": 3}
    return QwenZeroShotSettings.check(
        corpus="demo", seed=0, checkpoint=qwen.encoder.name, dtype="float32", resamples=100, **given
    )


def test_as_many_clips_as_asked_for(settings: QwenZeroShotSettings, demo: Corpus) -> None:
    rows = settings.rows(demo)
    assert len(rows) == 5
    assert list(rows["id"]) == list(settings.rows(demo)["id"])
    assert set(rows["split"]) == {"test"}
    assert len(settings.model_copy(update={"clips": 0}).rows(demo)) == len(demo.test())


def test_scores_do_not_depend_on_what_is_run_together(
    qwen: QwenAudio, settings: QwenZeroShotSettings, demo: Corpus, tmp_path: Path
) -> None:
    ids = list(settings.rows(demo)["id"])
    together = qwen_label_scores(qwen, settings.system(), demo, ids, 4, tmp_path / "four")
    alone = qwen_label_scores(qwen, settings.system(), demo, ids[::-1], 1, tmp_path / "one")
    assert list(together.index) == ids
    assert list(together.columns) == list(demo.labels)
    assert (together - alone.loc[ids]).abs().max().max() < 1e-4


def test_a_system_whose_encoder_is_to_be_trained_is_asked_before_it_is(
    qwen: QwenAudio, settings: QwenZeroShotSettings, demo: Corpus, tmp_path: Path
) -> None:
    ids = list(settings.rows(demo)["id"])
    system = settings.system()
    with_ears = replace(system, ears=Lora(2, 4), encoding="live")
    scores = [qwen_label_scores(qwen, of, demo, ids, 4, tmp_path / of.encoding) for of in (system, with_ears)]
    pd.testing.assert_frame_equal(*scores)


def test_what_was_asked_is_not_asked_again(
    qwen: QwenAudio, settings: QwenZeroShotSettings, demo: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = list(settings.rows(demo)["id"])
    first = qwen_answers(qwen, settings.system(), demo, ids[:4], SHORT, 2, tmp_path)
    asked: list[int] = []
    real = qwen_zero_shot.audio_answers.generate_audio_answers

    def counted(task: object, tokenizer: object, end: str, entries: list[int], decoding: Decoding) -> list[str]:
        asked.extend(entries)
        return real(task, tokenizer, end, entries, decoding)  # type: ignore[arg-type]

    monkeypatch.setattr(qwen_zero_shot.audio_answers, "generate_audio_answers", counted)
    again = qwen_answers(qwen, settings.system(), demo, ids, SHORT, 2, tmp_path)
    assert list(again[ids[:4]]) == list(first)
    assert len(asked) <= 2, "only the new clip, and whoever shares its batch"
