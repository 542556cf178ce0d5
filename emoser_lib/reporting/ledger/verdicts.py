"""The ledger: every claim of the papers beside what there is to hold against it, and what follows.

A claim about the papers' own numbers is answered by the papers' checkpoints and data only: a demo or small run answers
the direction of a statement at most, and its reason says so.
"""

from collections.abc import Mapping
from typing import Any, get_args

import pandas as pd

from emoser_lib.environment import ROOT
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Record, published_records
from emoser_lib.reporting.ledger.checks import CHECKS
from emoser_lib.reporting.ledger.claims import (
    NEEDS,
    UNKNOWN,
    Claim,
    ClaimFinding,
    Computed,
    Direction,
    FromRecord,
    NeedsRun,
    Nothing,
    Setting,
    Verdict,
    at,
    compared,
    read_claims,
    the_record,
)
from emoser_lib.values import Immutable


class LedgerEntry(Immutable):
    """A claim and its finding."""

    claim: Claim
    finding: ClaimFinding


def ledger() -> list[LedgerEntry]:
    """Find what answers every claim, in the order of ``book/claims.yaml``.

    Only what is committed is looked at, so it says the same on each machine.

    Raises:
        DataError: see `read_claims`; a record, a run or a path that a claim names does not exist; or a claim about a
            score would be answered by a run of another profile than the paper's.
    """
    claims = read_claims()
    records = {record.name: record for record in published_records()}
    return [LedgerEntry(claim=claim, finding=find(claim, claims, records)) for claim in claims.values()]


def find(claim: Claim, claims: Mapping[str, Claim], records: Mapping[str, Record]) -> ClaimFinding:
    """Find what there is to hold against one claim; arguments and errors as `ledger`."""

    answer = claim.answer
    match answer:
        case FromRecord():
            return _from_record(claim, answer, records)
        case Computed():
            if answer.name not in CHECKS:
                raise DataError(f"claim '{claim.id}': there is no check '{answer.name}' in checks.")
            return CHECKS[answer.name](claim, claims, records)
        case Direction():
            return _direction(claim, answer, records)
        case Setting():
            return _setting(claim, answer)
        case NeedsRun():
            return _needs(claim, answer, records)
        case Nothing():
            return ClaimFinding(verdict=UNKNOWN, reason=answer.why)


def _from_record(claim: Claim, answer: FromRecord, records: Mapping[str, Record]) -> ClaimFinding:
    record = the_record(answer.record, records)
    if claim.metric and record.profile != "paper":
        raise DataError(
            f"claim '{claim.id}' is about a score, and {answer.record} is of the profile {record.profile}: only the "
            "profile paper can answer it."
        )
    return compared(
        claim,
        float(at(record, answer.at)),
        "Counted in the challenge's own tables.",
        notebook=record.notebook,
        profile=record.profile,
        record=answer.record,
    )


def _direction(claim: Claim, answer: Direction, records: Mapping[str, Record]) -> ClaimFinding:
    record = the_record(answer.record, records)
    scores = at(record, "scores")
    more, than = scores[answer.more], scores[answer.than]
    prefix = "uar_" if answer.metric == "uar" else ""
    low, high = more[f"{prefix}low"], more[f"{prefix}high"]
    apart = low > than[f"{prefix}high"]
    reverse = high < than[f"{prefix}low"]
    name = {"macro_f1": "macro-F1", "uar": "UAR"}[answer.metric]
    told = (
        f"{answer.more} {more[answer.metric]:.3f}, {answer.than} {than[answer.metric]:.3f} ({name}, "
        f"{record.corpus.name if record.corpus else 'no corpus'})"
    )
    verdict: Verdict = "consistent" if apart else "differs" if reverse else UNKNOWN
    reason = {
        "consistent": f"Its direction only: {answer.why}",
        "differs": "Its direction only, and it is the other way round here.",
        UNKNOWN: "Here the two cannot be told apart: their intervals overlap.",
    }[verdict]
    return ClaimFinding(
        verdict=verdict,
        reason=reason,
        measured=told,
        low=low,
        high=high,
        system=answer.more,
        notebook=record.notebook,
        profile=record.profile,
        record=answer.record,
    )


def _setting(claim: Claim, answer: Setting) -> ClaimFinding:
    given = _run(answer.notebook, answer.run).get(answer.parameter)
    stated = answer.contains or (claim.printed if claim.value is None else claim.value)
    values = given if isinstance(given, list) else [given]
    if not any(_same(value, stated) for value in values):
        raise DataError(
            f"claim '{claim.id}' states {stated}, and {answer.run} of {answer.notebook} in the profile paper has "
            f"{answer.parameter} = {given}: mend one of them."
        )
    return ClaimFinding(
        verdict=UNKNOWN,
        reason="A setting and no result: the profile paper runs with it.",
        measured=f"{answer.parameter} = {given}",
        notebook=answer.notebook,
        command=_command(answer.notebook, answer.run),
    )


def _same(value: object, stated: str | float) -> bool:
    if isinstance(stated, str):
        plain = ["".join(char for char in str(one).lower() if char.isalnum()) for one in (value, stated)]
        return plain[1] in plain[0]
    return isinstance(value, int | float) and float(value) == stated


def _needs(claim: Claim, answer: NeedsRun, records: Mapping[str, Record]) -> ClaimFinding:
    _run(answer.notebook, answer.run)
    found = records.get(f"{answer.notebook}-paper-{answer.run}")
    if found is not None and claim.metric == "macro-F1" and claim.split == "test" and claim.value is not None:
        return _scored(claim, found)
    return ClaimFinding(
        verdict=NEEDS,
        reason=answer.why or "No run with the paper's checkpoint, data and GPU is recorded.",
        notebook=answer.notebook,
        command=_command(answer.notebook, answer.run),
    )


def _scored(claim: Claim, record: Record) -> ClaimFinding:
    """A score of the paper's own run: the same if the paper's number is in our interval."""
    assert claim.value is not None
    value = at(record, "macro_f1")
    scores = at(record, "scores")
    system, scored = next((name, of) for name, of in scores.items() if of["macro_f1"] == value)
    same = scored["low"] <= claim.value <= scored["high"]
    return ClaimFinding(
        verdict="reproduced" if same else "differs",
        reason=f"The paper's number is {'in' if same else 'outside'} the 95 % interval of ours.",
        measured=f"{value:.4f}",
        low=scored["low"],
        high=scored["high"],
        system=system,
        notebook=record.notebook,
        profile=record.profile,
        record=record.name,
    )


def _run(notebook: str, run: str) -> Mapping[str, Any]:
    """The parameters of a run of the profile paper. Raises UsageError where there is none."""
    [planned] = plan(ROOT / "notebooks" / f"{notebook}.ipynb", "paper", run)
    return planned.parameters


def _command(notebook: str, run: str) -> str:
    return f"emoser run {notebook} --profile paper --only {run}"


def check_verdict(given: str) -> None:
    """Refuse a verdict that no claim can have.

    Raises:
        UsageError: it is none.
    """
    if given not in get_args(Verdict):
        hint = did_you_mean(given, list(get_args(Verdict)))
        raise UsageError(f"'{given}' is not a verdict{hint}: use one of {', '.join(get_args(Verdict))}.")


def counts(entries: list[LedgerEntry]) -> pd.DataFrame:
    """Count each paper's claims by verdict."""
    rows = [(entry.claim.paper, entry.finding.verdict) for entry in entries]
    table = pd.DataFrame(rows, columns=["paper", "verdict"])
    return pd.crosstab(table["paper"], table["verdict"])
