"""The shipped demo corpus keeps its promises, and its tables follow from distributions.yaml."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from emoser_lib.corpora.audio import SAMPLE_RATE, read_waveform
from emoser_lib.corpora.corpus import COLUMNS, LABELS
from emoser_lib.corpora.generation import (
    DEMO_DATA,
    PROSODY,
    QUALITIES,
    draw_clips,
    draw_latents,
    estimate_seconds,
    load_distributions,
)
from emoser_lib.errors import DataError

FIGURE_3 = {"neutral": 1166, "disgust": 705, "anger": 399, "joy": 362, "sadness": 345}
"""Clips a label in the paper's training set, fear (23) left out."""


@pytest.fixture(scope="module")
def metadata() -> pd.DataFrame:
    return pd.read_csv(DEMO_DATA / "metadata.csv")


@pytest.fixture(scope="module")
def latents() -> pd.DataFrame:
    return pd.read_csv(DEMO_DATA / "latents.csv")


@pytest.fixture(scope="module")
def waveforms(metadata: pd.DataFrame) -> dict[str, np.ndarray]:
    return {row.id: read_waveform(DEMO_DATA / row.audio) for row in metadata.itertuples()}


def test_table_has_the_corpus_columns_and_as_many_clips_as_written_down(metadata: pd.DataFrame) -> None:
    assert tuple(metadata.columns) == COLUMNS
    assert metadata["id"].is_unique
    assert metadata["id"].str.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{8}\.mp3").all()
    assert (metadata["audio"] == "audio/" + metadata["id"]).all()
    counts = pd.crosstab(metadata["split"], metadata["label"])
    for split, labels in load_distributions().clips.items():
        assert counts.loc[split].to_dict() == labels
    assert len(metadata) >= 360


@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_keep_the_proportions_of_figure_3_except_fear(metadata: pd.DataFrame, split: str) -> None:
    counts = metadata["label"][metadata["split"] == split].value_counts()
    assert counts["fear"] >= {"train": 8, "test": 2}[split]
    others = counts.drop("fear")
    for label, count in FIGURE_3.items():
        exact = count / sum(FIGURE_3.values()) * others.sum()
        assert abs(others[label] - exact) < 1, label


def test_videos_and_split_look_like_the_real_corpus(metadata: pd.DataFrame) -> None:
    train, test = (metadata[metadata["split"] == split] for split in ("train", "test"))
    assert metadata["split"].tolist() == ["train"] * len(train) + ["test"] * len(test)
    assert 1.4 < len(metadata) / metadata["video"].nunique() < 1.7  # real: 1.56
    assert 0.45 < test["video"].isin(set(train["video"])).mean() < 0.60  # real: 0.53
    videos = metadata.groupby("video")
    assert (videos["speaker"].nunique() == 1).all()
    several = metadata[videos["id"].transform("size") > 1].groupby("video")["label"]
    main = several.agg(lambda labels: labels.value_counts().iloc[0])
    assert main.sum() / several.size().sum() > 0.9  # real: 0.97


def test_voices(metadata: pd.DataFrame) -> None:
    voices = {voice.name: voice.gender for voice in load_distributions().voices}
    assert metadata["speaker"].nunique() == len(voices) >= 10
    assert (metadata["gender"] == metadata["speaker"].map(voices)).all()
    assert set(metadata["gender"]) == {"female", "male"}
    per_voice = metadata.groupby("speaker")["label"].nunique()
    assert (per_voice >= 4).all()


def test_times_are_those_of_the_audio_and_do_not_overlap(
    metadata: pd.DataFrame, waveforms: dict[str, np.ndarray]
) -> None:
    seconds = metadata["id"].map(lambda clip: len(waveforms[clip]) / SAMPLE_RATE)
    assert seconds.between(1.5, 4.0).all()
    assert (seconds - (metadata["end_ms"] - metadata["start_ms"]) / 1000).abs().max() < 0.001
    ordered = metadata.sort_values(["video", "start_ms"])
    previous_end = ordered.groupby("video")["end_ms"].shift(fill_value=0)
    assert (ordered["start_ms"] >= previous_end).all()


