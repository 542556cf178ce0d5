"""The challenge's results file: read it strictly, score it, write it."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from emoser_lib.corpora.corpus import Corpus
from emoser_lib.corpora.tables import read_table
from emoser_lib.errors import DataError, UsageError, did_you_mean
from emoser_lib.experiments.judging.intervals import bootstrap_interval, paper_interval
from emoser_lib.experiments.judging.scoring import score
from emoser_lib.values import Immutable

TASKS = ("task_1", "task_2")
"""Task 1: from text alone. Task 2: from text and audio."""

SUBMISSION_COLUMNS = ("id", *TASKS)


@dataclass(frozen=True)
class Submission:
    """Predicted labels by ``frame.id``, in the corpus's order; None: task not taken part in."""

    task_1: pd.Series | None
    task_2: pd.Series | None


class LabelF1(Immutable):
    """F1 of one label and its number of gold clips."""

    f1: float
    n: int


class TaskScore(Immutable):
    """Score of one task with its 95 % intervals ``[low, high]`` of macro-F1.

    Attributes:
        macro_f1, accuracy, per_class, n: as in `scoring.Score`.
        ci_paper: `intervals.paper_interval`.
        ci_bootstrap_clip: percentile bootstrap over clips.
        ci_bootstrap_video: percentile bootstrap over videos; None where a clip's video is unknown or there is only one.
    """

    macro_f1: float
    accuracy: float
    per_class: dict[str, LabelF1]
    n: int
    ci_paper: list[float]
    ci_bootstrap_clip: list[float]
    ci_bootstrap_video: list[float] | None


class SubmissionScore(Immutable):
    """Scores of both tasks; None: task not taken part in."""

    task_1: TaskScore | None
    task_2: TaskScore | None


