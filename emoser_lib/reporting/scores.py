"""Tables of scores, with the gold labels that only scoring may see."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from emoser_lib.corpora import Corpus
from emoser_lib.errors import UsageError
from emoser_lib.experiments import (
    SCHEMES,
    Fold,
    bootstrap_interval,
    folds,
    paired_bootstrap,
    paper_interval,
    predict_by_folds,
    score,
)
from emoser_lib.experiments.judging.scoring import Score
from emoser_lib.experiments.runs.answers import write_answers
from emoser_lib.experiments.training.folds import N_FOLDS
from emoser_lib.systems.classical.clips import Clips


def gold_for(corpus: Corpus, ids: pd.Index) -> pd.Series:
    """Return the gold labels of clips by id: of the test split, or else of the training clips."""
    training = corpus.training().set_index("id")["label"]
    return training[ids] if ids.isin(training.index).all() else corpus.gold_labels()[ids]


def score_on(corpus: Corpus, predicted: pd.Series) -> Score:
    """Score predictions, given by clip id, over the corpus's label set."""
    return score(gold_for(corpus, predicted.index), predicted, corpus.labels)


def keep_answers(corpus: Corpus, predictions: Mapping[str, pd.Series], of: str) -> None:
    """Keep the labels that systems gave beside the run, for `emoser compare`; without a runner do nothing.

    Args:
        corpus: of the clips.
        predictions: system -> labels by clip id.
        of: the system that the run is about.
    """
    write_answers(corpus, gold_for(corpus, predictions[of].index), predictions, of)


