"""Tables of scores: gold labels from where they belong, and numbers that a hand can check."""

import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.corpora.corpus import build_frame
from emoser_lib.errors import UsageError
from emoser_lib.experiments import bootstrap_interval, evaluation_folds, predict_by_folds
from emoser_lib.reporting import (
    drawn_by,
    gold_for,
    interval_table,
    paired_table,
    rarest_label_swing,
    scheme_table,
    score_on,
    score_table,
)
from emoser_lib.reporting.ledger.claims import claims
from emoser_lib.reporting.tables import (
    lengths,
    paper_intervals,
    shared_by_splits,
    typical_words,
)
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline


@pytest.fixture(scope="module")
def demo() -> Corpus:
    return load_corpus("demo")


@pytest.fixture(scope="module")
def texts(demo: Corpus) -> Clips:
    return Clips.from_corpus(demo, demo.frame["id"], text=True)


def test_gold_is_hidden_for_the_test_and_open_for_training() -> None:
    columns = {"id": list("abc"), "label": ["joy", "fear", ""], "split": ["train", "train", "test"]}
    corpus = Corpus("h", build_frame(columns), held_out={"c": "anger"})
    assert gold_for(corpus, pd.Index(["b", "a"])).to_dict() == {"b": "fear", "a": "joy"}
    assert gold_for(corpus, pd.Index(["c"])).to_dict() == {"c": "anger"}


def test_predictions_cover_each_validation_clip_once_and_never_train_on_it(demo: Corpus, texts: Clips) -> None:
    cuts = evaluation_folds(demo, "folds", "video")
    predicted = predict_by_folds(baseline("majority"), demo, texts, cuts)
    assert sorted(predicted.index) == sorted(demo.training()["id"])
    assert all(not set(cut.train) & set(cut.validation) for cut in cuts)


def test_predictions_ignore_labels_of_the_part_they_predict(demo: Corpus, texts: Clips) -> None:
    cuts = evaluation_folds(demo, "test")
    first = predict_by_folds(baseline("text-svm"), demo, texts, cuts)
    blind = demo.frame.assign(label=demo.frame["label"].where(demo.frame["split"] == "train", ""))
    again = predict_by_folds(baseline("text-svm"), Corpus("blind", blind), texts, cuts)
    assert first.equals(again)


def test_scores_are_sorted_and_the_interval_holds_the_score(demo: Corpus, texts: Clips) -> None:
    cuts = evaluation_folds(demo, "test")
    made = {name: predict_by_folds(baseline(name), demo, texts, cuts) for name in ("majority", "text-svm")}
    table = score_table(demo, made, resamples=200)
    assert list(table.index) == ["text-svm", "majority"]
    assert (table["low"] <= table["macro_f1"]).all() and (table["macro_f1"] <= table["high"]).all()
    assert table.loc["majority", "macro_f1"] == pytest.approx(score_on(demo, made["majority"]).macro_f1)


def test_the_rarest_label_moves_the_score_by_a_sixth(demo: Corpus) -> None:
    perfect = demo.gold_labels()
    swing = rarest_label_swing(demo, perfect)
    assert swing.index.name == "fear"
    assert swing.iloc[-1] == 1
    assert swing.is_monotonic_increasing
    assert swing.iloc[-1] - swing.iloc[0] == pytest.approx(1 / 6, abs=0.02)


def test_intervals_by_video_need_videos(demo: Corpus) -> None:
    predicted = demo.gold_labels()
    predicted.iloc[:20] = "neutral"
    assert len(interval_table(demo, predicted, resamples=100)) == 4
    without = Corpus("w", demo.frame.assign(video=""))
    assert len(interval_table(without, predicted, resamples=100)) == 3


def test_an_interval_that_is_not_defined_is_left_out(demo: Corpus) -> None:
    assert "bootstrap by clip, BCa" not in interval_table(demo, demo.gold_labels(), resamples=100).index


