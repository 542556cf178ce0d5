"""Four things to play with on a page: choose, and see and hear what was computed when the page was made.

An explorer is a form of native controls, a sentence that is announced, a picture and a table of the same values. All
are written here, a row for each choice, and ``book/static/book.js`` marks the one that is chosen. Without it, as in Lab
and on paper, picture and table are there, at the first choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from IPython.display import HTML

from emoser_lib.corpora import Corpus
from emoser_lib.experiments.judging.scoring import macro_f1_from_confusion
from emoser_lib.experiments.judging.simulations import knowing
from emoser_lib.experiments.runs.records import published_records
from emoser_lib.reporting.audit.leakage import Leakage
from emoser_lib.reporting.escaping import as_text
from emoser_lib.reporting.hearing.listening import clip_row
from emoser_lib.reporting.scores import gold_for

RAREST = range(2, 61)
"""Of the rarest label, in `interval_explorer` (our choice; the official test of EmoSPeech has six)."""

EACH = 2
"""Clips that are played of a pair of labels, at most: a page should stay light (our choice)."""

Ends = tuple[float, float]
"""Lowest and highest score of an axis."""

WIDE, HIGH = 480, 250
"""Pixels of a picture; those of grids are as high as their rows."""


@dataclass(frozen=True)
class Choice:
    """What one setting of the controls shows.

    Attributes:
        key: the controls' values.
        said: the sentence that is announced.
        row: the values in the table.
        drawn: its part of the picture, SVG.
        heard: players of its clips, HTML; empty where there are none.
    """

    key: tuple[str, ...]
    said: str
    row: tuple[str, ...]
    drawn: str
    heard: str = ""


def explorer(
    name: str, controls: Mapping[str, Sequence[str] | range], columns: Sequence[str], choices: Sequence[Choice],
    first: int, frame: str, high: int = HIGH,
) -> HTML:  # fmt: skip
    """Lay out an explorer.

    Args:
        name: what it is, for those who do not see it.
        controls: label -> its options, or a range for a slider.
        columns: heads of the table.
        choices: all of them; those without a key of their own are never chosen.
        first: number of the choice that is marked at first, and on paper.
        frame: the rest of the picture, SVG, behind what the choices draw.
        high: of the picture, pixels.
    """
    now = choices[first]
    fields = "".join(_control(label, of, value) for (label, of), value in zip(controls.items(), now.key, strict=True))
    parts = "".join(f"<g{_marks(choice, now)}>{choice.drawn}</g>" for choice in choices)
    rows = "".join(
        f"<tr{_marks(choice, now)} data-said='{as_text(choice.said)}'>"
        + "".join(f"<td>{as_text(cell)}</td>" for cell in choice.row) + "</tr>"
        for choice in choices
    )  # fmt: skip
    heard = "".join(
        f"<div{_marks(choice, now, 'emoser-heard ')}>{choice.heard}</div>" for choice in choices if choice.heard
    )
    heads = "".join(f"<th scope='col'>{as_text(column)}</th>" for column in columns)
    return HTML(
        f"<div class='emoser-explorer'><form class='emoser-choice' aria-label='{as_text(name)}' hidden>{fields}</form>"
        f"<p class='emoser-said'><output aria-live='polite'>{as_text(now.said)}</output></p>"
        f"<svg viewBox='0 0 {WIDE} {high}' role='img' aria-label='{as_text(name)}. The table has the same values.'>"
        f"{frame}{parts}</svg>{heard}"
        "<details><summary>The same values as a table</summary>"
        f"<div class='emoser-table-scroll' tabindex='0' role='region' aria-label='{as_text(name)}'>"
        f"<table class='dataframe table emoser-table'><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
        "</div></details></div>"
    )


def adapter_explorer(table: pd.DataFrame) -> HTML:
    """Explore a grid of LoRA adapters: choose rank and alpha, read what the system scored.

    Args:
        table: from `adapters.grid_table`; its order is that of the scores.
    """
    if table.empty:
        return HTML("<p>No grid here: one adapter was trained, without folds.</p>")
    ranks, alphas = sorted(set(table["rank"])), sorted(set(table["alpha"]))
    place = {pair: n for n, pair in enumerate(zip(table["rank"], table["alpha"], strict=True))}
    scores = list(table["macro_f1"])
    choices = []
    for (down, rank), (right, alpha) in product(enumerate(ranks), enumerate(alphas)):
        key = (str(rank), str(alpha))
        if (rank, alpha) not in place:
            choices.append(Choice(key, f"Rank {rank}, alpha {alpha}: not trained.", (*key, "", "", ""), ""))
            continue
        number = place[rank, alpha]
        score, factor, trained = f"{scores[number]:.3f}", f"{alpha / rank:g}", f"{table['trainable'].iloc[number]:,.0f}"
        said = (
            f"Rank {rank}, alpha {alpha}: macro-F1 {score}, number {number + 1} of {len(table)}. What is learnt counts "
            f"{factor} times (alpha / rank); {trained} numbers are trained."
        )
        share = (scores[number] - min(scores)) / ((max(scores) - min(scores)) or 1.0)
        cell = _cell(down, right, len(ranks), len(alphas), score, share)
        choices.append(Choice(key, said, (*key, factor, score, trained), cell))
    columns = ("rank", "alpha", "alpha / rank", "macro-F1", "trained numbers")
    first = next(n for n, choice in enumerate(choices) if choice.key == (str(table["rank"][0]), str(table["alpha"][0])))
    frame, high = _grid([str(rank) for rank in ranks], [str(alpha) for alpha in alphas], "rank", "alpha")
    controls = {"rank": [str(rank) for rank in ranks], "alpha": [str(alpha) for alpha in alphas]}
    return explorer("Macro-F1 by rank and alpha", controls, columns, choices, first, frame, high)


def interval_explorer(macro_f1: float, counts: Mapping[str, int], draws: int = 2000, seed: int = 0) -> HTML:
    """Explore how sure a macro-F1 is: choose how many clips the rarest label has, read where the score falls.

    A system that knows the same share of each label's clips (`simulations.knowing`) and has this macro-F1 is asked
    about test splits that are drawn with so many clips of the rarest label, and of the others as many as given.

    Args:
        macro_f1: of the system on all possible clips.
        counts: label -> its clips in the test split.
        draws: test splits for each number of clips.
        seed: of the draws.
    """
    label = min(counts, key=counts.__getitem__)
    table = ranges_by_clips(macro_f1, list(counts.values()), list(counts).index(label), draws, seed)
    ends = np.floor(10 * table["low"].min()) / 10, np.ceil(10 * table["high"].max()) / 10
    step = (WIDE - 70) / len(table)
    choices = []
    for number, (n, low, middle, high) in enumerate(table.itertuples()):
        said = (
            f"{n} clips of {label}: in 95 of 100 such tests macro-F1 falls between {low:.3f} and {high:.3f}, "
            f"{high - low:.3f} apart."
        )
        drawn = _interval(60 + (number + 0.5) * step, low, middle, high, ends)
        row = (str(n), f"{low:.3f}", f"{middle:.3f}", f"{high:.3f}", f"{high - low:.3f}")
        choices.append(Choice((str(n),), said, row, drawn))
    name, control = f"Macro-F1 by clips of {label}", f"clips of {label}"
    ticks = {60 + (n - RAREST.start + 0.5) * step: str(n) for n in (RAREST.start, *range(10, RAREST.stop, 10))}
    columns = (control, "low", "mean", "high", "high less low")
    first = min(max(counts[label], RAREST.start), RAREST.stop - 1) - RAREST.start
    return explorer(name, {control: RAREST}, columns, choices, first, _axes(ticks, control, ends))


def ranges_by_clips(
    macro_f1: float, counts: Sequence[int], rarest: int, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Simulate between which scores 95 of 100 test splits lie, by how many clips one label has.

    Args:
        macro_f1: of the system on all possible clips.
        counts: clips of each label [K].
        rarest: number of the label whose clips are changed to each of `RAREST`.
        draws: test splits for each number of clips.
        seed: of the draws.

    Returns:
        One row per number of clips: low, mean, high.

    >>> table = ranges_by_clips(0.6, [100, 80, 6], 2, draws=200)
    >>> bool((table.loc[2, "high"] - table.loc[2, "low"]) > (table.loc[60, "high"] - table.loc[60, "low"]))
    True
    """
    rng = np.random.default_rng(seed)
    answers = knowing(macro_f1, counts)
    others = [rng.multinomial(n, answers[label], size=draws) for label, n in enumerate(counts)]
    rows = {}
    for n in RAREST:
        drawn = [rng.multinomial(n, answers[rarest], size=draws) if k == rarest else of for k, of in enumerate(others)]
        scores = macro_f1_from_confusion(np.stack(drawn, axis=1))
        low, high = np.quantile(scores, (0.025, 0.975))
        rows[n] = {"low": float(low), "mean": float(scores.mean()), "high": float(high)}
    return pd.DataFrame.from_dict(rows, orient="index")


