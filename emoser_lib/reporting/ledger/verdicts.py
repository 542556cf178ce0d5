"""The ledger: every claim of the papers beside what there is to hold against it, and what follows.

A claim about the papers' own numbers is answered by the papers' checkpoints and data only: a demo or small run answers
the direction of a statement at most, and its reason says so.
"""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any, get_args

import pandas as pd

from emoser_lib.environment import shipped_files
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments import paper_interval
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Record, published_records
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.reporting.ledger.checks import CHECKS
from emoser_lib.reporting.ledger.claims import (
    IMPRECISE,
    NEEDS,
    UNKNOWN,
    AsksBest,
    AsksCell,
    AsksDifference,
    AsksOrder,
    AsksRecalls,
    AsksScore,
    AsksShare,
    AsksSmallGain,
    Claim,
    ClaimFinding,
    Computed,
    FromRecord,
    Named,
    NeedsRun,
    Nothing,
    Setting,
    Verdict,
    at,
    compared,
    read_claims,
    the_record,
)
from emoser_lib.reporting.ledger.rules import (
    Judged,
    cell_of,
    difference_of,
    estimate_of,
    fold_difference,
    judged_best,
    judged_order,
    judged_recalls,
    judged_score,
    judged_share,
    judged_small_gain,
    judged_together,
    row_of,
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


def _of_record(record: Record, judged: Judged, system: str = "") -> ClaimFinding:
    """What a rule found in a record."""
    low, high = judged.estimate[1:]
    return ClaimFinding(
        verdict=judged.verdict,
        reason=judged.reason,
        measured=judged.measured,
        low=None if isnan(low) else low,
        high=None if isnan(high) else high,
        system=system,
        notebook=record.notebook,
        profile=record.profile,
        record=record.name,
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
    runs = [(answer.notebook, answer.run)]
    if isinstance(answer.asks, AsksDifference):
        runs.append((answer.asks.notebook, answer.asks.run))
    for run in runs:
        _run(*run)
    found = [records[f"{notebook}-paper-{run}"] for notebook, run in runs if f"{notebook}-paper-{run}" in records]
    if len(found) == len(runs):
        return _asked(claim, answer, found)
    return ClaimFinding(
        verdict=NEEDS,
        reason=f"No record of {' and '.join(f'{notebook}, {run}' for notebook, run in runs)}. {answer.why}".strip(),
        notebook=answer.notebook,
        command=" && ".join(_command(*run) for run in runs),
    )


def _asked(claim: Claim, answer: NeedsRun, records: Sequence[Record]) -> ClaimFinding:
    """What the records of the paper's own runs say of a claim."""
    record, system = records[0], ""
    match answer.asks:
        case AsksScore(row=row, also=also):
            rows = [name for name in (row, also) if name]
            found = {name: judged_score(*_stated(claim), estimate_of(row_of(record, name))) for name in rows}
            judged = judged_together(found)
            system = row
        case AsksCell(cell=cell):
            judged = judged_score(*_stated(claim), estimate_of(cell_of(record, cell)))
        case AsksBest(column=column):
            assert claim.value is not None
            judged = judged_best(record, column, claim.value)
        case AsksOrder(pairs=pairs) | AsksSmallGain(pairs=pairs):
            cells = [[cell_of(record, named) for named in pair] for pair in pairs]
            if isinstance(answer.asks, AsksOrder):
                differences = [fold_difference(record, *pair) for pair in cells]
                judged = judged_order(differences, [" less ".join(map(_cell_name, pair)) for pair in pairs])
            else:
                differences = [fold_difference(record, *pair[::-1]) for pair in cells]
                names = [" less ".join(map(_cell_name, pair[::-1])) for pair in pairs]
                margins = [_own_width(pair[0]["macro_f1"], claim.n) for pair in cells]
                judged = judged_small_gain(differences, names, margins)
        case AsksDifference(row=row, other=other, stated=stated):
            pair = [estimate_of(row_of(one, name)) for one, name in zip(records, (row, other), strict=True)]
            judged = judged_order([difference_of(*pair)], [f"{row} less {other}"])
            if stated == "alike":
                apart = judged.verdict != IMPRECISE
                judged = judged._replace(verdict="differs") if apart else judged._replace(reason=NOT_SHOWN_TO_BE_NONE)
        case AsksShare(kinds=kinds, above=above):
            judged = judged_share(record, kinds, above)
        case AsksRecalls(above=above):
            judged = judged_recalls(record, above)
    reason = f"{judged.reason} {answer.why}".strip()
    return _of_record(record, judged._replace(reason=reason), system)


NOT_SHOWN_TO_BE_NONE = "The 95 % interval of the difference holds zero: not found is not shown to be none."


def _stated(claim: Claim) -> tuple[float, int]:
    """A score, and the clips that it is of; a mean over folds is of one fold's."""
    if claim.value is None or claim.n is None:
        raise DataError(f"claim '{claim.id}' has no score or no number of clips, and a score is asked for: mend it.")
    return claim.value, claim.n // N_FOLDS if claim.split == "cv" else claim.n


def _own_width(score: float, n: int | None) -> float:
    assert n is not None
    return paper_interval(score, n // N_FOLDS)[1] - score


def _cell_name(named: Named) -> str:
    return " and ".join(f"{column} {value:g}" for column, value in named.items())


def _run(notebook: str, run: str) -> Mapping[str, Any]:
    """The parameters of a run of the profile paper. Raises UsageError where there is none."""
    [planned] = plan(shipped_files() / "notebooks" / f"{notebook}.ipynb", "paper", run)
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


def scores_measured(entries: Sequence[LedgerEntry]) -> tuple[int, int]:
    """Count the papers' own scores that were measured again with the paper's models and data, and all their scores."""
    scores = [entry for entry in entries if entry.claim.metric and entry.claim.value is not None]
    return sum(entry.finding.profile == "paper" for entry in scores), len(scores)


def counts(entries: list[LedgerEntry]) -> pd.DataFrame:
    """Count each paper's claims by verdict."""
    rows = [(entry.claim.paper, entry.finding.verdict) for entry in entries]
    table = pd.DataFrame(rows, columns=["paper", "verdict"])
    return pd.crosstab(table["paper"], table["verdict"])