def test_a_difference_without_the_rarest_label_is_that_of_the_others(demo: Corpus) -> None:
    gold = demo.gold_labels()
    blind = gold.replace({"fear": "joy"})
    table = paired_table(demo, gold, blind, resamples=100)
    assert list(table.index) == ["all labels", "without fear"]
    assert table.loc["all labels", "difference"] > 1 / 6
    assert table.loc["without fear", ["first", "second", "difference"]].tolist() == pytest.approx([1, 1, 0])
    assert table.loc["without fear", "n"] == (gold != "fear").sum()


def test_a_row_says_what_its_intervals_draw(demo: Corpus) -> None:
    gold = demo.gold_labels()
    said = gold.mask(np.arange(len(gold)) % 3 == 0, "neutral")
    by = {unit: score_table(demo, {"a": said}, 200, by=unit).loc["a"] for unit in ("", "speaker", "video")}
    assert [of["drawn"] for of in by.values()] == ["clip", "speaker", "video"]
    assert len({of["low"] for of in by.values()}) == 3


def test_schemes_by_video_share_none(demo: Corpus, texts: Clips) -> None:
    table = scheme_table(baseline("majority"), demo, texts)
    assert table.loc["video", "shares_video"] == 0
    assert table.loc["paper", "shares_video"] > 0.3


def test_schemes_that_a_corpus_does_not_allow_are_left_out(demo: Corpus, texts: Clips) -> None:
    two_speakers = demo.frame.assign(video="", speaker=demo.frame["gender"])
    table = scheme_table(baseline("majority"), Corpus("two", two_speakers), texts)
    assert list(table.index) == ["paper"]
    assert "shares_video" not in table


def test_typical_words_are_the_cues_and_need_transcriptions(demo: Corpus) -> None:
    table = typical_words(demo)
    assert "miedo" in table.loc["fear", "typical words"]
    assert list(table.index) == list(demo.labels)
    silent = Corpus("silent", demo.frame.assign(transcription="", audio="", start_ms=pd.NA, end_ms=pd.NA))
    assert typical_words(silent).empty
    assert lengths(silent).empty


@pytest.mark.needs_data
def test_the_real_test_shares_videos_with_training() -> None:
    shared = shared_by_splits(load_corpus("emospeech"))
    assert shared.loc["test", "video in train"] == 395


def test_the_papers_intervals_are_rebuilt() -> None:
    table = paper_intervals(claims())
    assert len(table) == 6
    assert table["difference"].abs().max() < 2e-4


def test_intervals_by_speaker_draw_whole_speakers(demo: Corpus, texts: Clips) -> None:
    made = {"text-svm": predict_by_folds(baseline("text-svm"), demo, texts, evaluation_folds(demo, "folds", "speaker"))}
    by_clip, by_speaker = (score_table(demo, made, resamples=300, by=by).loc["text-svm"] for by in ("", "speaker"))
    for column in ("macro_f1", "uar", "n"):
        assert by_clip[column] == by_speaker[column]
    for table in (by_clip, by_speaker):
        assert table["uar_low"] < table["uar"] < table["uar_high"]
    gold, speakers = gold_for(demo, made["text-svm"].index), demo.frame.set_index("id")["speaker"]
    expected = bootstrap_interval(
        gold, made["text-svm"], demo.labels, groups=speakers[gold.index], metric="uar", resamples=300
    )
    assert (by_speaker["uar_low"], by_speaker["uar_high"]) == (expected.low, expected.high)
    assert by_clip["uar_low"] != by_speaker["uar_low"]


def test_intervals_by_speaker_need_speakers(demo: Corpus) -> None:
    without = Corpus("w", demo.frame.assign(speaker=""))
    with pytest.raises(UsageError, match="corpus 'w' has no two speakers"):
        score_table(without, {"same": without.training().set_index("id")["label"]}, 100, by="speaker")


def test_speakers_are_drawn_only_where_all_are_known_and_not_one() -> None:
    table = {"id": list("abcd"), "label": ["joy", "fear"] * 2, "speaker": ["x", "x", "y", ""]}
    corpus = Corpus("mine", build_frame(table))
    assert [drawn_by(corpus, ids) for ids in ("abc", "ab", "abcd")] == ["speaker", "", ""]
