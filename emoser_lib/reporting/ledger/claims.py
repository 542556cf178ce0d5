"""The papers' numbers, from the one place where they are written down."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import pandas as pd
import yaml
from pydantic import Field

from emoser_lib.environment import shipped_files
from emoser_lib.errors import DataError
from emoser_lib.experiments.runs.records import Record
from emoser_lib.values import Immutable


def claims() -> pd.DataFrame:
    """Return the claims of ``book/claims.yaml``, by id: paper, place, text, value, interval and more.

    Raises:
        DataError: the book's source is not beside the library.
    """
    path = shipped_files() / "book" / "claims.yaml"
    if not path.is_file():
        raise DataError(f"{path} is not there: work in a checkout of the project.")
    listed: list[dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return pd.DataFrame(listed).set_index("id")


Verdict = Literal[
    "reproduced",
    "consistent",
    "differs",
    "too imprecise to tell",
    "needs the paper's hardware or data",
    "cannot be checked",
]
"""Of the paper's number: "reproduced" or "differs". Of a statement's direction: "consistent" or "differs". Of both:
"too imprecise to tell", where what was measured leaves it open (see `rules`)."""

IMPRECISE: Verdict = "too imprecise to tell"

NEEDS: Verdict = "needs the paper's hardware or data"

UNKNOWN: Verdict = "cannot be checked"


class FromRecord(Immutable):
    """Answer by a number of a record, to be compared with the claim's."""

    kind: Literal["record"]
    record: str
    at: str


class Computed(Immutable):
    """Answer by a function of `checks`, named here."""

    kind: Literal["computed"]
    name: str


class Setting(Immutable):
    """Answer by a parameter of the profile paper: what was set is no result, but it is run as stated."""

    kind: Literal["setting"]
    notebook: str
    run: str
    parameter: str
    contains: str = ""


Named = dict[str, float]
"""Row of a grid: the values of the columns that name it, such as rank and alpha."""


class AsksScore(Immutable):
    """Ask for a row of the record's table of scores.

    Attributes:
        row: the system's.
        also: another reading of the same system, where the paper does not say how it read: both must say the same.
    """

    of: Literal["score"]
    row: str
    also: str = ""


class AsksCell(Immutable):
    """Ask for a cell of the record's grid: its mean over the folds."""

    of: Literal["cell"]
    cell: Named


class AsksBest(Immutable):
    """Ask which value of a column the best cell of the record's grid has."""

    of: Literal["best"]
    column: str


class AsksOrder(Immutable):
    """Ask whether, of each pair of the grid's cells, the first is better than the second."""

    of: Literal["order"]
    pairs: list[tuple[Named, Named]]


class AsksSmallGain(Immutable):
    """Ask whether the second cell of each pair is hardly better than the first."""

    of: Literal["small gain"]
    pairs: list[tuple[Named, Named]]


class AsksDifference(Immutable):
    """Ask how a row of the record's scores compares with a row of another run's.

    Attributes:
        row: of this run.
        notebook, run, other: the other run, and its row.
        stated: what the claim states: that the first is better, or that they are alike.
    """

    of: Literal["difference"]
    row: str
    notebook: str
    run: str
    other: str
    stated: Literal["better", "alike"]


class AsksShare(Immutable):
    """Ask whether more than a share of the answers is of these kinds, as the lenient parser reads them.

    What the share has to be is our reading of a word such as "often".
    """

    of: Literal["share"]
    kinds: list[str]
    above: float


class AsksRecalls(Immutable):
    """Ask whether each label's recall is above a value, which is our reading of a word such as "consistent"."""

    of: Literal["recalls"]
    above: float


Asks = Annotated[
    AsksScore | AsksCell | AsksBest | AsksOrder | AsksSmallGain | AsksDifference | AsksShare | AsksRecalls,
    Field(discriminator="of"),
]


class NeedsRun(Immutable):
    """Answer that needs a run of the profile paper.

    Attributes:
        notebook, run: which.
        asks: what its record is asked for.
        why: what a reader has to know of the answer.
    """

    kind: Literal["needs"]
    notebook: str
    run: str
    asks: Asks
    why: str = ""


class Nothing(Immutable):
    """Reason why a claim cannot be checked."""

    kind: Literal["none"]
    why: str


AnsweredBy = Annotated[FromRecord | Computed | Setting | NeedsRun | Nothing, Field(discriminator="kind")]


class Claim(Immutable):
    """A claim of a paper, as ``book/claims.yaml`` has it; see there."""

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
    answer: AnsweredBy


class ClaimFinding(Immutable):
    """Finding that is held against a claim.

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


Check = Callable[[Claim, Mapping[str, Claim], Mapping[str, Record]], ClaimFinding]


def read_claims() -> dict[str, Claim]:
    """Read the claims, by id.

    Raises:
        DataError: the book's source is not beside the library, or an entry is not a claim.
    """
    path = shipped_files() / "book" / "claims.yaml"
    if not path.is_file():
        raise DataError(f"{path} is not there: work in a checkout of the project.")
    return {one["id"]: Claim.model_validate(one) for one in yaml.safe_load(path.read_text(encoding="utf-8"))}


def compared(claim: Claim, measured: float, reason: str = "", **where: Any) -> ClaimFinding:
    """Compare a number that has no interval: it is the claim's if it rounds to what is printed.

    >>> nothing = Nothing(kind="none", why="")
    >>> claim = Claim(id="c", paper="", place="", text="", value=8.4, printed="8.4", answer=nothing)
    >>> compared(claim, 8.396).verdict, compared(claim, 8.46).verdict
    ('reproduced', 'differs')
    >>> compared(claim, 8.346).measured
    '8.346'
    """
    assert claim.value is not None
    decimals = len(claim.printed.partition(".")[2])
    same = round(measured, decimals) == claim.value
    shown = decimals if same else decimals + 1
    while not same and abs(round(measured, shown) - claim.value) <= 0.5 * 10**-decimals + 1e-9:
        shown += 1  # 3.146 is 3.1, and written as 3.15 it would look like 3.2
    told = f"{measured:,.{shown}f}"
    return ClaimFinding(
        verdict="reproduced" if same else "differs",
        reason=reason or ("The same number." if same else "Another number."),
        measured=told,
        **where,
    )


def at(record: Record, path: str) -> Any:
    """Look up a value of a record's metrics by a path of names with dots between.

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
    """Find a committed record by its file's name.

    Raises:
        DataError: there is none.
    """
    if name not in records:
        raise DataError(f"book/records has no {name}.json: mend the claim that names it.")
    return records[name]
