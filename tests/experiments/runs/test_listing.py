"""Looking back at runs: the list, runs folded by seed, and the paired comparison of two."""

import json
from pathlib import Path

import pandas as pd
import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.environment import RUN_FOLDER
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments import paired_bootstrap, score
from emoser_lib.experiments.runs.answers import read_answers, write_answers
from emoser_lib.experiments.runs.listing import compare_runs, find_run, fold_by_seed, list_runs
from emoser_lib.experiments.runs.records import Record, write_record
from tests.command import emoser

DEMO = load_corpus("demo")
TRAINING = DEMO.training().set_index("id")["label"]
OTHER = dict(zip(DEMO.labels, [*DEMO.labels[1:], DEMO.labels[0]], strict=True))


def wrong_each(step: int, start: int = 0) -> pd.Series:
    """Gold labels of the demo's training clips, each so many wrong."""
    said = TRAINING.copy()
    said.iloc[start::step] = said.iloc[start::step].map(OTHER)
    return said


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """A finished run with its answers, as the runner leaves it."""

    def run(key: str, said: pd.Series, date: str = "2026-11-01T00:00:00Z", **parameters: object) -> Path:
        folder = tmp_path / "runs" / "05-gemma-lora" / key
        scored = score(TRAINING[said.index], said, DEMO.labels)
        row = {"macro_f1": scored.macro_f1, "low": 0.1, "high": 0.9}
        record = Record(
            notebook="05-gemma-lora",
            profile="demo",
            run="demo",
            key=key,
            command="",
            status="ok",
            parameters={"scheme": "paper", "seed": 0, **parameters},
            metrics={"scores": {"gemma-lora": row, "other": row | {"macro_f1": 0.01}}, "macro_f1": scored.macro_f1},
            seconds=10,
            peak_memory_mb=1,
            versions={},
            hardware={},
            commit=None,
            date=date,
        )
        write_record(folder / "record.json", record)
        (folder / "05-gemma-lora.ipynb").touch()
        monkeypatch.setenv(RUN_FOLDER, str(folder))
        write_answers(DEMO, TRAINING, {"other": wrong_each(2)[said.index], "gemma-lora": said}, of="gemma-lora")
        return folder

    return run


def test_answers_are_kept_only_where_the_runner_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_FOLDER, raising=False)
    monkeypatch.chdir(tmp_path)
    write_answers(DEMO, TRAINING, {"a": TRAINING}, of="a")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv(RUN_FOLDER, str(tmp_path))
    write_answers(DEMO, TRAINING, {"b": wrong_each(3), "a": TRAINING}, of="a")
    answers = read_answers(tmp_path)
    assert (answers.systems, answers.labels, answers.corpus) == (("a", "b"), DEMO.labels, DEMO.sha256)
    pd.testing.assert_series_equal(answers.frame()["b"], wrong_each(3), check_names=False)
    known = DEMO.frame.set_index("id").loc[TRAINING.index]
    assert answers.frame()[["speaker", "video"]].equals(known[["speaker", "video"]])


def test_two_runs_are_compared_on_the_clips_both_answered(make) -> None:  # type: ignore[no-untyped-def]
    few, many = wrong_each(10), wrong_each(3, start=1).iloc[20:]
    one, other = make("demo-1", few), make("demo-2", many, seed=3, rank=8)
    told = compare_runs(one, other)
    gold, few = TRAINING[many.index], few[many.index]
    right = paired_bootstrap(gold, few, many, DEMO.labels)
    assert (told.difference, told.low, told.high) == (right.estimate, right.low, right.high)
    assert told.n == len(many)
    assert told.unit == "clip"
    assert told.p_value < 0.05
    assert told.parameters == {"seed": (0, 3), "rank": (None, 8)}
    back = compare_runs(other, one)
    assert back.difference == pytest.approx(-told.difference)
    baselines = compare_runs(one, other, systems=("other", "other"))
    assert (baselines.difference, baselines.p_value) == (0, 1)


def test_what_is_drawn_is_what_the_folds_keep_whole(make) -> None:  # type: ignore[no-untyped-def]
    one, other = make("demo-1", wrong_each(10)), make("demo-2", wrong_each(3, start=1), scheme="speaker")
    told = compare_runs(one, other)
    voices = DEMO.frame.set_index("id")["speaker"][TRAINING.index]
    right = paired_bootstrap(TRAINING, wrong_each(10), wrong_each(3, start=1), DEMO.labels, groups=voices)
    assert (told.unit, told.low, told.high) == ("speaker", right.low, right.high)


