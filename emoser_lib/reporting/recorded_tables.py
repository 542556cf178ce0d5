"""The chapters' tables of what the committed records hold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from emoser_lib.corpora import LABELS
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments import Record, published_records
from emoser_lib.experiments.runs.records import NOT_RECORDED
from emoser_lib.reporting.seeds import OTHERS, f1_by_label, of_other_seeds, rarest_label, without

Row = dict[str, Any]

CONTEXTS = {"clip": "nothing", "window": "silence up to 30 s", "batch": "its batch", "arm": "what the arm says"}
"""Values of the parameter `context`, in words."""

SCORE_COLUMNS = {
    **{
        "macro-F1": "macro_f1",
        "low": "low",
        "high": "high",
        "UAR": "uar",
        "UAR low": "uar_low",
        "UAR high": "uar_high",
    },
    **{"accuracy": "accuracy", "n": "n"},
}
"""Columns of scores; older records have no interval of the UAR."""

LABEL_COLUMNS = ("label", "run", "precision", "recall", "f1", "n")

VOICE_COLUMNS = ("heard as", "voices", "macro_f1", "low", "high", "uar", "uar_low", "uar_high")

VALUE_COLUMNS = (
    *("group", "clips", "labels", "macro_f1", "uar", "accuracy", "standardised", "low", "high", "drawn"),
    *("confidence", "ECE", "NLL", "Brier", "area", "best area", "risk of 100%", "risk of 80%", "risk of 50%", "run"),
)


@dataclass(frozen=True)
class RecordedTable:
    """A kind of table of recorded values.

    Attributes:
        index: the columns that name a row; empty: rows have no names.
        rows: the rows that one record gives.
        columns: their order, where it is not that of the rows (a record sorts its keys); others are left out.
        order: sort key of the rows, where they are not in the order of the records.
    """

    index: tuple[str, ...]
    rows: Callable[[Record], Iterator[Row]]
    columns: tuple[str, ...] = ()
    order: Callable[[Row], Any] | None = None


def recorded(notebook: str, what: str) -> pd.DataFrame:
    """Tabulate what a chapter's committed records hold.

    Args:
        notebook: the chapter.
        what: one of `RECORDED`.

    Returns:
        The rows of all its records that have such values; empty where none has.

    Raises:
        UsageError: there is no such table.

    >>> recorded("02-scoring", "swings").loc["emospeech", "rarest label"]
    'fear'
    """
    if what not in RECORDED:
        hint = did_you_mean(what, [*RECORDED])
        raise UsageError(f"no recorded table is called '{what}'{hint}: take one of {', '.join(RECORDED)}.")
    table = RECORDED[what]
    rows = [row for record in published_records(notebook) for row in table.rows(record)]
    if table.order:
        rows.sort(key=table.order)
    frame = pd.DataFrame(rows)
    if table.columns:
        frame = frame[[column for column in table.columns if column in frame]]
    if frame.empty or not table.index:
        return frame
    return frame.set_index([*table.index])


def evaluated_on(record: Record) -> str:
    """Name the clips that a record's scores are about.

    Returns:
        Such as "emospeech, test" or "elicited_es, 5 folds, speaker"; also says whether the frames were normalised with
        other clips of their speakers.
    """
    asked = record.parameters
    if "refit" in asked:  # trained systems: the test, or the folds that chose the settings (of adapters the first)
        which = asked["folds"] if "encoder" in asked else asked["folds"][:1]
        named = f"fold {which[0]}" if len(which) == 1 else f"{len(which)} folds"
        how = "test" if asked["refit"] else f"{named}, {asked['scheme']}"
        how += ", normalised by speaker" if asked.get("normalised_by") else ""
    elif "split" in asked:
        how = asked["split"]
    else:
        how = "test" if asked["evaluate"] == "test" else f"folds, {asked['scheme']}"
    return f"{asked['corpus']}, {how}"


def _metric(name: str, index: str) -> Callable[[Record], Iterator[Row]]:
    """Take the rows of a metric that is a table, row name -> values, and name the run of each."""

    def rows(record: Record) -> Iterator[Row]:
        for row, values in record.metrics.get(name, {}).items():
            yield {index: row, **values, "run": record.run}

    return rows


def _best_first(record: Record) -> list[tuple[str, Row]]:
    return sorted(record.metrics.get("scores", {}).items(), key=lambda named: -named[1]["macro_f1"])


def _scores(record: Record) -> Iterator[Row]:
    """Take the rows of scores; what the seed does not change, only once."""
    first = of_other_seeds(record, published_records(record.notebook))[0]
    for system, scored in _best_first(record):
        if record.run != first.run and scored["macro_f1"] == first.metrics["scores"].get(system, {}).get("macro_f1"):
            continue
        yield {
            "system": system,
            "run": record.run,
            **{column: scored[name] for column, name in SCORE_COLUMNS.items() if name in scored},
            "drawn by": unit_drawn(record, scored),
            "evaluated on": evaluated_on(record),
        }


def unit_drawn(record: Record, scored: Row) -> str:
    """Return what the interval of a record's row of scores draws: clip, speaker or video.

    Records that are older than the column which says so are told by their settings.
    """
    if told := scored.get("drawn"):
        return str(told)
    asked = record.parameters
    return asked["scheme"] if "refit" in asked and not asked["refit"] and asked["scheme"] == "speaker" else "clip"


def scored_system(record: Record) -> tuple[str, Row]:
    """Find the system whose macro-F1 a record reports as its own, by name, and its row of scores.

    Raises:
        DataError: no row has that score.
    """
    own = record.metrics["macro_f1"]
    for system, scored in record.metrics["scores"].items():
        if scored["macro_f1"] == own:
            return system, scored
    raise DataError(f"{record.name} reports macro-F1 {own:.4f}, and none of its scores is that: run it again.")


def _zero_shot(record: Record) -> Iterator[Row]:
    for how, scored in _best_first(record):
        yield {
            "model": _models(record),
            "how": how,
            **{column: scored[SCORE_COLUMNS[column]] for column in ("macro-F1", "low", "high", "accuracy", "n")},
            "evaluated on": evaluated_on(record),
        }


def _swings(record: Record) -> Iterator[Row]:
    told = record.metrics
    if "rarest_swing" in told:
        yield {
            "corpus": record.parameters["corpus"],
            "system": record.parameters["system"],
            "macro-F1": told["macro_f1"],
            "rarest label": told["rarest"],
            "its clips": told["rarest_n"],
            "none to all right": told["rarest_swing"],
        }


def _intervals(record: Record) -> Iterator[Row]:
    for name, of in sorted(record.metrics.get("intervals", {}).items(), key=lambda named: -named[1]["width"]):
        yield {"corpus": record.parameters["corpus"], "interval": name, **{k: of[k] for k in ("low", "high", "width")}}


def _schemes(record: Record) -> Iterator[Row]:
    for name, of in record.metrics.get("schemes", {}).items():
        yield {"corpus": record.parameters["corpus"], "scheme": name, **of}


def _splits(record: Record) -> Iterator[Row]:
    for name, split in sorted(record.metrics.get("splits", {}).items(), reverse=True):
        yield {
            "corpus": record.parameters["corpus"],
            "split": name,
            "clips": split["clips"],
            "hours": split["hours"],
            **{label: split["labels"][label] for label in LABELS if label in split["labels"]},
            "video in train": record.metrics.get("shared", {}).get(name, {}).get("video in train"),
        }


def _provenance(record: Record) -> Iterator[Row]:
    yield {
        "command": record.command,
        "commit": record.commit or NOT_RECORDED,
        "date": record.date[:10],
        "time": f"{record.seconds:.0f} s, {record.hardware.cpu}, {record.hardware.cores} cores",
        "training": training_time(record),
        "device and precision": record.devices,
        "accelerator": record.accelerator,
    }


def training_time(record: Record) -> str:
    """Say how long what a run reports was trained, and whether it was read from the cache; empty where nothing was."""
    seconds = record.metrics.get("seconds")
    if seconds is None:
        return ""
    reused = " (trained by an earlier run, whose cell this one read)" if seconds > record.seconds else ""
    return f"{seconds:,.0f} s{reused}"


def _chosen_fold(record: Record) -> Iterator[Row]:
    """Take the fold on which settings were chosen, the first, apart from the others.

    A record that is older than scores by fold has the mean only; the first fold's is then that of chapter 13's record,
    whose system is the same training.
    """
    for cell in record.metrics.get("grid") or []:
        if cell["folds"] < 2:
            continue
        first = cell.get("fold 0", _judged_alone(record))
        if first is not None:
            rest = (cell["macro_f1"] * cell["folds"] - first) / (cell["folds"] - 1)
            yield {"run": record.run, "first fold": first, "mean of the others": rest, "mean of all": cell["macro_f1"]}


def _judged_alone(record: Record) -> float | None:
    """Macro-F1 of a record's first fold by chapter 13's record of the same training."""
    for other in published_records("13-robustness"):
        same = {*other.parameters} & {*record.parameters} - {"folds", "seconds", "bins", "resamples"}
        given = record.parameters | {
            "batch_size": record.parameters["batch_sizes"][0],
            "learning_rate": record.parameters["learning_rates"][0],
        }
        same |= {"batch_size", "learning_rate"}
        if not given.get("normalised_by") and all(given[name] == other.parameters[name] for name in same):
            return float(other.metrics["scores"]["whisper-gemma"]["macro_f1"])
    return None


def _fallbacks(record: Record) -> Iterator[Row]:
    for parser, values in record.metrics.get("fallback", {}).items():
        yield {
            "model": ", ".join(used.name for used in record.checkpoints),
            "parser": parser,
            **values,
            "n": record.metrics["n"],
        }


def _adapters(record: Record) -> Iterator[Row]:
    asked, told = record.parameters, record.metrics
    yield {
        "run": record.run,
        "model": _models(record),
        "rank": told["best_rank"],
        "alpha": told["best_alpha"],
        "learning rate": f"{asked['learning_rate']:g}",
        "epochs": asked["epochs"],
        **_effort(record),
        "macro-F1 on them": _grid(record).get("macro_f1"),
        "steps": told["steps"],
        "hours": told["seconds"] / 3600,
    }


def _systems(record: Record) -> Iterator[Row]:
    asked, told = record.parameters, record.metrics
    yield {
        "run": record.run,
        "models": _models(record),
        "reads": "yes" if asked["transcript"] else "no",
        "heard with a clip": CONTEXTS[asked.get("context", "clip")],
        "frames": "normalised by speaker" if asked.get("normalised_by") else "as they are",
        "parameters": told["parameters"]["together"]["parameters"],
        "trained": told["parameters"]["together"]["trained"],
        "epochs": asked["epochs"],
        **_effort(record),
        "mean macro-F1 of the folds": _grid(record).get("macro_f1"),
        "sd": _grid(record).get("sd"),
        "steps": told["steps"],
        "hours": told["seconds"] / 3600,
    }


def _models(record: Record) -> str:
    return ", ".join(f"{used.name} ({used.note})" for used in record.checkpoints)


def _effort(record: Record) -> Row:
    return {"training clips": record.parameters["train_clips"] or "all", "folds": len(record.parameters["folds"])}


def _grid(record: Record) -> Row:
    return next(iter(record.metrics.get("grid") or []), {})


def _labels(record: Record) -> Iterator[Row]:
    clips = sum(of["n"] for of in record.metrics["per_label"].values())
    for label, of in record.metrics["per_label"].items():
        yield {"label": label, "run": record.run, **of, "clips": clips}


def _test_labels(record: Record) -> Iterator[Row]:
    return _labels(record) if record.parameters["refit"] else iter(())


def _of_text_svm(record: Record) -> Record | None:
    """Chapter 3's record of text-svm on the test that a record is of."""
    plain = [one for one in published_records("03-classical") if evaluated_on(one) == evaluated_on(record)]
    return plain[0] if plain and record.parameters["refit"] else None


