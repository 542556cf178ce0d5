"""The ledger: every claim of the papers beside what there is to hold against it, and what follows.

A claim about the papers' own numbers is answered by the papers' checkpoints and data only: a demo or small run answers
the direction of a statement at most, and its reason says so.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, get_args

import pandas as pd
import yaml
from pydantic import Field

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.profiles import plan
from emoser_lib.experiments.records import ROOT, Record, published_records
from emoser_lib.values import Value

Verdict = Literal["reproduced", "consistent", "differs", "needs the paper's hardware or data", "cannot be checked"]
"""Of the paper's number: "reproduced" or "differs". Of a statement's direction: "consistent" or "differs"."""
NEEDS: Verdict = "needs the paper's hardware or data"
UNKNOWN: Verdict = "cannot be checked"


class FromRecord(Value):
    """A number of a record, to be compared with the claim's."""

    kind: Literal["record"]
    record: str
    at: str


class Computed(Value):
    """What the function of that name in `ledger_checks` finds."""

    kind: Literal["computed"]
    name: str


class Direction(Value):
    """A statement that one system is better than another, held against two systems of a record.

    Attributes:
        more, than: which is stated to be better.
        metric: by what: "macro_f1" or "uar".
        why: what a yes shows, in a sentence.
    """

    kind: Literal["direction"]
    record: str
    more: str
    than: str
    metric: Literal["macro_f1", "uar"]
    why: str


class Setting(Value):
    """A parameter of the profile paper: what was set is no result, but it is run as stated."""

    kind: Literal["setting"]
    notebook: str
    run: str
    parameter: str
    contains: str = ""


class Needs(Value):
    """The run of the profile paper that would answer it."""

    kind: Literal["needs"]
    notebook: str
    run: str
    why: str = ""


class Nothing(Value):
    """Why it cannot be checked."""

    kind: Literal["none"]
    why: str


Answer = Annotated[FromRecord | Computed | Direction | Setting | Needs | Nothing, Field(discriminator="kind")]


class Claim(Value):
    """One claim, as ``book/claims.yaml`` has it; see there."""

    id: str
    paper: str
    place: str
    text: str
    value: float | None
    printed: str
    interval: float | None = None
    note: str = ""
    metric: str = ""
    split: Literal["", "train", "test", "cv"] = ""
    n: int | None = None
    answer: Answer


class Finding(Value):
    """What there is to hold against a claim.

    Attributes:
        verdict, reason: what follows, and why.
        measured: what was measured, as a page prints it; empty where nothing was.
        low, high: its 95 % interval, where it has one.
        system: what was measured.
        notebook: the chapter that answers, or would.
        profile, record: of what was measured.
        command: that would answer the claim, where nothing does.
    """

    verdict: Verdict
    reason: str
    measured: str = ""
    low: float | None = None
    high: float | None = None
    system: str = ""
    notebook: str = ""
    profile: str = ""
    record: str = ""
    command: str = ""


class Entry(Value):
    """A claim and its finding."""

    claim: Claim
    finding: Finding


Check = Callable[[Claim, Mapping[str, Claim], Mapping[str, Record]], Finding]


def read_claims() -> dict[str, Claim]:
    """The claims by id.

    Raises:
        DataError: the book's source is not beside the library, or an entry is not a claim.
    """
    path = ROOT / "book" / "claims.yaml"
    if not path.is_file():
        raise DataError(f"{path} is not there: work in a checkout of the project.")
    return {one["id"]: Claim.model_validate(one) for one in yaml.safe_load(path.read_text(encoding="utf-8"))}


def ledger() -> list[Entry]:
    """Every claim with its finding, in the order of ``book/claims.yaml``.

    Only what is committed is looked at, so it says the same on each machine.

    Raises:
        DataError: see `read_claims`; a record, a run or a path that a claim names does not exist; or a claim about a
            score would be answered by a run of another profile than the paper's.
    """
    claims = read_claims()
    records = {record.name: record for record in published_records()}
    return [Entry(claim=claim, finding=find(claim, claims, records)) for claim in claims.values()]


