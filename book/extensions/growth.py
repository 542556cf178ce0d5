"""The directive that shows what `make bench-growth` measured: a chart and the table of the same values."""

from math import log10, nan

import pandas as pd
from benchmark import Measured, Result, chart, folded, table
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.application import Sphinx

from emoser_lib.reporting.figures import growth_lines

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


def machine(found: Result) -> nodes.Node:
    """One paragraph: what was measured, on what, when."""
    hardware = found["hardware"]
    says = (
        f"Processor seconds on one thread. Transcriptions: {found['sentences']} sentences that come back. Audio: "
        f"{found['seconds_a_clip']} seconds a clip. Steps: {found['steps']} of batch 4, from that many clips, with the "
        f"demo model. Machine: {hardware['cpu']}, {hardware['memory_gb']} GB. {found['date'][:10]}."
    )
    return nodes.paragraph("", says)


def drawn(found: Result) -> Figure:
    """Seconds and added memory against clips, a panel each."""
    values = {
        "processor seconds": lambda at: at["seconds"],
        "memory added, MB": lambda at: (at["peak_mb"] - at["before_mb"]) or nan,
    }
    tables = []
    for what, of in values.items():
        lines = {TITLES[work]: {int(n): of(at) for n, at in sizes.items()} for work, sizes in found["works"].items()}
        tables.append(pd.DataFrame(lines).rename_axis(index="clips", columns=what))
    return growth_lines(tables)


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
        f"most memory that is added is {most[0]:,.0f} MB ({most[1]}). Added is what goes beyond the most that the "
        f"process had held before, and without any no point is drawn: ahead of the steps it encodes, and with "
        f"{int(largest):,} clips it had held {of[largest]['before_mb']:,.0f} MB by then."
    )


def charts(found: Result) -> list[nodes.Node]:
    """The chart, its sentence, and the seconds as a table."""
    caption = "Processor seconds and added memory, by number of clips"
    shown = chart(drawn(found), caption, sentence(found))
    return [machine(found), *shown, *folded("The seconds as a table", rows(found))]


class GrowthDirective(Measured):
    """What the committed result shows."""

    place = "growth/result.json"
    shown = charts


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-growth", GrowthDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
