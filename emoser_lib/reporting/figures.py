"""The chapters' figures. Each function draws one and returns it; captions and alt texts are in the notebooks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from emoser_lib.corpora import SAMPLE_RATE, Corpus, clip_seconds
from emoser_lib.experiments.judging.scoring import Score

if TYPE_CHECKING:
    from emoser_lib.reporting.diagrams import Arrow, Box

plt.rcParams["text.parse_math"] = False  # labels come from corpora and records: a $ is a $

WIDTH = 6.0
"""Inches. With it the default letters are still readable on a telephone."""


def label_colours(labels: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """Return one colour per label, the same in every figure, readable with colour-blind eyes."""
    return dict(zip(labels, sns.color_palette("colorblind", len(labels)), strict=True))


def label_counts(corpus: Corpus) -> Figure:
    """Draw the training clips by label, as THAU-UPM's Figure 3."""
    counts = corpus.training()["label"].value_counts().reindex(list(corpus.labels), fill_value=0)
    figure, axes = bare_figure(2.8)
    bars = axes.bar(list(counts.index), counts.to_numpy(), color=list(label_colours(corpus.labels).values()))
    axes.bar_label(bars, [f"{n}\n{n / counts.sum():.1%}" for n in counts], fontsize=8)
    axes.margins(y=0.2)
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
    sns.despine(figure)
    return figure


def gender_by_label(corpus: Corpus) -> Figure:
    """Draw the share of each gender among a label's training clips."""
    rows = corpus.training()
    shares = pd.crosstab(rows["label"], rows["gender"].replace("", "unknown"), normalize="index")
    figure, axes = bare_figure(2.8)
    shares.reindex(list(corpus.labels)).plot.barh(stacked=True, ax=axes, color=["0.25", "0.7", "0.9"], width=0.75)
    axes.invert_yaxis()
    axes.set(xlabel="share of the label's training clips", ylabel="", xlim=(0, 1))
    axes.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, frameon=False)
    return figure