def find(claim: Claim, claims: Mapping[str, Claim], records: Mapping[str, Record]) -> Finding:
    """What there is to hold against one claim; arguments and errors as `ledger`."""
    from emoser_lib.reporting.ledger_checks import CHECKS

    answer = claim.answer
    match answer:
        case FromRecord():
            return _from_record(claim, answer, records)
        case Computed():
            if answer.name not in CHECKS:
                raise DataError(f"claim '{claim.id}': there is no check '{answer.name}' in ledger_checks.")
            return CHECKS[answer.name](claim, claims, records)
        case Direction():
            return _direction(claim, answer, records)
        case Setting():
            return _setting(claim, answer)
        case Needs():
            return _needs(claim, answer, records)
        case Nothing():
            return Finding(verdict=UNKNOWN, reason=answer.why)


def compared(claim: Claim, measured: float, reason: str = "", **where: Any) -> Finding:
    """A number that has no interval: it is the claim's if it rounds to what is printed.

    >>> nothing = Nothing(kind="none", why="")
    >>> claim = Claim(id="c", paper="", place="", text="", value=8.4, printed="8.4", answer=nothing)
    >>> compared(claim, 8.396).verdict, compared(claim, 8.46).verdict
    ('reproduced', 'differs')
    """
    assert claim.value is not None
    decimals = len(claim.printed.partition(".")[2])
    same = round(measured, decimals) == claim.value
    told = f"{measured:,.{decimals}f}" if same else f"{measured:,.{decimals + 1}f}"
    return Finding(
        verdict="reproduced" if same else "differs",
        reason=reason or ("The same number." if same else "Another number."),
        measured=told,
        **where,
    )


def at(record: Record, path: str) -> Any:
    """The value of a record's metrics at a path of names with dots between.

    Raises:
        DataError: there is none.
    """
    value: Any = record.metrics
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise DataError(f"the record {record.name} has no metric '{path}': mend the claim that names it.")
        value = value[name]
    return value


def the_record(name: str, records: Mapping[str, Record]) -> Record:
    """A committed record by its file's name.

    Raises:
        DataError: there is none.
    """
    if name not in records:
        raise DataError(f"book/records has no {name}.json: mend the claim that names it.")
    return records[name]


def _from_record(claim: Claim, answer: FromRecord, records: Mapping[str, Record]) -> Finding:
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


def _direction(claim: Claim, answer: Direction, records: Mapping[str, Record]) -> Finding:
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
    return Finding(
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


def _setting(claim: Claim, answer: Setting) -> Finding:
    given = _run(answer.notebook, answer.run).get(answer.parameter)
    stated = answer.contains or (claim.printed if claim.value is None else claim.value)
    values = given if isinstance(given, list) else [given]
    if not any(_same(value, stated) for value in values):
        raise DataError(
            f"claim '{claim.id}' states {stated}, and {answer.run} of {answer.notebook} in the profile paper has "
            f"{answer.parameter} = {given}: mend one of them."
        )
    return Finding(
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


def _needs(claim: Claim, answer: Needs, records: Mapping[str, Record]) -> Finding:
    _run(answer.notebook, answer.run)
    found = records.get(f"{answer.notebook}-paper-{answer.run}")
    if found is not None and claim.metric == "macro-F1" and claim.split == "test" and claim.value is not None:
        return _scored(claim, found)
    return Finding(
        verdict=NEEDS,
        reason=answer.why or "No run with the paper's checkpoint, data and GPU is recorded.",
        notebook=answer.notebook,
        command=_command(answer.notebook, answer.run),
    )


def _scored(claim: Claim, record: Record) -> Finding:
    """A score of the paper's own run: the same if the paper's number is in our interval."""
    assert claim.value is not None
    value = at(record, "macro_f1")
    scores = at(record, "scores")
    system, scored = next((name, of) for name, of in scores.items() if of["macro_f1"] == value)
    same = scored["low"] <= claim.value <= scored["high"]
    return Finding(
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


def counts(entries: list[Entry]) -> pd.DataFrame:
    """How many claims of each paper have which verdict."""
    rows = [(entry.claim.paper, entry.finding.verdict) for entry in entries]
    table = pd.DataFrame(rows, columns=["paper", "verdict"])
    return pd.crosstab(table["paper"], table["verdict"])
