"""The tables of the ledger's page."""

from collections.abc import Sequence

import pandas as pd

from emoser_lib.experiments.records import Record, published_records
from emoser_lib.reporting.claims import claims
from emoser_lib.reporting.ledger import Entry, Verdict
from emoser_lib.reporting.ledger_checks import planned
from emoser_lib.reporting.tables import paper_intervals

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


def ledger_table(entries: Sequence[Entry], verdict: Verdict) -> pd.DataFrame:
    """The claims that have a verdict, one a row: what the paper says and where, what was measured and what follows."""
    rows = [
        {
            "claim": entry.claim.text,
            "paper": f"{entry.claim.paper}, {entry.claim.place}",
            "printed": entry.claim.printed,
            "measured": entry.finding.measured or "–",
            "profile": entry.finding.profile or "–",
            "reason": entry.finding.reason,
        }
        for entry in entries
        if entry.finding.verdict == verdict
    ]
    return pd.DataFrame(rows).set_index("claim") if rows else pd.DataFrame()


def commands(entries: Sequence[Entry]) -> pd.DataFrame:
    """What would answer the claims that nothing answers yet: one row a command, and how many claims it is for."""
    needed = [entry.finding.command for entry in entries if entry.finding.command and not entry.finding.measured]
    return pd.Series(needed).value_counts().rename("claims").rename_axis("command").to_frame()


def table_3(entries: Sequence[Entry]) -> pd.DataFrame:
    """Table 3 of seed 1: printed, by the formula that gives what is printed, and measured where it was."""
    rows = [entry.finding.measured or "–" for entry in entries if entry.claim.interval is not None]
    return paper_intervals(claims()).assign(measured=rows)


def measured_costs(records: Sequence[Record] | None = None) -> pd.DataFrame:
    """What the recorded trainings cost on the machine that ran them, beside their scores; one row a record."""
    rows = [
        {
            "run": f"{record.notebook}, {record.run}",
            "corpus": record.corpus.name if record.corpus else "",
            "macro-F1": record.metrics["macro_f1"],
            "n": next(
                of["n"] for of in record.metrics["scores"].values() if of["macro_f1"] == record.metrics["macro_f1"]
            ),
            "training, minutes": record.metrics["seconds"] / 60,
            "threads": record.metrics["threads"],
            "memory, GB": record.peak_memory_mb / 1000,
        }
        for record in (published_records() if records is None else records)
        if {"macro_f1", "seconds", "scores"} <= record.metrics.keys()
    ]
    return pd.DataFrame(rows).set_index("run")


def planned_costs() -> pd.DataFrame:
    """What the paper's trainings need, counted without weights (`emoser plan`): one row a run and system."""
    rows = []
    for notebook, run in PLANNED:
        need = planned(notebook, run)
        of = {adapter.rank: (need.parameters, adapter.trainable, adapter.memory.total) for adapter in need.adapters}
        systems = {
            one.name: (one.parameters, one.bridge + one.adapter + one.encoder_trained, one.memory.total)
            for one in need.systems
        }
        for name, (parameters, trained, memory) in {
            **{f"rank {rank}": size for rank, size in of.items()},
            **systems,
        }.items():
            rows.append(
                {
                    "run": f"{notebook}, {run}",
                    "system": name,
                    "parameters, billions": parameters / 1e9,
                    "trained, millions": trained / 1e6,
                    "memory, GB": memory / 1e9,
                }
            )
    return pd.DataFrame(rows).set_index("run")
