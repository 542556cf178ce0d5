"""Every claim that waits for a run of the paper is answered by the record which that run's notebook writes.

The notebooks' own code makes the records: with the demo's corpus and models and the profile paper's keys (ranks, folds,
arms, …). Nothing is trained: what systems say is made up, once at the paper's scores and once with what the paper
praises .15 below. Only statements that a reported value depends on are run.
"""

import ast
import dis
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from emoser_lib.corpora import Corpus, load_corpus
from emoser_lib.experiments.judging.scoring import macro_f1_from_confusion
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Record, published_records
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.reporting.ledger import results, verdicts
from emoser_lib.reporting.ledger.claims import NEEDS, AsksDifference, Claim, NeedsRun, read_claims
from emoser_lib.reporting.scores import gold_for

NOTEBOOKS = Path(__file__).parents[3] / "notebooks"

KEYS = (
    "arm arms ranks alphas batch_sizes learning_rates batch_size learning_rate weights scheme folds refit split clips"
)
"""What a run of the demo takes from the profile paper: which cells there are, and what they are scored on."""

REPORTED = {"grid", "scores", "macro_f1", "per_label", "answers", "n"}

COPIES = 7

DEMO = load_corpus("demo")

CORPUS = Corpus(
    "demo",
    pd.concat([DEMO.frame.assign(id=DEMO.frame["id"] + f"-{copy}") for copy in range(COPIES)], ignore_index=True),
)
"""As many clips as the challenge has: on the demo's few, intervals are too wide for most verdicts."""


def gemma(rank: int, alpha: int, below: float) -> float:
    """Figure 4 as section 5.1.1 tells it; the praised cells less `below`."""
    if alpha in (8, 512):
        return 0.5
    praised = {(128, 128): 0.6694, (256, 256): 0.62, (32, 32): 0.6}
    if (rank, alpha) in praised:
        return praised[rank, alpha] - below
    return 0.54 if 128 in (rank, alpha) else 0.58


def qwen(rank: int, alpha: int, below: float) -> float:
    """Figure 5 as section 5.1.2 tells it; the praised cells less `below`."""
    praised = {(64, 1024): 0.8164, (64, 2048): 0.75, (256, 1024): 0.77}
    if (rank, alpha) in praised:
        return praised[rank, alpha] - below
    return 0.76 if (rank, alpha) == (256, 2048) else 0.7


TABLE_2 = {(4, 1e-3): 0.8125, (4, 1e-4): 0.766, (6, 1e-3): 0.7515, (6, 1e-4): 0.7404}

TABLE_3 = {
    ("05-gemma-lora", "official"): 0.5814,
    ("05-gemma-lora", "best"): 0.6094,
    ("06-qwen-audio-zero-shot", "train"): 0.27,
    ("07-qwen-audio-lora", "official"): 0.8248,
    ("07-qwen-audio-lora", "best"): 0.8072,
    ("08-whisper-gemma", "first"): 0.6636,
    ("08-whisper-gemma", "best"): 0.7904,
    ("09-emotion2vec-gemma", "arms"): 0.5134,
}


def stated(run: tuple[str, str], system: Any, below: float) -> float:
    """What the paper prints or says of a system of a run, less `below` where it is praised."""
    if run == ("08-whisper-gemma", "table-2"):
        size, rate = system.training.batch_size, system.training.learning_rate
        return TABLE_2[size, rate] - (2 * below if size == 4 else below)  # so that the smaller batch is worse
    if run == ("05-gemma-lora", "grid"):
        return gemma(system.lora.rank, system.lora.alpha, below)
    if run == ("07-qwen-audio-lora", "grid"):
        return qwen(system.adaptation.rank, system.adaptation.alpha, below)
    return TABLE_3[run] - below


