"""Systems that were trained on clean clips, asked under conditions: nothing leaks, nothing is mixed up, all is kept."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import AlteredCorpus, Condition, alter, load_corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import RobustnessSettings, folds, predict_by_folds
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.training import audio as audio_training
from emoser_lib.experiments.training import conditions
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.conditions import Baselines, ask_trained, trained_answers
from emoser_lib.experiments.training.folds import fewer_clips
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.declared import AudioSystem, Linear, Training
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.reading.llm import LLM

DEMO = load_corpus("demo")
FEW = fewer_clips(DEMO, folds(DEMO)[0], 60)
CUT = replace(FEW, validation=FEW.validation[:12])
SYSTEM = AudioSystem(bridge=Linear(stack=8), training=Training(epochs=1, batch_size=4, learning_rate=1e-2))
NAMES = ["text-svm", "audio-svm", "late-fusion", "audio-kmeans", "audio-knn"]
CONDITIONS = [Condition(snr_db=0), Condition(words_deleted=0.9), Condition(seconds=1), Condition(transcript=False)]


@pytest.fixture(scope="module")
def fitted() -> Baselines:
    return Baselines.fit(NAMES, DEMO, CUT)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.getbasetemp() / "conditions-cache"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("EMOSER_CACHE", str(home))
    return home


@pytest.fixture
def cell(llm: LLM, encoder: Encoder, own_cache: Path) -> Cell:
    hearing = hear(encoder, SYSTEM, DEMO, [*CUT.train, *CUT.validation])
    return audio_training.train_audio_cell(llm, SYSTEM, hearing, CUT)


def test_baselines_say_of_clean_clips_what_chapter_3_would(fitted: Baselines) -> None:
    clips = Clips.from_corpus(DEMO, DEMO.frame["id"], text=True)
    expected = predict_by_folds(baseline("text-svm"), DEMO, clips, [CUT])
    assert fitted.answers()["text-svm"]["answer"].equals(expected.rename("answer"))


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_baselines_read_and_hear_what_the_condition_leaves(fitted: Baselines, condition: Condition) -> None:
    there = alter(DEMO, condition)
    clean, told = fitted.answers(), fitted.answers(there)
    for name, reads in (("text-svm", "text"), ("audio-svm", "audio")):
        clips = Clips.from_corpus(there, CUT.validation, audio=True)
        clips = Clips(text=there.frame.set_index("id")["transcription"][list(CUT.validation)], audio=clips.audio)
        assert told[name]["answer"].tolist() == fitted.models[name].predict(clips).tolist()
        touched = condition.changes_sound if reads == "audio" else condition.snr_db is None
        assert told[name]["confidence"].equals(clean[name]["confidence"]) == (not touched)


def test_an_altered_corpus_that_changes_nothing_gets_the_same_answers(
    fitted: Baselines, llm: LLM, encoder: Encoder, cell: Cell
) -> None:
    same = alter(DEMO, Condition())
    for name, told in fitted.answers(same).items():
        pd.testing.assert_frame_equal(told, fitted.answers()[name])
    asked = ask_trained(llm, SYSTEM, encoder, cell, same)
    pd.testing.assert_frame_equal(asked, trained_answers(cell), atol=1e-4)


def test_probabilities_and_margins_are_there_where_a_baseline_has_them(fitted: Baselines) -> None:
    told = fitted.answers()
    assert told["late-fusion"]["probability"].between(1 / 6, 1).all()
    for name in ("text-svm", "audio-svm", "audio-kmeans"):
        assert told[name]["probability"].isna().all()
    for name in ("text-svm", "audio-svm"):
        assert (told[name]["confidence"] >= 0).all()
    assert told["audio-kmeans"]["confidence"].isna().all()
    said = fitted.log_probabilities()
    assert set(said) == {"late-fusion", "audio-knn"}
    for name, frame in said.items():
        assert list(frame.columns) == list(DEMO.labels)
        assert np.isfinite(frame.to_numpy()).all()  # the neighbours exclude labels for good
        assert frame.idxmax(axis=1).equals(told[name]["answer"].rename(None))


def test_a_label_that_no_training_clip_has_is_not_forgotten() -> None:
    labels = DEMO.frame.set_index("id")["label"]
    cut = replace(CUT, train=tuple(clip for clip in CUT.train if labels[clip] != "fear"))
    said = Baselines.fit(["late-fusion"], DEMO, cut).log_probabilities()["late-fusion"]
    assert list(said.columns) == list(DEMO.labels)
    assert (said["fear"] < -30).all()


def test_a_trained_system_hears_the_condition(llm: LLM, encoder: Encoder, cell: Cell) -> None:
    clean = trained_answers(cell)
    noisy = ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(snr_db=-10)))
    assert list(noisy.index) == list(CUT.validation)
    assert not np.allclose(noisy["probability"], clean["probability"], atol=1e-3)
    louder = ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(snr_db=30)))
    near, far = ((told["probability"] - clean["probability"]).abs().mean() for told in (louder, noisy))
    assert near < far


def test_a_trained_system_reads_the_condition(llm: LLM, encoder: Encoder, cell: Cell) -> None:
    clean = trained_answers(cell)
    without = ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(transcript=False)))
    assert not np.allclose(without["probability"], clean["probability"], atol=1e-3)


def test_answers_are_kept_by_condition_and_seed_and_altered_frames_are_not(
    llm: LLM, encoder: Encoder, cell: Cell, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def frames() -> int:
        return len(list(own_cache.rglob("*.safetensors")))

    noisy, before = alter(DEMO, Condition(snr_db=5)), frames()
    first = ask_trained(llm, SYSTEM, encoder, cell, noisy)
    other = ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(snr_db=5), seed=1))
    assert frames() == before
    assert not first.equals(other)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("heard again")

    monkeypatch.setattr(conditions, "hear", never)
    assert ask_trained(llm, SYSTEM, encoder, cell, noisy).equals(first)
    with pytest.raises(AssertionError, match="heard again"):
        ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(snr_db=6)))


def test_frames_of_a_run_that_was_stopped_are_found_again(
    llm: LLM, encoder: Encoder, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    telephone, heard, encode = alter(DEMO, Condition(telephone=True)), [], encoder.encode

    def until_the_power_fails(waveforms: list[np.ndarray], layer: int) -> list[object]:
        heard.append(len(waveforms))
        if len(heard) == 6:
            raise KeyboardInterrupt
        return encode(waveforms, layer)

    monkeypatch.setattr(encoder, "encode", until_the_power_fails)
    with pytest.raises(KeyboardInterrupt):
        ask_trained(llm, SYSTEM, encoder, cell, telephone)
    again = ask_trained(llm, SYSTEM, encoder, cell, telephone)
    assert len(heard) == 1 + len(CUT.validation)  # only what it was at is heard twice
    assert again["answer"].isin(DEMO.labels).all()


def test_words_alone_are_changed_without_hearing_anything_anew(
    llm: LLM, encoder: Encoder, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(encoder, "encode", never)
    ask_trained(llm, SYSTEM, encoder, cell, alter(DEMO, Condition(words_deleted=0.4)))


@pytest.fixture
def given_settings(root: Path) -> dict[str, object]:
    parameters = parameters_of(root / "notebooks/13-robustness.ipynb")
    return {name: parameter.default for name, parameter in parameters.items()}


def test_the_settings_make_the_conditions_of_the_page(given_settings: dict[str, object]) -> None:
    settings = RobustnessSettings.check(**given_settings | {"noise": "speech", "snr_db": [5], "speeds": []})
    names = [condition.name for condition in settings.conditions()]
    assert names[:2] == ["speech noise, 5 dB", "telephone"]
    assert len(set(names)) == len(names)
    assert all(isinstance(alter(DEMO, condition), AlteredCorpus) for condition in settings.conditions())


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"folds": [0, 1]}, "one system is trained, name one fold"),
        ({"speeds": [1.0]}, "changes nothing"),
        ({"snr_db": [5, 5]}, "snr_db has a value twice"),
        ({"folds": []}, "nothing is trained"),
        ({"noise": "pink"}, "'white' or 'speech'"),
    ],
)
def test_settings_that_make_no_sense_are_one_sentence(
    given_settings: dict[str, object], values: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        RobustnessSettings.check(**given_settings | values)


def test_the_training_is_chapter_8s_with_more_clips(given_settings: dict[str, object], root: Path) -> None:
    from emoser_lib.experiments import WhisperGemmaSettings

    defaults = {n: p.default for n, p in parameters_of(root / "notebooks/08-whisper-gemma.ipynb").items()}
    there, here = WhisperGemmaSettings.check(**defaults), RobustnessSettings.check(**given_settings)
    assert here.system() in there.grid()
    assert here.train_clips > there.train_clips > 0
    assert here.final_cut(DEMO) == there.model_copy(update={"train_clips": here.train_clips}).cuts(DEMO)[0]
