"""Looking back at runs: what they gave, what they changed, and which of two is better."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.judging.intervals import approximate_randomisation, paired_bootstrap
from emoser_lib.experiments.judging.scoring import METRICS
from emoser_lib.experiments.runs.answers import read_answers
from emoser_lib.experiments.runs.profiles import plan
from emoser_lib.experiments.runs.records import Record, portable, read_record
from emoser_lib.experiments.runs.runner import find_notebook
from emoser_lib.experiments.runs.settling import settle
from emoser_lib.files import MANIFEST, damage
from emoser_lib.values import Immutable


class ListedRun(Immutable):
    """One run, for a list.

    Attributes:
        chapter, key, run, profile, status, date: as its record says.
        metric, score, low, high: its own system's macro-F1 with its 95 % interval; ``None`` where it has none.
        parameters: those that differ from the run of that name in its profile.
        seconds: it took.
        seconds_trained: of its training, in this run or in the one that left it in the cache; ``None``: none.
        folder: where its record lies.
    """

    chapter: str
    key: str
    run: str
    profile: str
    status: str
    metric: str = "macro_f1"
    score: float | None
    low: float | None
    high: float | None
    parameters: dict[str, Any]
    seconds: float
    seconds_trained: float | None
    date: str
    folder: Path


class SeedsTogether(Immutable):
    """Runs that differ by their seed only: mean and standard deviation of their scores."""

    chapter: str
    run: str
    profile: str
    parameters: dict[str, Any]
    metric: str
    seeds: tuple[int, ...]
    mean: float
    sd: float | None
    lowest: float
    highest: float


class Comparison(Immutable):
    """The first run's score minus the second's, on the clips that both answered.

    Attributes:
        metric: ``macro_f1``, ``uar`` or ``accuracy``.
        difference, low, high: with its 95 % bootstrap interval.
        p_value: of approximate randomisation, two-sided.
        n: clips that both answered.
        unit: what was drawn: ``clip``, ``speaker`` or ``video``.
        systems: the two that are compared.
        parameters: name -> the two runs' values, where they differ.
    """

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    n: int
    unit: Literal["clip", "speaker", "video"]
    systems: tuple[str, str]
    parameters: dict[str, tuple[Any, Any]]


def list_runs(runs: Path, chapter: str | None = None) -> list[ListedRun]:
    """List the runs below a folder, by chapter, newest first.

    Args:
        runs: such as ``runs``.
        chapter: only those of this one.

    Raises:
        UsageError: there is no run of this chapter.
    """
    found = [listed(folder / "record.json") for folder in settle(runs)]
    known = sorted({run.chapter for run in found})
    if chapter is not None and chapter not in known:
        hint = did_you_mean(chapter, known)
        raise UsageError(f"{runs} has no run of '{chapter}'{hint}: it has runs of {', '.join(known) or 'nothing'}.")
    newest = sorted(found, key=lambda run: run.date, reverse=True)
    return sorted((run for run in newest if chapter in (None, run.chapter)), key=lambda run: run.chapter)


def listed(path: Path) -> ListedRun:
    """Read a record for the list."""
    record = read_record(path)
    own = _own_score(record)
    return ListedRun(
        chapter=record.notebook,
        key=record.key,
        run=record.run,
        profile=record.profile,
        status=record.status,
        score=own.get("macro_f1"),
        low=own.get("low"),
        high=own.get("high"),
        parameters=_changed(record),
        seconds=record.seconds,
        seconds_trained=record.metrics.get("seconds"),
        date=record.date,
        folder=path.parent,
    )


def headline(run: ListedRun) -> str:
    """Say in a line how a run ended and its score, with the 95 % interval."""
    score = "" if run.score is None else f"{run.metric} {run.score:.3f}"
    if run.low is not None and run.high is not None:
        score += f" [{run.low:.3f}, {run.high:.3f}]"
    return f"{run.chapter} {run.key} ({run.run}) {run.status} {score}".rstrip()


def fold_by_seed(runs: Sequence[ListedRun]) -> list[SeedsTogether]:
    """Put runs together that differ by their seed only; runs without a score are left out.

    Raises:
        DataError: a record's seed is no whole number.
    """
    groups: dict[str, list[tuple[int, ListedRun]]] = {}
    for run in runs:
        if run.score is None:
            continue
        parameters = read_record(run.folder / "record.json").parameters
        seed = parameters.pop("seed", 0)
        if not isinstance(seed, int):
            raise DataError(f"{run.folder / 'record.json'} has the seed '{seed}', no whole number: run it again.")
        groups.setdefault(f"{run.chapter} {sorted(parameters.items())}", []).append((seed, run))
    together = []
    for members in groups.values():
        by_seed = dict(reversed(members))  # the newest of each seed
        scores = [run.score for run in by_seed.values() if run.score is not None]
        first = by_seed[min(by_seed)]
        together.append(
            SeedsTogether(
                chapter=first.chapter,
                run=first.run,
                profile=first.profile,
                parameters={name: value for name, value in first.parameters.items() if name != "seed"},
                metric=first.metric,
                seeds=tuple(sorted(by_seed)),
                mean=mean(scores),
                sd=stdev(scores) if len(scores) > 1 else None,
                lowest=min(scores),
                highest=max(scores),
            )
        )
    return together


def find_run(name: str, runs: Path) -> Path:
    """Find a run's folder: given as a folder, or by its key below ``runs``.

    Raises:
        UsageError: there is none, or several chapters have one of this key.
    """
    if (Path(name) / "record.json").is_file():
        return Path(name)
    folders = [path.parent for path in sorted(runs.glob("*/*/record.json"))]
    found = [folder for folder in folders if name in (folder.name, f"{folder.parent.name}/{folder.name}")]
    if len(found) == 1:
        return found[0]
    if found:
        both = ", ".join(f"{folder.parent.name}/{folder.name}" for folder in found)
        raise UsageError(f"'{name}' is a run of several chapters: name it as one of {both}.")
    hint = did_you_mean(name, [folder.name for folder in folders])
    raise UsageError(f"there is no run '{name}' in {runs}{hint}: `emoser runs` lists them.")


def compare_runs(
    first: Path,
    second: Path,
    systems: tuple[str | None, str | None] = (None, None),
    metric: str = "macro_f1",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare two runs on the clips that both answered, paired.

    Args:
        first, second: folders of runs.
        systems: one of each run; ``None``: the one that the run is about.
        metric: a name of ``METRICS``.
        resamples: of the bootstrap; of the randomisation five times as many (our choice).
        seed: of both.

    Raises:
        UsageError: a system or metric is not known, no clip was answered by both, or their gold labels differ.
        DataError: a run keeps no answers.
    """
    for folder in (first, second):
        if (folder / MANIFEST).is_file() and (wrong := damage(folder)):
            raise DataError(f"{folder} is not whole any more ({wrong}): run it again.")
    records = [read_record(folder / "record.json") for folder in (first, second)]
    answers = [read_answers(folder) for folder in (first, second)]
    if metric not in METRICS:
        raise UsageError(
            f"there is no metric '{metric}'{did_you_mean(metric, list(METRICS))}: known are {', '.join(METRICS)}."
        )
    chosen = []
    for said, asked, folder in zip(answers, systems, (first, second), strict=True):
        if asked is not None and asked not in said.systems:
            hint = did_you_mean(asked, list(said.systems))
            raise UsageError(f"{folder} has no system '{asked}'{hint}: it has {', '.join(said.systems)}.")
        chosen.append(asked or said.systems[0])
    a, b = (said.frame() for said in answers)
    both = a.index.intersection(b.index)
    if not len(both):
        raise UsageError(f"{first} and {second} answered no clip in common: compare runs on the same clips.")
    a, b = a.loc[both], b.loc[both]
    if (a["gold"] != b["gold"]).any() or set(answers[0].labels) != set(answers[1].labels):
        raise UsageError(f"{first} and {second} have other gold labels for the same clips: compare runs of one corpus.")
    unit = _unit(records, a.assign(clip=both))
    groups = None if unit == "clip" else a[unit]
    labels = answers[0].labels
    of = (a["gold"], a[chosen[0]], b[chosen[1]], labels, groups)
    interval = paired_bootstrap(*of, metric=metric, resamples=resamples, seed=seed)
    test = approximate_randomisation(*of, metric=metric, resamples=5 * resamples, seed=seed)
    names = sorted(set(records[0].parameters) | set(records[1].parameters))
    values = {name: (records[0].parameters.get(name), records[1].parameters.get(name)) for name in names}
    return Comparison(
        metric=metric,
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        p_value=test.p,
        n=len(both),
        unit=unit,
        systems=(chosen[0], chosen[1]),
        parameters={name: pair for name, pair in values.items() if pair[0] != pair[1]},
    )


