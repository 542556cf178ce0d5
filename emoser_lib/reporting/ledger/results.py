"""The tables of the ledger's page."""

import re
from collections.abc import Sequence
from typing import get_args

import pandas as pd
from IPython.display import HTML

from emoser_lib.environment import shipped_files
from emoser_lib.experiments.planning.dry_run import RunNeeds, dry_run
from emoser_lib.experiments.planning.flops import answering_flops
from emoser_lib.experiments.runs.parameters import read_notebook
from emoser_lib.experiments.runs.profiles import PlannedRun
from emoser_lib.experiments.runs.records import Record, published_records
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.ledger.checks import planned, planned_run
from emoser_lib.reporting.ledger.claims import NeedsRun, Verdict, claims
from emoser_lib.reporting.ledger.rules import estimate_of, mean_of
from emoser_lib.reporting.ledger.verdicts import LedgerEntry
from emoser_lib.reporting.recorded_tables import evaluated_on, scored_system, unit_drawn
from emoser_lib.reporting.seeds import (
    OTHERS,
    f1_by_label,
    has_rare_label,
    of_other_seeds,
    rarest_label,
    without,
)
from emoser_lib.reporting.tables import paper_intervals, paper_scores

PLANNED = (
    ("05-gemma-lora", "official"),
    ("05-gemma-lora", "best"),
    ("07-qwen-audio-lora", "official"),
    ("07-qwen-audio-lora", "best"),
    ("08-whisper-gemma", "first"),
    ("09-emotion2vec-gemma", "arms"),
    ("10-emosllm", "iemocap"),
)
"""The runs of the profile paper whose cost is shown: those of Table 3, and EmoSLLM."""


COLUMNS_OF_LEDGER = ("claim", "verdict", "printed", "measured", "paper", "place", "why")

CITED = re.compile(r"\{claim(?:-interval)?\}`([^`]+)`")


def ledger_list(entries: Sequence[LedgerEntry]) -> HTML:
    """List all claims, with a link to where each is told of, and what a page needs to choose among them.

    ``book/static/book.js`` shows the choice; without it, as in Lab and on paper, all claims are there.
    """
    told = chapters_that_cite()
    rows = "".join(_row(entry, told.get(entry.claim.id) or _chapter_that_answers(entry)) for entry in entries)
    verdicts = [verdict for verdict in get_args(Verdict) if any(e.finding.verdict == verdict for e in entries)]
    papers = list(dict.fromkeys(entry.claim.paper for entry in entries))
    heads = "".join(f"<th scope='col'>{name}</th>" for name in COLUMNS_OF_LEDGER)
    return HTML(
        "<div class='emoser-ledger'><form class='emoser-choice' hidden>"
        f"{_select('paper', papers)}{_select('verdict', verdicts)}"
        "<label>place <input name='place' type='search' placeholder='Table 3'></label>"
        f"<output aria-live='polite'>{len(entries)} claims</output></form>"
        "<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='Claims'>"
        f"<table class='dataframe table emoser-table'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        "</div></div>"
    )


def _select(name: str, options: Sequence[str]) -> str:
    listed = "".join(f"<option>{as_text(option)}</option>" for option in options)
    return f"<label>{name} <select name='{name}'><option value=''>all</option>{listed}</select></label>"


def _row(entry: LedgerEntry, link: str) -> str:
    claim, finding = entry.claim, entry.finding
    text = f"<a href='{as_text(link)}'>{as_text(claim.text)}</a>" if link else as_text(claim.text)
    measured = f"{finding.measured} ({finding.profile})" if finding.profile else finding.measured
    cells = [finding.verdict, claim.printed, measured, claim.paper, claim.place, finding.reason]
    rest = "".join(f"<td>{as_text(cell)}</td>" for cell in cells)
    return f"<tr id='ledger-{as_text(claim.id)}'><td>{text}</td>{rest}</tr>"


def chapters_that_cite() -> dict[str, str]:
    """Find for each claim the first chapter whose prose prints it: claim -> the page and its anchor there."""
    found: dict[str, str] = {}
    for notebook in sorted((shipped_files() / "notebooks").glob("[0-9]*.ipynb")):
        for cell in read_notebook(notebook).cells:
            for claim in CITED.findall(cell.source) if cell.cell_type == "markdown" else ():
                found.setdefault(claim, f"{notebook.stem}.html#claim-{claim}")
    return found


def _chapter_that_answers(entry: LedgerEntry) -> str:
    return f"{entry.finding.notebook}.html" if entry.finding.notebook else ""


def commands(entries: Sequence[LedgerEntry]) -> pd.DataFrame:
    """List the commands that would answer the open claims, and how many claims each is for."""
    needed = [entry.finding.command for entry in entries if entry.finding.command and not entry.finding.measured]
    return pd.Series(needed).value_counts().rename("claims").rename_axis("command").to_frame()


def table_3(entries: Sequence[LedgerEntry]) -> pd.DataFrame:
    """Tabulate THAU-UPM's Table 3: printed, by the formula that gives what is printed, and measured where it was."""
    rows = [entry.finding.measured or "–" for entry in entries if entry.claim.interval is not None]
    return paper_intervals(claims()).assign(measured=rows)


