"""The chapters: their parameters match their settings, every profile is runnable, plain papermill works."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
import pytest

from emoser_lib.corpora import load_corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import CorpusSettings, read_submission, score_submission
from emoser_lib.experiments.runs.parameters import parameters_of, read_notebook
from emoser_lib.experiments.runs.profiles import plan, profile_names
from emoser_lib.experiments.settings.chapters import CHAPTERS

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PARTS = ("Parameters", "Compare with the paper", "Exercises", "Summary")
"""Headings that every chapter has, in this order."""

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_parameters_and_settings_are_the_same(path: Path) -> None:
    settings = CHAPTERS[read_notebook(path).metadata["emoser"]["settings"]]
    parameters = parameters_of(path)
    assert list(settings.model_fields) and set(settings.model_fields) == set(parameters)
    assert all(parameter.help for parameter in parameters.values())
    settings.check(**{name: parameter.default for name, parameter in parameters.items()})


@each_notebook
def test_the_cell_after_the_parameters_checks_them(path: Path) -> None:
    cells = read_notebook(path).cells
    here = next(i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", []))
    assert "Settings.of(globals())" in cells[here + 1].source


@each_notebook
def test_a_chapter_has_its_parts_in_order(path: Path) -> None:
    text = "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")
    places = [text.index(f"## {part}") for part in PARTS]
    assert places == sorted(places)
    assert text.startswith("# ")
    for word in ("*Before you start:*", "*Time:*", "*Paper:*", "**Next:**"):
        assert word in text
    assert text.count("{exercise}") == text.count("{solution}") == text.count(":class: dropdown") >= 2


@each_notebook
def test_a_chapter_opens_with_question_answer_and_figure(path: Path) -> None:
    first, *others = read_notebook(path).cells
    [drawn] = [cell for cell in others if "opening" in cell.metadata.get("tags", [])]
    title, question, *answer = first.source.split("\n\n")
    assert title.startswith("# ")
    assert re.fullmatch(r"\*\*[^*]+\?\*\*", question), "the second paragraph is the question, in bold"
    assert len(answer) == 1 and re.search(r"\{(recorded|claim|glue:text)\}`", answer[0]), "its answer has numbers"
    assert drawn.metadata["tags"] == ["opening"] and "figures." in drawn.source
    assert parameters_of(path)


def calls_last(source: str) -> str:
    """The function that a cell's last line calls, whose result the page shows."""
    match ast.parse(source).body[-1:]:
        case [ast.Expr(value=ast.Call(func=called))]:
            return ast.unparse(called)
    return ""


def untold(cells: Sequence[nbformat.NotebookNode]) -> list[str]:
    """The tables that no sentence follows: neither a paragraph nor a figure, whose caption says what both show."""
    shown = [
        cell
        for cell in cells
        if cell.cell_type == "markdown"
        or (calls_last(cell.source) not in ("", "report") and "remove-cell" not in tags(cell))
    ]
    return [
        cell.source
        for cell, below in pairwise(shown)
        if cell.cell_type == "code"
        and calls_last(cell.source) == "show"
        and not (calls_provenance(cell) or "mystnb" in below.metadata or begins_with_a_sentence(below))
    ]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def calls_provenance(cell: nbformat.NotebookNode) -> bool:
    """How runs were made tells itself."""
    return '"provenance"' in cell.source


def begins_with_a_sentence(cell: nbformat.NotebookNode) -> bool:
    first, *_ = cell.source.lstrip().split("\n\n")
    return (
        cell.cell_type == "markdown" and not first.startswith(("#", "```", ":::", "<")) and first.rstrip()[-1] in ".:?"
    )


@each_notebook
def test_a_table_is_followed_by_a_sentence_that_says_what_it_shows(path: Path) -> None:
    assert untold(read_notebook(path).cells) == []


def test_a_table_that_nobody_explains_is_found() -> None:
    table, figure = nbformat.v4.new_code_cell("show(x)"), nbformat.v4.new_code_cell("figures.bars(x);")
    figure.metadata["mystnb"] = {}
    said, heading = nbformat.v4.new_markdown_cell("It grows."), nbformat.v4.new_markdown_cell("## More\n\nText.")
    assert untold([table, said, table, figure, heading]) == []
    assert untold([table, table, said]) == untold([table, heading]) == ["show(x)"]


@each_notebook
def test_a_chapter_is_run_for_the_book(path: Path) -> None:
    assert [run.name for run in plan(path, "demo")] == ["demo"]


