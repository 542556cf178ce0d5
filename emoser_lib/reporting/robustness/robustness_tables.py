"""Tables about systems under other conditions, about their probabilities, and about answers that are left out."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from emoser_lib.corpora import Condition, Corpus
from emoser_lib.experiments import paired_bootstrap
from emoser_lib.experiments.judging import calibration
from emoser_lib.reporting.scores import gold_for, score_on, units_for

CLEAN = Condition().name

Answers = Mapping[Condition, Mapping[str, pd.DataFrame]]
"""Condition, the clean one first -> system -> its answers, see `experiments.conditions`."""

CONDITION_KINDS = {"noise, dB": "snr_db", "seconds": "seconds", "share of the words deleted": "words_deleted"}
"""What has a strength: what it is called -> the condition's value."""


def conditions_table(
    corpus: Corpus, answers: Answers, resamples: int = 2000, seed: int = 0, by: str = ""
) -> pd.DataFrame:
    """Score systems under each condition, and what it changes.

    Args:
        corpus: gives the gold labels.
        answers: under all conditions, the clean one among them.
        resamples, seed: of the paired bootstrap (95 %, percentile).
        by: what is drawn: empty: clips; "speaker" or "video": all clips of one.

    Returns:
        One row per condition and system: condition, system, macro_f1, uar, accuracy, ``probability`` (mean, of the
        answer given; empty where a system has none), ``changed`` (share of the answers that are others than of the
        clean clips), ``change`` of macro-F1 against them, its low and high.
    """
    clean = answers[Condition()]
    rows = []
    for condition, systems in answers.items():
        for system, told in systems.items():
            scored = score_on(corpus, told["answer"])
            row = {
                "condition": condition.name,
                "system": system,
                **scored.model_dump(include={"macro_f1", "uar", "accuracy"}),
                "probability": told["probability"].mean(),
                "changed": float((told["answer"] != clean[system]["answer"]).mean()),
            }
            rows.append(row | _change(corpus, told, clean[system], resamples, seed, by))
    return pd.DataFrame(rows)


def _change(
    corpus: Corpus, told: pd.DataFrame, clean: pd.DataFrame, resamples: int, seed: int, by: str
) -> dict[str, float]:
    if told["answer"].equals(clean["answer"]):
        return dict.fromkeys(("change", "low", "high"), 0.0)
    ids = told.index
    found = paired_bootstrap(
        gold_for(corpus, ids),
        told["answer"],
        clean["answer"],
        corpus.labels,
        groups=units_for(corpus, ids, by),
        resamples=resamples,
        seed=seed,
    )
    return {"change": found.estimate, "low": found.low, "high": found.high}


def side_by_side(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Pivot one value of `conditions_table`: one row per condition, one column per system."""
    wide = table.pivot(index="condition", columns="system", values=value)
    order = {name: list(dict.fromkeys(table[name])) for name in ("condition", "system")}
    return wide.loc[order["condition"], order["system"]].rename_axis(columns=None)


def curves(table: pd.DataFrame, conditions: Sequence[Condition]) -> pd.DataFrame:
    """Select the rows of `conditions_table` whose condition has a strength, weakest first; clean clips begin each kind.

    Returns:
        One row per kind, strength and system: kind, strength ("clean" or the number), system, macro_f1. Kinds with
        fewer than two strengths are left out.
    """
    rows = []
    for kind, name in CONDITION_KINDS.items():
        values = {c.name: getattr(c, name) for c in conditions if getattr(c, name) != getattr(Condition(), name)}
        if len(values) < 2:
            continue
        order = sorted(values, key=lambda of: values[of], reverse=name != "words_deleted")
        for strength, condition in [(CLEAN, CLEAN), *((f"{values[of]:g}", of) for of in order)]:
            here = table[table["condition"] == condition]
            rows.append(here[["system", "macro_f1"]].assign(kind=kind, strength=strength))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["kind", "strength"])


def reliability_table(corpus: Corpus, ways: Mapping[str, pd.DataFrame], bins: int) -> pd.DataFrame:
    """Compute `calibration.reliability` of several log-probabilities of the same clips, per way and bin."""
    each = [
        calibration.reliability(said, gold_for(corpus, said.index), bins).assign(way=way) for way, said in ways.items()
    ]
    return pd.concat(each, ignore_index=True)


def calibration_table(corpus: Corpus, ways: Mapping[str, pd.DataFrame], bins: int) -> pd.DataFrame:
    """Measure how good probabilities are.

    Args:
        corpus: gives the gold labels.
        ways: what they are -> log-probabilities.
        bins: of the ECE.

    Returns:
        One row per way: accuracy, confidence (mean), ECE, NLL, Brier.
    """
    rows = {}
    for way, said in ways.items():
        gold = gold_for(corpus, said.index)
        told = calibration.surest(said)
        rows[way] = {
            "accuracy": float((told["answer"] == gold).mean()),
            "confidence": float(told["confidence"].mean()),
            "ECE": calibration.expected_calibration_error(said, gold, bins),
            "NLL": calibration.negative_log_likelihood(said, gold),
            "Brier": calibration.brier_score(said, gold),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("probabilities of")


def tempered_answers(
    corpus: Corpus, said: pd.DataFrame, by: str = "", seed: int = 0
) -> tuple[pd.DataFrame, list[float]]:
    """Temper each half of the clips with the temperature of the other half; return both temperatures too.

    Args:
        corpus: gives the gold labels.
        said: log-probabilities.
        by: what is dealt into halves: empty: clips; "speaker" or "video": all clips of one.
        seed: of the dealing.
    """
    units = units_for(corpus, said.index, by)
    halves = calibration.halves(pd.Series(said.index, said.index) if units is None else units, seed)
    found, temperatures = calibration.cross_tempered(said, gold_for(corpus, said.index), halves)
    return found, list(temperatures.values())


def abstention_curves(corpus: Corpus, systems: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compute risk by coverage of the systems whose answers can be ordered, per system and number of answers."""
    each = [
        calibration.risk_coverage(told["confidence"], told["answer"] == gold_for(corpus, told.index)).assign(
            system=name
        )
        for name, told in systems.items()
        if told["confidence"].notna().all()
    ]
    return pd.concat(each, ignore_index=True) if each else pd.DataFrame(columns=["coverage", "risk", "system"])


def abstention_table(curves: pd.DataFrame) -> pd.DataFrame:
    """Tabulate what leaving out answers gains, the best first.

    Args:
        curves: from `abstention_curves`.

    Returns:
        One row per system: ``area`` under the curve; ``best area``, if all right answers came first; the risk of all
        clips (the area of an order that says nothing), of the surest 80 % and of the surest half.
    """
    rows = {}
    for system, curve in curves.groupby("system", sort=False):
        clips = len(curve)
        wrong = round(curve["risk"].iloc[-1] * clips)
        best = np.maximum(np.arange(1, clips + 1) - (clips - wrong), 0) / np.arange(1, clips + 1)
        at = {f"risk of {share:.0%}": curve["risk"].iloc[round(share * clips) - 1] for share in (1, 0.8, 0.5)}
        rows[system] = {"area": calibration.risk_area(curve), "best area": float(best.mean()), **at}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system").sort_values("area")