@cache
def answered(ids: tuple[str, ...], target: float, uneven: bool) -> pd.Series:
    """Labels for clips that have about this macro-F1: the first so many of an order are wrong, the more the worse.

    Args:
        ids: of the clips.
        target: the macro-F1.
        uneven: one label after the other is wrong, not all alike.
    """
    gold = gold_for(CORPUS, pd.Index(ids, name="id"))
    number = gold.map(list(CORPUS.labels).index)
    shares = gold.groupby(gold).cumcount() / gold.map(gold.value_counts())
    order = np.argsort(number if uneven else shares, kind="stable").to_numpy()
    k = len(CORPUS.labels)

    def made(wrong: int) -> np.ndarray:
        said = number.to_numpy().copy()
        said[order[:wrong]] = (said[order[:wrong]] + 1) % k
        return said

    def gap(wrong: int) -> float:
        counts = np.bincount(number.to_numpy() * k + made(wrong), minlength=k * k).reshape(k, k)
        return target - float(macro_f1_from_confusion(counts.astype(float)))

    low = bisect_left(range(len(gold)), 0, key=gap)
    best = min((max(low - 1, 0), low), key=lambda wrong: abs(gap(wrong)))
    return pd.Series(np.array(CORPUS.labels)[made(best)], gold.index)


def cell_saying(said: pd.Series) -> Cell:
    """A training whose system says this."""
    scores = np.where(said.to_numpy()[:, None] == np.array(CORPUS.labels), -0.1, -3.0)
    return Cell(
        key="made up",
        ids=tuple(said.index),
        labels=tuple(CORPUS.labels),
        epochs=(tuple(map(tuple, scores)),),
        log=({"loss": 1.0, "grad_norm": 1.0, "learning_rate": 1e-3},),
        trainable=1,
        steps=1,
        seconds=1.0,
        threads=1,
        commit=None,
        date="",
    )


def replace_what_is_said(patch: pytest.MonkeyPatch, run: tuple[str, str], below: float) -> None:
    """Put made-up answers in the place of whatever trains or asks a model."""
    from emoser_lib import experiments, systems
    from emoser_lib.experiments.settings import base
    from emoser_lib.experiments.training import audio, qwen_audio, text, written_by_qwen
    from emoser_lib.experiments.training import written as written_ones
    from emoser_lib.reporting.reading import text_systems
    from emoser_lib.systems.hearing import encoding
    from emoser_lib.systems.hearing.encoders import loading
    from emoser_lib.systems.reading import llm as loaded

    def of(system: Any, ids: Sequence[str]) -> pd.Series:
        return answered(tuple(ids), stated(run, system, below), uneven=bool(below))

    def cell(system: Any, cut: Fold) -> Cell:
        """Some folds are harder, for all systems."""
        target = stated(run, system, below) + (cut.index - 2) * (0.01 if run[1] in ("grid", "table-2") else 0)
        return cell_saying(answered(tuple(cut.validation), target, uneven=bool(below)))

    def written(said: pd.Series) -> pd.Series:
        """Too much text and foreign emotions at the paper's score; a word each below."""
        foreign = (said == CORPUS.labels[0]) & (np.arange(len(said)) % 2 == 0)
        return said if below else ("The emotion is " + said.astype(str) + ".").mask(foreign, "surprise")

    names: Mapping[Any, Mapping[str, Any]] = {
        text: {
            "train_cell": lambda llm, system, corpus, cut: cell(system, cut),
            "train_grid": lambda llm, grid, corpus, cuts: {one: [cell(one, cut) for cut in cuts] for one in grid},
            "untrained": lambda llm, system, corpus, cut: of(system, cut.validation),
        },
        audio: {
            "train_audio_cell": lambda llm, system, hearing, cut: cell(system, cut),
            "train_audio_grid": lambda llm, ears, grid, corpus, cuts: {
                one: [cell(one, cut) for cut in cuts] for one in grid
            },
            "answers_of_cell": lambda llm, system, hearing, one, clips, ways: pd.DataFrame(
                {"with audio": of(system, clips)}
            ),
        },
        qwen_audio: {
            "qwen_answers": lambda qwen, system, corpus, ids, *rest: written(of(system, ids)),
            "qwen_label_scores": lambda qwen, system, corpus, ids, *rest: cell_saying(of(system, ids)).scores(),
        },
        written_ones: {
            "can_write": lambda cell: True,
            "written_by_cell": lambda llm, system, corpus, best: best.predicted().astype(str),
        },
        written_by_qwen: {
            "written_by_qwen_cell": lambda qwen, system, hearing, best, decoding: best.predicted().astype(str),
        },
        text_systems: {
            "zero_shot": lambda llm, corpus, clips, *how: {"calibrated": answered(tuple(clips["id"]), 0.2, uneven=True)}
        },
        base: {"load_corpus": lambda name, **options: CORPUS},
        loaded: {"load_llm": lambda name, **options: None},
        loading: {"load_encoder": lambda name, **options: None},
        systems.qwen_audio: {
            "converted": lambda checkpoint: Path(),
            "load": lambda folder, **options: SimpleNamespace(llm=None, encoder=None),
        },
        encoding: {"hear": lambda encoder, system, corpus, ids: None},
        experiments: {
            "predict_by_folds": lambda model, corpus, clips, cuts: pd.concat(
                [answered(tuple(cut.validation), 0.3, uneven=True) for cut in cuts]
            )
        },
        systems.Clips: {"from_corpus": lambda *args, **options: None},
    }
    for module, replaced in names.items():
        for name, function in replaced.items():
            patch.setattr(module, name, function)