@each_notebook
def test_every_figure_has_name_caption_and_alternative_text(path: Path) -> None:
    drawn = [
        cell for cell in read_notebook(path).cells if cell.source.rstrip().endswith(";") and cell.cell_type == "code"
    ]
    assert drawn
    for cell in drawn:
        assert len(re.findall(r"\b(?:\w*figures|pictures)\.\w", cell.source)) == 1
        about = cell.metadata["mystnb"]
        assert about["figure"]["name"].startswith("fig-")
        assert about["figure"]["caption"].endswith(".")
        assert len(about["image"]["alt"]) > 20


@pytest.mark.parametrize("profile", profile_names(NOTEBOOKS[0].parent))
def test_every_run_of_a_profile_passes_the_checks(profile: str) -> None:
    planned = [run for path in NOTEBOOKS for run in plan(path, profile)]
    assert len({(run.chapter, run.key) for run in planned}) == len(planned)


def test_the_demo_profile_changes_nothing() -> None:
    for path in NOTEBOOKS:
        defaults = {name: p.default for name, p in parameters_of(path).items()}
        assert [dict(run.parameters) for run in plan(path, "demo")] == [defaults]


def test_settings_out_of_range_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="'seed' is -1: input should be greater than or equal to 0"):
        CorpusSettings.check(corpus="demo", seed=-1)


def test_plain_papermill_runs_a_chapter(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.ipynb"
    papermill = [sys.executable, "-m", "papermill", str(root / "notebooks" / "03-classical.ipynb"), str(out)]
    values = ["-p", "seed", "1", "-y", "baselines: [majority, text-svm]"]
    done = subprocess.run([*papermill, *values], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    executed = nbformat.read(out, as_version=4)
    told = [
        o.metadata["emoser"] for c in executed.cells for o in c.get("outputs", []) if "emoser" in o.get("metadata", {})
    ]
    scores = next(t["metrics"]["scores"] for t in told if "scores" in t.get("metrics", {}))
    assert scores["text-svm"]["macro_f1"] > scores["majority"]["macro_f1"] + 0.3
    assert next(t["corpus"] for t in told if "corpus" in t)["clips"] == 500
    assert not (tmp_path / "runs").exists()


def emoser_run(chapter: str, root: Path, folder: Path, *options: str) -> dict[str, Any]:
    """The record of one run, called as a user does, from another folder."""
    notebook = root / "notebooks" / f"{chapter}.ipynb"
    command = [sys.executable, "-m", "emoser_lib.cli", "run", str(notebook), "--json", *options]
    environment = os.environ | {"EMOSER_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = json.loads(done.stdout)
    return record


def own_recordings(folder: Path) -> list[str]:
    """A user's table with its own names of columns and labels, and the options that explain it."""
    demo = load_corpus("demo")
    rows = demo.training().groupby("label").head(10)
    rows = rows.assign(file=rows["audio"], mood=rows["label"].replace({"anger": "Ira"}))
    rows[["file", "transcription", "mood", "speaker"]].to_csv(folder / "clips.csv", index=False)
    columns = ["--column", "audio=file", "--column", "label=mood"]
    return ["--root", str(folder), "--table", "clips.csv", *columns, "--label", "Ira=anger"]


@pytest.mark.slow
def test_an_adapter_is_trained_on_a_users_own_table(root: Path, tmp_path: Path) -> None:
    values = {"refit": "false", "ranks": "[4]", "alphas": "[8]", "train_clips": "0", "scheme": "speaker"}
    options = [part for name, value in values.items() for part in ("-p", name, value)]
    record = emoser_run("05-gemma-lora", root, tmp_path, *own_recordings(tmp_path), *options)
    (cell,) = record["metrics"]["grid"]
    assert record["metrics"]["scores"]["gemma-lora"]["macro_f1"] == pytest.approx(cell["macro_f1"])
    assert record["checkpoints"][0]["name"] == "emoser/demo-gemma"


@pytest.mark.slow
def test_a_run_without_folds_writes_the_challenges_file(root: Path, tmp_path: Path) -> None:
    written = tmp_path / "results.csv"
    values = {"folds": "[]", "ranks": "[4]", "alphas": "[8]", "epochs": "1", "predictions": "results.csv"}
    record = emoser_run("05-gemma-lora", root, tmp_path, *(p for pair in values.items() for p in ("-p", *pair)))
    demo = load_corpus("demo")
    scored = score_submission(read_submission(written, demo), demo, resamples=100).task_1
    assert scored is not None
    assert scored.macro_f1 == pytest.approx(record["metrics"]["scores"]["gemma-lora"]["macro_f1"])
    assert record["metrics"]["grid"] == []
