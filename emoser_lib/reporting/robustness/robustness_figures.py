"""The figures of the chapter on robustness; as `figures` for the others."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from emoser_lib.reporting.figures import (
    WIDTH,
    add_legend,
    bare_figure,
    draw_lines,
    in_lines,
    no_figure,
    point_style,
    rows_height,
)


def changes(table: pd.DataFrame) -> Figure:
    """Draw how much macro-F1 each condition costs each system, with its interval; unchanged answers are left out.

    Args:
        table: from `robustness.conditions_table`.
    """
    touched = table[table["changed"] > 0]
    names, systems = list(dict.fromkeys(touched["condition"])), list(dict.fromkeys(table["system"]))
    if not names:
        return no_figure("No condition changed an answer.")
    said = in_lines(names)
    figure, axes = bare_figure(0.9 + max(rows_height(said), 0.12 * (len(systems) + 1) * len(names)))
    for number, system in enumerate(systems):
        rows = touched[touched["system"] == system]
        place = [names.index(name) + 0.7 * ((number + 0.5) / len(systems) - 0.5) for name in rows["condition"]]
        error = np.array([rows["change"] - rows["low"], rows["high"] - rows["change"]]).clip(min=0)
        axes.errorbar(rows["change"], place, xerr=error, markersize=4, label=system, **point_style(number))
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set(yticks=range(len(names)), yticklabels=said, xlabel="change of macro-F1, with 95 % interval")
    axes.invert_yaxis()
    add_legend(figure, axes)
    return figure


def score_curves(table: pd.DataFrame) -> Figure:
    """Draw macro-F1 against how strong a condition is: one panel per kind, one line per system.

    Args:
        table: from `robustness.curves`.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    if not kinds:
        return no_figure("No condition here has a strength.")
    lines = -(-len(kinds) // 2)
    figure, panels = plt.subplots(
        lines, 2, figsize=(WIDTH, 2.5 * lines), sharey=True, squeeze=False, layout="constrained"
    )
    for axes in panels.flat[len(kinds) :]:
        axes.set_axis_off()
    for axes, kind in zip(panels.flat, kinds, strict=False):
        rows = table[table["kind"] == kind]
        steps = list(dict.fromkeys(rows["strength"].astype(str)))
        draw_lines(
            axes, rows.assign(place=rows["strength"].astype(str).map(steps.index)), "system", "place", "macro_f1"
        )
        axes.set(xlabel=kind, ylabel="macro-F1", xticks=range(len(steps)), xticklabels=steps)
    panels[0][0].set_ylim(bottom=0)
    add_legend(figure, panels[0][0])
    sns.despine(figure)
    return figure


def reliability_figure(table: pd.DataFrame) -> Figure:
    """Draw the share of right answers against confidence, one line per way; the diagonal is perfect calibration.

    Args:
        table: from `robustness.reliability_table`; the marks' size says how many clips.
    """
    figure, axes = bare_figure(3.4)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for number, (way, rows) in enumerate(table.groupby("way", sort=False)):
        style = point_style(number)
        axes.plot(rows["confidence"], rows["accuracy"], linewidth=1, color=style["color"])
        size = 15 + 180 * rows["clips"] / rows["clips"].sum()
        axes.scatter(
            rows["confidence"], rows["accuracy"], size, color=style["color"], marker=style["marker"], label=way
        )
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    add_legend(figure, axes)
    return figure


def risk_coverage_figure(curves: pd.DataFrame) -> Figure:
    """Draw the share of wrong answers among those given against the share given; one line per system.

    Args:
        curves: from `robustness.abstention_curves`.
    """
    figure, axes = bare_figure(3.0)
    draw_lines(axes, curves, "system", "coverage", "risk")
    axes.set(xlabel="share of the clips that are answered", ylabel="share of wrong answers", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    add_legend(figure, axes)
    return figure
