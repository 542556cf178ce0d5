"""RunAnswers of a run, clip by clip: what two runs are compared by. They stay beside the run; no page shows them."""

import os
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from pydantic import ValidationError

from emoser_lib.corpora import Corpus
from emoser_lib.environment import RUN_FOLDER
from emoser_lib.errors import DataError
from emoser_lib.files import write_whole
from emoser_lib.values import Immutable

ANSWERS = "answers.json"
"""Its name in a run's folder."""


class ClipAnswers(Immutable):
    """One clip: its gold label, what is known of its voice and video, and each system's label."""

    id: str
    gold: str
    speaker: str = ""
    video: str = ""
    said: dict[str, str]


class RunAnswers(Immutable):
    """All clips that a run answered.

    Attributes:
        corpus: sha256 of the corpus.
        labels: its label set.
        systems: those that answered, the run's own first.
        clips: in the corpus's order.
    """

    corpus: str
    labels: tuple[str, ...]
    systems: tuple[str, ...]
    clips: tuple[ClipAnswers, ...]

    def frame(self) -> pd.DataFrame:
        """Return a table by clip id: gold, speaker, video, and a column a system."""
        rows = [clip.model_dump(exclude={"said"}) | clip.said for clip in self.clips]
        return pd.DataFrame(rows, columns=["id", "gold", "speaker", "video", *self.systems]).set_index("id")


def write_answers(corpus: Corpus, gold: pd.Series, predictions: Mapping[str, pd.Series], of: str) -> None:
    """Keep the labels that systems gave, where the runner asks for them; elsewhere do nothing.

    Args:
        corpus: of the clips.
        gold: their labels, by clip id.
        predictions: system -> labels by clip id; only clips that all of them answered are kept.
        of: the system that the run is about.
    """
    folder = os.environ.get(RUN_FOLDER)
    if not folder:
        return
    said = pd.DataFrame({of: predictions[of], **predictions}).dropna()
    said = said[said.index.isin(gold.index)]
    known = corpus.frame.set_index("id").loc[said.index]
    clips = tuple(
        ClipAnswers(
            id=clip,
            gold=gold[clip],
            speaker=known["speaker"][clip],
            video=known["video"][clip],
            said=dict(said.loc[clip]),
        )
        for clip in said.index
    )
    answers = RunAnswers(corpus=corpus.sha256, labels=corpus.labels, systems=tuple(said.columns), clips=clips)
    write_whole(Path(folder) / ANSWERS, answers.model_dump_json() + "\n")


def read_answers(run: Path) -> RunAnswers:
    """Read the answers in a run's folder.

    Raises:
        DataError: there are none, or the file is damaged.
    """
    path = run / ANSWERS
    if not path.is_file():
        raise DataError(f"{run} keeps no answers: it is older than they are, or trains no system; run it again.")
    try:
        return RunAnswers.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError):
        raise DataError(f"{path} is damaged: run it again.") from None
