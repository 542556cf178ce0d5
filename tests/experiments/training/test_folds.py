"""Folds: who is trained on, who is validated on, and what stops a cut."""

import os
import warnings
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from emoser_lib.corpora import load_corpus
from emoser_lib.corpora.corpus import LABELS, Corpus, build_frame
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.training.folds import SCHEMES, folds


def corpus_of(labels: list[str], groups: list[str] | None = None, splits: list[str] | None = None) -> Corpus:
    n = len(labels)
    return Corpus(
        "mine",
        build_frame(
            {
                "id": [f"clip{i}" for i in range(n)],
                "label": labels,
                "split": splits or [""] * n,
                "speaker": groups or [""] * n,
                "video": groups or [""] * n,
            }
        ),
    )


@st.composite
def corpora(draw: st.DrawFn) -> Corpus:
    """At least 5 clips of one label in at least 5 groups, then anything, test clips between."""
    n = draw(st.integers(10, 60))
    labels = ["joy"] * 5 + draw(st.lists(st.sampled_from(LABELS), min_size=n, max_size=n))
    groups = list("abcde") + draw(st.lists(st.sampled_from("abcdefghij"), min_size=n, max_size=n))
    splits = ["train"] * 5 + draw(st.lists(st.sampled_from(["train", "test"]), min_size=n, max_size=n))
    return corpus_of(labels, groups, splits)


@pytest.mark.filterwarnings("ignore:corpus 'mine'")
@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25, deadline=None)
@given(corpus=corpora())
def test_validation_sets_are_a_partition_of_the_training_clips(scheme: str, corpus: Corpus) -> None:
    cuts = folds(corpus, scheme)
    training = corpus.training()["id"].tolist()
    assert sorted(clip for fold in cuts for clip in fold.validation) == sorted(training)
    assert [fold.index for fold in cuts] == list(range(5))
    for fold in cuts:
        assert fold.validation
        assert not set(fold.train) & set(fold.validation)
        assert [clip for clip in training if clip in set(fold.train)] == list(fold.train)
        assert sorted(fold.train + fold.validation) == sorted(training)
        assert not set(fold.train + fold.validation) & set(corpus.test()["id"])
    assert cuts == folds(corpus, scheme)


@pytest.mark.filterwarnings("ignore:corpus 'mine'")
@pytest.mark.parametrize("scheme", ["video", "speaker"])
@settings(max_examples=25, deadline=None)
@given(corpus=corpora())
def test_no_group_is_on_both_sides(scheme: str, corpus: Corpus) -> None:
    group_of = dict(zip(corpus.frame["id"], corpus.frame[scheme], strict=True))
    for fold in folds(corpus, scheme):
        assert not {group_of[clip] for clip in fold.train} & {group_of[clip] for clip in fold.validation}