def read_submission(path: Path | str, corpus: Corpus) -> Submission:
    """Read a results file: a CSV with the columns ``id``, ``task_1``, ``task_2``, in any order.

    Ids may be written with or without ``.mp3``, a byte-order mark and spaces around ids and labels do no harm,
    and a missing task column is a task not taken part in. A further column is an error, because it may be a
    misspelt task.

    Args:
        path: the file.
        corpus: its test clips must be in the file, each once, and no other; those without a label may be, and are not
            scored.

    Raises:
        UsageError: there is no such file, or the corpus has no labelled test split.
        DataError: the file is not UTF-8, empty, or has no rows, no task, a foreign column, an empty cell, or an
            unknown, missing or doubled id or an unknown label.

    Warns:
        UserWarning: test clips have no label.

    >>> from tempfile import TemporaryDirectory
    >>> from emoser_lib.corpora.corpus import build_frame
    >>> corpus = Corpus("mine", build_frame({"id": ["a.mp3"], "label": ["joy"], "split": ["test"]}))
    >>> with TemporaryDirectory() as folder:
    ...     path = write_submission(Path(folder) / "results.csv", task_1=pd.Series({"a.mp3": "fear"}))
    ...     read_submission(path, corpus).task_1.to_dict()
    {'a.mp3': 'fear'}
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a results file (id,task_1,task_2).")
    ids, every = corpus.gold_labels().index, pd.Index(corpus.test()["id"])
    if len(every) > len(ids):
        unlabelled = f"{len(every) - len(ids)} of {len(every)} test clips have no label: they are not scored."
        warnings.warn(f"corpus '{corpus.name}': {unlabelled}", UserWarning, stacklevel=2)
    table = read_table(path, need=["id"], only_utf8=True)
    _check_columns(path, table)
    table = table[list(SUBMISSION_COLUMNS[:1]) + [task for task in TASKS if task in table]].apply(
        lambda column: column.str.strip()
    )
    table["id"] = _frame_ids(path, table["id"], every, ids)
    table = table.set_index("id").loc[ids]
    return Submission(**{task: _labels(path, table, task, corpus.labels) for task in TASKS})


def score_submission(submission: Submission, corpus: Corpus, resamples: int = 2000, seed: int = 0) -> SubmissionScore:
    """Score a submission against the corpus's hidden test labels.

    Args:
        submission: as `read_submission` returns it.
        corpus: the corpus it was read for.
        resamples, seed: of the bootstrap intervals.

    Raises:
        UsageError: the submission's ids are not the corpus's.

    >>> from emoser_lib.corpora.corpus import build_frame
    >>> corpus = Corpus("mine", build_frame({"id": list("ab"), "label": ["joy", "fear"], "split": ["test"] * 2}))
    >>> result = score_submission(Submission(None, corpus.gold_labels()), corpus)
    >>> result.task_1, result.task_2.accuracy, result.task_2.per_class["joy"].f1
    (None, 1.0, 1.0)
    """
    gold = corpus.gold_labels()
    videos = corpus.test().set_index("id")["video"].loc[gold.index]
    groups = None if (videos == "").any() or videos.nunique() < 2 else videos
    return SubmissionScore(
        task_1=_score_task(submission.task_1, gold, groups, corpus.labels, resamples, seed),
        task_2=_score_task(submission.task_2, gold, groups, corpus.labels, resamples, seed),
    )


def write_submission(path: Path | str, task_1: pd.Series | None = None, task_2: pd.Series | None = None) -> Path:
    """Write predictions as the challenge asks: header ``id,task_1,task_2``, ids without ``.mp3``, UTF-8.

    A task that is None has no column. The file appears whole or not at all.

    Args:
        path: where to; the challenge's name is ``results.csv``.
        task_1, task_2: labels indexed by clip id.

    Returns:
        The path.

    Raises:
        UsageError: no task, no clips, an empty label, a doubled id, tasks with different ids, or a path in no
            folder or of a folder.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = write_submission(Path(folder) / "results.csv", task_2=pd.Series({"a.mp3": "joy"}))
    ...     print(path.read_text(), end="")
    id,task_2
    a,joy
    """
    path = Path(path)
    tasks = {name: task for name, task in zip(TASKS, (task_1, task_2), strict=True) if task is not None}
    if not tasks:
        raise UsageError("there is nothing to write: give task_1, task_2 or both.")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}: create it first.")
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the path of a file in it.")
    ids = next(iter(tasks.values())).index
    for name, task in tasks.items():
        short = task.index.map(_stem)
        if short.has_duplicates:
            raise UsageError(
                f"{name} has the id '{short[short.duplicated()][0]}' more than once: give every clip once."
            )
        if set(task.index) != set(ids):
            raise UsageError(
                f"task_1 and task_2 have different ids: '{min(set(ids) ^ set(task.index))}' is in only one."
            )
        blank = task.index[task.isna() | (task == "")]
        if task.empty or len(blank):
            raise UsageError(f"{name} has no label" + (f" for '{blank[0]}'." if len(blank) else ": it has no clips."))
    table = pd.DataFrame({"id": ids.map(_stem)} | {name: task.loc[ids].to_numpy() for name, task in tasks.items()})
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        table.to_csv(unfinished, index=False, lineterminator="\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def merge_submissions(first: Path | str, second: Path | str, path: Path | str) -> Path:
    """Write the tasks of two files, such as those of a run that reads and one that hears, as one.

    What the labels are, and whether the ids are a corpus's test clips, is for `read_submission` to say.

    Args:
        first, second: results files; ids with or without ``.mp3``, in any order.
        path: where to, see `write_submission`; it may be one of the two.

    Returns:
        The path.

    Raises:
        UsageError: there is no such file, or `path` is in no folder.
        DataError: a file is damaged (see `read_submission`), a task is in both files or in none, or their ids are not
            the same.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     reads = write_submission(Path(folder) / "text.csv", task_1=pd.Series({"a": "joy"}))
    ...     hears = write_submission(Path(folder) / "audio.csv", task_2=pd.Series({"a.mp3": "fear"}))
    ...     print(merge_submissions(reads, hears, Path(folder) / "results.csv").read_text(), end="")
    id,task_1,task_2
    a,joy,fear
    """
    files = Path(first), Path(second)
    one, other = (_tasks(file) for file in files)
    for task in TASKS:
        if task in one and task in other:
            raise DataError(f"{files[0]} and {files[1]} both have {task}: take it out of one of them.")
        if task not in one and task not in other:
            raise DataError(f"neither {files[0]} nor {files[1]} has {task}: name a file that does.")
    different = set(one.index) ^ set(other.index)
    if different:
        clip = min(different)
        has, lacks = files if clip in one.index else files[::-1]
        raise DataError(
            f"{lacks} lacks the id '{clip}', which {has} has ({len(different)} ids are in only one of them): "
            "merge files for the same clips."
        )
    merged = one.join(other)
    return write_submission(path, task_1=merged["task_1"], task_2=merged["task_2"])


def _tasks(path: Path) -> pd.DataFrame:
    """The tasks of a results file, by id without ending."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of a results file (id,task_1,task_2).")
    table = read_table(path, need=["id"], only_utf8=True)
    _check_columns(path, table)
    table = table.apply(lambda column: column.str.strip())
    for column in table:
        empty = table.index[table[column] == ""]
        if len(empty):
            raise DataError(f"{path} has an empty {column} in row {empty[0] + 1} (without the header): fill it.")
    ids = table["id"].map(_stem)
    if ids.duplicated().any():
        raise DataError(f"{path} has the id '{ids[ids.duplicated()].iloc[0]}' more than once: keep one row of it.")
    return table.drop(columns="id").set_axis(pd.Index(ids, name="id"))


