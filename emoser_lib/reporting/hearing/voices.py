"""Tables about known and new voices."""

from collections.abc import Mapping

import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.reporting.recorded_tables import VOICE_COLUMNS
from emoser_lib.reporting.scores import score_table


def voice_table(
    corpus: Corpus, answers: Mapping[tuple[str, str], pd.Series], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Score answers where voices are known, where they are new, and without them.

    Args:
        corpus: gives the gold labels and the speakers.
        answers: from `experiments.speakers.by_voice`; there may be none.
        resamples, seed: of the bootstrap, which draws speakers (95 %, percentile).

    Returns:
        One row an answer, in their order: heard as, voices, macro_f1, low, high, uar, uar_low, uar_high.
    """
    scored = [
        {"heard as": source, "voices": way}
        | score_table(corpus, {"": told}, resamples, seed, "speaker").loc["", [*VOICE_COLUMNS[2:]]].to_dict()
        for (source, way), told in answers.items()
    ]
    return pd.DataFrame(scored, columns=VOICE_COLUMNS)
