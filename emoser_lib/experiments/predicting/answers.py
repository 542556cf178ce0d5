"""Answers about many clips, in a file that is whole after every batch: one that was stopped goes on after them."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from emoser_lib.corpora.tables import read_table
from emoser_lib.errors import DataError, UsageError
from emoser_lib.experiments.predicting.asked import Clip
from emoser_lib.experiments.predicting.loading import System
from emoser_lib.files import write_whole

CLIPS_A_WRITE = 16
"""Clips that are asked about before the answers are written down (our choice)."""

SAME = 0.01
"""What one system's probabilities for a clip differ by at most, on another machine (our choice)."""

PROBABILITY = "p_"
"""What the columns of probabilities begin with."""


@dataclass(frozen=True)
class Answer:
    """What a system says of a clip: the likeliest label, and the probability of each."""

    id: str
    label: str
    probabilities: Mapping[str, float]


def answers_as_json(labels: Sequence[str], answers: Iterable[Answer]) -> dict[str, Any]:
    """Return answers as JSON has them.

    >>> answers_as_json(["joy"], [Answer("a.wav", "joy", {"joy": 1.0})])
    {'labels': ['joy'], 'clips': [{'id': 'a.wav', 'label': 'joy', 'probabilities': {'joy': 1.0}}]}
    """
    clips = [{"id": one.id, "label": one.label, "probabilities": dict(one.probabilities)} for one in answers]
    return {"labels": list(labels), "clips": clips}


def answers_as_csv(labels: Sequence[str], answers: Iterable[Answer]) -> str:
    r"""Return answers as a table: id, label, and a column ``p_<label>`` for each label.

    >>> answers_as_csv(["joy"], [Answer("a.wav", "joy", {"joy": 1.0})])
    'id,label,p_joy\na.wav,joy,1.0\n'
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "label", *(PROBABILITY + label for label in labels)])
    table.writerows([one.id, one.label, *(one.probabilities[label] for label in labels)] for one in answers)
    return text.getvalue()


def ask(system: System, clips: Sequence[Clip]) -> Iterator[Answer]:
    """Ask a system about clips, batch by batch.

    Args:
        system: from `load_system`.
        clips: checked, see `System.check`.
    """
    for start in range(0, len(clips), CLIPS_A_WRITE):
        some = clips[start : start + CLIPS_A_WRITE]
        labels, probabilities = system.ask(some)
        for clip, label, row in zip(some, labels.tolist(), probabilities.round(6).tolist(), strict=True):
            yield Answer(clip.id, label, dict(zip(system.labels, row, strict=True)))


def ask_into(system: System, clips: Sequence[Clip], output: Path, form: Literal["csv", "json"]) -> tuple[int, int]:
    """Ask a system about clips and write the answers to a file; those that are there already are kept.

    Args:
        system: from `load_system`.
        clips: from `named_clips` or `clips_of_table`.
        output: the file.
        form: of the file.

    Returns:
        How many answers were there, and how many are new.

    Raises:
        UsageError: the file holds other clips or another system's answers.
        DataError: it holds no answers.
    """
    kept = {one.id: one for one in _read(output, form, system.labels)} if output.exists() else {}
    if foreign := kept.keys() - {clip.id for clip in clips}:
        raise UsageError(f"{output} has an answer about '{min(foreign)}', which is not asked about: name another file.")
    asked = system.check([clip for clip in clips if clip.id not in kept]) if len(kept) < len(clips) else []
    if kept:
        _check_same(system, [clip for clip in clips if clip.id in kept][:1], kept, output)
    for start in range(0, len(asked), CLIPS_A_WRITE):
        for one in ask(system, asked[start : start + CLIPS_A_WRITE]):
            kept[one.id] = one
        ordered = [kept[clip.id] for clip in clips if clip.id in kept]
        as_json = json.dumps(answers_as_json(system.labels, ordered), ensure_ascii=False, indent=1) + "\n"
        write_whole(output, as_json if form == "json" else answers_as_csv(system.labels, ordered))
    return len(clips) - len(asked), len(asked)


def _check_same(system: System, one: Sequence[Clip], kept: Mapping[str, Answer], output: Path) -> None:
    """The first answer is asked for again: a file may be another system's."""
    [answer] = ask(system, system.check(one))
    before = kept[answer.id].probabilities
    if max(abs(before[label] - answer.probabilities[label]) for label in system.labels) > SAME:
        raise UsageError(
            f"{output} holds answers of another system or about other clips (its first, about '{answer.id}', is not "
            "what this one answers): name another file."
        )


def _read(path: Path, form: str, labels: Sequence[str]) -> list[Answer]:
    try:
        if form == "json":
            told = json.loads(path.read_text(encoding="utf-8"))
            found = [Answer(one["id"], one["label"], one["probabilities"]) for one in told["clips"]]
        else:
            table = read_table(path, need=["id", "label"], only_utf8=True)
            columns = {name.removeprefix(PROBABILITY): name for name in table.columns if name.startswith(PROBABILITY)}
            found = [
                Answer(row["id"], row["label"], {label: float(row[name]) for label, name in columns.items()})
                for row in table.to_dict("records")
            ]
        known = all(set(one.probabilities) == set(labels) for one in found)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path} holds no answers as {form}: name another file.") from None
    if not known:
        raise UsageError(f"{path} holds answers with other labels than {', '.join(labels)}: name another file.")
    return found