def _seeds(record: Record) -> Iterator[Row]:
    """Take the test score of a record's own system with and without the rarest label, and once those beside it."""
    if not record.parameters["refit"]:
        return
    name, scored = scored_system(record)
    rarest, plain = rarest_label(record), _of_text_svm(record)
    but = OTHERS
    limits = ("macro_f1", "low", "high")
    named = f"{name}, seed {record.parameters['seed']}"
    ours = f1_by_label(record)
    yield {"system": named, **{of: scored[of] for of in limits}, but: without(ours, rarest), rarest: ours[rarest]}
    if record.run != of_other_seeds(record, published_records(record.notebook))[0].run:
        return
    for system, row in _best_first(record):
        theirs = f1_by_label(plain, system) if plain and system in plain.metrics["scores"] else None
        told = {but: without(theirs, rarest), rarest: theirs[rarest]} if theirs else {}
        if system != name:
            yield {"system": system, **{of: row[of] for of in limits}, **told}


def _beside_text_svm(record: Record) -> Iterator[Row]:
    """Take F1 by label over the seeds, beside text-svm's by chapter 3's record of the same test, and the means."""
    seeds, plain = of_other_seeds(record, published_records(record.notebook)), _of_text_svm(record)
    if plain is None or record.run != seeds[0].run:
        return
    rarest, n = rarest_label(record), {label: of["n"] for label, of in record.metrics["per_label"].items()}
    ours, theirs = [f1_by_label(seed) for seed in seeds], f1_by_label(plain, "text-svm")
    together = len(ours[0])
    found = {label: (n[label], [f1[label] for f1 in ours], theirs[label]) for label in sorted(n, key=lambda x: -n[x])}
    found["mean"] = (sum(n.values()), [sum(f1.values()) / together for f1 in ours], sum(theirs.values()) / together)
    but = [without(f1, rarest) for f1 in (*ours, theirs)]
    found[f"mean of {OTHERS}"] = (sum(n.values()), but[:-1], but[-1])
    for label, (clips, values, plainly) in found.items():
        spread = {"mean of seeds": sum(values) / len(values), "smallest": min(values), "largest": max(values)}
        yield {"label": label, "n": clips, **spread, "text-svm": plainly, "seeds": len(values)}