def test_audio_is_small_clean_and_mono_16_khz(metadata: pd.DataFrame, waveforms: dict[str, np.ndarray]) -> None:
    files = [path for path in DEMO_DATA.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_600_000
    assert {path.name for path in files if path.suffix == ".mp3"} == set(metadata["id"])
    for clip, waveform in waveforms.items():
        assert 0.03 < np.abs(waveform).max() < 0.98, clip
    info = soundfile.info(DEMO_DATA / metadata["audio"][0])
    assert (info.samplerate, info.channels) == (16_000, 1)


def test_transcriptions(metadata: pd.DataFrame, latents: pd.DataFrame) -> None:
    words = load_distributions().words
    for text, cue in zip(metadata["transcription"], latents["cue"], strict=True):
        assert any(phrase in text.lower() for phrase in words.cues[cue]), text
        assert text[0].isupper() and text.endswith(".")
    assert metadata["transcription"].duplicated().sum() <= 15


def test_no_phrase_belongs_to_two_categories() -> None:
    phrases = [phrase for group in load_distributions().words.cues.values() for phrase in group]
    assert len(set(phrases)) == len(phrases)


def test_shipped_tables_are_what_the_distributions_draw(metadata: pd.DataFrame, latents: pd.DataFrame) -> None:
    drawn = draw_clips(load_distributions())
    assert drawn[metadata.columns.drop("end_ms")].equals(metadata.drop(columns="end_ms"))
    assert drawn[latents.columns].equals(latents)


@pytest.mark.parametrize("prosody", ["pitch_level", "loudness"])
def test_what_was_drawn_can_be_heard(
    metadata: pd.DataFrame, latents: pd.DataFrame, waveforms: dict[str, np.ndarray], prosody: str
) -> None:
    librosa = pytest.importorskip("emoser_lib.systems.classical.compiled").load_librosa()
    some = metadata[metadata["speaker"] == "alba"].index
    heard = []
    for clip in metadata["id"][some]:
        level = librosa.feature.rms(y=waveforms[clip], frame_length=1024, hop_length=256)[0]
        pitch = librosa.yin(waveforms[clip], fmin=80, fmax=500, sr=16_000, frame_length=1024, hop_length=256)
        speech = level > 0.25 * level.max()
        value = 12 * np.log2(np.median(pitch[speech])) if prosody == "pitch_level" else 20 * np.log10(level.max())
        heard.append(value)
    assert np.corrcoef(heard, latents[prosody][some])[0, 1] > 0.85


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_seed_keeps_counts_groups_and_bounds(seed: int) -> None:
    distributions = load_distributions().model_copy(update={"seed": seed})
    clips = draw_clips(distributions)
    assert clips.equals(draw_clips(distributions))
    assert clips["id"].is_unique
    assert pd.crosstab(clips["split"], clips["label"]).loc["test"].to_dict() == distributions.clips["test"]
    assert (clips.groupby("video")["speaker"].nunique() == 1).all()
    shortest, longest = distributions.duration.estimate
    seconds = [estimate_seconds(text, rate) for text, rate in zip(clips["transcription"], clips["rate"], strict=True)]
    assert shortest <= min(seconds) and max(seconds) <= longest


@pytest.mark.parametrize("label", LABELS)
def test_latents_follow_the_written_down_distributions(label: str) -> None:
    distributions, n = load_distributions(), 20_000
    drawn = draw_latents(distributions, [label] * n, np.random.default_rng(1))
    row = LABELS.index(label)
    cues = drawn["cue"].value_counts(normalize=True).reindex(LABELS, fill_value=0)
    np.testing.assert_allclose(cues, distributions.cue_matrix()[row], atol=0.015)
    qualities = drawn["quality"].value_counts(normalize=True).reindex(QUALITIES, fill_value=0)
    np.testing.assert_allclose(qualities, distributions.quality_matrix()[row], atol=0.015)
    standardised = (drawn[list(PROSODY)] - distributions.mean_matrix()[row]) / np.sqrt(
        np.diag(distributions.covariance())
    )
    np.testing.assert_allclose(standardised.mean(), 0, atol=0.03)
    assert abs(standardised["pitch_level"].corr(standardised["loudness"]) - 0.3) < 0.03
    assert abs(pd.get_dummies(drawn["cue"]).corrwith(drawn["pitch_level"]).abs().max()) < 0.04  # independent


def test_probabilities_sum_to_one() -> None:
    distributions = load_distributions()
    np.testing.assert_allclose(distributions.cue_matrix().sum(axis=1), 1)
    np.testing.assert_allclose(distributions.quality_matrix().sum(axis=1), 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["words"]["cue_given_label"]["joy"].update(joy=0.5), "'joy' sum to"),
        (lambda d: d["prosody"]["means"].pop("fear"), "exactly the rows neutral"),
        (lambda d: d["prosody"]["correlations"][0].update(value=1.5), "positive definite"),
        (lambda d: d.update(colour="red"), "colour"),
    ],
)
def test_a_wrong_distributions_file_is_one_sentence(tmp_path: Path, change: object, says: str) -> None:
    document = yaml.safe_load((DEMO_DATA / "distributions.yaml").read_text(encoding="utf-8"))
    change(document)
    path = tmp_path / "distributions.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    with pytest.raises(DataError, match=says):
        load_distributions(path)


def test_a_missing_or_broken_distributions_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        load_distributions(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1,", encoding="utf-8")
    with pytest.raises(DataError, match="is not YAML"):
        load_distributions(tmp_path / "broken.yaml")


def test_without_espeak_the_script_says_how_to_get_it() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "scripts/make_demo_corpus.py"]
    environment = {"PATH": "", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "espeak-ng is not installed: `apt-get install espeak-ng` or `brew install espeak-ng`."
    )
