"""The directive that shows what `make bench-growth` measured: a chart and the table of the same values."""

import base64
import io
import json
from math import log10
from pathlib import Path
from typing import Any

import matplotlib as mpl
from benchmark import table
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Result = dict[str, Any]

TITLES = {
    "read_and_check": "check a table",
    "decode_and_check": "check a table and its audio",
    "linear_classifier": "fit text-svm",
    "encoding": "encode transcriptions",
    "training_steps": "steps of LoRA",
    "interval": "interval, BCa",
    "paired_test": "paired test",
    "ledger": "judge all claims, by records",
}


def slope(of: dict[str, dict[str, float]]) -> float:
    """How steeply the time grows from the second largest number of clips to the largest: 1 is in proportion."""
    (few, before), (many, after) = list(of.items())[-2:]
    return log10(after["seconds"] / before["seconds"]) / log10(int(many) / int(few))


def machine(found: Result) -> str:
    hardware = found["hardware"]
    return (
        f"Processor seconds on one thread. Transcriptions: {found['sentences']} sentences that come back. Audio: "
        f"{found['seconds_a_clip']} seconds a clip. Steps: {found['steps']} of batch 4, from that many clips, with the "
        f"demo model. Machine: {hardware['cpu']}, {hardware['memory_gb']} GB. {found['date'][:10]}, commit "
        f"{found['commit'] or 'none'}."
    )


def chart(found: Result) -> str:
    """The chart as SVG: seconds and added memory against clips, a panel each, lines named at their ends."""
    with mpl.rc_context({"svg.hashsalt": "growth", "font.size": 11, "svg.fonttype": "none"}):
        figure = Figure(figsize=(7.2, 8.6), layout="constrained")
        panels = figure.subplots(2)
        for panel, unit, of in (
            (panels[0], "processor seconds", lambda at: at["seconds"]),
            (panels[1], "memory added, MB", lambda at: max(1.0, at["peak_mb"] - at["before_mb"])),
        ):
            ends = []
            for number, (work, sizes) in enumerate(found["works"].items()):
                clips, values = [int(n) for n in sizes], [of(at) for at in sizes.values()]
                [line] = panel.plot(clips, values, marker="osD^vPX*"[number], color=COLOURS[number])
                ends.append((values[-1], clips[-1], TITLES[work], line.get_color()))
            panel.set(xscale="log", yscale="log", xlabel="clips", ylabel=unit)
            panel.set_xlim(right=panel.get_xlim()[1] * 40)
            low, high = panel.get_ylim()
            # Names keep a line's height apart, in the order of the lines' ends.
            gap, last = (high / low) ** 0.075, 0.0
            for value, at, title, colour in sorted(ends):
                last = max(value, last * gap)
                panel.text(at * 1.4, last, title, color=colour, va="center", fontsize=10)
            panel.set_ylim(low, max(high, last * gap))
            panel.spines[["top", "right"]].set_visible(False)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


# Dark enough on white for text, apart for eyes that do not tell red from green (after Okabe and Ito).
COLOURS = ("#000000", "#8a5a00", "#0072b2", "#00684a", "#8a3a00", "#8c3f73", "#4b4b9b", "#5c5c5c")


def rows(found: Result) -> nodes.table:
    works = found["works"]
    sizes = list(next(iter(works.values())))
    lines = [
        [TITLES[work], *(f"{of[n]['seconds']:.2f}" if n in of else "–" for n in sizes), f"{slope(of):.2f}"]
        for work, of in works.items()
    ]
    head = ["work", *(f"{int(n):,}" for n in sizes), "slope at the end"]
    return table("Processor seconds by number of clips", head, lines)


def sentence(found: Result) -> str:
    """What the chart says, from its values."""
    works = found["works"]
    slopes = {TITLES[work]: slope(of) for work, of in works.items()}
    steepest = max(slopes, key=lambda title: slopes[title])
    most = max((at["peak_mb"] - at["before_mb"], TITLES[work]) for work, of in works.items() for at in of.values())
    of = works["training_steps"]
    smallest, *_, largest = of
    times = of[largest]["seconds"] / of[smallest]["seconds"]
    return (
        f"A slope of 1 is growth in proportion; at the end the steepest is {slopes[steepest]:.2f} ({steepest}). "
        f"Training steps cost {times:.2f} times as much with {int(largest):,} clips as with {int(smallest):,}. The "
        f"most memory that is added is {most[0]:,.0f} MB ({most[1]})."
    )


class GrowthDirective(SphinxDirective):
    """The chart, the table and a sentence of the committed result."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "benchmark" / "growth" / "result.json"
        self.env.note_reread()  # a result that comes later must show
        if not path.is_file():
            return [nodes.paragraph("", "Nothing has been measured yet.")]
        found = json.loads(path.read_text(encoding="utf-8"))
        told = base64.b64encode(chart(found).encode()).decode()
        alt = "Two charts: processor seconds and added memory by number of clips; the table has the same seconds."
        picture = f'<figure><img alt="{alt}" width="720" src="data:image/svg+xml;base64,{told}"></figure>'
        return [
            nodes.paragraph("", machine(found)),
            nodes.raw("", picture, format="html"),
            rows(found),
            nodes.paragraph("", sentence(found)),
        ]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-growth", GrowthDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
