"""The shape of a corpus: what it refuses, what it hides, what identifies it."""

import shutil
from pathlib import Path

import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.corpora.loaders import DEMO_CORPUS_FOLDER, load_demo
from emoser_lib.errors import DataError, UsageError


def test_double_and_empty_ids_unknown_labels_and_backward_times_are_refused() -> None:
    for columns, words in (
        ({"id": ["a", "a"]}, "'a' occurs more than once"),
        ({"id": ["a", ""]}, "row 2 has no id"),
        ({"id": ["a"], "label": ["glee"]}, "'glee' is not one of"),
        ({"id": ["a"], "start_ms": [5], "end_ms": [4]}, "ends before it starts"),
        ({"id": []}, "no clips"),
    ):
        with pytest.raises(DataError, match=words):
            Corpus("mine", build_frame(columns))


def test_training_is_the_train_split_or_all_labelled_rows() -> None:
    split = Corpus(
        "s", build_frame({"id": list("abc"), "label": ["joy", "", "fear"], "split": ["train", "train", "test"]})
    )
    assert list(split.training()["id"]) == ["a"]
    assert split.gold_labels().to_dict() == {"c": "fear"}
    whole = Corpus("w", build_frame({"id": list("abc"), "label": ["joy", "", "fear"]}))
    assert list(whole.training()["id"]) == ["a", "c"]
    with pytest.raises(UsageError, match="no labelled test split"):
        whole.gold_labels()


def test_hidden_labels_are_in_gold_labels_only() -> None:
    frame = build_frame({"id": ["a", "b"], "label": ["joy", ""], "split": ["train", "test"]})
    corpus = Corpus("h", frame, held_out={"b": "fear"})
    assert corpus.gold_labels().to_dict() == {"b": "fear"}
    assert list(corpus.frame["label"]) == ["joy", ""]
    assert "held_out" not in repr(corpus)


def test_sha256_follows_content_not_place(tmp_path: Path) -> None:

    here = load_corpus("demo")
    shutil.copytree(DEMO_CORPUS_FOLDER, tmp_path / "copy")
    assert load_demo(tmp_path / "copy").sha256 == here.sha256
    clip = Path(load_demo(tmp_path / "copy").frame["audio"][0])
    clip.write_bytes(clip.read_bytes() + b"x")
    assert load_demo(tmp_path / "copy").sha256 != here.sha256


def test_an_unknown_clip_and_a_clip_without_audio_are_one_sentence() -> None:
    corpus = Corpus("mine", build_frame({"id": ["clip-1"]}))
    with pytest.raises(UsageError, match="did you mean 'clip-1'"):
        corpus.waveform("clip_1")
    with pytest.raises(DataError, match="has no audio here"):
        corpus.waveform("clip-1")