def test_what_cannot_be_compared_is_told(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    one = make("demo-1", TRAINING.iloc[:50])
    with pytest.raises(UsageError, match="answered no clip in common"):
        compare_runs(one, make("demo-2", TRAINING.iloc[50:]))
    with pytest.raises(UsageError, match=r"has no system 'gema-lora' \(did you mean 'gemma-lora'\?\)"):
        compare_runs(one, one, systems=("gema-lora", None))
    with pytest.raises(UsageError, match="there is no metric 'f1'"):
        compare_runs(one, one, metric="f1")
    other = make("demo-3", TRAINING.iloc[:50])
    answers = json.loads((other / "answers.json").read_text())
    answers["clips"][0]["gold"] = OTHER[answers["clips"][0]["gold"]]
    (other / "answers.json").write_text(json.dumps(answers))
    with pytest.raises(UsageError, match="other gold labels"):
        compare_runs(one, other)
    (other / "answers.json").write_text("{")
    with pytest.raises(DataError, match="is damaged: run it again"):
        compare_runs(one, other)
    (other / "answers.json").unlink()
    with pytest.raises(DataError, match="keeps no answers"):
        compare_runs(one, other)
    with pytest.raises(UsageError, match=r"there is no run 'demo-9' in .*`emoser runs` lists them"):
        find_run("demo-9", tmp_path / "runs")


def test_runs_are_listed_with_what_they_changed(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make("demo-1", wrong_each(10))
    make("demo-2", wrong_each(3), date="2026-11-02T00:00:00Z", seed=1, dropout=0.3)
    newest, oldest = list_runs(tmp_path / "runs")
    assert (newest.key, oldest.key) == ("demo-2", "demo-1")
    assert newest.parameters == {"seed": 1, "dropout": 0.3}
    assert oldest.parameters == {}
    assert oldest.score == score(TRAINING, wrong_each(10), DEMO.labels).macro_f1
    assert (oldest.low, oldest.high, oldest.metric) == (0.1, 0.9, "macro_f1")
    with pytest.raises(UsageError, match=r"has no run of '05-gema-lora' \(did you mean '05-gemma-lora'\?\)"):
        list_runs(tmp_path / "runs", "05-gema-lora")


def test_runs_that_differ_by_seed_are_folded(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    scores = []
    for seed, step in enumerate((10, 5, 3)):
        make(f"demo-{seed}", wrong_each(step), seed=seed)
        scores.append(score(TRAINING, wrong_each(step), DEMO.labels).macro_f1)
    make("demo-8", wrong_each(4), seed=1, rank=8)
    together, alone = sorted(fold_by_seed(list_runs(tmp_path / "runs")), key=lambda row: -len(row.seeds))
    assert (together.seeds, together.lowest, together.highest) == ((0, 1, 2), min(scores), max(scores))
    assert together.mean == pytest.approx(sum(scores) / 3)
    assert together.sd == pytest.approx(pd.Series(scores).std())
    assert (alone.seeds, alone.sd, alone.parameters) == ((1,), None, {"rank": 8})
    make("demo-9", wrong_each(4), seed="many")
    with pytest.raises(DataError, match=r"record\.json has the seed 'many', no whole number: run it again"):
        fold_by_seed(list_runs(tmp_path / "runs"))


def test_the_commands(make, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    make("demo-1", wrong_each(10))
    make("demo-2", wrong_each(3), seed=1)
    at = ("--runs", str(tmp_path / "runs"))
    listed = json.loads(emoser("runs", "05-gemma-lora", *at, "--json").stdout)
    keys = ["chapter", "key", "run", "profile", "status", "metric", "score", "low", "high"]
    keys += ["parameters", "seconds", "seconds_trained", "date"]
    assert list(listed[0]) == keys
    said = emoser("runs", *at).stdout
    assert len(said.splitlines()) == 2
    assert "demo-2 (demo) ok macro_f1 0." in said
    assert "2 seeds" in emoser("runs", *at, "--by", "seed").stdout
    told = json.loads(emoser("compare", "demo-1", "05-gemma-lora/demo-2", *at, "--json").stdout)
    assert {"metric", "difference", "low", "high", "p_value", "n", "unit", "parameters"} <= set(told)
    assert told["parameters"] == {"seed": [0, 1]}
    said = emoser("compare", "demo-1", "demo-2", *at).stdout
    assert "95 % interval [+" in said
    assert "seed: 0 | 1" in said
    failed = emoser("compare", "demo-1", "demo-7", *at)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert emoser("runs", "--runs", str(tmp_path / "none")).stdout.startswith("No runs in")