def leakage_explorer(found: Mapping[str, Leakage]) -> HTML:
    """Explore what videos give away: choose clips and how they are cut, read what the rule without a model scores.

    Args:
        found: name of the clips -> from `leakage.leakage`; those of the committed records are added.
    """
    for record in published_records("12-audit"):
        if "leakage" in record.metrics and record.corpus:
            found = {**found, f"{record.corpus.name}, recorded": Leakage.model_validate(record.metrics["leakage"])}
    cuts = {(clips, scheme): of_one for clips, of in found.items() for scheme, of_one in _shares_and_scores(of).items()}
    schemes = tuple(dict.fromkeys(scheme for _, scheme in cuts))
    step, choices = (WIDE - 70) / len(cuts), []
    for number, ((clips, scheme), points) in enumerate(cuts.items()):
        shares, scores = np.array(points).T
        told = (
            f"{shares.mean():.0%} of the clips share a video with training clips; the rule scores {scores.mean():.3f}"
        )
        said = f"{clips}, {scheme}: {told}{' on the average of the folds' if len(points) > 1 else ''}."
        row = (
            clips,
            scheme,
            f"{shares.mean():.3f}",
            f"{scores.mean():.3f}",
            f"{scores.min():.3f}",
            f"{scores.max():.3f}",
        )
        drawn = _interval(60 + (number + 0.5) * step, scores.min(), scores.mean(), scores.max(), wide=14)
        choices.append(Choice((clips, scheme), said, row, drawn))
    for clips, scheme in product(found, schemes):
        if (clips, scheme) not in cuts:
            choices.append(Choice((clips, scheme), f"{clips} has no {scheme}.", (clips, scheme, "", "", "", ""), ""))
    ticks = {60 + (number + 0.5) * step: scheme.split()[-1] for number, (_, scheme) in enumerate(cuts)}
    columns = ("clips", "cut", "share a video", "mean", "lowest fold", "highest fold")
    name = "Macro-F1 of the rule that knows only the video"
    frame = _axes(ticks, "")
    for clips in found:
        own = [x for x, (of, _) in zip(ticks, cuts, strict=True) if of == clips]
        frame += _text(float(np.mean(own)), HIGH - 6, clips) if own else ""
    return explorer(name, {"clips": list(found), "cut": schemes}, columns, choices, 0, frame)


