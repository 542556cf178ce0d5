"""Tables about known and new voices."""

from collections.abc import Mapping

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments import published_records
from emoser_lib.reporting.scores import score_table

VOICE_COLUMNS = ("macro_f1", "low", "high", "uar", "uar_low", "uar_high")


def voice_table(
    corpus: Corpus, answers: Mapping[tuple[str, str], pd.Series], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Scores where voices are known, where they are new, and without them.

    Args:
        corpus: gives the gold labels and the speakers.
        answers: from `experiments.speakers.by_voice`; there may be none.
        resamples, seed: of the bootstrap, which draws speakers (95 %, percentile).

    Returns:
        One row an answer, in their order: heard as, voices, macro_f1, low, high, uar, uar_low, uar_high.
    """
    scored = [
        {"heard as": source, "voices": way}
        | score_table(corpus, {"": told}, resamples, seed, "speaker").loc["", list(VOICE_COLUMNS)].to_dict()
        for (source, way), told in answers.items()
    ]
    return pd.DataFrame(scored, columns=["heard as", "voices", *VOICE_COLUMNS])


def recorded_voices(notebook: str) -> pd.DataFrame:
    """`voice_table` of a chapter's committed records that have one, and which run each row is of."""
    each = [
        pd.DataFrame(record.metrics["voices"], columns=["heard as", "voices", *VOICE_COLUMNS]).assign(run=record.run)
        for record in published_records(notebook)
        if "voices" in record.metrics
    ]
    return pd.concat(each)
