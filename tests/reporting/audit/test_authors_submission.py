"""The authors' public results file: its scores are those of the facts, and nothing is shown where it is not."""

from pathlib import Path

import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.experiments import evaluation_folds
from emoser_lib.reporting.audit.authors_submission import authors_answers, scored_submission


@pytest.mark.needs_data
def test_it_scores_what_the_facts_say() -> None:
    corpus = load_corpus("emospeech")
    told = authors_answers(corpus)
    cut = evaluation_folds(corpus, "test")[0]
    found = scored_submission(corpus, told, told["authors, task 1"], cut, resamples=100)
    scores = {task: of["macro_f1"] for task, of in found["scores"].items()}
    assert scores == pytest.approx({"authors, task 1": 0.496829, "authors, task 2": 0.699699}, abs=1e-6)
    seen = found["seen"]["authors, task 2"]
    assert (seen["seen"], seen["unseen"]) == pytest.approx((0.574, 0.698), abs=5e-4)
    assert found["paired"]["authors, task 1"]["p"] == 1
    assert found["paired"]["authors, task 2"]["low"] > 0


def test_of_another_corpus_or_without_the_file_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMOSER_DATA", str(tmp_path))
    demo = load_corpus("demo")
    assert authors_answers(demo) == {}
    assert scored_submission(demo, {}, demo.gold_labels(), evaluation_folds(demo, "test")[0]) == {}
