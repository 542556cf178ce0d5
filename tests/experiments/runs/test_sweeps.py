"""A sweep is what its profile declares: a run for each cell, and the chapter that finds them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emoser_lib.errors import DataError, EmoserError, UsageError
from emoser_lib.experiments.runs.profiles import chapters_in, plan
from emoser_lib.experiments.runs.sweeps import LARGEST, plan_sweep, sweeps_in
from tests.command import emoser

CHAPTER = "05-gemma-lora"


def test_a_cell_is_one_rank_one_alpha_one_fold_and_no_refit(root: Path) -> None:
    sweep = plan_sweep(root / "notebooks", "figure-4", "demo")
    [whole] = sweep.runs
    assert whole.parameters["ranks"] == [4, 16]
    assert whole.parameters["refit"], "as the profile's run has it"
    cells = sweep.cells[whole.key]
    told = {(*cell.parameters["ranks"], *cell.parameters["alphas"]) for cell in cells}
    assert told == {(rank, alpha) for rank in (4, 16) for alpha in (8, 32, 128)}
    assert len(cells) == 6 == len({cell.key for cell in cells})
    own = ("ranks", "alphas", "refit")
    for cell in cells:
        assert not cell.parameters["refit"]
        rest = {name: value for name, value in cell.parameters.items() if name not in own}
        assert rest == {name: value for name, value in whole.parameters.items() if name not in own}


def test_what_is_no_list_makes_runs_of_the_chapter(root: Path) -> None:
    sweep = plan_sweep(root / "notebooks", "figure-4", "small")
    assert [run.parameters["seed"] for run in sweep.runs] == [0, 1]
    for run in sweep.runs:
        assert len(sweep.cells[run.key]) == 12
        assert {cell.parameters["seed"] for cell in sweep.cells[run.key]} == {run.parameters["seed"]}


@pytest.mark.parametrize(
    "name, chapter, run", [("figure-4", CHAPTER, "grid"), ("table-2", "08-whisper-gemma", "table-2")]
)
def test_the_papers_grids_are_runs_of_their_profile(root: Path, name: str, chapter: str, run: str) -> None:
    """So that the book and the records find what the sweep made."""
    [planned] = plan(root / "notebooks" / f"{chapter}.ipynb", "paper", run)
    assert [one.key for one in plan_sweep(root / "notebooks", name, "paper").runs] == [planned.key]


def test_sweeps_are_no_chapter(root: Path) -> None:
    assert "sweeps" not in chapters_in(root / "notebooks", "demo")
    assert list(sweeps_in(root / "notebooks", "demo")) == ["figure-4"]


GRID = {"chapter": CHAPTER, "run": "one", "over": {"ranks": [2, 4], "alphas": [8]}}

WRONG = {
    "over nothing": ({**GRID, "over": {}}, "sweeps.grid.over is not of the form"),
    "no values": ({**GRID, "over": {"ranks": []}}, "sweeps.grid.over.ranks is not of the form"),
    "a value": ({**GRID, "over": {"ranks": 4}}, "sweeps.grid.over.ranks is not of the form"),
    "something else": ({**GRID, "retries": 3}, "sweeps.grid.retries is not of the form"),
    "a path": ({**GRID, "chapter": "../05"}, "sweeps.grid.chapter is not of the form"),
    "no such chapter": ({**GRID, "chapter": "06-no"}, "06-no.ipynb is not there: correct the profile"),
    "no such run": ({**GRID, "run": "on"}, r"no run 'on' of 05-gemma-lora \(did you mean 'one'\?\)"),
    "no such parameter": ({**GRID, "over": {"rank": [2]}}, r"no parameter 'rank' \(did you mean 'ranks'\?\)"),
    "a wrong type": ({**GRID, "over": {"ranks": ["two"]}}, "parameter 'ranks' takes list"),
    "out of range": ({**GRID, "over": {"folds": [7]}}, "parameter 'folds.0' is 7"),
    "too many": ({**GRID, "over": {"ranks": list(range(1, LARGEST + 2))}}, "cells, more than 10,000: declare fewer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_a_sentence(case: str, root: Path, tmp_path: Path) -> None:
    declared, sentence = WRONG[case]
    (tmp_path / "profiles").mkdir()
    shutil.copy(root / "notebooks" / f"{CHAPTER}.ipynb", tmp_path)
    (tmp_path / "profiles/mine.yaml").write_text(json.dumps({CHAPTER: {"one": {}}, "sweeps": {"grid": declared}}))
    with pytest.raises(EmoserError, match=sentence) as caught:
        plan_sweep(tmp_path, "grid", "mine")
    assert isinstance(caught.value, UsageError | DataError)


def test_the_command_lists_its_jobs_and_refuses_what_there_is_not(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.chdir(root)
    listed = json.loads(emoser("sweep", "figure-4", "--dry-run", "--json").stdout)
    assert [row["cell"] for row in listed] == [True] * 6 + [False]
    assert all(row["status"] in ("to do", "ok", "failed", "killed", "timeout") for row in listed)
    assert "-p ranks '[4]' -p alphas '[8]' -p folds '[0]' -p seed '0' -p refit 'false'" in listed[0]["command"]
    wrong = emoser("sweep", "figure4", "--dry-run")
    assert wrong.returncode == 2
    assert "has no sweep 'figure4' (did you mean 'figure-4'?)" in wrong.stderr
    nowhere = emoser("sweep", "figure-4", "--place", "mars")
    assert nowhere.returncode == 2
    assert "there is no place 'mars': name one of cores, gpus, slurm" in nowhere.stderr


def test_the_workflow_runs_every_cell_before_the_chapter(root: Path) -> None:
    options = (
        "--dry-run --forceall --cores 1 --workflow-profile=notebooks/places/cores --config sweep=figure-4 -- sweep"
    )
    command = [sys.executable, "-m", "snakemake", "--snakefile", "notebooks/Snakefile", *options.split()]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    [whole] = plan_sweep(root / "notebooks", "figure-4", "demo").runs
    *cells, last = said.split("rule run:")[1:]
    assert len(cells) == 6
    assert f"output: runs/{CHAPTER}/{whole.key}/" in last
    assert last.split("output:")[0].count(f"{CHAPTER}.ipynb") == 6