def spectrograms(corpus: Corpus, clip_ids: Sequence[str]) -> Figure:
    """Draw each clip's mel spectrogram with its pitch; a line that says so where there is no clip."""
    if not clip_ids:
        return no_figure("No audio here.")
    rows = max(1, -(-len(clip_ids) // 3))
    figure, panels = plt.subplots(rows, 3, figsize=(WIDTH, 1.9 * rows), layout="constrained", squeeze=False)
    for axes in panels.flat[len(clip_ids) :]:
        axes.set_axis_off()
    for axes, clip in zip(panels.flat, clip_ids, strict=False):
        _spectrogram(axes, corpus.waveform(clip))
        axes.set_title(corpus.row(clip)["label"])
    return figure


def one_clip(waveform: np.ndarray) -> Figure:
    """Draw a clip's waveform above its mel spectrogram with its pitch.

    Args:
        waveform: float32 [samples], 16 kHz mono.
    """
    figure = Figure(figsize=(WIDTH, 3.2), layout="constrained")  # without pyplot, which belongs to one thread
    above, below = figure.subplots(2, 1, height_ratios=(1, 2))
    above.plot(np.arange(len(waveform)) / SAMPLE_RATE, waveform, color="0.35", linewidth=0.5)
    above.set(xlim=(0, len(waveform) / SAMPLE_RATE), ylim=(-1, 1), xticks=[], yticks=[])
    _spectrogram(below, waveform)
    return figure


def _spectrogram(axes: Axes, waveform: np.ndarray) -> None:
    mel = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=80)
    end = len(waveform) / SAMPLE_RATE
    axes.imshow(
        librosa.power_to_db(mel, ref=np.max), origin="lower", aspect="auto", extent=(0, end, 0, 80), cmap="magma"
    )
    axes.set(xlabel="s", yticks=[])
    pitch = axes.twinx()
    pitch.plot(*pitch_contour(waveform), ".", color="cyan", markersize=2)
    pitch.set(ylim=(50, 500), yscale="log", yticks=[100, 200, 400], yticklabels=["100", "200", "400"])
    pitch.minorticks_off()


def pitch_contour(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return times in seconds and pitch in Hz of the loud frames (louder than 30 dB below the loudest).

    YIN; the quiet frames are left out because it finds a pitch in noise too.
    """
    hop = 256
    pitch = librosa.yin(waveform, fmin=60, fmax=500, sr=SAMPLE_RATE, frame_length=1024, hop_length=hop)
    loudness = librosa.feature.rms(y=waveform, frame_length=1024, hop_length=hop)[0][: len(pitch)]
    loud = loudness > loudness.max() * 10 ** (-30 / 20)
    return np.flatnonzero(loud) * hop / SAMPLE_RATE, pitch[loud]


def confusion(scored: Score) -> Figure:
    """Draw the confusion matrix: counts, coloured by the share of the gold label."""
    counts = np.array(scored.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = bare_figure(3.6, width=4.6)
    sns.heatmap(
        shares, annot=counts, fmt="d", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True,
        xticklabels=scored.labels, yticklabels=scored.labels, ax=axes,
    )  # fmt: skip
    axes.set(xlabel="predicted", ylabel="gold")
    axes.tick_params(axis="x", rotation=40)
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
    figure, axes = bare_figure(0.7 + 0.32 * len(table))
    position = np.arange(len(table))
    error = np.array([table[score] - table["low"], table["high"] - table[score]]).clip(min=0)
    axes.errorbar(table[score], position, xerr=error, fmt="o", color="0.2", capsize=3)
    for (mark, value), style in zip((marks or {}).items(), ("--", "-.", ":", "-"), strict=False):
        axes.axvline(value, color="tab:red", linestyle=style, linewidth=1, label=f"{mark} {value:.2f}")
    axes.set(yticks=position, yticklabels=table.index, xlabel=f"{name} with 95 % bootstrap interval", xlim=(0, 1))
    axes.invert_yaxis()
    if marks:
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False, fontsize=8)
    return figure


def compare_intervals(intervals: pd.DataFrame) -> Figure:
    """Draw intervals of one score by several methods: rows are methods, columns low and high."""
    figure, axes = bare_figure(0.8 + 0.35 * len(intervals))
    axes.hlines(np.arange(len(intervals)), intervals["low"], intervals["high"], color="0.2", linewidth=3)
    axes.set(yticks=np.arange(len(intervals)), yticklabels=intervals.index, xlabel="macro-F1")
    axes.margins(y=0.2)
    axes.xaxis.set_major_locator(MaxNLocator(6))
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
        line_at(prefix - 0.5, color="tab:red", linewidth=1)
    axes.set(xlabel="position seen", ylabel="position that sees")
    return figure


def adapter_curves(losses: pd.DataFrame, scores: pd.DataFrame) -> Figure:
    """Draw training loss along the epochs, and macro-F1 of the held-out clips after each; one line per system.

    Args:
        losses: from `adapters.losses`. The columns that name a system are the lines' colour and, of two, their style.
        scores: from `adapters.learning_curves`.
    """
    *style, hue = [column for column in scores.columns if column not in ("fold", "epoch", "macro_f1")]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), layout="constrained")
    for axes, table, value, label in (
        (left, losses, "loss", "training loss"),
        (right, scores, "macro_f1", "macro-F1, held out"),
    ):
        named = table.assign(
            **{name: [f"{x:g}" if isinstance(x, float) else str(x) for x in table[name]] for name in (*style, hue)}
        )
        sns.lineplot(
            named, x="epoch", y=value, hue=hue, style=style[0] if style else None, palette="colorblind", errorbar=None,
            legend=axes is right, ax=axes,
        )  # fmt: skip
        axes.set(ylabel=label)
        axes.set_ylim(bottom=0)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8, frameon=False)
    sns.despine(figure)
    return figure


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
        beside = points.index + 0.4 * (place - (len(systems) - 1) / 2)
        ends = [points["macro_f1"] - points["low"], points["high"] - points["macro_f1"]]
        axes.errorbar(
            beside, points["macro_f1"], [end.clip(lower=0) for end in ends], fmt="o-", color=colour, label=system
        )
    axes.axhline(chance, color="0.5", linestyle=":", label="majority")
    axes.set(
        xlabel="training clips", ylabel="macro-F1", ylim=(0, 1), xticks=sorted(set(table.index.get_level_values(1)))
    )
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
    figure, axes = bare_figure(0.9 + 0.5 * len(values), width=1.6 + 0.9 * len(values.columns))
    sns.heatmap(values, annot=True, fmt=".3f", cmap="viridis", cbar=False, ax=axes)
    axes.set(xlabel="alpha", ylabel="rank")
    axes.tick_params(axis="y", rotation=0)
    return figure


def frame_distances(effects: pd.DataFrame) -> Figure:
    """Draw how far each frame lies from the same frame of the clip alone; one line per way of batching.

    Args:
        effects: from `audio_systems.mask_effects`.
    """
    figure, axes = bare_figure(3.2)
    sns.lineplot(effects, x="seconds", y="distance", hue="way", style="way", palette="colorblind", ax=axes)
    axes.set(xlabel="s", ylabel="distance / length of the frame")
    axes.set_ylim(bottom=0)
    axes.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=1, fontsize=8, frameon=False)
    return figure


def label_bias(shares: pd.DataFrame) -> Figure:
    """Draw how often each label is the answer: groups of bars by label, one bar per column.

    Args:
        shares: one row per label, columns that sum up to 1.
    """
    figure, axes = bare_figure(3.0)
    shares.plot.bar(ax=axes, width=0.8, rot=0, color=sns.color_palette("colorblind", len(shares.columns)))
    axes.set(xlabel="", ylabel="share")
    axes.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    return figure


def score_by_cost(table: pd.DataFrame) -> Figure:
    """Draw macro-F1 against FLOPs per clip, one panel per set of clips, as scores on other clips do not compare.

    Args:
        table: from `results.efficiency`. A system whose FLOPs are not known is left out.
    """
    known = table.dropna(subset=["GFLOP a clip"])
    panels = list(known.groupby("evaluated on", sort=False))
    lines = max(len(of) for _, of in panels)
    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(WIDTH, 2.6 + 0.2 * lines),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axes, (clips, of) in zip(grid[0], panels, strict=True):
        for (name, row), colour, marker in zip(
            of.iterrows(), sns.color_palette("colorblind", len(of)), MARKERS, strict=False
        ):
            error = np.clip([[row["macro_f1"] - row["low"]], [row["high"] - row["macro_f1"]]], 0, None)
            named = f"{name} ({row['source']})"
            axes.errorbar(row["GFLOP a clip"], row["macro_f1"], error, fmt=marker, color=colour, capsize=3, label=named)
        axes.set(title=clips, xlabel="GFLOP a clip", ylim=(0, 1), xscale="log")
        axes.xaxis.set_major_formatter("{x:g}")  # not 10 to the power of something, which is a formula
        axes.legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25))
    grid[0][0].set_ylabel("macro-F1")
    sns.despine(figure)
    return figure


MARKERS = "os^vDP*X<>"
"""One per system, so that colours are not needed to tell them apart."""


STATES = {"trained": ("#fbe3cf", "#b3500a"), "frozen": ("#dcebf5", "#1f5f8b"), "": ("white", "0.45")}
"""Fill and frame of a block diagram's boxes."""


def block_diagram(boxes: "Sequence[Box]", arrows: "Sequence[Arrow]") -> Figure:
    """Draw boxes on a grid, from the top down, with a label at every arrow.

    Arrows go straight down where the boxes lie above each other. What is trained or frozen is written in the box, its
    colour says the same again.

    Args:
        boxes, arrows: see `diagrams`.
    """
    wide, high, gap = 2.45, 0.5, 0.44  # inches: of a column, of a box, between two rows
    columns, rows = max(box.column + box.span for box in boxes), 1 + max(box.row for box in boxes)
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