def test_by_session_each_fold_holds_out_whoever_talks_with_each_other() -> None:
    """Two speakers a session, who share its dialogues: as in IEMOCAP."""
    rows = [(session, who, dialogue) for session in range(5) for who in "FM" for dialogue in range(3)] * 2
    frame = build_frame(
        {
            "id": [f"clip{row}" for row in range(len(rows))],
            "label": ["joy", "anger"] * (len(rows) // 2),
            "split": ["train"] * len(rows),
            "speaker": [f"Ses{session}{who}" for session, who, _ in rows],
            "video": [f"Ses{session}-{dialogue}" for session, _, dialogue in rows],
        }
    )
    session_of = dict(zip(frame["id"], (session for session, *_ in rows), strict=True))
    held_out = [{session_of[clip] for clip in fold.validation} for fold in folds(Corpus("mine", frame), "session")]
    assert sorted(map(len, held_out)) == [1] * 5
    assert set.union(*held_out) == set(range(5))


def test_paper_folds_keep_the_proportions_of_the_labels() -> None:
    corpus = corpus_of(["neutral"] * 50 + ["joy"] * 25 + ["fear"] * 5)
    label_of = dict(zip(corpus.frame["id"], corpus.frame["label"], strict=True))
    for fold in folds(corpus):
        assert Counter(label_of[clip] for clip in fold.validation) == {"neutral": 10, "joy": 5, "fear": 1}


def test_another_seed_is_another_cut() -> None:
    corpus = corpus_of(["neutral", "joy"] * 50)
    assert folds(corpus, seed=1) != folds(corpus, seed=2)


def test_unknown_scheme_is_a_usage_error_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'speaker'"):
        folds(corpus_of(["joy"] * 10), "speakers")


@pytest.mark.parametrize("n_splits", [1, 0, -5, 2.5, True])
def test_n_splits_must_be_a_whole_number_from_two(n_splits: object) -> None:
    with pytest.raises(UsageError, match="n_splits"):
        folds(corpus_of(["joy"] * 10), n_splits=n_splits)  # type: ignore[arg-type]


def test_empty_group_names_corpus_column_and_clip() -> None:
    groups = list("abcdefghij")
    groups[7] = ""
    with pytest.raises(DataError, match=r"'mine': 1 of 10 .*'clip7'.* empty 'video'.*paper"):
        folds(corpus_of(["joy"] * 10, groups), "video")
    assert len(folds(corpus_of(["joy"] * 10, groups))) == 5, "paper needs no groups"


def test_an_empty_group_of_a_test_clip_does_no_harm() -> None:
    corpus = corpus_of(["joy"] * 11, [*"abcdefghij", ""], ["train"] * 10 + ["test"])
    assert len(folds(corpus, "video")) == 5


def test_fewer_groups_than_folds() -> None:
    corpus = corpus_of(["joy"] * 12, ["a", "b", "c", "d"] * 3)
    with pytest.raises(DataError, match="4 different values of 'speaker', fewer than 5"):
        folds(corpus, "speaker", n_splits=5)
    assert len(folds(corpus, "speaker")) == len(folds(corpus, "speaker", n_splits=4)) == 4


@pytest.mark.parametrize("scheme", SCHEMES)
def test_too_few_clips_of_every_label(scheme: str) -> None:
    few = corpus_of(["joy"] * 4 + ["fear"] * 4, list("abcdefgh"))
    with pytest.raises(DataError, match=r"no label has 5 training clips.*'joy', has 4"):
        folds(few, scheme, n_splits=5)
    assert len(folds(few, scheme)) == 4
    with pytest.raises(DataError, match="no label has 2 training clips"):
        folds(corpus_of(["joy", "fear"], list("ab")), scheme)


def test_no_labelled_training_clip() -> None:
    with pytest.raises(DataError, match="no labelled training clips"):
        folds(corpus_of([""] * 9))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_rare_label_warns_once_and_by_name(scheme: str) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        cuts = folds(corpus_of(["joy"] * 10 + ["fear"] * 2, list("abcdefghijkl")), scheme)
    assert len(cuts) == 5
    assert [str(w.message) for w in seen] == [
        "corpus 'mine': fewer training clips than 5 folds for 'fear' (2), some folds validate without."
    ]


@pytest.mark.needs_data
def test_paper_folds_of_emospeech_are_those_of_the_train_file() -> None:
    table = pd.read_csv(Path(os.environ["EMOSER_DATA"]) / "meacorpus" / "EmoSPeech_phase_2_train.csv")
    expected = [
        set(table["id"].iloc[held])
        for _, held in StratifiedKFold(5, shuffle=True, random_state=42).split(table["id"], table["label"])
    ]
    cuts = folds(load_corpus("emospeech"))
    assert [set(fold.validation) for fold in cuts] == expected
    assert sum(len(fold.validation) for fold in cuts) == 3000


@pytest.mark.needs_data
def test_emospeech_by_video_and_elicited_by_speaker() -> None:
    for name, scheme in (("emospeech", "video"), ("elicited_es", "speaker")):
        corpus = load_corpus(name)
        group_of = dict(zip(corpus.frame["id"], corpus.frame[scheme], strict=True))
        cuts = folds(corpus, scheme)
        sides = [({group_of[c] for c in f.train}, {group_of[c] for c in f.validation}) for f in cuts]
        assert not any(train & held for train, held in sides)
        assert sum(len(fold.validation) for fold in cuts) == len(corpus.training())


def test_a_corpus_without_training_clips_says_which_splits_it_has() -> None:
    frame = build_frame({"id": list("abcdef"), "label": ["joy"] * 6, "split": ["Train"] * 6, "video": list("uvwxyz")})
    for scheme in SCHEMES:
        with pytest.raises(DataError, match=r"no labelled training clips.*it has 'Train'"):
            folds(Corpus("mine", frame), scheme)
