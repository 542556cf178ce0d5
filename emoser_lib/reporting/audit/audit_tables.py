"""The audit's tables: what leaks, what an interval and a test are worth, what choosing adds, what the arms change."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from emoser_lib.corpora import Corpus
from emoser_lib.experiments import Fold, paired_bootstrap, predict_by_folds
from emoser_lib.experiments.judging.simulations import ALIKE, can_have, coverage, own_noise, power, selection_optimism
from emoser_lib.experiments.training.cells import Cell
from emoser_lib.experiments.training.folds import alike_by
from emoser_lib.reporting.audit.groups import TAILS, by_group, group_difference
from emoser_lib.reporting.audit.leakage import majority, video_majority
from emoser_lib.reporting.hearing.audio_systems import epochs_table
from emoser_lib.reporting.scores import gold_for, score_on, shares_video
from emoser_lib.reporting.tables import paper_intervals
from emoser_lib.systems.classical.clips import Clips
from emoser_lib.systems.classical.estimators import baseline
from emoser_lib.systems.classical.metadata import known_metadata, predict_from_metadata

C_GRID = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the SVM whose grid stands for the papers' (our choice): around scikit-learn's default of 1."""

GRIDS = (4, 8, 16, 25)
"""Cells of a grid: Table 2 has 4; of Figures 4 and 5 we do not know."""

BOTH_PRINTED = {
    "Gemma, rank 128 and alpha 128": ("thau-gemma-cv-best", "thau-table3-gemma-r128"),
    "Qwen-Audio, rank 64 and alpha 1,024": ("thau-qwen-cv-best", "thau-table3-qwen-r64"),
    "Whisper-Gemma, batch 4 and rate 1e-3": ("thau-table2-b4-lr1e-3", "thau-table3-whisper-gemma"),
    "Whisper-Gemma, batch 4 and rate 1e-4": ("thau-table2-b4-lr1e-4", "thau-whisper-gemma-first-test"),
}
"""System -> the claims of its cross-validation and of its test score. That Table 3's Whisper-Gemma is the best of
Table 2 is what section 5.1.2 suggests."""

ENCODERS_COMPARED = {
    "Whisper-Gemma at first": "thau-whisper-gemma-first-test",
    "emotion2vec-Gemma": "thau-table3-emo2vec-gemma",
}
"""System -> claim: the two scores that section 5.1.2 calls significantly different."""

HALVINGS = 200
"""Random halves of a fold (our choice)."""


