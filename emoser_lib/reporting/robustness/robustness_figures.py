"""The figures of the chapter on robustness; as `figures` for the others."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from emoser_lib.reporting.figures import WIDTH, bare_figure, label_colours, no_figure


def changes(table: pd.DataFrame) -> Figure:
    """Draw how much macro-F1 each condition costs each system, with its interval; unchanged answers are left out.

    Args:
        table: from `robustness.conditions_table`.
    """
    touched = table[table["changed"] > 0]
    names, systems = list(dict.fromkeys(touched["condition"])), list(dict.fromkeys(table["system"]))
    if not names:
        return no_figure("No condition changed an answer.")
    figure, axes = bare_figure(0.9 + 0.12 * (len(systems) + 1) * len(names))
    for number, (system, colour) in enumerate(label_colours(systems).items()):
        rows = touched[touched["system"] == system]
        place = [names.index(name) + 0.7 * ((number + 0.5) / len(systems) - 0.5) for name in rows["condition"]]
        error = np.array([rows["change"] - rows["low"], rows["high"] - rows["change"]]).clip(min=0)
        axes.errorbar(
            rows["change"], place, xerr=error, fmt="osD^vP*X"[number % 8], markersize=4, color=colour, label=system
        )
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set(yticks=range(len(names)), yticklabels=names, xlabel="change of macro-F1, with 95 % interval")
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=4, frameon=False, fontsize=8)
    return figure


def score_curves(table: pd.DataFrame) -> Figure:
    """Draw macro-F1 against how strong a condition is: one panel per kind, one line per system.

    Args:
        table: from `robustness.curves`.
    """
    kinds = list(dict.fromkeys(table["kind"]))
    if not kinds:
        return no_figure("No condition here has a strength.")
    figure, panels = plt.subplots(1, len(kinds), figsize=(WIDTH, 2.9), sharey=True, squeeze=False, layout="constrained")
    for axes, kind in zip(panels[0], kinds, strict=True):
        rows = table[table["kind"] == kind].astype({"strength": str})
        sns.lineplot(
            rows, x="strength", y="macro_f1", hue="system", style="system", markers=True, dashes=False, sort=False,
            palette="colorblind", errorbar=None, legend=axes is panels[0][0], ax=axes,
        )  # fmt: skip
        axes.set(xlabel=kind, ylabel="macro-F1")
    panels[0][0].set_ylim(bottom=0)
    handles, names = panels[0][0].get_legend_handles_labels()
    panels[0][0].get_legend().remove()
    figure.legend(handles, names, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    sns.despine(figure)
    return figure


def reliability_figure(table: pd.DataFrame) -> Figure:
    """Draw the share of right answers against confidence, one line per way; the diagonal is perfect calibration.

    Args:
        table: from `robustness.reliability_table`; the marks' size says how many clips.
    """
    figure, axes = bare_figure(3.4, width=4.4)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
    for (way, rows), marker in zip(table.groupby("way", sort=False), "os^D", strict=False):
        (drawn,) = axes.plot(rows["confidence"], rows["accuracy"], linewidth=1)
        size = 15 + 180 * rows["clips"] / rows["clips"].sum()
        axes.scatter(rows["confidence"], rows["accuracy"], s=size, marker=marker, color=drawn.get_color(), label=way)
    axes.set(xlabel="confidence", ylabel="share of right answers", xlim=(0, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False, fontsize=8)
    return figure


def risk_coverage_figure(curves: pd.DataFrame) -> Figure:
    """Draw the share of wrong answers among those given against the share given; one line per system.

    Args:
        curves: from `robustness.abstention_curves`.
    """
    figure, axes = bare_figure(3.0)
    sns.lineplot(
        curves, x="coverage", y="risk", hue="system", style="system", palette="colorblind", errorbar=None, ax=axes
    )
    axes.set(xlabel="share of the clips that are answered", ylabel="share of wrong answers", xlim=(0, 1))
    axes.set_ylim(bottom=0)
    axes.legend(title="", loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4, frameon=False, fontsize=8)
    return figure