def confusion_explorer(corpus: Corpus, predicted: pd.Series, seed: int = 0) -> HTML:
    """Explore a confusion matrix: choose what was meant and what was answered, hear such clips and read them.

    Args:
        corpus: gives labels, transcriptions and audio.
        predicted: labels by clip id.
        seed: draws the clips that are played.
    """
    gold = gold_for(corpus, predicted.index)
    asked = pd.DataFrame({"gold": gold, "predicted": predicted}).sample(frac=1, random_state=seed)
    labels, choices = corpus.labels, []
    for (down, meant), (right, told) in product(enumerate(labels), enumerate(labels)):
        clips = asked.index[(asked["gold"] == meant) & (asked["predicted"] == told)]
        all_ = int((gold == meant).sum())
        said = f"{len(clips)} of {all_} clips of {meant} were answered with {told}."
        players = "".join(clip_row(corpus.row(clip), meant, {"answer": told}) for clip in clips[:EACH])
        heard = f"<table class='emoser-listen'><tbody>{players}</tbody></table>" if players else ""
        drawn = _cell(down, right, len(labels), len(labels), str(len(clips)), len(clips) / max(1, all_))
        choices.append(Choice((meant, told), said, (meant, told, str(len(clips))), drawn, heard))
    wrong = [n for n, choice in enumerate(choices) if choice.heard and choice.key[0] != choice.key[1]]
    first = max(wrong, key=lambda n: int(choices[n].row[2]), default=0)
    frame, high = _grid(labels, labels, "gold", "answered")
    controls = {"gold": labels, "answered": labels}
    name = "Clips by gold label and answer"
    return explorer(name, controls, ("gold", "answered", "clips"), choices, first, frame, high)


