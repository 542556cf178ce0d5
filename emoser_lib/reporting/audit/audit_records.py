"""What the audit takes from the committed records."""

import pandas as pd

from emoser_lib.errors import DataError
from emoser_lib.experiments import Record, published_records
from emoser_lib.experiments.judging.simulations import selection_optimism
from emoser_lib.reporting.audit.audit_tables import GRIDS

AUDIT = "12-audit"


def official_test() -> dict[str, int]:
    """How many clips of each label the challenge's test has, from a committed record that scored it.

    Raises:
        DataError: there is none.
    """
    for record in published_records("04-gemma-zero-shot"):
        if record.parameters["corpus"] == "emospeech" and record.parameters["split"] == "test":
            return {label: int(of["n"]) for label, of in record.metrics["per_label"].items()}
    raise DataError("book/records has no zero-shot run on the test of emospeech: work in a checkout of the project.")


def recorded_noise(draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """How much the recorded runs' scores vary over their folds, and what choosing the best of systems like them adds.

    What the folds have in common is not known of them, so half of the variance is taken for it (our choice).
    """
    rows = {}
    for record in published_records():
        for cell in record.metrics.get("grid") or []:
            if cell.get("sd") is not None:
                rows[f"{record.notebook}, {record.run}"] = {
                    "folds": cell["folds"],
                    "mean macro-F1": cell["macro_f1"],
                    "sd": cell["sd"],
                    **{
                        f"best of {cells}": selection_optimism(cell["sd"], 0.5, cells, cell["folds"], draws, seed)
                        for cells in GRIDS
                    },
                }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run")


def recorded_findings() -> pd.DataFrame:
    """The main findings of the recorded audits, one a row: value, and interval and clips where it has them."""
    rows = [found for record in published_records(AUDIT) for found in _findings(record)]
    return pd.DataFrame(rows).set_index("finding") if rows else pd.DataFrame()


def recorded_changes() -> pd.DataFrame:
    """What the single differences of the arms changed in the recorded audits, see `audit.changes_table`."""
    tables = [
        pd.DataFrame(record.metrics["changes"]).T.assign(run=record.run, corpus=record.parameters["heard"])
        for record in published_records(AUDIT)
        if "changes" in record.metrics
    ]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables).rename_axis("arm")
    ends = ["difference", "low", "high", "p", "run", "corpus"]  # a record's own order is that of the alphabet
    table = table[["macro_f1", "uar", *(name for name in table if str(name).startswith("recall")), *ends]]
    return table.sort_index(key=lambda arm: arm != "published", kind="stable")


def _findings(record: Record) -> list[dict[str, object]]:
    told = record.metrics
    system, test = record.parameters["system"], told["leakage"]["test"]
    whole = {"n": test["clips"]}
    told_of = {
        "test clips whose video is in training, share": {
            "value": test["clips_sharing_video"] / test["clips"],
            **whole,
        },
        "macro-F1 of the rule without a model": {"value": told["rule"], **whole},
        f"{system}, macro-F1": told["without_the_clip"][system],
        "gender, clips of the video and length, macro-F1": told["without_the_clip"]["all three"],
        f"{system}, seen videos, standardised accuracy": told["seen"]["seen"],
        f"{system}, unseen videos, standardised accuracy": told["seen"]["unseen"],
        "seen less unseen": told["seen_difference"],
        **{f"{system}, {gender}, standardised accuracy": of for gender, of in told["by_gender"].items()},
        "best mean of five C, less that chosen on the other folds": {"value": told["chosen"]["difference"]},
    }
    return [{"finding": what, **_value(of), "run": record.run} for what, of in told_of.items()]


def _value(of: dict[str, float]) -> dict[str, float | None]:
    """What a finding is worth, its interval and the number of its clips, of whatever table it is from."""
    name = next(name for name in ("value", "standardised", "difference", "macro_f1") if name in of)
    return {"value": of[name], "low": of.get("low"), "high": of.get("high"), "clips": of.get("clips", of.get("n"))}
