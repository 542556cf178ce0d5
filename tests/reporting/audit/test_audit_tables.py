"""The audit's tables, on corpora small enough to count by hand and on the demo."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import evaluation_folds, folds
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.reporting import recorded, score_on
from emoser_lib.reporting.audit import audit_records
from emoser_lib.reporting.audit import audit_tables as audit
from emoser_lib.reporting.audit.groups import by_group, group_difference
from emoser_lib.reporting.ledger.claims import claims
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.metadata import METADATA, metadata, predict_from_metadata


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


def corpus_of(labels: str, videos: str | list[str], **columns: list[str]) -> Corpus:
    """One letter a clip: j for joy, f for fear."""
    ids = [f"c{number}" for number in range(len(labels))]
    named = [{"j": "joy", "f": "fear"}[letter] for letter in labels]
    frame = build_frame({"id": ids, "label": named, "video": list(videos), **columns})
    return Corpus("mine", frame, ("joy", "fear"))


def test_seen_and_unseen_videos_are_compared_by_the_same_mix_of_labels() -> None:
    # Training: two clips of video a. Held out: of a (seen) joy right, fear wrong, fear right; of b joy right, wrong.
    corpus = corpus_of("jfjffjj", "aaaaabb")
    predicted = pd.Series(["joy", "joy", "fear", "joy", "fear"], index=["c2", "c3", "c4", "c5", "c6"])
    cut = Fold(0, ("c0", "c1"), tuple(predicted.index))
    table, apart = audit.seen_unseen(corpus, [cut], predicted, resamples=100)
    assert list(table["clips"]) == [3, 2]
    # Shares: joy 3/5, fear 2/5. Seen: 1 of 1 and 1 of 2. Unseen: 1 of 2, and everybody's recall of fear, 1 of 2.
    assert table.loc["seen", "standardised"] == pytest.approx(0.6 * 1 + 0.4 * 0.5)
    assert table.loc["unseen", "standardised"] == pytest.approx(0.6 * 0.5 + 0.4 * 0.5)
    assert table.loc["seen", "accuracy"] == pytest.approx(2 / 3)
    assert apart == {}  # one video each: nothing to draw


def test_a_difference_of_groups_is_that_of_the_table_and_its_interval_holds_it(demo: Corpus) -> None:
    [cut] = evaluation_folds(demo, "test")
    gold = demo.gold_labels()
    predicted = gold.where(np.arange(len(gold)) % 3 > 0, "neutral")
    named = pd.Series(np.where(np.arange(len(gold)) < 50, "a", "b"), index=gold.index)
    table = by_group(demo, predicted, named, resamples=500)
    apart = group_difference(demo, predicted, named, resamples=500)
    assert apart["difference"] == pytest.approx(table["standardised"].iloc[0] - table["standardised"].iloc[1])
    assert apart["low"] < apart["difference"] < apart["high"]
    assert apart == group_difference(demo, predicted, named, resamples=500)
    with pytest.raises(UsageError, match="two groups of two clips or more: here are a"):
        group_difference(demo, predicted[:50], named[:50])
    assert cut.validation == tuple(gold.index)


def test_metadata_counts_what_is_known_and_nothing_else() -> None:
    corpus = corpus_of(
        "jjf",
        ["a", "a", ""],
        gender=["female", "male", "male"],
        transcription=["uno dos", "", "tres"],
        audio=["", "", ""],
    )
    table = metadata(corpus)
    assert table.to_dict("list") == {
        "gender": ["female", "male", "male"],
        "clips": [2, 2, 0],
        "seconds": [0.0, 0.0, 0.0],
        "words": [2, 0, 1],
    }


def test_what_the_corpus_does_not_know_is_no_system(demo: Corpus) -> None:
    blind = corpus_of("jf" * 10, "ab" * 10)
    made = audit.without_the_clip(blind, Fold(0, tuple(blind.frame["id"][:10]), tuple(blind.frame["id"][10:])))
    assert list(made) == ["clips of the video", "all three", "video, by the rule", "majority"]
    assert set(made["majority"]) == {"joy"}  # as many of each: the first label
    assert list(audit.without_the_clip(demo, evaluation_folds(demo, "test")[0])) == [
        *METADATA,
        "video, by the rule",
        "majority",
    ]


def test_a_damaged_clip_is_an_error_and_not_an_unknown_length(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no sound")
    corpus = corpus_of("jf" * 2, "abab", audio=[str(broken)] * 4)
    with pytest.raises(DataError, match="cannot be read as audio"):
        audit.without_the_clip(corpus, Fold(0, ("c0", "c1"), ("c2", "c3")))


def test_a_label_that_hangs_on_the_length_is_found_by_length_and_not_by_gender() -> None:
    words = ["uno " * (2 if letter == "j" else 9) for letter in "jf" * 30]
    corpus = corpus_of("jf" * 30, "ab" * 30, transcription=words, gender=["female", "female", "male", "male"] * 15)
    ids = list(corpus.frame["id"])
    right = {
        known: score_on(corpus, predict_from_metadata(corpus, known, ids[:40], ids[40:])).accuracy
        for known in ("length", "gender")
    }
    assert right["length"] == 1
    assert right["gender"] < 0.7


def test_copies_are_counted_where_they_are_and_their_labels_compared() -> None:
    frame = build_frame(
        {
            "id": list("abcdefg"),
            "label": ["joy", "fear", "joy", "joy", "", "", ""],
            "split": ["train"] * 4 + ["test"] * 3,
            "transcription": ["same", "same", "other", "alone", "other", "twice", "twice"],
        }
    )
    hidden = {"e": "joy", "f": "joy", "g": "fear"}
    table = audit.duplicates(Corpus("mine", frame, ("joy", "fear"), held_out=hidden))
    assert table.to_dict("index") == {
        "within training": {"texts": 1, "clips": 2, "texts with two labels": 1},
        "within the test": {"texts": 1, "clips": 2, "texts with two labels": 1},
        "across both": {"texts": 1, "clips": 2, "texts with two labels": 0},
    }


def test_the_official_test_is_that_of_the_claims() -> None:
    counts = audit_records.official_test()
    assert sum(counts.values()) == claims().value["thau-clips-test"]
    assert min(counts, key=lambda label: counts[label]) == "fear"


def test_large_differences_of_table_3_are_found_and_the_smallest_is_not() -> None:
    table = audit.power_table(claims(), audit_records.official_test(), draws=300)
    of_encoders = "Whisper-Gemma at first – emotion2vec-Gemma"
    assert len(table) == (15 + 3) + 2, "who never answers fear can well have the three lowest scores only"
    assert list(table.loc[of_encoders, "difference"]) == pytest.approx([0.6636 - 0.5134] * 2)
    assert table["difference"].is_monotonic_increasing
    assert (table.loc[table["difference"] > 0.2, ["independent", "half alike", "alike"]] > 0.95).all(axis=None)
    least = table[table["systems"] == "knows all labels alike"].iloc[0]
    assert least["independent"] < 0.3
    assert (table["alike"] >= table["independent"] - 0.05).all()


def test_the_formula_is_too_narrow_or_too_wide_for_each_printed_score() -> None:
    table = audit.coverage_table(claims(), audit_records.official_test(), draws=150)
    knows, blind = (table[table["system"] == way] for way in audit.ways_to_know(audit_records.official_test()))
    assert len(knows) == 6
    assert list(blind.index) == [0.6094, 0.5814, 0.5134], "without fear .79 needs nearly every other clip right"
    assert (knows["formula width"] < knows["width of 95 %"]).all()
    assert (blind["formula width"] > blind["width of 95 %"]).all()


def test_validation_and_test_are_those_of_the_paper() -> None:
    table = audit.validation_and_test(claims())
    assert table["difference"].round(4).tolist() == [-0.06, -0.0092, -0.0221, -0.1024]


def test_choosing_on_other_folds_is_scored_on_the_fold_that_did_not_choose() -> None:
    by_fold = pd.DataFrame({0: [0.9, 0.5], 1: [0.2, 0.6], 2: [0.9, 0.6]}, index=["lucky", "steady"])
    told = audit.chosen_elsewhere(by_fold)
    # Without fold 0 steady leads, without fold 1 lucky, without fold 2 (.55 against .55) the first of the two.
    assert told["best mean"] == pytest.approx(2.0 / 3)
    assert told["chosen on the other folds"] == pytest.approx((0.5 + 0.2 + 0.9) / 3)
    assert told["difference"] == pytest.approx(told["best mean"] - told["chosen on the other folds"])


def test_a_real_grid_has_a_score_for_each_fold_and_more_systems_add_more(demo: Corpus) -> None:
    cuts = folds(demo)
    table = audit.grid_by_fold(demo, Clips.from_corpus(demo, demo.frame["id"], text=True), cuts)
    assert table.shape == (len(audit.C_GRID), len(cuts))
    added = audit.selection_table(table, draws=2000).set_index("systems in the grid")
    assert all(added[way].is_monotonic_increasing for way in added)
    assert (added.iloc[:, 0] <= added["shared 0"]).all()


def test_changes_are_held_against_the_published_arm(demo: Corpus) -> None:
    gold = demo.gold_labels()
    half = gold.where(np.arange(len(gold)) % 2 == 0, "neutral")
    table = audit.changes_table(demo, {"published": half, "all right": gold, "the same": half}, resamples=200)
    assert table.loc["published", "difference"] == table.loc["the same", "difference"] == 0
    assert table.loc["all right", "difference"] == pytest.approx(1 - table.loc["published", "macro_f1"])
    assert table.loc["all right", "low"] > 0
    assert table.loc["all right", "recall of fear"] == 1


def test_halves_of_a_fold_have_another_score(demo: Corpus) -> None:
    gold = demo.gold_labels()
    told = audit.halves_effect(demo, gold)
    assert told["whole"] == 1
    assert told["changed"] < 1  # a half without a clip of fear has no F1 there
    assert told["low"] <= told["changed"] <= told["high"]
    assert told["difference"] == pytest.approx(told["changed"] - 1)


def test_the_recorded_noise_names_runs_with_several_folds_only() -> None:
    table = audit_records.recorded_noise(draws=200)
    assert "08-whisper-gemma, speaker" in table.index
    assert (table["folds"] > 1).all()
    assert (table["best of 25"] > table["best of 4"]).all()


def test_the_recorded_audit_has_what_the_command_counts() -> None:
    found = recorded("12-audit", "findings")
    share = found.loc["test clips whose video is in training, share"]
    assert share["value"] * share["clips"] == pytest.approx(395)
    assert found.loc["text-svm, seen videos, standardised accuracy", "clips"] == 395
    rule, best = found.loc["macro-F1 of the rule without a model"], claims().value["thau-table3-qwen-r256"]
    assert rule["low"] < best < rule["value"] < rule["high"]
    assert found.loc["seen less unseen", "low"] < found.loc["seen less unseen", "value"]
    changes = recorded("12-audit", "changes")
    assert changes.index[0] == "published"
    assert changes["difference"].to_numpy() == pytest.approx(changes["macro_f1"] - changes["macro_f1"].iloc[0])