def _shares_and_scores(of: Leakage) -> dict[str, list[tuple[float, float]]]:
    """Share of clips whose video, or what stands for it, is known, and the rule's score: of the test and each fold."""
    test = [(of.test.clips_sharing_video / of.test.clips, of.test.video_majority.macro_f1)] if of.test else []
    folds = {
        f"folds by {'clip' if scheme == 'paper' else scheme}": [(fold.share, fold.macro_f1) for fold in each]
        for scheme, each in of.folds.items()
    }
    return {scheme: points for scheme, points in {"official test": test, **folds}.items() if points}


def _control(label: str, of: Sequence[str] | range, value: str) -> str:
    said = as_text(label)
    if isinstance(of, range):
        ends = f"min='{of.start}' max='{of.stop - 1}' value='{as_text(value)}'"
        return f"<label>{said} <input type='range' {ends}></label>"
    options = "".join(
        f"<option value='{as_text(option)}'{' selected' if option == value else ''}>{as_text(option)}</option>"
        for option in of
    )
    return f"<label>{said} <select>{options}</select></label>"


def _marks(choice: Choice, now: Choice, kind: str = "") -> str:
    chosen = f"{kind}{'emoser-chosen' if choice is now else ''}".strip()
    return f" class='{chosen}' data-choice='{as_text('|'.join(choice.key))}'"


def _text(x: float, y: float, said: str, anchor: str = "middle") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{as_text(said)}</text>"


def _grid(rows: Sequence[str], columns: Sequence[str], down: str, right: str) -> tuple[str, int]:
    """The names around a grid, and the picture's height."""
    wide, tall = (WIDE - 100) / len(columns), 34
    said = [_text(92, 44 + tall * (n + 0.5), name, "end") for n, name in enumerate(rows)]
    said += [_text(100 + wide * (n + 0.5), 30, name) for n, name in enumerate(columns)]
    return "".join(
        [*said, _text(100 + wide * len(columns) / 2, 12, right), _text(92, 30, down, "end")]
    ), 44 + tall * len(rows)


def _cell(down: int, right: int, rows: int, columns: int, said: str, share: float) -> str:
    wide, tall = (WIDE - 100) / columns, 34
    x, y = 100 + wide * right, 40 + tall * down
    return _rect(x + 2, y + 2, wide - 4, tall - 4, 0.05 + 0.4 * share) + _text(x + wide / 2, y + 21, said)


def _axes(ticks: Mapping[float, str], below: str, ends: Ends = (0.0, 1.0)) -> str:
    """A vertical axis of scores, and what stands below."""
    levels = ""
    for score in np.linspace(*ends, 5):
        y = _at(score, ends)
        levels += f"<line x1='60' x2='{WIDE - 10}' y1='{y:.1f}' y2='{y:.1f}'/>{_text(52, y + 4, f'{score:.3g}', 'end')}"
    names = "".join(_text(x, HIGH - 26, said) for x, said in ticks.items())
    return levels + names + _text((WIDE + 50) / 2, HIGH - 6, below) + _text(4, 12, "macro-F1", "start")


def _at(score: float, ends: Ends) -> float:
    return HIGH - 44 - (HIGH - 68) * (score - ends[0]) / (ends[1] - ends[0])


def _interval(x: float, low: float, middle: float, high: float, ends: Ends = (0.0, 1.0), wide: float = 5) -> str:
    top = _at(high, ends) - 1
    bar = _rect(x - wide / 2, top, wide, _at(low, ends) - top + 1, 0.4)
    return f"{bar}<circle cx='{x:.1f}' cy='{_at(middle, ends):.1f}' r='2.5'/>"


def _rect(x: float, y: float, width: float, height: float, opacity: float) -> str:
    size = f"width='{width:.1f}' height='{height:.1f}'"
    return f"<rect x='{x:.1f}' y='{y:.1f}' {size} fill-opacity='{opacity:.2f}'/>"
