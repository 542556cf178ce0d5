"""`load_system`: a system that a run has trained, asked about clips as a scikit-learn classifier is."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting.asked import AskedClips, Clip, Needs, asked_corpus, check_clips, named_clips
from emoser_lib.experiments.predicting.chosen import Chosen, chosen, chosen_name, needs_of
from emoser_lib.experiments.predicting.found import find_system
from emoser_lib.experiments.predicting.kept import SYSTEM_FILE, Execution, read_kept
from emoser_lib.experiments.runs.records import CorpusUsed, Record
from emoser_lib.experiments.settings.base import Settings
from emoser_lib.files import locked

if TYPE_CHECKING:
    from emoser_lib.experiments.predicting.answering import Answering

SYSTEMS_FOLDER = "system"
"""The folder of a run in which it keeps its systems, each in one of its own."""


@dataclass(frozen=True)
class Folder:
    """Where a kept system is: its run made it there already, or an export did."""

    path: Path

    @cached_property
    def needs(self) -> Needs:
        """What the system is asked with, and answers."""
        kept = read_kept(self.path)
        return Needs(kept.name, kept.labels, kept.hears, kept.reads)

    @property
    def corpus(self) -> CorpusUsed:
        """What the system learnt from."""
        return read_kept(self.path).corpus

    def made(self, device: str) -> Path:
        """Return the folder."""
        return self.path


@dataclass(frozen=True)
class OfRun:
    """A run's system that is not kept yet: trained, or taken from the cell cache, when it is needed."""

    folder: Path
    record: Execution
    settings: Settings
    chosen: Chosen

    @cached_property
    def needs(self) -> Needs:
        """What the system is asked with, and answers."""
        return needs_of(self.chosen, self.settings.load())

    @property
    def corpus(self) -> CorpusUsed:
        """What the system learnt from."""
        assert self.record.corpus is not None
        return self.record.corpus

    def made(self, device: str) -> Path:
        """Return its folder in the run's, written now."""
        from emoser_lib.experiments.predicting.keeping import keep_system

        path = kept_folder(self.folder, self.chosen.name)
        with locked(path.parent / ".lock"):
            if not _is_kept(path, self.record):
                if isinstance(self.record, Record) and self.chosen.trained and not self.chosen.refitted:
                    what = f"{self.chosen.name} ({self.chosen.summary or 'as the run set it'})"
                    said = f"folds only judge: {what} is trained once on all labelled clips, kept in {path}"
                    warnings.warn(said, stacklevel=2)
                keep_system(self.record, self.settings, self.chosen, path, device)
        return path


class System:
    """A trained system, as a scikit-learn classifier: made with `load_system`.

    Models are loaded when the first clips are asked about, after these were checked.

    Attributes:
        needs: what it is asked with; its name.
    """

    def __init__(self, source: Folder | OfRun, llm: str | None, encoder: str | None, device: str) -> None:
        self._source, self._places, self._device = source, {"llm": llm, "encoder": encoder, "audio llm": llm}, device
        self.needs = source.needs

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.needs.labels

    @property
    def classes_(self) -> np.ndarray:
        """The labels as scikit-learn has them."""
        return np.array(self.labels)

    @property
    def corpus(self) -> CorpusUsed:
        """What it learnt from."""
        return self._source.corpus

    @cached_property
    def folder(self) -> Path:
        """Where its files are; a run that has not kept it yet does so now, and trains it for that."""
        return self._source.made(self._device)

    def load(self) -> Self:
        """Load the models now, not with the first clips.

        Raises:
            UsageError: there is no such checkpoint or device.
            DataError: a checkpoint is not the one that the system was trained on, or a file is damaged.
        """
        _ = self._answering
        return self

    def check(self, clips: AskedClips) -> list[Clip]:
        """Refuse clips that the system cannot be asked about; each audio file is decoded, no model is loaded.

        Raises:
            UsageError: a clip lacks what the system needs.
            DataError: an audio file is missing or cannot be read.
        """
        asked = named_clips(clips)
        check_clips(asked, self.needs)
        return asked

    def ask(self, clips: AskedClips) -> tuple[np.ndarray, np.ndarray]:
        """Return what `predict` and `predict_proba` do, at once."""
        asked = asked_corpus(self.check(clips), self.labels)  # before a model is loaded
        best, probabilities = self._answering.answers(asked)
        return self.classes_[best], probabilities

    def predict_proba(self, clips: AskedClips) -> np.ndarray:
        """Return how likely each label is: the log-probabilities of their words put through softmax.

        A baseline without probabilities of its own has its decision values put through softmax (our choice): they
        order the labels and are not calibrated.

        Args:
            clips: paths, `Clip` objects, or a table with the columns audio, transcription and id.

        Returns:
            float64 [clips, labels].

        Raises:
            UsageError, DataError: see `check` and `load`.
        """
        return self.ask(clips)[1]

    def predict(self, clips: AskedClips) -> np.ndarray:
        """Return the likeliest label of each clip; arguments and errors as `predict_proba`."""
        return self.ask(clips)[0]

    @cached_property
    def _answering(self) -> "Answering":
        from emoser_lib.experiments.predicting.answering import open_system

        kept = read_kept(self.folder)
        names: dict[str, str] = {one.role: self._places[one.role] or one.name for one in kept.checkpoints}
        return open_system(self.folder, kept, names, self._device)


def load_system(
    run: str | Path,
    system: str | None = None,
    *,
    runs: str | Path = "runs",
    llm: str | None = None,
    encoder: str | None = None,
    device: str = "auto",
) -> System:
    """Load the system that a finished run chose, or an exported one.

    What a run trained on all labelled clips is taken from the cell cache and kept in the run's folder, as
    ``system/<name>``. After folds only, what they chose is first trained once on all labelled clips.

    Args:
        run: a run's folder, its key below ``runs``, or an exported folder.
        system: one of several; by default the best of the record.
        runs: where keys are looked up.
        llm: where its language model is (Qwen-Audio's too), if not under the name that it was trained under.
        encoder: the same of its encoder.
        device: where models compute, see `load_llm`.

    Raises:
        UsageError: there is no such run or system, the run failed, or its chapter trains none.
        DataError: a file of it is damaged.

    >>> load_system("05-gemma-lora")
    Traceback (most recent call last):
    emoser_lib.errors.UsageError: there is no run '05-gemma-lora': give a run's folder (with its record.json), ...
    """
    found = find_system(run, runs)
    if found.record is None:
        only = read_kept(found.folder)
        if system not in (None, only.name):
            raise UsageError(f"{found.folder} holds the system '{only.name}', not '{system}': leave --system out.")
        return System(Folder(found.folder), llm, encoder, device)
    name = chosen_name(found.record, system)
    path = kept_folder(found.folder, name)
    if _is_kept(path, found.record):
        return System(Folder(path), llm, encoder, device)
    if llm or encoder:
        raise UsageError(
            "llm and encoder (--llm, --encoder) say where an exported system's checkpoints are: leave them."
        )
    return System(OfRun(found.folder, found.record, *chosen(found.record, name, found.parameters)), None, None, device)


def kept_folder(run: Path, name: str) -> Path:
    """Return the folder in which a run keeps one of its systems."""
    return run / SYSTEMS_FOLDER / name


def _is_kept(path: Path, record: Execution) -> bool:
    """Whether it is there, and of this execution of the run, not of an earlier one."""
    return (path / SYSTEM_FILE).is_file() and read_kept(path).recorded == record.date