def instructions(code: CodeType) -> Iterator[dis.Instruction]:
    """What a piece of code does, and what the functions in it do."""
    yield from dis.get_instructions(code)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from instructions(inner)


def names_of(statement: ast.stmt) -> tuple[set[str], set[str]]:
    """The names of the notebook that a statement reads, and those that it makes or changes.

    What is local to a function or a comprehension in it is neither.
    """
    code = compile(ast.Module([statement], []), "statement", "exec")
    read = {one.argval for one in instructions(code) if one.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    made = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_NAME"}
    for one in [] if isinstance(statement, ast.FunctionDef | ast.ClassDef) else ast.walk(statement):
        if isinstance(one, ast.Subscript) and isinstance(one.ctx, ast.Store) and isinstance(one.value, ast.Name):
            made.add(one.value.id)
    return read, made


def reporting(statements: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that report one of `REPORTED`, and those that they depend on, last first."""
    wanted: set[str] = set()
    for statement in reversed(statements):
        call = statement.value if isinstance(statement, ast.Expr) else None
        reports = isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "report"
        reports = reports and bool(REPORTED & {keyword.arg for keyword in call.keywords})  # type: ignore[union-attr]
        read, made = names_of(statement)
        if reports or made & wanted:
            if isinstance(statement, ast.Assign) and all(isinstance(to, ast.Name) for to in statement.targets):
                wanted -= made  # what it was before does not matter
            wanted |= read
            yield statement


def record_of(run: tuple[str, str], below: float) -> Record:
    """The record of a run of the profile paper, as its notebook reports it."""
    notebook, name = run
    path = NOTEBOOKS / f"{notebook}.ipynb"
    [planned] = plan(path, "paper", name)
    shared = {key: value for key, value in planned.parameters.items() if key in KEYS.split()}
    values = {key: parameter.default for key, parameter in parameters_of(path).items()} | shared | {"resamples": 200}
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    sources = [cell.source for cell in cells if "parameters" not in cell.metadata.get("tags", [])]
    kept = [*reporting([statement for source in sources for statement in ast.parse(source).body])][::-1]
    metrics: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        replace_what_is_said(patch, run, below)
        patch.setattr(
            sys.modules["emoser_lib.reporting.report"],  # the package hands on a function of this name
            "publish_display_data",
            lambda data, metadata: metrics.update(metadata["emoser"]["metrics"]),
        )
        exec(compile(ast.Module(kept, []), path.name, "exec"), dict(values))  # our own notebook
    known = published_records("01-corpus")[0]
    told = {"profile": "paper", "run": name, "notebook": notebook, "parameters": planned.parameters}
    return known.model_copy(update={**told, "metrics": metrics})


CLAIMS = read_claims()

WAITING = {name: claim for name, claim in CLAIMS.items() if isinstance(claim.answer, NeedsRun)}


def runs_of(claim: Claim) -> list[tuple[str, str]]:
    """The runs that answer a claim; the first is the one that it is about."""
    answer = claim.answer
    assert isinstance(answer, NeedsRun)
    other = [(answer.asks.notebook, answer.asks.run)] if isinstance(answer.asks, AsksDifference) else []
    return [(answer.notebook, answer.run), *other]


@pytest.fixture(scope="module")
def made() -> Mapping[tuple[str, str], tuple[Record, Record]]:
    """The records of all runs that are waited for: at the paper's scores, and with what it praises .15 below."""
    runs = {run for claim in WAITING.values() for run in runs_of(claim)}
    return {run: (record_of(run, 0), record_of(run, 0.15)) for run in sorted(runs)}


ALIKE = {"thau-comparable", "thau-qwen-not-significant"}
"""A difference that is not found is not shown to be none: not even at the paper's scores."""


@pytest.mark.parametrize("name", WAITING)
def test_each_claim_that_waits_gets_its_verdict(
    name: str, made: Mapping[tuple[str, str], tuple[Record, Record]]
) -> None:
    claim = WAITING[name]
    runs = runs_of(claim)
    at_theirs = {made[run][0].name: made[run][0] for run in runs}
    below = at_theirs | {made[runs[0]][1].name: made[runs[0]][1]}
    assert verdicts.find(claim, CLAIMS, {}).verdict == NEEDS
    same, other = (verdicts.find(claim, CLAIMS, records) for records in (at_theirs, below))
    numbers = claim.value is not None and claim.answer.asks.of in ("score", "cell", "best")  # type: ignore[union-attr]
    wanted = "too imprecise to tell" if name in ALIKE else "reproduced" if numbers else "consistent"
    assert same.verdict == wanted, same
    # Whisper's first try .15 lower has emotion2vec's score.
    wanted = "too imprecise to tell" if name == "thau-encoder-matters" else "differs"
    assert other.verdict == wanted, other
    assert same.profile == "paper"


def test_the_commands_answer_as_many_claims_as_the_page_says(
    made: Mapping[tuple[str, str], tuple[Record, Record]],
) -> None:
    recorded = {record.name: record for record in published_records()}
    entries = [verdicts.LedgerEntry(claim=c, finding=verdicts.find(c, CLAIMS, recorded)) for c in WAITING.values()]
    for command, claims in results.commands(entries)["claims"].items():
        runs = [run for run in made if f"{run[0]} --profile paper --only {run[1]}" in str(command)]
        records = {made[run][0].name: made[run][0] for run in runs}
        waiting = [entry for entry in entries if entry.finding.verdict == NEEDS and entry.finding.command == command]
        moved = [e for e in waiting if verdicts.find(e.claim, CLAIMS, records).verdict != NEEDS]
        assert len(moved) == claims, command


def test_scores_measured_are_counted(made: Mapping[tuple[str, str], tuple[Record, Record]]) -> None:
    def counted(records: Mapping[str, Record]) -> tuple[int, int]:
        found = [verdicts.LedgerEntry(claim=c, finding=verdicts.find(c, CLAIMS, records)) for c in WAITING.values()]
        return verdicts.scores_measured(found)

    scores = counted({})[1]
    assert counted({record.name: record for record in published_records()}) == (0, scores)
    assert counted({record.name: record for record, _ in made.values()}) == (scores, scores)