def _stem(clip_id: str) -> str:
    return clip_id.strip().removesuffix(".mp3")


def _check_columns(path: Path, table: pd.DataFrame) -> None:
    foreign = [column for column in table.columns if column not in SUBMISSION_COLUMNS]
    if foreign:
        hint = did_you_mean(foreign[0], list(SUBMISSION_COLUMNS))
        raise DataError(
            f"{path} has the column '{foreign[0]}'{hint}: only {', '.join(SUBMISSION_COLUMNS)} may be in it."
        )
    if not any(task in table for task in TASKS):
        raise DataError(f"{path} has neither the column task_1 nor task_2: add at least one with the predicted labels.")
    if table.empty:
        raise DataError(f"{path} has a header but no rows: it needs one line for every test clip.")


def _frame_ids(path: Path, written: pd.Series, every: pd.Index, needed: pd.Index) -> pd.Series:
    """The frame's id of every row, once all of the needed ones are there exactly once, and no others than every one."""
    known = {_stem(clip): clip for clip in every}
    empty = written.index[written == ""]
    if len(empty):
        raise DataError(f"{path} has an empty id in row {empty[0] + 1} (without the header): fill it.")
    found = written.map(_stem)
    unknown = written[~found.isin(list(known))]
    if len(unknown):
        clip = unknown.iloc[0]
        raise DataError(
            f"{path} has the id '{clip}'{did_you_mean(_stem(clip), list(known))}, which is no test clip "
            f"({len(unknown)} such rows): keep the test ids only."
        )
    if found.duplicated().any():
        raise DataError(f"{path} has the id '{found[found.duplicated()].iloc[0]}' more than once: keep one row of it.")
    missing = needed.map(_stem).difference(pd.Index(found), sort=False)
    if len(missing):
        raise DataError(f"{path} lacks the test id '{missing[0]}' ({len(missing)} missing): add a row for every clip.")
    return found.map(known)


def _labels(path: Path, table: pd.DataFrame, task: str, labels: tuple[str, ...]) -> pd.Series | None:
    if task not in table:
        return None
    column = table[task]
    empty = column.index[column == ""]
    if len(empty):
        raise DataError(f"{path} has no {task} for '{empty[0]}' ({len(empty)} empty): give every clip a label.")
    unknown = column[~column.isin(labels)]
    if len(unknown):
        hint = did_you_mean(unknown.iloc[0].lower(), list(labels))
        raise DataError(
            f"{path} has the {task} label '{unknown.iloc[0]}' for '{unknown.index[0]}'{hint}: "
            f"the labels are {', '.join(labels)}."
        )
    return column


def _score_task(
    predicted: pd.Series | None,
    gold: pd.Series,
    videos: pd.Series | None,
    labels: tuple[str, ...],
    resamples: int,
    seed: int,
) -> TaskScore | None:
    if predicted is None:
        return None
    result = score(gold, predicted, labels)

    def interval(groups: pd.Series | None) -> list[float]:
        return list(bootstrap_interval(gold, predicted, labels, groups, resamples=resamples, seed=seed).bounds)

    return TaskScore(
        macro_f1=result.macro_f1,
        accuracy=result.accuracy,
        per_class={label: LabelF1(f1=each.f1, n=each.n) for label, each in result.per_class.items()},
        n=result.n,
        ci_paper=list(paper_interval(result.macro_f1, result.n)),
        ci_bootstrap_clip=interval(None),
        ci_bootstrap_video=None if videos is None else interval(videos),
    )
