"""A system of a notebook that still runs: what `load_system` gives once the run is finished."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from emoser_lib.corpora import Corpus
from emoser_lib.environment import now
from emoser_lib.experiments.predicting.chosen import CHOOSE
from emoser_lib.experiments.predicting.loading import OfRun, System
from emoser_lib.experiments.runs.records import Checkpoint, CorpusUsed
from emoser_lib.experiments.settings.own import OwnSettings


class Weights(Protocol):
    """A loaded checkpoint."""

    name: str
    sha256: str


@dataclass(frozen=True)
class GoingOn:
    """What a record will say of the run, as far as it is known."""

    notebook: str
    corpus: CorpusUsed
    checkpoints: Sequence[Checkpoint]
    metrics: dict[str, Any]
    place: "tempfile.TemporaryDirectory[str]"
    """Where its system lies; removed with it."""
    key: str = "notebook"
    date: str = field(default_factory=now)


def trained_here(
    settings: OwnSettings, corpus: Corpus, scores: dict[str, Any], name: str, models: Sequence[Weights]
) -> System:
    """Return a system that a notebook has judged on folds, trained on all labelled clips when it is first asked.

    It lies in a temporary folder that goes with it: `export_system` keeps it.

    Args:
        settings: of the chapter, from `prepare`.
        corpus: what it learns from.
        scores: rows of `score_table` by system.
        name: which of them.
        models: the checkpoints that the notebook has loaded.
    """
    of = CorpusUsed(name=corpus.name, sha256=corpus.sha256, clips=len(corpus))
    used = [Checkpoint(name=one.name, sha256=one.sha256) for one in models]
    place = tempfile.TemporaryDirectory(prefix="emoser-")
    run = GoingOn("14-own-recordings", of, used, {"scores": scores, "best": name}, place)
    chosen = CHOOSE[type(settings)][1](settings, run.metrics, name)
    return System(OfRun(Path(place.name), run, settings, chosen), None, None, settings.device)
