"""Ask systems that were trained on clean clips about the same clips under other conditions.

Answers of one system are a frame with one row a clip: ``answer``; ``probability``, its own of that answer, where it has
any; ``confidence``, what its answers can be ordered by: that probability, or the margin to the second-best label.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from emoser_lib.corpora import AlteredCorpus, Corpus, cache_home
from emoser_lib.experiments.judging.calibration import surest
from emoser_lib.experiments.training.audio import answers_of_cell
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.evaluation import fit_on
from emoser_lib.experiments.training.folds import Fold
from emoser_lib.experiments.training.kept_lines import kept_lines
from emoser_lib.files import make_folder, remove
from emoser_lib.systems.classical.baselines import parts_of
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.declared import AudioSystem
from emoser_lib.systems.hearing.encoders.encoder import Encoder
from emoser_lib.systems.hearing.encoding import hear
from emoser_lib.systems.reading.llm import LLM

LEAST = float(np.finfo(np.float64).eps)
"""What a probability of 0 counts as: its log is no number."""


@dataclass(frozen=True)
class Baselines:
    """Baselines fitted on a cut's clean training clips, and what they read of its clean validation clips.

    Attributes:
        models: by name.
        labels: of the corpus.
        ids: of the validation clips.
        clean: the same clips as they are.
    """

    models: Mapping[str, BaseEstimator]
    labels: tuple[str, ...]
    ids: tuple[str, ...]
    clean: Clips

    @classmethod
    def fit(cls, names: Sequence[str], corpus: Corpus, cut: Fold, seed: int = 0) -> Self:
        """Fit them.

        Args:
            names: of ``BASELINES``.
            corpus: the clean one.
            cut: from `folds` or `evaluation_folds`.
            seed: of what is random in them.
        """
        learnt = Clips.from_corpus(corpus, cut.train, **parts_of(names))
        models = {name: fit_on(baseline(name, seed), corpus, learnt, cut.train) for name in names}
        return cls(models, corpus.labels, cut.validation, Clips.from_corpus(corpus, cut.validation, **parts_of(names)))

    def answers(self, corpus: AlteredCorpus | None = None) -> dict[str, pd.DataFrame]:
        """What they say of the validation clips as they are, or under a condition."""
        clips = self.clean if corpus is None else self._read(corpus)
        return {name: self._told(model, clips) for name, model in self.models.items()}

    def log_probabilities(self) -> dict[str, pd.DataFrame]:
        """Of the clean clips, one row a clip and one column a label, of those that have probabilities.

        A label that a baseline excludes, or never saw, has the log of the smallest probability, as in scikit-learn's
        ``log_loss``.
        """
        return {
            name: pd.DataFrame(model.predict_proba(self.clean), self._index, model.classes_)
            .reindex(columns=list(self.labels), fill_value=0.0)
            .clip(lower=LEAST)
            .apply(np.log)
            for name, model in self.models.items()
            if hasattr(model, "predict_proba")
        }

    @property
    def _index(self) -> pd.Index:
        return pd.Index(self.ids, name="id")

    def _read(self, corpus: AlteredCorpus) -> Clips:
        """Words are read anew; sound only if it has changed, as that takes a hundred times as long."""
        parts = parts_of(self.models)
        # Not by `Clips.from_corpus`, which takes empty transcriptions for a mistake.
        texts = corpus.frame.set_index("id")["transcription"][list(self.ids)] if parts.pop("text", False) else None
        if not parts:
            return self.clean if texts is None else Clips(text=texts)
        heard = Clips.from_corpus(corpus, self.ids, **parts) if corpus.condition.changes_sound else self.clean
        return Clips(text=texts, audio=heard.audio, log_mel=heard.log_mel)

    def _told(self, model: BaseEstimator, clips: Clips) -> pd.DataFrame:
        told = pd.DataFrame({"answer": model.predict(clips), "probability": np.nan, "confidence": np.nan}, self._index)
        if hasattr(model, "predict_proba"):
            told["probability"] = told["confidence"] = model.predict_proba(clips).max(axis=1)
        elif hasattr(model, "decision_function"):
            told["confidence"] = _margin(model.decision_function(clips))
        return told


def _margin(scores: np.ndarray) -> np.ndarray:
    """Between the two highest scores, [clips, labels]; of two labels there is one score, [clips]."""
    if scores.ndim == 1:
        return np.abs(scores)
    best = np.sort(scores, axis=1)
    return best[:, -1] - best[:, -2]


def trained_answers(cell: Cell) -> pd.DataFrame:
    """What a trained system says of its cut's clean validation clips."""
    told = surest(cell.scores())
    return pd.DataFrame({"answer": told["answer"], "probability": told["confidence"], "confidence": told["confidence"]})


def ask_trained(
    llm: LLM, system: AudioSystem, encoder: Encoder, cell: Cell, corpus: AlteredCorpus, home: Path | None = None
) -> pd.DataFrame:
    """What a trained system says of its cut's validation clips under a condition.

    The answers are kept, see `kept_lines`, so a run that was stopped goes on where it was. The frames of altered clips
    are thrown away as soon as their answers are there.

    Args:
        llm, system, encoder: those of the cell.
        cell: from `train_audio_cell`.
        corpus: from `alter`.
        home: where the cell is and answers are kept; default ``runs`` in the cache folder.
    """

    # The cell's key stands for clips, labels, checkpoints and system.
    identity = {"cell": cell.key, "condition": asdict(corpus.condition), "seed": corpus.seed}
    place = cache_home() / "altered" / hashlib.sha256(repr(identity).encode()).hexdigest()[:16]

    def run(ids: Sequence[str]) -> list[tuple[str, float]]:
        make_folder(place, cache_home())
        hearing = hear(encoder, system, corpus, ids, home=place if corpus.condition.changes_sound else None)
        told = answers_of_cell(llm, system, hearing, cell, ids, home, ways=("with",))
        return list(zip(told["with audio"], told["p with"], strict=True))

    told = kept_lines(identity, __name__, [cell.ids], run, home)
    remove(place)
    values = pd.DataFrame.from_dict(told, orient="index", columns=["answer", "probability"]).rename_axis("id")
    return values.assign(confidence=values["probability"])