def measured_costs(records: Sequence[Record] | None = None) -> pd.DataFrame:
    """Tabulate what recorded trainings cost on their machine, beside their scores with and without the rarest label.

    Returns:
        One row per record; nothing without the rarest label where none is rare.
    """
    rows = [
        {
            "run": f"{record.notebook}, {record.run}",
            "corpus": record.corpus.name if record.corpus else "",
            "macro-F1": record.metrics["macro_f1"],
            OTHERS: without(f1_by_label(record), rarest_label(record))
            if "per_label" in record.metrics and has_rare_label(record)
            else None,
            "n": scored_system(record)[1]["n"],
            "training, minutes": record.metrics["seconds"] / 60,
            "threads": record.metrics["threads"],
            "memory, GB": record.peak_memory_mb / 1000,
        }
        for record in (published_records() if records is None else records)
        if {"macro_f1", "seconds", "scores"} <= record.metrics.keys()
    ]
    return pd.DataFrame(rows).set_index("run")


def planned_costs() -> pd.DataFrame:
    """Tabulate what the paper's trainings need, counted without weights, and what answering one clip costs then.

    Returns:
        One row per run and system: parameters, trained, memory of the training, GFLOP per clip (see
        `flops.answering_flops`).
    """
    rows = []
    for notebook, run in PLANNED:
        costs = _costs(planned(notebook, run), planned_run(notebook, run))
        rows += [{"run": f"{notebook}, {run}", **of} for of in costs]
    return pd.DataFrame(rows).set_index("run")


def _costs(need: RunNeeds, run: PlannedRun) -> list[dict[str, object]]:
    flops = answering_flops(run)
    sizes = {f"rank {of.rank}": (need.parameters, of.trainable, of.memory.total) for of in need.adapters} | {
        of.name: (of.parameters, of.bridge + of.adapter + of.encoder_trained, of.memory.total) for of in need.systems
    }
    return [
        {
            "system": name,
            "parameters, billions": parameters / 1e9,
            "trained, millions": trained / 1e6,
            "memory, GB": memory / 1e9,
            # An adapter is merged for answering, so its rank costs nothing.
            "GFLOP a clip": (counted or 0) / 1e9 if (counted := flops.get(name, flops.get(""))) else None,
        }
        for name, (parameters, trained, memory) in sizes.items()
    ]


def efficiency(entries: Sequence[LedgerEntry], records: Sequence[Record] | None = None) -> pd.DataFrame:
    """Tabulate scores beside what answering a clip costs: those that the paper prints, and recorded ones.

    Args:
        entries: the ledger; Table 3's claims name the runs whose costs are planned.
        records: of runs that trained a language model; default: the committed ones.

    Returns:
        One row per system: evaluated on (corpus and which of its clips), source ("printed" or "recorded" and the
        profile), macro_f1, low, high, drawn by (what the interval draws), parameters, trained, and GFLOP a clip. The
        paper's interval is the printed one; of several seeds, score and limits are the means, and how far they lie
        apart is not in them. Runs on one fold that chose settings are left out.
    """
    rows = []
    printed = [entry.claim for entry in entries if entry.claim.interval is not None]
    for claim, name in zip(printed, paper_scores(claims()).index, strict=True):
        assert isinstance(claim.answer, NeedsRun)
        assert claim.value is not None and claim.interval is not None
        rows.append(
            {
                "system": name,
                "evaluated on": "emospeech, test",
                "source": "printed",
                "macro_f1": claim.value,
                "low": claim.value - claim.interval,
                "high": claim.value + claim.interval,
                "drawn by": "none (formula)",
                **_first_cost(
                    planned(claim.answer.notebook, claim.answer.run),
                    planned_run(claim.answer.notebook, claim.answer.run),
                ),
            }
        )
    known = published_records() if records is None else records
    for record in known:
        if {"macro_f1", "seconds", "scores"} <= record.metrics.keys() and not chooses(record):
            seeds = of_other_seeds(record, known)
            if record != seeds[0]:
                continue
            name, scored = scored_system(record)
            limits = mean_of([estimate_of(scored_system(seed)[1]) for seed in seeds])
            path = shipped_files() / "notebooks" / f"{record.notebook}.ipynb"
            run = PlannedRun(path, record.profile, record.run, record.parameters, {})
            rows.append(
                {
                    "system": name if len(seeds) == 1 else f"{name}, mean of {len(seeds)} seeds",
                    "evaluated on": evaluated_on(record),
                    "source": f"recorded, {record.profile}",
                    **dict(zip(("macro_f1", "low", "high"), limits, strict=True)),
                    "drawn by": unit_drawn(record, scored),
                    **_first_cost(dry_run([run], run.profile).runs[0], run),
                }
            )
    return pd.DataFrame(rows).set_index("system")


def shared_task() -> dict[str, float]:
    """Return the best scores of the shared task on the official test, by task; their cost is not known."""
    values = claims()["value"]
    return {"best of task 1, words": values["task1-best"], "best of task 2, words and sound": values["task2-best"]}


def chooses(record: Record) -> bool:
    """Say whether a training run was there to choose settings: one fold, and nothing trained for good."""
    return len(record.parameters["folds"]) == 1 and not record.parameters["refit"]


def _first_cost(need: RunNeeds, run: PlannedRun) -> dict[str, object]:
    """Of a run's first system, without its name and the memory of its training."""
    first = _costs(need, run)[0]
    return {name: first[name] for name in ("parameters, billions", "trained, millions", "GFLOP a clip")}
