"""The one results file of THAU-UPM's authors that is public, scored: clip by clip, where their paper has a number."""

from typing import Any

import pandas as pd

from emoser_lib.corpora import Corpus, data_home
from emoser_lib.corpora.fetch import FETCHED, THAU_SUBMISSION
from emoser_lib.experiments import Fold, paired_bootstrap, read_submission
from emoser_lib.experiments.judging.submission import TASKS
from emoser_lib.reporting.audit.audit_tables import seen_unseen
from emoser_lib.reporting.scores import gold_for, per_label_table, score_table

OF_CORPUS = "emospeech"
"""The corpus whose test clips the file answers."""


def authors_answers(corpus: Corpus) -> dict[str, pd.Series]:
    """Read the file's answers by task; empty for another corpus, or where the file was not fetched.

    Raises:
        DataError: the file is damaged, see `read_submission`.
    """
    path = data_home() / FETCHED["thau-submission"][0] / THAU_SUBMISSION.name
    if corpus.name != OF_CORPUS or not path.is_file():
        return {}
    submission = read_submission(path, corpus)
    answers = {task: getattr(submission, task) for task in TASKS}
    return {f"authors, {task.replace('_', ' ')}": told for task, told in answers.items() if told is not None}


def scored_submission(
    corpus: Corpus, answers: dict[str, pd.Series], ours: pd.Series, cut: Fold, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Score the file's answers beside one of our systems: as a whole, by label, in pairs, on known and new videos.

    Args:
        corpus: the challenge's.
        answers: from `authors_answers`.
        ours: labels by clip id of the test.
        cut: the official split.
        resamples, seed: of the bootstrap over clips, and over videos for the last.

    Returns:
        ``scores`` (see `score_table`), ``per_label``, ``paired`` (each task less ours) and ``seen`` (standardised
        accuracy on videos that give training clips, on others, and the difference), as a record keeps them; empty where
        there are no answers.
    """
    if not answers:
        return {}
    gold = gold_for(corpus, ours.index)
    paired, seen = {}, {}
    for task, told in answers.items():
        apart = paired_bootstrap(gold, told, ours, corpus.labels, resamples=resamples, seed=seed)
        paired[task] = {"difference": apart.estimate, "low": apart.low, "high": apart.high, "p": apart.p}
        table, gap = seen_unseen(corpus, [cut], told, resamples, seed)
        seen[task] = {str(which): float(of) for which, of in table["standardised"].items()} | gap
    return {
        "scores": score_table(corpus, answers, resamples, seed).to_dict("index"),
        "per_label": per_label_table(corpus, answers).to_dict("index"),
        "paired": paired,
        "seen": seen,
    }
