"""A corpus is fitted to a chapter before anything starts: what is derived and said, and what is refused."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from emoser_lib.errors import DataError, EmoserError, UsageError
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.runs.profiles import plan, prepared
from emoser_lib.experiments.settings.prepare import Prepared
from emoser_lib.systems import qwen_audio
from emoser_lib.systems.checkpoints.limits import encoder_limits
from emoser_lib.systems.hearing.encoders.loading import load_encoder
from tests.chapters import CHAPTERS, plain
from tests.command import emoser


def ready(chapter: str, table: pd.DataFrame, folder: Path, **values: Any) -> Prepared[Any]:
    """What a chapter starts with; parameters that it lacks are left out."""
    table.to_csv(folder / "metadata.csv", index=False)
    known = parameters_of(CHAPTERS[chapter])
    own: Mapping[str, Any] = {"corpus": "folder", "corpus_options": {"root": str(folder)}, "words": "nouns", **values}
    [planned] = plan(CHAPTERS[chapter], "demo", changed={name: own[name] for name in own if name in known})
    made = prepared(planned)
    assert made is not None
    return made


def tone(folder: Path, seconds: float, name: str = "own.wav") -> str:
    """The path of a wav of a tone."""
    times = np.arange(round(16_000 * seconds)) / 16_000
    soundfile.write(folder / name, 0.3 * np.sin(2 * np.pi * 220 * times), 16_000)
    return str(folder / name)


def with_clip(folder: Path, seconds: float) -> pd.DataFrame:
    table = plain()
    return table.assign(audio=[tone(folder, seconds), *table["audio"][1:]])


@pytest.mark.parametrize(
    ("chapter", "changed", "said"),
    [
        ("03", {"evaluate": "folds"}, "no test split of two clips with labels: evaluate is 'folds'"),
        ("04", {"split": "train"}, "no test split of two clips with labels: split is 'train'"),
        ("05", {"refit": False}, "no test split of two clips with labels: refit is false"),
    ],
)
def test_without_a_split_there_are_folds(chapter: str, changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    made = ready(chapter, plain().drop(columns="split"), tmp_path)
    assert {name: getattr(made.settings, name) for name in changed} == changed
    assert any(said in note for note in made.notes), made.notes
    assert made.evaluate == "folds"


def test_a_test_clip_without_a_label_is_counted_and_left_out(tmp_path: Path) -> None:
    table = plain()
    some = table.index[table["split"] == "test"][:3]
    made = ready("08", table.assign(label=table["label"].mask(table.index.isin(some), "")), tmp_path)
    [cut] = [made.settings.final_cut(made.corpus)]
    assert len(cut.validation) == 21
    assert not set(table["audio"][some]) & set(cut.validation)
    assert "3 of 24 test clips have no label: they are not scored." in made.notes


def test_fewer_training_clips_than_asked_for_are_all_of_them(tmp_path: Path) -> None:
    made = ready("08", plain(), tmp_path, train_clips=160)
    assert [len(cut.train) for cut in made.settings.cuts(made.corpus)] == [38]
    assert "train_clips is 160, a training part has 38: all of them are taken." in made.notes


@pytest.mark.parametrize(
    ("speakers", "scheme", "folds", "said"),
    [
        (0, "paper", [0, 3], "The training clips have no speaker: scheme is 'paper'"),
        (1, "paper", [0, 3], "The training clips have one speaker: scheme is 'paper'"),
        (3, "speaker", [0], "can be cut into 3 folds by 'speaker': folds is [0]"),
    ],
)
def test_folds_by_speaker_follow_from_the_speakers(
    speakers: int, scheme: str, folds: list[int], said: str, tmp_path: Path
) -> None:
    table = plain()
    names = [f"s{int(name[1]) % speakers}" if speakers else "" for name in table["speaker"]]
    made = ready("08", table.assign(speaker=names), tmp_path, scheme="speaker", folds=[0, 3], refit=False)
    assert (made.settings.scheme, made.settings.folds) == (scheme, folds)
    assert any(said in note for note in made.notes), made.notes
    assert made.settings.cuts(made.corpus)


def test_what_reads_is_left_out_where_there_is_nothing_to_read(tmp_path: Path) -> None:
    silent = plain().drop(columns="transcription")
    made = ready("08", silent, tmp_path)
    assert not made.settings.transcript
    assert "The corpus has no transcriptions: transcript is false." in made.notes
    assert (made.baselines, made.has_text) == (("audio-svm", "majority"), False)
    assert "The corpus has no transcriptions: text-svm are left out." in made.notes
    made = ready("13", silent, tmp_path)
    assert made.settings.baselines == ["audio-svm"]
    assert not any("words" in condition.name for condition in made.settings.conditions())
    made = ready("10", silent, tmp_path, speech_weights=[0.1])
    assert made.settings.speech_weights == [0.0]


def test_clips_that_are_not_read_or_not_heard_whole_are_counted(tmp_path: Path) -> None:
    table = with_clip(tmp_path, 46)
    table["transcription"] = ["", "", *table["transcription"][2:]]
    notes = ready("06", table, tmp_path).notes
    assert "2 of 72 clips have no transcription: nothing is read of them." in notes
    assert "1 clip is longer than 30 s: only the beginning is heard." in notes
    [found] = [note for note in notes if "corpus check" in note]
    assert "over-long audio (1)" in found
    assert "empty transcription (2)" in found


def test_the_audit_counts_speakers_where_videos_are_not_known(tmp_path: Path) -> None:
    table = plain().drop(columns="video")
    assert "every clip's video: what speakers give away is counted instead." in "".join(
        ready("12", table, tmp_path).notes
    )
    notes = ready("12", table.drop(columns="speaker"), tmp_path).notes
    assert "every clip's video, nor who speaks: nothing can leak by it." in "".join(notes)


def test_a_learning_curve_has_the_points_that_its_folds_allow(tmp_path: Path) -> None:
    values = {"scheme": "speaker", "folds": [0, 4], "sizes": [4, 12, 600], "baselines": ["text-svm", "audio-svm"]}
    made = ready("14", plain().drop(columns=["transcription", "speaker"]), tmp_path, **values)
    assert made.settings.sizes == [12]
    assert any("clips of 6 labels: sizes is [12]" in note for note in made.notes), made.notes
    assert (made.settings.scheme, made.settings.baselines, made.settings.transcript) == ("paper", ["audio-svm"], False)


@pytest.mark.parametrize(
    ("columns", "own", "words"),
    [
        (
            {},
            {"corpus": "demo_theirs"},
            "tested_on is 'demo_theirs', which has clips of 'demo_theirs', so it is no test",
        ),
        ({}, {"corpus": "demo"}, "which has clips of 'demo', so it is no test: name another corpus"),
        ({"label": "Freude"}, {}, "name two of its labels as here"),
        ({"transcription": ""}, {}, "24 of 24 clips have no transcription, and systems trained here read"),
    ],
)
def test_a_second_corpus_that_is_no_test_is_refused(
    columns: dict[str, str], own: dict[str, Any], words: str, tmp_path: Path
) -> None:
    other = {"tested_on": "demo_theirs"}
    if columns:
        plain().assign(**columns).to_csv(tmp_path / "metadata.csv", index=False)
        other = {"tested_on": "folder", "tested_on_options": {"root": str(tmp_path)}}
    run = plan(CHAPTERS["14"], "demo", changed={**own, **other})[0]
    with pytest.raises(UsageError, match=words):
        prepared(run)


def test_a_split_that_nobody_uses_is_said(tmp_path: Path) -> None:
    table = plain()
    table.loc[:4, "split"] = "dev"
    assert "5 of 72 clips are not used: their split is 'dev'." in ready("02", table, tmp_path).notes


LONG = "hola " * 3000


@pytest.mark.parametrize(
    ("chapter", "columns", "values", "words"),
    [
        ("02", {"label": ""}, {}, "has no labels: say which column"),
        ("02", {"label": "joy"}, {}, "one label only"),
        ("02", {"split": "Training"}, {}, "it has 'Training'"),
        ("02", {"transcription": ""}, {}, "set system to audio-svm"),
        ("02", {"audio": ""}, {"system": "audio-svm"}, "set system to text-svm"),
        ("03", {"transcription": ""}, {"baselines": ["text-svm"]}, r"set baselines to \['audio-svm'\]"),
        ("04", {"transcription": ""}, {}, "take one that hears"),
        ("04", {"transcription": LONG}, {}, "reads 1024 with the prompt: shorten it"),
        ("05", {"split": ""}, {"folds": [], "ranks": [4], "alphas": [8]}, r"set folds to \[0\] and refit to false"),
        ("05", {"split": ""}, {"predictions": "results.csv"}, "leave predictions empty"),
        ("05", {}, {"predictions": "."}, "has a name that ends with .csv"),
        ("05", {}, {"predictions": "nosuch/results.csv"}, "there is no folder"),
        ("05", {}, {"predictions": "results.csv", "refit": False}, "set refit to true"),
        ("05", {}, {"train_clips": 3}, "ask for at least 6"),
        ("06", {"audio": ""}, {}, "has no audio, which this chapter's systems hear"),
        ("07", {"transcription": LONG}, {}, "reads 2048 with the prompt: shorten it"),
        ("08", {}, {"layer": "12"}, "layer is 12, emoser/demo-whisper has 0 to 2"),
        ("14", {}, {"tested_on": "elicited_es"}, "elicited_es is not there|run `emoser corpus fetch elicited_es`"),
        ("14", {"label": "Freude"}, {}, "one label only"),
        ("14", {"audio": ""}, {}, "has no audio, which this chapter's systems hear"),
        ("14", {}, {"tested_on": "", "tested_on_options": {"root": "."}}, "set tested_on to 'folder'"),
        ("12", {}, {"heard": "emospeech"}, "emospeech"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    chapter: str, columns: dict[str, str], values: dict[str, Any], words: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path / "none"))
    if chapter == "07":
        qwen_audio.converted("emoser/demo-qwen-audio-v1")
    table = plain().assign(id=[f"c{number}" for number in range(72)], **columns)
    with pytest.raises(EmoserError, match=words):
        ready(chapter, table, tmp_path, **values)


@pytest.mark.parametrize(
    ("chapter", "seconds", "values", "words"),
    [
        ("08", 0.02, {}, "lasts 20 ms, at least 30 ms are needed"),
        ("13", 0.032, {"speeds": [1.2]}, "at least 36 ms are needed"),
        ("08", 46, {}, r"emoser/demo-whisper hears 30 s at once: cut it.*\(1 such"),
        ("13", 29, {"speeds": [0.9]}, "hears 27 s at once"),
        ("10", 61, {"window_seconds": 0.0}, "set window_seconds to at most 60"),
    ],
)
def test_a_clip_too_short_or_too_long_to_be_heard_is_named(
    chapter: str, seconds: float, values: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        ready(chapter, with_clip(tmp_path, seconds), tmp_path, **values)
    if chapter == "10":
        assert ready(chapter, with_clip(tmp_path, seconds), tmp_path).settings.window_seconds == 3.0


def test_a_clip_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.wav").write_bytes(b"<html>")
    table = plain()
    with pytest.raises(DataError, match=r"1 of 72 clips .*web page"):
        ready("08", table.assign(audio=["own.wav", *table["audio"][1:]]), tmp_path)
    with pytest.raises(DataError, match=r"1 of 72 clips .*is not there"):
        ready("03", table.assign(audio=["none.wav", *table["audio"][1:]]), tmp_path)


def test_run_and_plan_refuse_the_same_and_no_kernel_starts(tmp_path: Path) -> None:
    plain().drop(columns="transcription").to_csv(tmp_path / "metadata.csv", index=False)
    own = ("04-gemma-zero-shot", "--root", str(tmp_path))
    planned, ran = emoser("plan", *own), emoser("run", *own, "--runs", str(tmp_path / "runs"))
    assert planned.stderr == ran.stderr
    assert planned.stderr.startswith("emoser: corpus 'folder' has no transcriptions, which this chapter's systems read")
    assert planned.returncode == ran.returncode == UsageError.exit_code
    assert not (tmp_path / "runs").exists()


def test_limits_are_those_of_the_loaded_encoders() -> None:
    for name in ("emoser/demo-whisper", "emoser/demo-wavlm", "emoser/demo-wav2vec2"):
        loaded, told = load_encoder(name), encoder_limits(name)
        assert (told.layers, told.seconds) == (loaded.layers, loaded.longest)
