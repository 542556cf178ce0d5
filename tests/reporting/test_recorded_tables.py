"""What the committed records hold, as the chapters show it."""

import ast
import json
from pathlib import Path

import pytest

from emoser_lib.errors import UsageError
from emoser_lib.experiments import published_records
from emoser_lib.reporting import recorded
from emoser_lib.reporting.recorded_tables import RECORDED

SOME_RUNS = ("labels of the test", "voices", "chosen fold", "findings", "changes")
"""Tables of what not every run of a chapter measures."""


def shown(root: Path) -> list[tuple[str, str]]:
    """Every table of records that a notebook shows: chapter and name."""
    found = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code" and "recorded(" in (source := "".join(cell["source"])):
                calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
                asked = [call.args for call in calls if ast.unparse(call.func) == "recorded"]
                found += [tuple(ast.literal_eval(value) for value in args) for args in asked]
    return found


def test_chapters_show_every_table_and_all_their_records(root: Path) -> None:
    asked = shown(root)
    assert {what for _, what in asked} == set(RECORDED)
    for notebook, what in asked:
        table, runs = recorded(notebook, what), {record.run for record in published_records(notebook)}
        assert bool(runs) == bool(len(table)), f"{notebook}, {what}"
        if "run" in table.reset_index() and what not in SOME_RUNS:
            assert set(table.reset_index()["run"]) == runs, f"{notebook}, {what}"


def test_a_row_is_named_and_stands_in_its_place() -> None:
    assert recorded("02-scoring", "swings").loc["emospeech", ["rarest label", "its clips"]].tolist() == ["fear", 6]
    assert recorded("02-scoring", "schemes")["scheme"].tolist() == ["paper", "video"]
    assert recorded("12-audit", "changes").index[0] == "published"
    labels = recorded("08-whisper-gemma", "labels")
    assert list(labels) == ["run", "precision", "recall", "f1", "n"]
    clips = labels.groupby("run", sort=False)["n"].sum()
    assert clips.is_monotonic_decreasing and clips.nunique() > 1


def test_the_fold_that_chose_settings_stands_apart() -> None:
    """Chapter 8's first fold is chapter 13's; the others are what to expect."""
    table = recorded("08-whisper-gemma", "chosen fold")
    assert table.loc["speaker"].round(3).tolist() == [0.702, 0.522, 0.558]


def test_a_training_that_was_longer_than_its_run_was_read_from_the_cache() -> None:
    told = recorded("10-emosllm", "provenance").iloc[0]
    assert told["time"].startswith("53 s")
    assert told["training"].startswith("10,614 s (trained by an earlier run")
    assert recorded("03-classical", "provenance")["training"].eq("").all()


def test_seeds_are_shown_together_with_and_without_the_rarest_label() -> None:
    """However many there are: a further record changes tables and prose, and no edit does."""
    runs = [one for one in published_records("05-gemma-lora") if one.parameters["refit"]]
    f1 = [{label: of["f1"] for label, of in one.metrics["per_label"].items()} for one in runs]
    without = [sum(of.values()) / 5 - of["fear"] / 5 for of in f1]
    beside = recorded("05-gemma-lora", "beside text-svm")
    for row, values, plain in (
        ("mean", [one.metrics["macro_f1"] for one in runs], 0.539),
        ("fear", [of["fear"] for of in f1], 0.0),
        ("mean of the other labels, all clips", without, 0.647),
    ):
        told = [sum(values) / len(values), min(values), max(values), plain]
        columns = ["mean of seeds", "smallest", "largest", "text-svm"]
        assert beside.loc[row, columns].tolist() == pytest.approx(told, abs=5e-4)
    assert beside["seeds"].eq(len(runs)).all() and len(beside) == 8
    assert beside.loc[["mean", "mean of the other labels, all clips"], "n"].tolist() == [750, 750]
    each = recorded("05-gemma-lora", "seeds")
    own = each[each.index.str.startswith("gemma-lora, seed ")]
    assert list(own.index) == [f"gemma-lora, seed {n}" for n in sorted(one.parameters["seed"] for one in runs)]
    assert sorted(own["the other labels, all clips"]) == pytest.approx(sorted(without))
    assert list(each.index[len(own) :]) == ["text-svm", "gemma-zero-shot", "majority"]
    scores = recorded("05-gemma-lora", "scores").query("`evaluated on` == 'emospeech, test'")
    assert scores.index.value_counts().to_dict() == {
        **{"gemma-lora": len(runs)},
        **dict.fromkeys(["text-svm", "gemma-zero-shot", "majority"], 1),
    }


def test_tests_come_before_folds_and_many_clips_before_few() -> None:
    table = recorded("05-gemma-lora", "scores")
    tested = table["evaluated on"].str.endswith("test").tolist()
    assert tested == sorted(tested, reverse=True) and len(set(tested)) == 2


def test_fallbacks_name_the_model_and_both_parsers() -> None:
    table = recorded("04-gemma-zero-shot", "fallbacks")
    assert set(table.index) == {"google/gemma-3-270m", "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert (table.groupby("model")["parser"].nunique() == 2).all()
    assert (table["n"] == 750).all()


def test_what_an_older_record_does_not_know_is_empty() -> None:
    table = recorded("05-gemma-lora", "scores").set_index("run")
    assert table.loc["lr-2e-4", "UAR low"].isna().all() and table.loc[["test-seed-1"], "UAR low"].notna().all()
    assert table["UAR"].notna().all()


@pytest.mark.parametrize("what", RECORDED)
def test_nothing_recorded_is_an_empty_table(what: str) -> None:
    assert recorded("no-such-chapter", what).empty


def test_a_wrong_name_is_told_with_the_right_ones() -> None:
    with pytest.raises(UsageError, match=r"no recorded table is called 'score'.*'scores'.*findings"):
        recorded("03-classical", "score")