def _unit(records: Sequence[Record], clips: Any) -> Literal["clip", "speaker", "video"]:
    """What the folds of either run keep whole, if all of its clips say theirs and there are two at least."""
    units: tuple[Literal["speaker", "video"], ...] = ("speaker", "video")
    for unit in units:
        schemes = (unit, "session") if unit == "speaker" else (unit,)
        kept = any(record.parameters.get("scheme") in schemes for record in records)
        if kept and (clips[unit] != "").all() and clips[unit].nunique() > 1:
            return unit
    return "clip"


def _own_score(record: Record) -> dict[str, Any]:
    """The row of the table of scores that is the run's own system; the best where it compares several."""
    rows: dict[str, dict[str, Any]] = record.metrics.get("scores") or {}
    own = record.metrics.get("macro_f1")
    if own is None and rows:
        own = max(row["macro_f1"] for row in rows.values())
    return next((row for row in rows.values() if row["macro_f1"] == own), {"macro_f1": own})


def _changed(record: Record) -> dict[str, Any]:
    """The parameters that are not those of the run of this name in its profile, as both are today."""
    try:
        planned = portable(plan(find_notebook(record.notebook), record.profile, record.run)[0].parameters)
    except UsageError:  # the notebook, profile or run is not there any more: all of them are its own
        planned = {}
    return {name: value for name, value in record.parameters.items() if name not in planned or planned[name] != value}
