"""Train here, test there: a system that learnt from one corpus, scored on the clips of another one."""

from collections import Counter
from typing import Any

import pandas as pd

from emoser_lib.corpora import Corpus, share_clips
from emoser_lib.corpora.corpus import label_set
from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting import Clip, System
from emoser_lib.experiments.predicting.answers import ask
from emoser_lib.experiments.predicting.kept import read_kept
from emoser_lib.reporting.scores import drawn_by, score_table
from emoser_lib.values import Immutable


class Transfer(Immutable):
    """Scores of a system at home and elsewhere.

    Attributes:
        system: its name.
        learnt_from, judged: the corpus it learnt from, and on which clips of it the run measured ``own``.
        own: the run's scores, over all labels of the system, with their intervals.
        tested_on: the other corpus.
        labels: those that both have. Only clips of these are asked about, and only these are answered.
        left_out: label -> number of clips of it, which the system does not know.
        scores: on the other corpus: a row of `score_table`.
    """

    system: str
    learnt_from: str
    judged: str
    own: dict[str, float | None]
    tested_on: str
    labels: tuple[str, ...]
    left_out: dict[str, int]
    scores: dict[str, Any]


def transfer(system: System, corpus: Corpus) -> Transfer:
    """Ask a trained system about all labelled clips of a corpus that it did not learn from, and score its answers.

    The likeliest of the labels that both have is its answer (our choice), so that no clip is lost to a label that the
    corpus does not have. Intervals draw speakers where each clip's is known, else clips.

    Args:
        system: from `load_system`.
        corpus: another one than it learnt from.

    Raises:
        UsageError: the system learnt from clips of it, they have no two labels in common, or a clip lacks what the
            system needs.
        DataError: an audio file cannot be read.
    """
    learnt = system.corpus
    if share_clips(corpus, learnt):
        raise UsageError(
            f"{system.needs.name} learnt from clips of '{corpus.name}' ('{learnt.name}'), so it is no test: name "
            "another corpus."
        )
    test = _labelled(corpus)
    shared = tuple(label for label in system.labels if label in test.labels)
    if len(shared) < 2:
        raise UsageError(
            f"{system.needs.name} answers {', '.join(system.labels)}, '{corpus.name}' has {', '.join(test.labels)}: "
            "name two of the corpus's labels as the system does (--label THEIRS=OURS)."
        )
    rows = test.frame[test.frame["label"].isin(shared)].reset_index(drop=True)
    clips = [Clip(row["audio"], row["transcription"], row["id"]) for row in rows.to_dict("records")]
    answers = {
        answer.id: max(shared, key=answer.probabilities.__getitem__) for answer in ask(system, system.check(clips))
    }
    only = Corpus(corpus.name, rows, labels=shared)
    predicted = pd.Series(answers)[list(rows["id"])]
    table = score_table(only, {system.needs.name: predicted}, by=drawn_by(only, rows["id"]))
    kept = read_kept(system.folder)
    return Transfer(
        system=kept.name,
        learnt_from=learnt.name,
        judged=kept.judged,
        own=kept.scores,
        tested_on=corpus.name,
        labels=shared,
        left_out=dict(Counter(label for label in test.frame["label"] if label not in shared)),
        scores={str(name): value for name, value in table.to_dict("records")[0].items()},
    )


def transfer_table(found: Transfer) -> pd.DataFrame:
    """Set the scores at home and elsewhere side by side: one row a corpus, macro-F1 and UAR with their intervals."""
    rows = {
        f"{found.learnt_from}, {found.judged}": found.own,
        f"{found.tested_on}, not learnt from": found.scores,
    }
    columns = ["macro_f1", "low", "high", "uar", "uar_low", "uar_high", "n"]
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).rename_axis("tested on")


def _labelled(corpus: Corpus) -> Corpus:
    """All clips whose label is known, hidden or not, as one test."""
    labels = corpus.frame.set_index("id")["label"]
    if len(corpus.labelled_test()):
        labels.update(corpus.gold_labels())
    frame = corpus.frame.assign(label=list(labels), split="")
    if (frame["label"] == "").all():
        raise UsageError(f"corpus '{corpus.name}' has no labels to test against ({corpus.mapping.option('label')}).")
    frame = frame[frame["label"] != ""].reset_index(drop=True)
    return Corpus(corpus.name, frame, labels=label_set(frame["label"]))
