"""Scores by group: by hand, and the same for groups that differ in their labels only."""

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import UsageError
from emoser_lib.reporting import gold_for
from emoser_lib.reporting.audit.groups import by_group


def corpus_of(rows: list[tuple[str, str, str]]) -> Corpus:
    """Clips of (label, gender, speaker)."""
    labels, genders, speakers = zip(*rows, strict=True)
    ids = [f"clip-{i}" for i in range(len(rows))]
    frame = build_frame({"id": ids, "label": labels, "gender": genders, "speaker": speakers})
    return Corpus("own", frame, ("joy", "fear"))


def answers(corpus: Corpus, wrong: list[int]) -> pd.Series:
    gold = gold_for(corpus, pd.Index(corpus.frame["id"]))
    other = gold.map({"joy": "fear", "fear": "joy"})
    return gold.mask(np.isin(np.arange(len(gold)), wrong), other).rename("predicted")


def test_by_hand() -> None:
    # Women: joy 3 of 4, fear 1 of 2. Men: joy 1 of 1, fear 2 of 3. Of all clips, half are of each label.
    rows = (
        [("joy", "female", "a")] * 4
        + [("fear", "female", "a")] * 2
        + [("joy", "male", "b")]
        + [("fear", "male", "b")] * 3
    )
    corpus = corpus_of(rows)
    table = by_group(corpus, answers(corpus, [0, 4, 7]), "gender")
    assert table["clips"].tolist() == [6, 4]
    assert table["accuracy"].tolist() == pytest.approx([4 / 6, 3 / 4])
    assert table["uar"].tolist() == pytest.approx([(3 / 4 + 1 / 2) / 2, (1 + 2 / 3) / 2])
    assert table["standardised"].tolist() == pytest.approx([(3 / 4 + 1 / 2) / 2, (1 + 2 / 3) / 2])
    assert (table["low"] <= table["standardised"]).all()
    assert (table["standardised"] <= table["high"]).all()


def test_groups_that_differ_in_their_labels_only_are_equal_once_standardised() -> None:
    # Both: joy always right, fear half right; one says joy four times as often as fear, the other the reverse.
    rows = [("joy", "female", "a")] * 8 + [("fear", "female", "a")] * 2
    rows += [("joy", "male", "b")] * 2 + [("fear", "male", "b")] * 8
    corpus = corpus_of(rows)
    table = by_group(corpus, answers(corpus, [8, 12, 13, 14, 15]), "gender")
    assert table["accuracy"].tolist() == pytest.approx([0.9, 0.6])
    assert table["standardised"].tolist() == pytest.approx([0.75, 0.75])


def test_a_label_that_a_group_has_no_clip_of_counts_with_everybodys_recall() -> None:
    corpus = corpus_of([("joy", "", "a"), ("joy", "", "b"), ("fear", "", "b"), ("fear", "", "b")])
    table = by_group(corpus, answers(corpus, [2]), "speaker")
    assert table.loc["a", ["labels", "uar"]].tolist() == [1, 0.5]
    assert table.loc["a", "standardised"] == pytest.approx(0.5 * 1 + 0.5 * 0.5)
    assert np.isnan(table.loc["a", "low"])  # of one clip there is no interval
    assert table.loc["a", "drawn"] == 1


def test_all_clips_as_one_group_have_their_accuracy() -> None:
    demo = load_corpus("demo")
    one = Corpus("one", demo.frame.assign(gender="female"), demo.labels)
    predicted = demo.test().set_index("id")["label"].where(lambda labels: labels != "anger", "joy")
    (row,) = by_group(one, predicted, "gender").to_dict("records")
    assert row["standardised"] == pytest.approx(row["accuracy"])


def test_whole_speakers_are_drawn_where_asked_for() -> None:
    # One speaker is always right, the other always wrong: clips alone hide how little two voices say.
    rows = [("joy", "female", "a"), ("fear", "female", "a")] * 30 + [
        ("joy", "female", "b"),
        ("fear", "female", "b"),
    ] * 30
    corpus = corpus_of(rows)
    predicted = answers(corpus, list(range(60, 120)))
    by_clip, by_speaker = (by_group(corpus, predicted, "gender", by=by).iloc[0] for by in ("", "speaker"))
    assert (by_clip["drawn"], by_speaker["drawn"]) == (120, 2)
    assert (by_speaker["low"], by_speaker["high"]) == (0, 1)
    assert by_clip["high"] - by_clip["low"] < 0.25


def test_what_is_not_known_is_named_or_left_empty() -> None:
    corpus = corpus_of([("joy", "", "a"), ("fear", "male", "b"), ("joy", "male", "b")])
    assert list(by_group(corpus, answers(corpus, []), "gender").index) == ["male", "unknown"]
    nobody = corpus_of([("joy", "", ""), ("fear", "", "")])
    assert by_group(nobody, answers(nobody, []), "gender").empty
    with pytest.raises(UsageError, match="not grouped by 'label'"):
        by_group(corpus, answers(corpus, []), "label")


def test_a_seed_gives_the_same_interval() -> None:
    demo = load_corpus("demo")
    gold = demo.test().set_index("id")["label"]
    predicted = gold.where(np.arange(len(gold)) % 3 > 0, "joy")
    first, again, other = (by_group(demo, predicted, "speaker", seed=seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
