"""A results file: what is accepted, what each wrong one is told, and what it scores."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emoser_lib.corpora import load_corpus
from emoser_lib.corpora.corpus import LABELS, Corpus, build_frame
from emoser_lib.errors import DataError, EmoserError, UsageError
from emoser_lib.experiments.judging.scoring import score
from emoser_lib.experiments.judging.submission import (
    Submission,
    SubmissionScore,
    merge_submissions,
    read_submission,
    score_submission,
    write_submission,
)

GOLD = {"aa.mp3": "joy", "bb.mp3": "fear", "cc.mp3": "neutral", "dd.mp3": "joy"}


def small(videos: list[str] | None = None) -> Corpus:
    """Four test clips whose labels are hidden, as in emospeech, and one training clip."""
    frame = build_frame(
        {
            "id": ["train.mp3", *GOLD],
            "label": ["joy"] + [""] * 4,
            "split": ["train"] + ["test"] * 4,
            "video": videos or ["v0", "v1", "v1", "v2", "v3"],
        }
    )
    return Corpus("small", frame, held_out=GOLD)


def read(folder: Path, text: str | bytes) -> Submission:
    path = folder / "results.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_submission(path, small())


GOOD = [
    "id,task_1,task_2\naa,joy,fear\nbb,fear,fear\ncc,neutral,joy\ndd,joy,joy\n",
    "id,task_1,task_2\naa.mp3,joy,fear\nbb.mp3,fear,fear\ncc.mp3,neutral,joy\ndd.mp3,joy,joy\n",
    "\ufeffid,task_1,task_2\r\naa,joy,fear\r\nbb,fear,fear\r\ncc,neutral,joy\r\ndd,joy,joy\r\n",
    "task_2,id,task_1\nfear,bb,fear\njoy,dd.mp3,joy\nfear,aa,joy\njoy,cc,neutral\n",
    "id , task_1,task_2\n aa,joy ,fear\nbb, fear,fear\n\ncc,neutral,joy\n'dd',joy,joy\n".replace("'", '"'),
    "id;task_1;task_2\naa;joy;fear\nbb;fear;fear\ncc;neutral;joy\ndd;joy;joy",
]


@pytest.mark.parametrize("text", GOOD)
def test_good_files(tmp_path: Path, text: str) -> None:
    submission = read(tmp_path, text)
    assert submission.task_1 is not None and submission.task_2 is not None
    assert submission.task_1.to_dict() == {"aa.mp3": "joy", "bb.mp3": "fear", "cc.mp3": "neutral", "dd.mp3": "joy"}
    assert list(submission.task_2) == ["fear", "fear", "joy", "joy"]
    assert list(submission.task_2.index) == list(GOLD), "the corpus's order"


@pytest.mark.parametrize("task", ["task_1", "task_2"])
def test_a_missing_task_is_none(tmp_path: Path, task: str) -> None:
    submission = read(tmp_path, f"id,{task}\naa,joy\nbb,joy\ncc,joy\ndd,joy\n")
    assert {name: getattr(submission, name) is None for name in ("task_1", "task_2")} == {
        name: name != task for name in ("task_1", "task_2")
    }


HEAD = "id,task_1\naa,joy\nbb,joy\ncc,joy\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + "dd,joy\nee,joy\n", r"the id 'ee'.* no test clip \(1 such rows\)"),
        (HEAD + "dd,joy\ntrain,joy\n", "the id 'train'.* no test clip"),
        (HEAD, r"lacks the test id 'dd' \(1 missing\)"),
        (HEAD + "dd,joy\naa,joy\n", "the id 'aa' more than once"),
        (HEAD + "dd,joy\naa.mp3,joy\n", "the id 'aa' more than once"),
        (HEAD + "dd,Joy\n", r"task_1 label 'Joy' for 'dd.mp3' \(did you mean 'joy'\?\)"),
        (HEAD + "dd,JOY\n", r"task_1 label 'JOY' for 'dd.mp3' \(did you mean 'joy'\?\)"),
        (HEAD + "dd,surprise\n", "task_1 label 'surprise' for 'dd.mp3': the labels are neutral, disgust"),
        (HEAD + "dd,\n", "no task_1 for 'dd.mp3'"),
        (HEAD + "dd\n", "no task_1 for 'dd.mp3'"),
        (HEAD + "dd,  \n", "no task_1 for 'dd.mp3'"),
        (HEAD + ",joy\n", "empty id in row 4"),
        ("id,task_1,task_2\naa,joy,joy\nbb,joy,\ncc,joy,joy\ndd,joy,joy\n", "no task_2 for 'bb.mp3'"),
        ("id,task1\naa,joy\n", r"column 'task1' \(did you mean 'task_1'\?\)"),
        ("id,task_1,task_1\naa,joy,joy\n", "the column 'task_1' more than once"),
        ("id\naa\n", "neither the column task_1 nor task_2"),
        ("file,task_1\naa,joy\n", "no column 'id'"),
        ("aa,joy\nbb,joy\n", "no column 'id'"),
        ("id,task_1\n", "no rows"),
        ("", "is empty"),
        (HEAD + "dd,joy,joy\n", "not a well-formed table"),
        (HEAD.encode("utf-16"), "not UTF-8"),
        (HEAD.encode() + b"dd,jo\xff\n", "not UTF-8"),
    ],
)
def test_wrong_content_is_one_sentence(tmp_path: Path, text: str | bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        read(tmp_path, text)
    assert "results.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("rows", ["aa,joy\nbb,joy\n", "aa,joy\nbb,joy\ncc,joy\n"])
def test_a_test_clip_without_a_label_may_be_there_and_is_not_scored(tmp_path: Path, rows: str) -> None:
    table = {"id": ["aa.mp3", "bb.mp3", "cc.mp3"], "label": ["joy", "fear", ""], "split": ["test"] * 3}
    corpus = Corpus("mine", build_frame(table))
    (tmp_path / "results.csv").write_text("id,task_1\n" + rows)
    with pytest.warns(UserWarning, match="1 of 3 test clips have no label: they are not scored"):
        submission = read_submission(tmp_path / "results.csv", corpus)
    scored = score_submission(submission, corpus, resamples=100).task_1
    assert scored is not None
    assert (scored.n, scored.accuracy) == (2, 0.5)


def test_no_such_file_is_a_usage_error(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(UsageError, match="there is no file"):
            read_submission(path, small())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.one_of(st.binary(max_size=80), st.text(alphabet='id,task_12\njoyabcm.p3"; \r\t', max_size=80)))
def test_whatever_the_file_holds_no_traceback(tmp_path: Path, text: str | bytes) -> None:
    try:
        read(tmp_path, text)
    except EmoserError as error:
        assert error.exit_code == 1


def test_score_has_exactly_the_documented_shape() -> None:
    corpus = small()
    result = score_submission(Submission(pd.Series(GOLD), None), corpus)
    dumped = result.model_dump()
    assert dumped == json.loads(result.model_dump_json())
    assert list(dumped) == ["task_1", "task_2"] and dumped["task_2"] is None
    assert dumped["task_1"] == {
        "macro_f1": 0.5,  # three of the six labels occur
        "accuracy": 1.0,
        "per_class": {label: {"f1": float(n > 0), "n": n} for label, n in zip(LABELS, (1, 0, 0, 2, 0, 1), strict=True)},
        "n": 4,
        "ci_paper": pytest.approx([0.01, 0.99]),
        "ci_bootstrap_clip": dumped["task_1"]["ci_bootstrap_clip"],
        "ci_bootstrap_video": dumped["task_1"]["ci_bootstrap_video"],
    }
    for unit in ("clip", "video"):
        low, high = dumped["task_1"][f"ci_bootstrap_{unit}"]
        assert 0 < low < high <= 0.5
    assert SubmissionScore.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize("videos", [["v"] * 4 + [""], ["v"] * 5, [""] * 5])
def test_no_video_interval_without_videos(videos: list[str]) -> None:
    result = score_submission(Submission(pd.Series(GOLD), None), small(videos), resamples=50)
    assert result.task_1 is not None and result.task_1.ci_bootstrap_video is None


def test_the_video_interval_resamples_videos() -> None:
    ids = [f"clip{i}" for i in range(60)]
    frame = build_frame(
        {"id": ids, "label": ["joy", "fear"] * 30, "split": ["test"] * 60, "video": [f"v{i // 10}" for i in range(60)]}
    )
    predicted = pd.Series(["joy", "fear"] * 15 + ["fear", "joy"] * 15, index=ids)
    result = score_submission(Submission(predicted, None), Corpus("videos", frame)).task_1
    assert result is not None and result.ci_bootstrap_video is not None
    clip, video = (high - low for low, high in (result.ci_bootstrap_clip, result.ci_bootstrap_video))
    assert video > 2 * clip  # three videos all right and three all wrong


def test_a_test_clip_without_label_is_not_scored() -> None:
    frame = build_frame({"id": list("abc"), "label": ["joy", "fear", ""], "split": ["test"] * 3, "video": list("uvw")})
    corpus = Corpus("holes", frame)
    result = score_submission(Submission(corpus.gold_labels(), None), corpus).task_1
    assert result is not None and result.n == 2 and result.ci_bootstrap_video is not None


def test_a_foreign_submission_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"no id 'aa\.mp3'"):
        score_submission(Submission(pd.Series({"other": "joy"}), None), small())


def test_a_corpus_without_test_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("id,task_1\na,joy\n")
    corpus = Corpus("train-only", build_frame({"id": ["a"], "label": ["joy"]}))
    with pytest.raises(UsageError, match="no labelled test split"):
        read_submission(tmp_path / "results.csv", corpus)


names = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8).filter(
    lambda name: name.removesuffix(".mp3") != ""
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(names, min_size=1, max_size=8, unique_by=lambda name: name.removesuffix(".mp3")),
    mp3=st.booleans(),
    which=st.sampled_from(["both", "task_1", "task_2"]),
    data=st.data(),
)
def test_what_is_written_is_read_again(
    tmp_path: Path, ids: list[str], mp3: bool, which: str, data: st.DataObject
) -> None:
    ids = [name.removesuffix(".mp3") + ".mp3" * mp3 for name in ids]
    corpus = Corpus("any", build_frame({"id": ids, "label": ["joy"] * len(ids), "split": ["test"] * len(ids)}))
    tasks = {
        task: pd.Series(data.draw(st.lists(st.sampled_from(LABELS), min_size=len(ids), max_size=len(ids))), index=ids)
        for task in ("task_1", "task_2")
        if which in ("both", task)
    }
    path = write_submission(tmp_path / "results.csv", **{t: s.iloc[::-1] for t, s in tasks.items()})
    submission = read_submission(path, corpus)
    for task in ("task_1", "task_2"):
        found = getattr(submission, task)
        assert (found is None) == (task not in tasks)
        assert found is None or found.to_dict() == tasks[task].to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"], "nothing unfinished stays"


def test_the_challenge_format(tmp_path: Path) -> None:
    task_1, task_2 = pd.Series({"a.mp3": "joy", "b.mp3": "fear"}), pd.Series({"b.mp3": "anger", "a.mp3": "joy"})
    path = write_submission(tmp_path / "results.csv", task_1, task_2)
    assert path.read_bytes() == b"id,task_1,task_2\na,joy,joy\nb,fear,anger\n"


@pytest.mark.parametrize(
    ("tasks", "sentence"),
    [
        ({}, "nothing to write"),
        ({"task_1": pd.Series({"a": ""})}, "no label for 'a'"),
        ({"task_1": pd.Series({"a": None})}, "no label for 'a'"),
        ({"task_1": pd.Series(dtype=object)}, "it has no clips"),
        ({"task_1": pd.Series({"a": "joy", "a.mp3": "joy"})}, "'a' more than once"),
        ({"task_1": pd.Series({"a": "joy"}), "task_2": pd.Series({"b": "joy"})}, "different ids: 'a'"),
    ],
)
def test_nothing_wrong_is_written(tmp_path: Path, tasks: dict[str, pd.Series], sentence: str) -> None:
    (tmp_path / "results.csv").write_text("older")
    with pytest.raises(UsageError, match=sentence):
        write_submission(tmp_path / "results.csv", **tasks)
    assert (tmp_path / "results.csv").read_text() == "older"


def test_the_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path, link = tmp_path / "results.csv", tmp_path / "link.csv"
    path.write_text("older")
    link.hardlink_to(path)
    with pytest.raises(UnicodeEncodeError):
        write_submission(path, pd.Series({"a": "\ud800"}))
    assert path.read_text() == "older"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link.csv", "results.csv"]
    write_submission(path, pd.Series({"a": "joy"}))
    assert link.read_text() == "older", "a new file takes the name, the old one is not written into"


def test_the_path_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        write_submission(tmp_path, pd.Series({"a": "joy"}))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        write_submission(tmp_path / "no" / "results.csv", pd.Series({"a": "joy"}))


@pytest.mark.needs_data
def test_emospeech_gold_scores_one(tmp_path: Path) -> None:
    corpus = load_corpus("emospeech")
    gold = corpus.gold_labels()
    path = write_submission(tmp_path / "results.csv", task_1=gold, task_2=pd.Series("neutral", index=gold.index))
    result = score_submission(read_submission(path, corpus), corpus)
    assert result.task_1 is not None and result.task_2 is not None
    assert (result.task_1.macro_f1, result.task_1.accuracy, result.task_1.n) == (1, 1, 750)
    assert result.task_1.ci_paper == [1, 1]
    majority = score(gold, np.full(750, "neutral"), corpus.labels)
    assert result.task_2.macro_f1 == pytest.approx(majority.macro_f1) == pytest.approx(0.0932, abs=5e-5)
    assert {label: each.n for label, each in result.task_2.per_class.items()} == {
        "neutral": 291, "disgust": 177, "anger": 100, "joy": 90, "sadness": 86, "fear": 6
    }  # fmt: skip
    assert result.task_2.ci_bootstrap_video is not None


def two_files(folder: Path, first: str, second: str) -> tuple[Path, Path]:
    paths = folder / "text.csv", folder / "audio.csv"
    for path, text in zip(paths, (first, second), strict=True):
        path.write_text(text)
    return paths


@pytest.mark.parametrize(
    "second",
    [
        "id,task_2\ndd,fear\ncc,joy\nbb,anger\naa,joy\n",
        "id,task_2\ndd.mp3,fear\ncc.mp3,joy\nbb.mp3,anger\naa.mp3,joy\n",
        "task_2;id\nfear; dd\njoy;cc \nanger;bb\njoy;aa\n",
    ],
)
def test_two_files_become_one(tmp_path: Path, second: str) -> None:
    files = two_files(tmp_path, HEAD + "dd,fear\n", second)
    out = merge_submissions(*files, tmp_path / "results.csv")
    assert out.read_text() == "id,task_1,task_2\naa,joy,joy\nbb,joy,anger\ncc,joy,joy\ndd,fear,fear\n"
    merged = read_submission(out, small())
    assert merged.task_1 is not None and merged.task_2 is not None
    # Whichever file comes first, and into one of the two.
    assert merge_submissions(*files[::-1], files[0]).read_text().splitlines()[1] == "dd,fear,fear"


BOTH = "id,task_1,task_2\naa,joy,joy\n"


@pytest.mark.parametrize(
    ("first", "second", "sentence"),
    [
        (HEAD, HEAD, r"text.csv and .*audio.csv both have task_1: take it out"),
        (BOTH, "id,task_2\naa,joy\n", r"text.csv and .*audio.csv both have task_2"),
        (HEAD, "id,task_2\naa,joy\nbb,joy\n", r"audio.csv lacks the id 'cc', which .*text.csv has \(1 ids"),
        ("id,task_1\naa,joy\n", "id,task_2\naa,joy\nzz,joy\n", "text.csv lacks the id 'zz', which .*audio.csv has"),
        (HEAD, "id\naa\nbb\ncc\n", "audio.csv has neither the column task_1 nor task_2"),
        (HEAD, "id,task_2\naa,joy\nbb,\ncc,joy\n", "audio.csv has an empty task_2 in row 2"),
        (HEAD, "id,task_2\naa,joy\n,joy\ncc,joy\n", "audio.csv has an empty id in row 2"),
        (HEAD, "id,task_2\naa,joy\naa.mp3,joy\ncc,joy\n", "audio.csv has the id 'aa' more than once"),
        (HEAD, "id,tsak_2\naa,joy\n", "the column 'tsak_2'"),
    ],
)
def test_files_that_cannot_be_merged(tmp_path: Path, first: str, second: str, sentence: str) -> None:
    files = two_files(tmp_path, first, second)
    with pytest.raises(DataError, match=sentence):
        merge_submissions(*files, tmp_path / "results.csv")
    assert not (tmp_path / "results.csv").exists()


def test_a_file_that_is_not_there_cannot_be_merged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*none.csv"):
        merge_submissions(tmp_path / "none.csv", tmp_path / "none.csv", tmp_path / "results.csv")