def _voices(record: Record) -> Iterator[Row]:
    yield from ({**of, "run": record.run} for of in record.metrics.get("voices", []))


def _conditions(record: Record) -> Iterator[Row]:
    """Take macro-F1 under each condition, by system, and Whisper-Gemma's change with its interval."""
    told = record.metrics["conditions"]
    for condition in dict.fromkeys(of["condition"] for of in told):
        here = {of["system"]: of for of in told if of["condition"] == condition}
        change = {f"whisper-gemma: {name}": here["whisper-gemma"][name] for name in ("change", "low", "high")}
        scores = {system: of["macro_f1"] for system, of in here.items()}
        yield {"condition": condition, **scores, **change, "run": record.run}


def _changes(record: Record) -> Iterator[Row]:
    """Take what the single differences of the arms change, see `audit_tables.changes_table`."""
    for arm, of in record.metrics.get("changes", {}).items():
        recalls = [name for name in of if name.startswith("recall")]
        kept = {name: of[name] for name in ("macro_f1", "uar", *recalls, "difference", "low", "high", "p")}
        yield {"arm": arm, **kept, "run": record.run, "corpus": record.parameters["heard"]}


def _findings(record: Record) -> Iterator[Row]:
    """Take the main findings of an audit: value, and interval and clips where it has them."""
    told = record.metrics
    if not told.get("changes"):  # a run for the authors' file only
        return
    system, test = record.parameters["system"], told["leakage"]["test"]
    whole = {"n": test["clips"]}
    [rule] = [of for known, of in told["without_the_clip"].items() if known.endswith(", by the rule")]
    found = {
        "test clips whose video is in training, share": {"value": test["clips_sharing_video"] / test["clips"], **whole},
        "macro-F1 of the rule without a model": rule,
        f"{system}, macro-F1": told["without_the_clip"][system],
        "gender, clips of the video and length, macro-F1": told["without_the_clip"]["all three"],
        f"{system}, seen videos, standardised accuracy": told["seen"]["seen"],
        f"{system}, unseen videos, standardised accuracy": told["seen"]["unseen"],
        "seen less unseen": told["seen_difference"],
        **{f"{system}, {gender}, standardised accuracy": of for gender, of in told["by_gender"].items()},
        "best mean of five C, less that chosen on the other folds": {"value": told["chosen"]["difference"]},
    }
    for finding, of in found.items():
        value = next(of[name] for name in ("value", "standardised", "difference", "macro_f1") if name in of)
        clips = of.get("clips", of.get("n"))
        drawn = ("video" if "seen" in finding else "clip") if "low" in of else ""
        interval = {"low": of.get("low"), "high": of.get("high"), "drawn by": drawn}
        yield {"finding": finding, "value": value, **interval, "clips": clips, "run": record.run}