def seen_unseen(
    corpus: Corpus, cuts: Sequence[Fold], predicted: pd.Series, resamples: int = 2000, seed: int = 0
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Compare a system's scores on clips whose video is in training too with those on clips of new videos.

    Whole videos are drawn for the intervals: clips of one are alike. Where videos are not known, it is speakers (or
    clips) instead, see `alike_by`.

    Returns:
        One row each, see `groups.by_group`; and their difference, see `groups.group_difference`, empty where one of
        the two has no interval.
    """
    unit = alike_by(corpus)
    seen = pd.concat([shares_video(corpus, cut.train, cut.validation, unit) for cut in cuts])
    named = seen.map({True: "seen", False: "unseen"}).rename("clips" if unit == "id" else f"{unit}s")
    by = "" if unit == "id" else unit
    table = by_group(corpus, predicted, named, resamples, seed, by=by)
    both = len(table) > 1 and table["low"].notna().all()
    return table, group_difference(corpus, predicted, named, resamples, seed, by=by) if both else {}


def without_the_clip(corpus: Corpus, cut: Fold, seed: int = 0) -> dict[str, pd.Series]:
    """Predict a cut's held-out clips from what is known about them: metadata, their video, nothing at all.

    What the corpus does not know of its clips is left out.
    """
    unit = alike_by(corpus)
    made = {
        known: predict_from_metadata(corpus, known, cut.train, cut.validation, seed) for known in known_metadata(corpus)
    }
    labels = corpus.training().set_index("id")["label"].loc[list(cut.train)]
    most = majority(list(labels), Counter(labels), corpus.labels)
    return made | {
        f"{unit}, by the rule": video_majority(corpus, cut.train, cut.validation, unit),
        "majority": pd.Series(most, index=pd.Index(cut.validation, name="id")),
    }


def duplicates(corpus: Corpus) -> pd.DataFrame:
    """Count the transcriptions that several clips share word for word, and those whose labels agree.

    Returns:
        One row per place of the copies (within training, within the test, across both): texts, clips, and how many of
        the texts have clips of different labels.
    """
    test, training = corpus.labelled_test(), corpus.training()
    labelled = training.set_index("id")["label"]
    if len(test):
        labelled = pd.concat([labelled, gold_for(corpus, pd.Index(test["id"]))])
    rows = corpus.frame[corpus.frame["id"].isin(labelled.index) & (corpus.frame["transcription"] != "")]
    rows = rows.assign(label=labelled[rows["id"]].to_numpy(), test=rows["id"].isin(test["id"]))
    copied = rows[rows["transcription"].duplicated(keep=False)]
    of_text = copied.groupby("transcription").agg(
        clips=("id", "size"), labels=("label", "nunique"), low=("test", "min"), high=("test", "max")
    )
    place = np.select([~of_text["high"], of_text["low"]], ["within training", "within the test"], "across both")
    counted = of_text.assign(texts=1, disagree=of_text["labels"] > 1).groupby(place)[["texts", "clips", "disagree"]]
    table = counted.sum().reindex(["within training", "within the test", "across both"], fill_value=0).astype(int)
    return table.rename(columns={"disagree": "texts with two labels"}).rename_axis("the same words")


def coverage_table(claims: pd.DataFrame, counts: Mapping[str, int], draws: int = 400, seed: int = 0) -> pd.DataFrame:
    """Simulate what the intervals of Table 3 would cover, on made-up systems of the printed scores.

    Args:
        claims: of the papers.
        counts: clips of each label of the test.
        draws, seed: see `simulations.coverage`.

    Returns:
        One row per printed score and a way to know the labels that can have it, see `ways_to_know` and `can_have`.
    """
    scores = sorted({float(value) for value in paper_intervals(claims)["macro-F1"]}, reverse=True)
    rows = [
        {"macro-F1": score, "system": way, **coverage(score, list(counts.values()), never, draws, seed=seed)}
        for way, never in ways_to_know(counts).items()
        for score in scores
        if can_have(score, len(counts), never)
    ]
    return pd.DataFrame(rows).set_index("macro-F1")


def ways_to_know(counts: Mapping[str, int]) -> dict[str, int | None]:
    """Return two ways in which a made-up system may know the labels: name -> ``never`` of `simulations.knowing`."""
    rarest = min(counts, key=lambda label: counts[label])
    return {"knows all labels alike": None, f"never answers {rarest}": list(counts).index(rarest)}


def power_table(claims: pd.DataFrame, counts: Mapping[str, int], draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Simulate how often a paired test would find each difference of Table 3, by how alike two systems answer.

    And that of section 5.1.2, where the paper compares Whisper, at its first setting, with emotion2vec.

    Args:
        claims, counts, seed: see `coverage_table`.
        draws: see `simulations.power`.

    Returns:
        One row per pair and a way to know the labels that both can have (`can_have`), the smallest difference first:
        the share of tests that find it where the two answer independently, half alike and as alike as they can.
    """
    printed = paper_intervals(claims)["macro-F1"].sort_values(ascending=False)
    of_encoders = {name: float(claims.value[claim]) for name, claim in ENCODERS_COMPARED.items()}
    pairs = [*combinations(printed.items(), 2), tuple(of_encoders.items())]
    alike = dict(zip(("independent", "half alike", "alike"), ALIKE, strict=True))
    rows = [
        {
            "pair": f"{better} – {worse}",
            "difference": high - low,
            "systems": way,
            **{name: power(high, low, list(counts.values()), of, never, draws, seed) for name, of in alike.items()},
        }
        for (better, high), (worse, low) in pairs
        for way, never in ways_to_know(counts).items()
        if can_have(high, len(counts), never)
    ]
    return pd.DataFrame(rows).set_index("pair").sort_values("difference", kind="stable")


def validation_and_test(claims: pd.DataFrame) -> pd.DataFrame:
    """Tabulate THAU-UPM's systems of which both scores are printed: mean of five folds, official test, difference."""
    rows = {
        name: {"five folds": claims.value[folds], "official test": claims.value[test]}
        for name, (folds, test) in BOTH_PRINTED.items()
    }
    table = pd.DataFrame.from_dict(rows, orient="index").astype(float).rename_axis("system")
    return table.assign(difference=table["official test"] - table["five folds"])


def videos_by_side(corpus: Corpus) -> pd.DataFrame:
    """Count each video's clips on both sides of the official split, videos that are on both sides first.

    Returns:
        One row per video, columns "training clips" and "test clips"; empty where the corpus does not know its videos,
        or has no test.
    """
    frame = corpus.frame[corpus.frame["split"].isin(["train", "test"]) & (corpus.frame["video"] != "")]
    counts = pd.crosstab(frame["video"], frame["split"])
    if set(counts) != {"train", "test"}:
        return pd.DataFrame()
    counts = counts.rename(columns={"train": "training clips", "test": "test clips"}).rename_axis(columns=None)
    order = counts.assign(both=(counts > 0).all(axis=1)).sort_values(
        ["both", "training clips", "test clips"], ascending=False
    )
    return counts.loc[order.index, ["training clips", "test clips"]]


def grid_by_fold(corpus: Corpus, clips: Clips, cuts: Sequence[Fold]) -> pd.DataFrame:
    """Tabulate macro-F1 of the text SVM by C and fold: one row per C, one column per fold."""
    rows = {}
    for c in C_GRID:
        model = baseline("text-svm").set_params(linearsvc__C=c)
        predicted = predict_by_folds(model, corpus, clips, cuts)
        rows[c] = [score_on(corpus, predicted[list(cut.validation)]).macro_f1 for cut in cuts]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[cut.index for cut in cuts]).rename_axis("C")


