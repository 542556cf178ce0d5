"""The code of the solutions runs. A few are executed here; of all, `make exercises` leaves what came out."""

import importlib
import json
import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from emoser_lib.environment import ROOT
from emoser_lib.teaching.markers import SOLUTION_BLOCK, SOLUTION_LINES, for_students

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

SHORT = {"ex-corpus-own", "ex-scoring-weighted"}
"""Executed each time: those that train nothing."""

KINDS = ("Predict, then run", "Complete the code", "Find the mistake", "Go further")

EXERCISE = re.compile(r"`{3,}\{exercise\} ?(.*)\n:label: (\S+)\n(.*)")
"""An exercise in prose: its kind, its label, its first line."""

EFFORT = re.compile(
    r"\*(?:Easy|Middling|Hard), (?:an evening|two evenings|(?:five|ten|fifteen|twenty|thirty) minutes)\.\* "
)

POINTS = {"one": 1, "two": 2, "three": 3}


@pytest.fixture
def script(root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(root / "scripts"))
    return importlib.import_module("exercises")


def test_what_the_solutions_show_was_executed_as_it_stands(script: ModuleType, root: Path) -> None:
    """Whoever changes a solution's code executes it: `make exercises`."""
    kept = json.loads((root / "book" / "exercises.json").read_text(encoding="utf-8"))
    shown = {label: code for path in NOTEBOOKS for label, _, code in script.solutions(path)}
    assert len(shown) > 20
    assert {label: of["code"] for label, of in kept.items()} == shown


@pytest.mark.parametrize("label", sorted(SHORT))
def test_short_solutions_give_what_the_page_says(script: ModuleType, root: Path, label: str) -> None:
    kept = json.loads((root / "book" / "exercises.json").read_text(encoding="utf-8"))[label]
    path = root / "notebooks" / f"{kept['notebook']}.ipynb"
    [told], [said] = script.at_the_end(path, [kept["code"]]), kept["runs"]
    assert told == pytest.approx(said)


def test_a_solution_that_fails_is_not_kept(script: ModuleType) -> None:
    with pytest.raises(script.subprocess.CalledProcessError):
        script.commanded("emoser run 05-gemma-lora -p ranks nonsense")


def prose_of(path: Path) -> str:
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_are_of_four_kinds_and_answered_in_the_notebook(path: Path, script: ModuleType) -> None:
    text = prose_of(path)
    exercises = {label: (kind, first) for kind, label, first in EXERCISE.findall(text)}
    solutions = {label: solution for _, label, solution in SOLUTION_BLOCK.findall(text)}
    assert set(exercises) == set(solutions) and {kind for kind, _ in exercises.values()} >= set(KINDS)
    assert not [label for label, language, _ in script.solutions(path) if language == "bash"], "Lab has no shell"
    for label, (kind, first) in exercises.items():
        assert EFFORT.match(first), f"{label}: level and minutes"
        if kind in ("Predict, then run", "Find the mistake"):
            assert re.search(r"\{(outcome|glue:text)\}`", solutions[label]), f"{label}: the number to expect"
        if kind == "Go further":
            points = re.findall(r"\((one|two|three)(?: points?)?\)", solutions[label])
            assert "A good answer has" in solutions[label] and sum(POINTS[word] for word in points) == 10, label
    stubs = {label for chapter, label, *_ in STUBS if chapter == path.stem}
    assert stubs == {label for label, (kind, _) in exercises.items() if kind == "Complete the code"}


STUBS = [
    (path.stem, cell.id, nbformat.v4.new_notebook(cells=[cell]), check.source)
    for path in NOTEBOOKS
    for cell, check in pairwise(nbformat.read(path, as_version=4).cells)
    if cell.cell_type == "code" and SOLUTION_LINES.search(cell.source)
]
"""Chapter, exercise, the cell that students complete, and the checks after it."""


@pytest.mark.parametrize(("chapter", "label", "asked", "checks"), STUBS, ids=[stub[1] for stub in STUBS])
def test_checks_fail_before_a_stub_is_completed_and_pass_after(
    chapter: str, label: str, asked: nbformat.NotebookNode, checks: str
) -> None:
    text = (ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8")
    assert f":label: {label}\\n" in text, "the cell's id is the exercise's label"
    with pytest.raises(NotImplementedError):
        exec(f"{for_students(asked).cells[0].source}\n{checks}", {})
    exec(f"{asked.cells[0].source}\n{checks}", {})


MISTAKES = [
    ("ex-corpus-sides", ' - {""}', ""),
    ("ex-corpus-sides", "in others", "in video_of"),
    ("ex-scoring-videos", "np.unique(videos)", "videos"),
    ("ex-scoring-videos", "rng.choice(names, len(names))", "rng.choice(names, len(names), replace=False)"),
    ("ex-classical-tfidf", "(counts > 0).sum", "counts.sum"),
    ("ex-classical-tfidf", "np.where(lengths, lengths, 1)", "lengths"),
    ("ex-classical-tfidf", "weights**2", "abs(weights)"),
    ("ex-zero-shot-word", "return sum(math.log(chance) for chance in chances)", "return math.log(chances[0])"),
    ("ex-lora-adapters", "alpha / len(A)", "alpha"),
    ("ex-lora-adapters", "alpha / len(A)", "alpha / len(adapters[0][0])"),
    ("ex-qwen-negated", 'before not in ("not", "no")', "word"),
    ("ex-qwen-negated", "if len(found) == 1", "if found"),
    ("ex-qwen-merge", "alpha / rank", "alpha"),
    ("ex-qwen-merge", "torch.cat(parts)", "torch.cat(parts).reshape(-1, 3, rank).transpose(0, 1).reshape(-1, rank)"),
    ("ex-whisper-pool", "group.mean(dim=0)", "group.sum(dim=0) / size"),
    ("ex-emosllm-pool", " / len(query) ** 0.5", ""),
    ("ex-emosllm-pool", "fits.softmax(dim=0)", "fits.sigmoid()"),
    (
        "ex-emotion2vec-mean",
        "(frames * own[..., None]).sum(dim=1) / lengths[:, None]",
        "frames.mean(dim=1)",
    ),
    ("ex-emotion2vec-mean", "frames * own[..., None]", "frames"),
    ("ex-ledger-verdict", '"reproduced" if near else "too imprecise to tell"', '"reproduced"'),
    ("ex-ledger-verdict", "/ n)", "/ 750)"),
    ("ex-audit-deal", "most_common()", "most_common()[::-1]"),
    ("ex-audit-deal", "[fold_of[video] for video in videos]", "[clip % k for clip in range(len(videos))]"),
    ("ex-robustness-risk", "-confidence", "confidence"),
    ("ex-robustness-risk", "1 - right[surest].mean()", "(~right[surest]).sum() / len(right)"),
    ("ex-own-floor", " / len(counts)", ""),
    ("ex-own-floor", "max(counts)", "counts[0]"),
]
"""Exercise, words of its solution, and what a student may write instead."""


@pytest.mark.parametrize(("label", "right", "wrong"), MISTAKES, ids=lambda value: value[:20])
def test_checks_find_a_plausible_mistake(label: str, right: str, wrong: str) -> None:
    [(asked, checks)] = [(asked.cells[0].source, checks) for _, named, asked, checks in STUBS if named == label]
    assert right in asked
    with pytest.raises(AssertionError):
        exec(f"{asked.replace(right, wrong)}\n{checks}", {})
