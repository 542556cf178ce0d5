"""Voices taken out of frames, and what a classifier makes of known voices, new ones, and none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import WhisperGemmaSettings, folds, score
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.training import audio as audio_training
from emoser_lib.experiments.training import speakers
from emoser_lib.experiments.training.folds import fewer_clips
from emoser_lib.reporting.hearing import voices
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.declared import AudioSystem, Linear, Training
from emoser_lib.systems.hearing import speaker_normalisation
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoding import Hearing, hear
from emoser_lib.systems.reading.llm import LLM

DEMO = load_corpus("demo")
WHO = DEMO.frame.set_index("id")["speaker"]
SYSTEM = AudioSystem(bridge=Linear(stack=8), training=Training(epochs=1, batch_size=4, learning_rate=1e-2))
VALUES = {name: of.default for name, of in parameters_of(ROOT / "notebooks/08-whisper-gemma.ipynb").items()}


def heard(encoder: Encoder, system: AudioSystem = SYSTEM, clips: int = 40) -> Hearing:
    return hear(encoder, system, DEMO, list(DEMO.training()["id"][:clips]))


def frames_of(hearing: Hearing, speaker: str) -> torch.Tensor:
    """All frames of one speaker, [layers, frames, width]."""
    assert hearing.features is not None
    keys = [key for clip, found in hearing.windows.items() if WHO[clip] == speaker for key in found]
    return torch.cat([hearing.features[key] for key in keys], dim=1)


@pytest.mark.parametrize(
    "system", [SYSTEM, replace(SYSTEM, layer="weighted", window_seconds=1.0)], ids=["clips", "windows"]
)
def test_each_speakers_frames_have_mean_0_and_deviation_1(encoder: Encoder, system: AudioSystem) -> None:
    plain = heard(encoder, system)
    hearing = speakers.normalised(plain)
    everyone = {WHO[clip] for clip in plain.windows}
    assert len(everyone) > 3
    for speaker in everyone:
        before, after = frames_of(plain, speaker), frames_of(hearing, speaker)
        assert before.shape == after.shape
        assert after.mean(dim=1).abs().max() < 1e-3
        assert (after.std(dim=1, correction=0) - 1).abs().max() < 1e-3
        assert before.mean(dim=1).abs().max() > 0.1, "there was something to take out"


def test_a_batch_has_the_frames_that_were_normalised_and_zeros_behind_them(encoder: Encoder) -> None:
    features = speakers.normalised(heard(encoder)).features
    assert features is not None
    longest = sorted(features.lengths, key=features.lengths.__getitem__)
    batch = features.batch([longest[0], longest[-1]])
    short = features.lengths[longest[0]]
    torch.testing.assert_close(batch.values[0, :, :short], features[longest[0]])
    assert batch.values[0, :, short:].abs().max() == 0
    torch.testing.assert_close(batch.values[1], features[longest[-1]])


def test_whose_frames_they_are_and_who_else_was_heard_is_part_of_the_identity(encoder: Encoder) -> None:
    plain = heard(encoder)
    some = list(plain.windows)[:5]
    hearing, fewer = speakers.normalised(plain), speakers.normalised(heard(encoder, clips=30))
    identities = [str(of.identity(some, -1)) for of in (plain, hearing, fewer)]
    assert len(set(identities)) == 3
    assert hearing.identity(some, -1) == speakers.normalised(heard(encoder)).identity(some, -1)
    assert hearing.identity(some, -1) != hearing.identity(some[:4], -1)
    others = DEMO.frame.assign(speaker=np.roll(DEMO.frame["speaker"], 1))
    swapped = replace(plain, corpus=replace(DEMO, frame=others))
    assert speakers.normalised(swapped).identity(some, -1) != hearing.identity(some, -1)


def test_another_way_to_normalise_is_another_identity(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    hearing = speakers.normalised(heard(encoder, clips=8))
    some = list(hearing.windows)[:3]
    before = hearing.identity(some, -1)
    monkeypatch.setattr(speaker_normalisation, "versions_behind", lambda *modules: {"another": 1})
    assert hearing.identity(some, -1) != before


def test_a_part_of_the_clips_keeps_what_the_speakers_were_measured_by(encoder: Encoder) -> None:
    features = speakers.normalised(heard(encoder)).features
    assert features is not None
    key = next(iter(features.audio))
    torch.testing.assert_close(features.of([key])[key], features[key], rtol=0, atol=0)
    with pytest.raises(KeyError):
        features.of([key])[list(features.audio)[1]]


def test_nothing_to_normalise_by_leaves_all_as_it_is(encoder: Encoder) -> None:
    plain = heard(encoder)
    assert speakers.normalised(plain, "") is plain


def test_a_system_trains_on_normalised_frames_and_is_asked_with_them(llm: LLM, encoder: Encoder) -> None:
    few = fewer_clips(DEMO, folds(DEMO)[0], 24)
    cut = replace(few, validation=few.validation[:8])
    plain = hear(encoder, SYSTEM, DEMO, [*cut.train, *cut.validation])
    hearing = speakers.normalised(plain)
    cells = [audio_training.train_audio_cell(llm, SYSTEM, of, cut) for of in (plain, hearing)]
    assert cells[0].key != cells[1].key
    told = audio_training.answers_of_cell(llm, SYSTEM, hearing, cells[1], cut.validation, ways=("with",))
    assert told["with audio"].tolist() == cells[1].predicted().tolist()


def test_the_chapter_says_at_once_what_cannot_be_normalised() -> None:
    given = VALUES | {"normalised_by": "speaker"}
    with pytest.raises(UsageError, match="the arm 'released' trains the encoder: leave it empty"):
        WhisperGemmaSettings.check(**given | {"arm": "released"})
    assert WhisperGemmaSettings.check(**given).load().name == "demo"
    with pytest.raises(UsageError, match="'normalised_by' is 'video'"):
        WhisperGemmaSettings.check(**VALUES | {"normalised_by": "video"})
    older = {name: value for name, value in VALUES.items() if name != "normalised_by"}
    assert WhisperGemmaSettings.check(**older).normalised_by == ""


def test_a_corpus_that_does_not_say_who_speaks_is_told_of(encoder: Encoder) -> None:
    unknown = DEMO.frame.assign(speaker=[*DEMO.frame["speaker"][:-1], ""])
    corpus = replace(DEMO, frame=unknown)
    last = DEMO.frame["id"].iloc[-1]
    with pytest.raises(DataError, match=rf"1 of {len(unknown)} clips \(first '{last}'\).*leave normalised_by empty"):
        speakers.normalised(replace(heard(encoder), corpus=corpus))


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 5))
def test_whatever_a_voice_does_to_all_its_clips_is_gone(seed: int, voices: int, columns: int) -> None:
    draw = np.random.default_rng(seed)
    who = pd.Series(np.repeat(np.arange(voices).astype(str), 6))
    values = draw.normal(size=(len(who), columns))
    scale, shift = draw.uniform(0.5, 2, (voices, columns)), draw.normal(0, 10, (voices, columns))
    moved = values * scale[who.astype(int)] + shift[who.astype(int)]
    np.testing.assert_allclose(
        speakers.without_voice(values, who), speakers.without_voice(moved, who), rtol=1e-6, atol=1e-6
    )


def test_a_column_that_never_changes_is_0() -> None:
    assert speakers.without_voice(np.ones((4, 1)), pd.Series(["a", "a", "b", "b"])).tolist() == [[0.0]] * 4


def test_a_classifier_that_learns_voices_fails_on_new_ones_and_not_without_them() -> None:
    draw = np.random.default_rng(0)
    gold = pd.concat([DEMO.training().set_index("id")["label"], DEMO.gold_labels()])[DEMO.frame["id"]]
    emotion = np.eye(len(DEMO.labels))[[DEMO.labels.index(label) for label in gold]]
    voice = {who: draw.normal(0, 3, len(DEMO.labels)) for who in sorted(set(WHO))}
    values = emotion + np.stack([voice[who] for who in WHO]) + draw.normal(0, 0.1, emotion.shape)
    told = speakers.by_voice(DEMO, {"made": values, "noise": draw.normal(size=values.shape)})
    training = DEMO.training().set_index("id")["label"]
    uar = {name: score(training[of.index], of, DEMO.labels).uar for name, of in told.items()}
    assert uar["made", "new voices"] < 0.6 < uar["made", "new voices, normalised"] - 0.3
    assert uar["made", "known voices"] > uar["made", "new voices"] + 0.2
    assert max(of for (source, _), of in uar.items() if source == "noise") < 0.3
    table = voices.voice_table(DEMO, told, resamples=100)
    assert list(zip(table["heard as"], table["voices"], strict=True)) == list(told)
    assert (table["uar_low"] < table["uar"]).all() and (table["uar"] < table["uar_high"]).all()


@pytest.mark.parametrize("who", [[""] * 40, ["a", "b"] * 20], ids=["unknown", "too few"])
def test_without_enough_speakers_there_is_nothing_to_compare(who: list[str]) -> None:
    frame = build_frame({"id": [str(n) for n in range(40)], "label": ["joy", "fear"] * 20, "speaker": who})
    told = speakers.by_voice(Corpus("own", frame), {"made": np.zeros((40, 1))})
    assert told == {}
    assert list(voices.voice_table(DEMO, told).columns[:2]) == ["heard as", "voices"]


def test_a_clip_is_described_by_its_statistics_and_its_mean_frame(encoder: Encoder) -> None:
    few = replace(DEMO, frame=DEMO.frame.iloc[:6].reset_index(drop=True))
    clips = Clips.from_corpus(few, few.frame["id"], audio=True)
    hearing = hear(encoder, SYSTEM, few, few.frame["id"])
    found = speakers.described(clips, hearing)
    assert list(found) == ["acoustic statistics", "mean frame"]
    assert hearing.features is not None
    third = hearing.features[few.frame["id"][2]][0].mean(dim=0)
    np.testing.assert_allclose(found["mean frame"][2], third, rtol=1e-4, atol=1e-5)
    assert list(speakers.described(clips, replace(hearing, features=None))) == ["acoustic statistics"]