def chosen_elsewhere(by_fold: pd.DataFrame) -> dict[str, float]:
    """Compare the best mean of a grid with the mean of what the other folds choose for each fold.

    Args:
        by_fold: one row per system, one column per fold.
    """
    chosen = {fold: by_fold.drop(columns=fold).mean(axis=1).argmax() for fold in by_fold}
    elsewhere = float(np.mean([by_fold[fold].iloc[system] for fold, system in chosen.items()]))
    best = float(by_fold.mean(axis=1).max())
    return {"best mean": best, "chosen on the other folds": elsewhere, "difference": best - elsewhere}


def selection_table(by_fold: pd.DataFrame, draws: int = 2000, seed: int = 0) -> pd.DataFrame:
    """Simulate what choosing the best of a grid of equally good systems adds.

    Args:
        by_fold: of the real grid, one row per system, one column per fold.
        draws, seed: see `simulations.selection_optimism`.

    Returns:
        One row per size of the grid: with the share of the noise that the systems have in common as measured, and with
        none in common, as for systems that have little to do with each other.
    """
    sd, shared = own_noise(by_fold)
    ways = {f"shared {shared:.2f}, as measured": shared, "shared 0": 0.0}
    rows = {
        cells: {way: selection_optimism(sd, part, cells, by_fold.shape[1], draws, seed) for way, part in ways.items()}
        for cells in GRIDS
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("systems in the grid").reset_index()


def changes_table(
    corpus: Corpus, predictions: Mapping[str, pd.Series], resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Tabulate what each single difference of the arms changes, beside the published arm.

    Args:
        corpus: gives the gold labels.
        predictions: "published" and the changes -> labels by clip id, of the same clips.
        resamples, seed: of the paired bootstrap over clips.

    Returns:
        One row per change: macro_f1, uar, the rarest label's recall, and the difference of macro-F1 to the published
        arm with its 95 % interval and p. Empty where nothing was trained.
    """
    if not predictions:
        return pd.DataFrame()
    first = predictions["published"]
    gold = gold_for(corpus, first.index)
    rarest = gold.value_counts().index[-1]
    rows = {}
    for name, predicted in predictions.items():
        scored = score_on(corpus, predicted)
        apart = paired_bootstrap(gold, predicted, first, corpus.labels, resamples=resamples, seed=seed)
        rows[name] = {
            "macro_f1": scored.macro_f1,
            "uar": scored.uar,
            f"recall of {rarest}": scored.per_class[rarest].recall,
            "difference": apart.estimate,
            "low": apart.low,
            "high": apart.high,
            "p": apart.p,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("arm")


def epoch_effect(corpus: Corpus, cells: Sequence[Cell]) -> dict[str, float]:
    """Measure what reporting each fold's best epoch instead of the last one does to macro-F1.

    Returns:
        ``whole``: mean macro-F1 of the folds after the last epoch; ``changed``: after the best; ``difference``.
    """
    table = epochs_table(corpus, {"": cells}, lambda _: {"system": ""})
    return dict(zip(("whole", "changed", "difference"), map(float, table.iloc[0]), strict=True))


def halves_effect(corpus: Corpus, predicted: pd.Series, seed: int = 0) -> dict[str, float]:
    """Measure what averaging the macro-F1 of two halves of a fold does, as the released code with its two GPUs.

    Returns:
        ``whole``: macro-F1 of all clips; ``changed``: mean over random halvings of the mean of both halves' macro-F1;
        ``difference``; ``low``, ``high``: the middle 95 % of the halvings.
    """
    rng, size = np.random.default_rng(seed), len(predicted)
    means = []
    for _ in range(HALVINGS):
        order = rng.permutation(size)
        halves = (predicted.iloc[order[: size // 2]], predicted.iloc[order[size // 2 :]])
        means.append(np.mean([score_on(corpus, half).macro_f1 for half in halves]))
    whole = score_on(corpus, predicted).macro_f1
    low, high = np.quantile(means, TAILS)
    halved = float(np.mean(means))
    return {"whole": whole, "changed": halved, "difference": halved - whole, "low": float(low), "high": float(high)}
