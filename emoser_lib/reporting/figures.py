"""The chapters' figures. Each function draws one and returns it; captions and alt texts are in the notebooks."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator
from matplotlib_inline.config import InlineBackend

from emoser_lib.corpora import SAMPLE_RATE, Corpus, clip_seconds
from emoser_lib.experiments.judging.scoring import Score
from emoser_lib.systems.classical.compiled import load_librosa

if TYPE_CHECKING:
    from emoser_lib.reporting.diagrams import Arrow, Box

plt.rcParams |= {
    "text.parse_math": False,  # labels come from corpora and records: a $ is a $
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "svg.hashsalt": "emoser",  # the same figure is the same file
}
# In a notebook figures are SVG: sharp at any size, on paper too. What draws them there is set up with this very object.
InlineBackend.instance(parent=get_ipython()).figure_formats = {"svg"}

WIDTH = 5.2
"""Inches of a figure, at most. A telephone shows it at about three quarters, and the smallest letters with 8 px."""

SMALLEST = 1.65
"""Inches that a panel has at least, both ways."""

MARK_COLOUR = sns.color_palette("colorblind")[3]
"""Of a line that something is compared with."""

NAME_LETTERS = 26
"""Of a system's or group's name in a line; a longer one gets a second line."""


def label_colours(labels: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return one colour per label, the same in every figure, readable with colour-blind eyes."""
    return dict(zip(labels, sns.color_palette("colorblind", len(labels)), strict=True))


def in_lines(names: Iterable[object], letters: int = NAME_LETTERS) -> list[str]:
    """Break long names into lines, also where there is no space.

    >>> in_lines(["short", "a name of many letters, one of them being this one"])
    ['short', 'a name of many letters,\\none of them being this one']
    """
    return [textwrap.fill(str(name), letters) for name in names]