def score_table(
    corpus: Corpus, predictions: Mapping[str, pd.Series], resamples: int = 2000, seed: int = 0, by: str = ""
) -> pd.DataFrame:
    """Score several systems, best first.

    Args:
        corpus: gives the gold labels and the label set.
        predictions: system -> predicted labels by clip id.
        resamples: of the bootstrap (95 %, percentile).
        seed: of the bootstrap.
        by: what is drawn: empty: clips; "speaker" or "video": all clips of one.

    Returns:
        One row per system: macro_f1, low, high, paper_low, paper_high (the papers' formula), accuracy, uar, uar_low,
        uar_high, n, drawn (what the intervals draw: "clip", "speaker" or "video").

    Raises:
        UsageError: the speaker or video of a clip is not known, or all clips are of one.
    """
    rows = {}
    for name, predicted in predictions.items():
        gold = gold_for(corpus, predicted.index)
        scored = score(gold, predicted, corpus.labels)
        groups = units_for(corpus, predicted.index, by)
        interval, uar = (
            bootstrap_interval(
                gold, predicted, corpus.labels, groups=groups, metric=metric, resamples=resamples, seed=seed
            )
            for metric in ("macro_f1", "uar")
        )
        paper_low, paper_high = paper_interval(scored.macro_f1, scored.n)
        rows[name] = {
            "macro_f1": scored.macro_f1,
            "low": interval.low,
            "high": interval.high,
            "paper_low": paper_low,
            "paper_high": paper_high,
            "accuracy": scored.accuracy,
            "uar": scored.uar,
            "uar_low": uar.low,
            "uar_high": uar.high,
            "n": scored.n,
            "drawn": by or "clip",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system").sort_values("macro_f1", ascending=False)


def paired_table(
    corpus: Corpus, first: pd.Series, second: pd.Series, resamples: int = 2000, seed: int = 0, by: str = ""
) -> pd.DataFrame:
    """Compare two systems on the same clips, with all labels and without the rarest one.

    Few clips of one label can make most of a difference in macro-F1. Without it, its clips are left out, and the mean
    is over the other labels; the answer that a clip is of it stays a mistake.

    Args:
        corpus: gives the gold labels and the label set.
        first, second: labels by clip id, of the same clips.
        resamples, seed: of the paired bootstrap.
        by: what is drawn, see `score_table`.

    Returns:
        Two rows: first and second (macro-F1), difference with its 95 % interval and p, n.
    """
    gold = gold_for(corpus, first.index)
    rarest = gold.value_counts().index[-1]
    kept = gold.index[gold != rarest]
    others = len(corpus.labels) - 1
    rows = {}
    # Without its clips the rarest label's F1 is 0, so the mean over the others is larger by a factor.
    for name, ids, factor in (("all labels", gold.index, 1.0), (f"without {rarest}", kept, 1 + 1 / others)):
        pair = (gold[ids], first[ids], second[ids], corpus.labels)
        apart = paired_bootstrap(*pair, groups=units_for(corpus, ids, by), resamples=resamples, seed=seed)
        rows[name] = {
            "first": factor * score(*pair[:2], corpus.labels).macro_f1,
            "second": factor * score(pair[0], pair[2], corpus.labels).macro_f1,
            **{of: factor * getattr(apart, of) for of in ("estimate", "low", "high")},
            "p": apart.p,
            "n": len(ids),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename(columns={"estimate": "difference"}).rename_axis("labels")


def per_label_table(corpus: Corpus, predictions: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Tabulate F1 of every label, one column per system; ``n`` is the label's number of clips."""
    scored = {name: score_on(corpus, predicted) for name, predicted in predictions.items()}
    first = next(iter(scored.values()))
    table = pd.DataFrame({name: {x: s.per_class[x].f1 for x in corpus.labels} for name, s in scored.items()})
    table.insert(0, "n", [first.per_class[x].n for x in corpus.labels])
    return table.rename_axis("label")


def per_class_table(scored: Score) -> pd.DataFrame:
    """Tabulate precision, recall, F1 and number of clips of every label."""
    table = pd.DataFrame({label: of.model_dump() for label, of in scored.per_class.items()}).T
    return table.astype({"n": int}).rename_axis("label")


def rarest_label_swing(corpus: Corpus, predicted: pd.Series) -> pd.Series:
    """Compute macro-F1 if 0, 1, … all clips of the rarest label were answered right and nothing else changed.

    Clips of that label that are not answered right get the commonest label, and no other clip gets the
    rarest one.

    Returns:
        Macro-F1 by number of right answers; the index is named after the label.
    """
    gold = gold_for(corpus, predicted.index)
    counts = gold.value_counts()
    rarest, commonest = counts.index[-1], counts.index[0]
    clips = gold.index[gold == rarest]
    swing = {}
    for right in range(len(clips) + 1):
        changed = predicted.mask(predicted == rarest, commonest)
        changed[clips] = [rarest] * right + [commonest] * (len(clips) - right)
        swing[right] = score(gold, changed, corpus.labels).macro_f1
    return pd.Series(swing, name="macro_f1").rename_axis(rarest)


def interval_table(corpus: Corpus, predicted: pd.Series, resamples: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Tabulate 95 % intervals of one system's macro-F1: the paper's formula, bootstrap by clip and by video.

    Left out: by video where a clip's video is not known or all clips are of one; BCa where it is not defined.
    """
    gold = gold_for(corpus, predicted.index)
    video = corpus.frame.set_index("id")["video"][predicted.index]
    scored = score(gold, predicted, corpus.labels)
    low, high = paper_interval(scored.macro_f1, scored.n)
    rows = {"paper's formula": {"low": low, "high": high}}
    for name, method, groups in (
        ("bootstrap by clip, percentile", "percentile", None),
        ("bootstrap by clip, BCa", "bca", None),
        ("bootstrap by video, percentile", "percentile", video),
    ):
        if groups is None or ((groups != "").all() and groups.nunique() > 1):
            made = bootstrap_interval(
                gold, predicted, corpus.labels, groups=groups, method=method, resamples=resamples, seed=seed
            )
            if made.method != method:
                continue
            rows[name] = {"low": made.low, "high": made.high}
    table = pd.DataFrame(rows).T.rename_axis("interval")
    return table.assign(width=table["high"] - table["low"])


def scheme_table(estimator: BaseEstimator, corpus: Corpus, clips: Clips) -> pd.DataFrame:
    """Tabulate macro-F1 of one system under each fold scheme that the corpus's columns allow.

    Returns:
        One row per scheme: macro_f1 over all folds' predictions together, mean and sd over the folds, and
        ``shares_video``, the share of validation clips whose video is in their training part (no such column
        where the corpus knows no videos).
    """
    rows, columns = {}, corpus.training()
    for scheme in SCHEMES:
        if scheme not in ("paper", *columns):  # sessions are no column
            continue
        if scheme == "paper" or ((columns[scheme] != "").all() and columns[scheme].nunique() >= N_FOLDS):
            cuts = folds(corpus, scheme)
            predicted = predict_by_folds(estimator, corpus, clips, cuts)
            each = [score_on(corpus, predicted[list(cut.validation)]).macro_f1 for cut in cuts]
            rows[scheme] = {
                "macro_f1": score_on(corpus, predicted).macro_f1,
                "fold_mean": float(np.mean(each)),
                "fold_sd": float(np.std(each, ddof=1)),
            }
            if (columns["video"] != "").any():
                rows[scheme]["shares_video"] = _shared_share(corpus, cuts)
    return pd.DataFrame(rows).T.rename_axis("scheme")


def drawn_by(corpus: Corpus, ids: Iterable[str], by: str = "speaker") -> str:
    """Return what a bootstrap over these clips can draw: ``by`` where each clip's is known and they are not all one,
    else "", clips."""
    if not by:
        return ""
    groups = corpus.frame.set_index("id")[by][list(ids)]
    return by if (groups != "").all() and groups.nunique() > 1 else ""


def units_for(corpus: Corpus, ids: pd.Index, by: str) -> pd.Series | None:
    """Return what a bootstrap draws, by clip id: the clips' speakers or videos; ``None`` for the clips themselves.

    Raises:
        UsageError: the speaker or video of a clip is not known, or all clips are of one.
    """
    if not by:
        return None
    groups = corpus.frame.set_index("id")[by][ids]
    if (groups == "").any() or groups.nunique() < 2:
        raise UsageError(f"corpus '{corpus.name}' has no two {by}s, or does not know a clip's: take intervals by clip.")
    return groups


def _shared_share(corpus: Corpus, cuts: list[Fold]) -> float:
    return float(pd.concat([shares_video(corpus, cut.train, cut.validation) for cut in cuts]).mean())


def shares_video(corpus: Corpus, train: Sequence[str], held_out: Sequence[str], unit: str = "video") -> pd.Series:
    """Say of each held-out clip, by id, whether its video (or another ``unit``, see `alike_by`) gives training clips
    too."""
    video = corpus.frame.set_index("id", drop=False)[unit]
    return video.loc[list(held_out)].isin(set(video.loc[list(train)]) - {""})