def _submission(record: Record) -> Iterator[Row]:
    """Take the scores of the authors' file, with F1 by label."""
    told = record.metrics.get("submission") or {}
    for task, scored in told.get("scores", {}).items():
        of_labels = {label: of[task] for label, of in told["per_label"].items()}
        yield {"task": task, **{name: scored[name] for name in ("macro_f1", "low", "high", "n")}, **of_labels}


def _submission_part(part: str) -> Callable[[Record], Iterator[Row]]:
    """Take a part of what was found of the authors' file, one row per task."""

    def rows(record: Record) -> Iterator[Row]:
        for task, found in (record.metrics.get("submission") or {}).get(part, {}).items():
            yield {"task": task, **found}

    return rows


RECORDED: Mapping[str, RecordedTable] = {
    "provenance": RecordedTable((), _provenance),
    # A test before the folds that chose for it, and what was scored on more clips before what was on fewer.
    "scores": RecordedTable(
        ("system",),
        _scores,
        ("system", "run", *SCORE_COLUMNS, "drawn by", "evaluated on"),
        lambda row: (not row["evaluated on"].endswith("test"), -row["n"]),
    ),
    "zero-shot scores": RecordedTable(("model",), _zero_shot),
    "swings": RecordedTable(("corpus",), _swings),
    "intervals": RecordedTable(("corpus",), _intervals),
    "schemes": RecordedTable(
        ("corpus",), _schemes, ("corpus", "scheme", "macro_f1", "fold_mean", "fold_sd", "shares_video")
    ),
    "splits": RecordedTable(("corpus",), _splits),
    "fallbacks": RecordedTable(("model",), _fallbacks),
    "adapters": RecordedTable(("run",), _adapters),
    "systems": RecordedTable(("run",), _systems),
    "labels": RecordedTable(("label",), _labels, LABEL_COLUMNS, lambda row: -row["clips"]),
    # The seeds, then what stands beside them, best first.
    "seeds": RecordedTable(
        ("system",), _seeds, order=lambda row: (row["system"] if ", seed " in row["system"] else "~", -row["macro_f1"])
    ),
    "beside text-svm": RecordedTable(("label",), _beside_text_svm),
    "labels of the test": RecordedTable(("label",), _test_labels, LABEL_COLUMNS),
    "chosen fold": RecordedTable(("run",), _chosen_fold),
    "epochs": RecordedTable(("system",), _metric("by_epoch", "system")),
    "voices": RecordedTable(("heard as", "voices"), _voices, (*VOICE_COLUMNS, "run")),
    "conditions": RecordedTable(("condition",), _conditions),
    **{
        what: RecordedTable(("group",), _metric(what, "group"), VALUE_COLUMNS)
        for what in ("calibration", "abstention", "speakers", "genders")
    },
    "findings": RecordedTable(("finding",), _findings),
    "submission": RecordedTable(("task",), _submission),
    "submission, paired": RecordedTable(
        ("task",), _submission_part("paired"), ("task", "difference", "low", "high", "p")
    ),
    "submission, by video": RecordedTable(
        ("task",), _submission_part("seen"), ("task", "seen", "unseen", "difference", "low", "high")
    ),
    "changes": RecordedTable(("arm",), _changes, order=lambda row: row["arm"] != "published"),
}
"""The tables by name: scores, settings and findings of each run, and what it takes to repeat them."""