def add_legend(figure: Figure, of: Axes | Mapping[str, Any]) -> None:
    """Put one legend above all panels, in as many columns as the longest name allows; the panels keep their size.

    Args:
        figure: with constrained layout.
        of: the panel whose lines it names, or what is named by its name.
    """
    handles, names = of.get_legend_handles_labels() if isinstance(of, Axes) else (list(of.values()), list(of))
    for panel in figure.axes:
        if own := panel.get_legend():
            own.remove()
    said = in_lines(names, 52)
    longest = max((len(line) for name in said for line in name.split("\n")), default=0)
    columns = max(1, min(len(said), int(WIDTH / (0.5 + 0.085 * longest))))
    lines = -(-len(said) // columns) * max((name.count("\n") + 1 for name in said), default=0)
    figure.set_figheight(figure.get_figheight() + 0.18 * lines)
    figure.legend(handles, said, loc="outside upper center", ncols=columns, frameon=False)


def label_counts(corpus: Corpus) -> Figure:
    """Draw the training clips by label, as THAU-UPM's Figure 3."""
    counts = corpus.training()["label"].value_counts().reindex(list(corpus.labels), fill_value=0)
    figure, axes = bare_figure(2.8)
    bars = axes.bar(list(counts.index), counts.to_numpy(), color=list(label_colours(corpus.labels).values()))
    axes.bar_label(bars, [f"{n}\n{n / counts.sum():.0%}" for n in counts], fontsize=9)
    axes.margins(y=0.2)
    names_below(figure, axes, counts.index)
    axes.set_ylabel("training clips")
    return figure


def durations_and_words(corpus: Corpus) -> Figure:
    """Draw histograms of the clips' seconds and of their number of words."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.6), layout="constrained")
    seconds = clip_seconds(corpus)
    left.hist(seconds or [], bins=30, color="0.35")
    left.set_xlabel("seconds" if seconds else "seconds (not known here)")
    words = np.array([len(text.split()) for text in corpus.frame["transcription"]])
    right.hist(words, bins=np.arange(words.min(), words.max() + 2) - 0.5, color="0.35")
    right.set_xlabel("words")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set_ylabel("clips")
    right.set_ylabel("clips")
    sns.despine(figure)
    return figure


def gender_by_label(corpus: Corpus) -> Figure:
    """Draw the share of each gender among a label's training clips."""
    rows = corpus.training()
    shares = pd.crosstab(rows["label"], rows["gender"].replace("", "unknown"), normalize="index")
    figure, axes = bare_figure(2.8)
    shares.reindex(list(corpus.labels)).plot.barh(
        stacked=True, ax=axes, color=[str(grey) for grey in np.linspace(0.25, 0.9, shares.shape[1])], width=0.75
    )
    axes.invert_yaxis()
    axes.set(xlabel="share of the label's training clips", ylabel="", xlim=(0, 1))
    axes.set_yticks(range(len(corpus.labels)), in_lines(corpus.labels))
    add_legend(figure, axes)
    return figure


def spectrograms(corpus: Corpus, clip_ids: Sequence[str]) -> Figure:
    """Draw each clip's mel spectrogram with its pitch; a line that says so where there is no clip."""
    if not clip_ids:
        return no_figure("No audio here.")
    rows = -(-len(clip_ids) // 2)
    figure, panels = plt.subplots(rows, 2, figsize=(WIDTH, 2.4 * rows), layout="constrained", squeeze=False)
    for axes in panels.flat[len(clip_ids) :]:
        axes.set_axis_off()
    for axes, clip in zip(panels.flat, clip_ids, strict=False):
        draw_spectrogram(axes, corpus.waveform(clip))
        axes.set_title("\n".join(in_lines([corpus.row(clip)["label"]])))
    return figure


def one_clip(waveform: np.ndarray) -> Figure:
    """Draw a clip's waveform above its mel spectrogram with its pitch.

    Args:
        waveform: float32 [samples], 16 kHz mono.
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")  # without pyplot, which belongs to one thread
    above, below = figure.subplots(2, 1)
    above.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="0.35", linewidth=0.5)
    above.set(xlim=(0, len(waveform) / SAMPLE_RATE), ylim=(-1, 1), xticks=[], ylabel="amplitude, full scale 1")
    draw_spectrogram(below, waveform)
    return figure


def draw_spectrogram(axes: Axes, waveform: np.ndarray) -> None:
    """Draw a waveform's mel spectrogram into a panel, with its pitch as dots and their scale on the right."""
    librosa = load_librosa()
    mel = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80)
    end = len(waveform) / SAMPLE_RATE
    axes.imshow(
        librosa.power_to_db(mel, ref=np.max),
        origin="lower",
        aspect="auto",
        extent=(0, end, 0, 80),
        cmap=plt.get_cmap("magma", 16),  # steps of 5 dB: a picture of few colours is half as large
        interpolation_stage="data",  # none in between
    )
    axes.set(xlabel="seconds", ylabel="mel bands", yticks=[])
    pitch = axes.twinx()
    pitch.plot(*pitch_contour(waveform), ".", color="cyan", markersize=2)
    pitch.set(
        ylabel="pitch, Hz", ylim=(50, 500), yscale="log", yticks=[100, 200, 400], yticklabels=["100", "200", "400"]
    )
    pitch.minorticks_off()


def pitch_contour(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds and pitch in Hz of the loud frames (louder than 30 dB below the loudest).

    YIN; the quiet frames are left out because it finds a pitch in noise too.
    """
    hop = 256
    librosa = load_librosa()
    pitch = librosa.yin(waveform, fmin=60, fmax=500, sr=SAMPLE_RATE, frame_length=1024, hop_length=hop)
    loudness = librosa.feature.rms(y=waveform, frame_length=1024, hop_length=hop)[0][: len(pitch)]
    loud = loudness > loudness.max() * 10 ** (-30 / 20)
    return np.flatnonzero(loud) * hop / SAMPLE_RATE, pitch[loud]


def confusion(scored: Score) -> Figure:
    """Draw the confusion matrix: counts, coloured by the share of the gold label."""
    counts = np.array(scored.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = bare_figure(4.2)
    sns.heatmap(
        shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True, annot_kws={"size": 9},
        xticklabels=in_lines(scored.labels, 16), yticklabels=in_lines(scored.labels, 16), ax=axes,
    )  # fmt: skip
    axes.set(xlabel="predicted", ylabel="gold")
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(axis="y", rotation=0)
    return figure


def score_intervals(
    table: pd.DataFrame, marks: Mapping[str, float] | None = None, score: str = "macro_f1", name: str = "macro-F1"
) -> Figure:
    """Draw a score of several systems or groups with its bootstrap interval; vertical lines for named values.

    Args:
        table: from `score_table` or `groups.by_group`.
        marks: name -> score, for example the best that is possible.
        score: the column that ``low`` and ``high`` are of.
        name: what it is called.
    """
    if table.empty:
        return no_figure("Nothing to draw: this corpus does not know it.")
    names = in_lines(table.index)
    figure, axes = bare_figure(0.9 + rows_height(names))
    position = np.arange(len(table))
    error = np.array([table[score] - table["low"], table["high"] - table[score]]).clip(min=0)
    axes.errorbar(table[score], position, xerr=error, fmt="o", color="0.2", capsize=3)
    for (mark, value), style in zip((marks or {}).items(), ("--", "-.", ":", "-"), strict=False):
        axes.axvline(value, color=MARK_COLOUR, linestyle=style, linewidth=1, label=f"{mark} {value:.2f}")
    axes.set(yticks=position, yticklabels=names, xlabel=f"{name} with 95 % bootstrap interval", xlim=(0, 1))
    axes.invert_yaxis()
    if marks:
        add_legend(figure, axes)
    return figure


def compare_intervals(intervals: pd.DataFrame) -> Figure:
    """Draw intervals of one score by several methods: rows are methods, columns low and high."""
    names = in_lines(intervals.index)
    figure, axes = bare_figure(0.8 + rows_height(names))
    axes.hlines(np.arange(len(intervals)), intervals["low"], intervals["high"], color="0.2", linewidth=3)
    axes.set(yticks=np.arange(len(intervals)), yticklabels=names, xlabel="macro-F1")
    axes.margins(y=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.invert_yaxis()
    return figure


def bars(values: Mapping[str, float], xlabel: str) -> Figure:
    """Draw one bar per name, in the order given, with its value beside it.

    Args:
        values: name -> number.
        xlabel: what the numbers are.
    """
    figure, axes = bare_figure(0.8 + max(1.65, 0.29 * len(values)))
    drawn = axes.barh(list(values), list(values.values()), color=sns.color_palette("colorblind")[0], height=0.7)
    axes.bar_label(
        drawn, [f"{value:,}" if isinstance(value, int) else f"{value:.3f}" for value in values.values()], padding=3
    )
    axes.margins(x=0.15)
    axes.set_xlabel(xlabel)
    axes.invert_yaxis()
    return figure


def line(series: pd.Series, xlabel: str) -> Figure:
    """Draw a series against its whole-numbered index; the series' name is the vertical axis."""
    figure, axes = bare_figure(2.6)
    axes.plot(series.index, series, "o-", color="0.2")
    axes.set(xlabel=xlabel, ylabel=str(series.name).replace("macro_f1", "macro-F1"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def packed_mask(seen: np.ndarray, prefix: int) -> Figure:
    """Draw which position (row) of a packed batch sees which (column); lines mark the end of the prefix."""
    figure, axes = bare_figure(3.4, width=4.0)
    axes.imshow(seen, cmap="Greys", vmin=0, vmax=1.4, interpolation="nearest")
    for line_at in (axes.axhline, axes.axvline):
        line_at(prefix - 0.5, color=MARK_COLOUR, linewidth=1)
    axes.set(xlabel="position seen", ylabel="position that sees")
    return figure


def adapter_curves(losses: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw training loss along the epochs, and macro-F1 of the held-out clips after each; one line per system.

    Args:
        losses: from `adapters.losses`.
        scores: from `adapters.learning_curves`.
    """
    which = [column for column in scores.columns if column not in ("fold", "epoch", "macro_f1")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9), layout="constrained")
    for axes, table, value, label in (
        (left, losses, "loss", "training loss"),
        (right, scores, "macro_f1", "macro-F1, held out"),
    ):
        named = [
            ", ".join(_setting(name, value) for name, value in zip(which, row, strict=True))
            for row in table[which].to_numpy(object)
        ]
        draw_lines(axes, table.assign(named=named), "named", "epoch", value)
        axes.set(xlabel="epoch", ylabel=label)
        axes.set_ylim(bottom=0)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(figure, right)
    sns.despine(figure)
    return figure


def _setting(name: str, value: object) -> str:
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return shown if name == "system" else f"{name} {shown}"


def reach_curves(table: pd.DataFrame, chance: float) -> Figure:
    """Draw `reach.curve_table`: macro-F1 by the number of training clips, one line a system, with intervals.

    Args:
        table: from `curve_table`.
        chance: macro-F1 of the commonest label, as a dotted line.
    """
    figure, axes = bare_figure(3.2)
    systems = list(dict.fromkeys(table.index.get_level_values("system")))
    for place, (system, colour) in enumerate(label_colours(systems).items()):
        points = table.loc[system]
        beside = points.index * 1.01 ** (place - (len(systems) - 1) / 2)
        ends = [points["macro_f1"] - points["low"], points["high"] - points["macro_f1"]]
        axes.errorbar(
            beside, points["macro_f1"], [end.clip(lower=0) for end in ends], fmt="o-", color=colour, label=system
        )
    axes.axhline(chance, color="0.5", linestyle=":", label="majority")
    sizes = sorted(set(table.index.get_level_values(1)))
    axes.set(xlabel="training clips", ylabel="macro-F1", ylim=(0, 1), xscale="log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.legend(frameon=False, loc="upper left", ncols=2)
    return figure


def grid_heat_map(table: pd.DataFrame) -> Figure:
    """Draw mean macro-F1 by rank and alpha, as THAU-UPM's Figure 4; a line that says so where there was no grid.

    Args:
        table: from `adapters.grid_table`.
    """
    if table.empty:
        return no_figure("No grid here: one adapter was trained, without folds.")
    values = table.pivot(index="rank", columns="alpha", values="macro_f1").sort_index(ascending=False)
    width = min(WIDTH, 1.4 + max(SMALLEST, 0.9 * len(values.columns)))
    figure, axes = bare_figure(0.9 + max(SMALLEST, 0.5 * len(values)), width)
    sns.heatmap(values, annot=True, fmt=".3f", cmap="viridis", cbar=False, annot_kws={"size": 9}, ax=axes)
    axes.set(xlabel="alpha", ylabel="rank")
    axes.tick_params(axis="y", rotation=0)
    return figure


def frame_distances(effects: pd.DataFrame) -> Figure:
    """Draw how far each frame lies from the same frame of the clip alone; one line per way of batching.

    Args:
        effects: from `audio_systems.mask_effects`.
    """
    figure, axes = bare_figure(3.2)
    draw_lines(axes, effects, "way", "seconds", "distance")
    axes.set(xlabel="seconds", ylabel="distance / length of the frame")
    axes.set_ylim(bottom=0)
    add_legend(figure, axes)
    return figure


def label_bias(shares: pd.DataFrame) -> Figure:
    """Draw how often each label is the answer: groups of bars by label, one bar per column.

    Args:
        shares: one row per label, columns that sum up to 1.
    """
    figure, axes = bare_figure(3.0)
    shares.plot.bar(ax=axes, width=0.8, rot=0, color=sns.color_palette("colorblind", len(shares.columns)))
    axes.set(xlabel="", ylabel="share of the clips")
    names_below(figure, axes, shares.index)
    add_legend(figure, axes)
    return figure


def score_by_cost(table: pd.DataFrame, marks: Mapping[str, Mapping[str, float]] | None = None) -> Figure:
    """Draw macro-F1 against FLOPs per clip, one panel per set of clips, as scores on other clips do not compare.

    Args:
        table: from `results.efficiency`. A system whose FLOPs are not known is left out.
        marks: set of clips -> name -> a score of which no cost is known, drawn as a line across the panel.
    """
    known = table.dropna(subset=["GFLOP a clip"])
    panels = list(known.groupby("evaluated on", sort=False))
    if not panels:
        return no_figure("Nothing to draw: no system's cost is known.")
    figure, column = plt.subplots(
        len(panels), 1, figsize=(WIDTH, 2.7 * len(panels)), layout="constrained", sharex=True, squeeze=False
    )
    handles: dict[str, Any] = {}
    number = 0
    for axes, (clips, of) in zip(column[:, 0], panels, strict=True):
        for name, row in of.iterrows():
            error = np.clip([[row["macro_f1"] - row["low"]], [row["high"] - row["macro_f1"]]], 0, None)
            named = f"{name} ({row['source']})"
            handles[named] = axes.errorbar(
                row["GFLOP a clip"], row["macro_f1"], error, capsize=3, label=named, **point_style(number)
            )
            number += 1
        for (mark, value), style in zip((marks or {}).get(str(clips), {}).items(), ("--", ":", "-."), strict=False):
            handles[f"{mark} {value:.4f}"] = axes.axhline(value, color=MARK_COLOUR, linewidth=1, linestyle=style)
        axes.set_title("\n".join(in_lines([clips], 44)), fontsize=10)
        axes.set(xlabel="GFLOP a clip", ylabel="macro-F1", ylim=(0, 1), xscale="log")
        axes.tick_params(labelbottom=True)
        axes.xaxis.set_major_formatter("{x:g}")  # not 10 to the power of something, which is a formula
    add_legend(figure, handles)
    sns.despine(figure)
    return figure


def slopes(table: pd.DataFrame, ylabel: str = "macro-F1") -> Figure:
    """Draw a slope chart: one line per row, from its value in the first column to that in the second.

    Args:
        table: two columns, for example mean of five folds and official test; the index names the lines.
        ylabel: what the values are.
    """
    figure, axes = bare_figure(3.4)
    for number, (name, row) in enumerate(table.iterrows()):
        axes.plot([0, 1], row, label=str(name), linewidth=1.2, **point_style(number) | {"linestyle": "-"})
    axes.set(xlim=(-0.3, 1.3), xticks=[0, 1], xticklabels=in_lines(table.columns), ylabel=ylabel)
    add_legend(figure, axes)
    return figure


def sides(counts: pd.DataFrame) -> Figure:
    """Draw videos across a split: one bar per video, its clips of one side up and those of the other down.

    Args:
        counts: one row per video, two columns: how many of its clips are on each side (`audit_tables.videos_by_side`).
    """
    if counts.empty:
        return no_figure("Nothing to draw: this corpus does not know it.")
    up, down = counts.columns
    figure, axes = bare_figure(2.4)
    both, place = (counts > 0).all(axis=1), np.arange(len(counts))
    ways = (("one side only", ~both, "0.75"), ("both sides", both, MARK_COLOUR))
    for name, chosen, colour in ways:
        axes.bar(
            place[chosen], counts[up][chosen], width=0.8, color=colour, label=f"{name}: {int(chosen.sum()):,} videos"
        )
        axes.bar(place[chosen], -counts[down][chosen], width=0.8, color=colour)
    axes.axhline(0, color="0.2", linewidth=1)
    most = max(1, int(counts.to_numpy().max()))
    axes.set(ylim=(-1.1 * most, 1.1 * most), xticks=[], xlabel=f"videos, {len(counts):,}", ylabel="clips")
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.text(0.99, 0.98, up, transform=axes.transAxes, ha="right", va="top")
    axes.text(0.99, 0.02, down, transform=axes.transAxes, ha="right", va="bottom")
    add_legend(figure, axes)
    return figure


MARKERS = "os^vDP*X<>"
"""One per system, so that colours are not needed to tell them apart."""


def point_style(number: int) -> dict[str, Any]:
    """Return colour and marker of a system by its number: a pair of its own for each of a hundred."""
    colours = sns.color_palette("colorblind")
    marker = MARKERS[(number + number // len(colours)) % len(MARKERS)]
    return {"color": colours[number % len(colours)], "marker": marker, "linestyle": ""}


def rows_height(names: Sequence[str]) -> float:
    """Return the inches that rows with these names need, one below the other."""
    return max(SMALLEST, sum(0.16 + 0.16 * (name.count("\n") + 1) for name in names))


def names_below(figure: Figure, axes: Axes, names: Iterable[object]) -> None:
    """Write names below a panel's bars; where they need more than its width they are turned, and the figure grows."""
    said = in_lines(names, 16)
    upright = sum(max(map(len, name.split("\n"))) + 1 for name in said) > 46
    axes.set_xticks(range(len(said)), said, rotation=90 if upright else 0)
    if upright:
        figure.set_figheight(figure.get_figheight() + 0.08 * max(max(map(len, name.split("\n"))) for name in said))


def draw_lines(axes: Axes, table: pd.DataFrame, by: str, x: str, y: str) -> None:
    """Draw one line per name: the mean of what has the same place on the horizontal axis.

    Args:
        axes: where.
        table: its columns are as follows.
        by: the names.
        x, y: the numbers.
    """
    for number, (name, rows) in enumerate(table.groupby(by, sort=False)):
        means = rows.groupby(x)[y].mean()
        style = point_style(number) | {"linestyle": "-", "markersize": 4, "linewidth": 1.2}
        axes.plot(means.index, means, label=str(name), markevery=max(1, len(means) // 8), **style)


STATES = {"trained": ("#fbe3cf", "#b3500a"), "frozen": ("#dcebf5", "#1f5f8b"), "": ("white", "0.45")}
"""Fill and frame of a block diagram's boxes."""


def block_diagram(boxes: "Sequence[Box]", arrows: "Sequence[Arrow]") -> Figure:
    """Draw boxes on a grid, from the top down, with a label at every arrow.

    Arrows go straight down where the boxes lie above each other. What is trained or frozen is written in the box, its
    colour says the same again.

    Args:
        boxes, arrows: see `diagrams`.
    """
    columns, rows = max(box.column + box.span for box in boxes), 1 + max(box.row for box in boxes)
    wide, high, gap = WIDTH / max(2, columns), 0.5, 0.44  # inches: of a column, of a box, between two rows
    figure, axes = plt.subplots(figsize=(wide * columns, (high + gap) * rows - gap + 0.1))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, wide * columns), ylim=((high + gap) * rows - gap + 0.05, -0.05))
    axes.set_axis_off()
    edges = {}
    for box in boxes:
        left, right = box.column * wide + 0.12, (box.column + box.span) * wide - 0.12
        top = box.row * (high + gap)
        fill, frame = STATES[box.state]
        edges[box.name] = (left, right, top)
        axes.add_patch(
            FancyBboxPatch((left, top), right - left, high, "round,pad=0,rounding_size=0.06", fc=fill, ec=frame)
        )
        said = f"{box.title}\n({box.state})" if box.state else box.title
        axes.text((left + right) / 2, top + high / 2, said, ha="center", va="center", fontsize=9.5, linespacing=1.1)
    for arrow in arrows:
        (left, right, top), (to_left, to_right, to_top) = edges[arrow.start], edges[arrow.end]
        middle, to_middle = (left + right) / 2, (to_left + to_right) / 2
        if right - left <= to_right - to_left:  # the narrower box decides where a straight arrow runs
            to_middle = min(max(middle, to_left), to_right)
        else:
            middle = min(max(to_middle, left), right)
        drawn = {"arrowstyle": "-|>", "color": "0.25", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (to_middle, to_top), (middle, top + high), arrowprops=drawn)
        axes.text(to_middle + 0.07, to_top - gap / 2, arrow.label, va="center", fontsize=9, linespacing=1.1)
    return figure


def no_figure(text: str) -> Figure:
    """Write a line of text in the place of a figure that has nothing to draw."""
    figure, axes = plt.subplots(figsize=(WIDTH, 0.5))
    axes.set_axis_off()
    axes.text(0, 0.5, text, va="center")
    return figure


def bare_figure(height: float, width: float = WIDTH) -> tuple[Figure, plt.Axes]:
    """Make a figure of so many inches with one panel."""
    figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
    sns.despine(figure)
    return figure, axes
