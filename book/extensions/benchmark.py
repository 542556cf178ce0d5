"""The directive that shows what `make bench` measured, so that no number of it is typed in prose.

```` ```{benchmark} ```` draws the charts of each result in the book's folder ``benchmark``, each with a sentence that
says what it shows; where there is none, it says so. What the other directives of the page draw with is here too.
"""

import io
import json
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib.pyplot as plt
import pandas as pd
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from emoser_lib.reporting.figures import bar_panels, growth_lines

Result = dict[str, Any]
Rows = Sequence[Sequence[str]]


class Measured(SphinxDirective):
    """A directive that shows committed results.

    Attributes:
        place: of the results in the book's folder ``benchmark``, a pattern.
        shown: makes what is shown of one of them.
    """

    place: str
    shown: Callable[[Result], list[nodes.Node]]

    def run(self) -> list[nodes.Node]:
        self.env.note_reread()  # a result that comes later must show
        paths = sorted((Path(self.env.srcdir) / "benchmark").glob(self.place))
        results = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        shown = [node for result in results for node in type(self).shown(result)]
        return shown or [nodes.paragraph("", "Nothing has been measured yet.")]


def chart(figure: Figure, caption: str, says: str) -> list[nodes.Node]:
    """A figure with its caption, and the sentence that says what it shows."""
    held = io.StringIO()
    figure.savefig(held, format="svg", metadata={"Date": None})
    plt.close(figure)
    # Not base64, which would make the page a quarter larger.
    data, told = quote(held.getvalue(), safe=" /:;=,().'-+*!?@~"), escape(caption)
    picture = f'<img alt="{told}: {escape(says)}" src="data:image/svg+xml,{data}">'
    html = f"<figure>{picture}<figcaption>{told}</figcaption></figure>"
    return [nodes.raw("", html, format="html"), nodes.paragraph("", says)]


def folded(summary: str, inside: nodes.Node) -> list[nodes.Node]:
    """What is there for whoever wants it."""
    opened = f'<details class="hide"><summary>{escape(summary)}</summary>'
    return [nodes.raw("", opened, format="html"), inside, nodes.raw("", "</details>", format="html")]


def table(title: str, head: Sequence[str], rows: Rows) -> nodes.table:
    """A table with a caption; the first column names the row."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", nodes.title("", title), group)


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def times(value: float) -> str:
    return f"{value:.1f} times"


def ratios(row: Result) -> str:
    """What a step takes beside ours."""
    time, flops, memory = row["times_faster"], row["times_fewer_flops"], 1 / row["our_memory_share"]
    return f"{times(time)} as long as ours, {times(flops)} the FLOPs and {times(memory)} the memory"


def machine(result: Result) -> nodes.Node:
    """One paragraph: what was measured, on what, when."""
    model, corpus, rate = result["model"], result["corpus"], result["matmul_gflops"]
    hardware, median = result["hardware"], result["median_tokens"]
    says = (
        f"{model['name']} ({model['note']}), LoRA of rank {result['rank']} on all linear layers. {corpus['clips']} "
        f"transcriptions of {corpus['name']}: with the prompt {median:.0f} tokens each (median), of which the first "
        f"{result['prefix_tokens']} are the same for all. Machine: {hardware['cpu']}, {result['threads']} threads, "
        f"{hardware['memory_gb']} GB; fp32 matrix products {rate['median']:.0f} GFLOP/s, of which our training step "
        f"reaches {result['rate_share']:.0%}. {result['date'][:10]}."
    )
    return nodes.paragraph("", says)


def others(result: Result, phase: str) -> dict[str, Result]:
    """The rows of the other frameworks by their titles; ours is the first."""
    return {result["contenders"][row["contender"]]["title"]: row for row in result["steps"][phase][1:]}


def step(phase: str, caption: str, batch: int) -> Callable[[Result], list[nodes.Node]]:
    """Time, FLOPs and memory of a training step, side by side."""

    def shown(result: Result) -> list[nodes.Node]:
        rows = {result["contenders"][row["contender"]]["title"]: row for row in result["steps"][phase]}
        measured = {
            f"ms a clip, batch {batch}": {name: 1000 * row["seconds_a_sample"] for name, row in rows.items()},
            "GFLOP a step": {name: row["gflop"] for name, row in rows.items()},
            "MB that a step takes": {name: row["peak_mb"] for name, row in rows.items()},
        }
        ranked = sorted(others(result, phase).items(), key=lambda named: named[1]["times_faster"])
        (fastest, near), (slowest, far) = (ranked[place] for place in (0, -1))
        says = f"The fastest of the others, {fastest}, takes {ratios(near)}; the slowest, {slowest}, {ratios(far)}."
        return chart(bar_panels(pd.DataFrame(measured), "emoser"), caption, says)

    return shown


def growing(result: Result) -> list[nodes.Node]:
    """How the ratios grow with the batch, and with the clips' length."""
    sizes = {1: "batch-1", 2: "batch-2", 4: "epoch", 8: "batch-8", 16: "batch-16"}
    kept = {n: others(result, phase) for n, phase in sizes.items() if phase in result["steps"]}
    tables = []
    for what, of in (
        ("times as long as emoser", lambda row: row["times_faster"]),
        ("times the FLOPs", lambda row: row["times_fewer_flops"]),
        ("times the memory", lambda row: 1 / row["our_memory_share"]),
    ):
        ratios = {n: {name: of(row) for name, row in rows.items()} for n, rows in kept.items()}
        tables.append(
            pd.DataFrame.from_dict(ratios, orient="index").rename_axis(index="clips in a batch", columns=what)
        )
    longer = result["growth"]["length"]
    by_length = {
        result["contenders"][name]["title"]: {int(n): seconds / longer["ours"][n] for n, seconds in of.items()}
        for name, of in longer.items()
        if name != "ours"
    }
    tables.append(
        pd.DataFrame(by_length).rename_axis(index="tokens of a clip, batch 4", columns="times as long as emoser")
    )
    (few, small), *_, (many, large) = (
        (n, min(row["times_faster"] for row in rows.values())) for n, rows in kept.items()
    )
    (short, less), *_, (long, most) = tables[-1].min(axis="columns").items()
    says = (
        f"The prompt that all clips share is run once, so the batch decides what that saves. Even the fastest of the "
        f"others takes {times(small)} as long with a batch of {few}, and {times(large)} as long with one of {many}. "
        f"So does the prompt's share of a clip: {times(less)} with {short} tokens a clip, {times(most)} with {long}."
    )
    return chart(growth_lines(tables), "How much more the other frameworks take, by batch size and by length", says)


def scoring(result: Result) -> list[nodes.Node]:
    """Labels scored against answers that are written."""
    found = result["scoring"]
    took = {way: 1000 * seconds for way, seconds in found["seconds_a_clip"].items()}
    measured = pd.DataFrame({f"ms a clip, batch {found['batch_size']}": took})
    slower = " or ".join(f"{times(of)} ({way})" for way, of in found["times_faster"].items())
    says = f"Writing an answer takes {slower} as long as scoring all labels."
    return chart(bar_panels(measured, next(iter(took))), "Six labels scored, and an answer written", says)


def contenders(result: Result) -> list[nodes.Node]:
    rows = [
        [of["title"], of["settings"].replace("`", ""), ", ".join(f"{name} {v}" for name, v in of["versions"].items())]
        for of in result["contenders"].values()
    ]
    return folded("What was run", table("What was run", ["framework", "settings", "versions"], rows))


def charts(result: Result) -> list[nodes.Node]:
    """All charts of a result."""
    each = (
        step("epoch", "A training step, batch 4", 4),
        growing,
        step("options", "The same tools as they come, and padding-free", 4),
        scoring,
        contenders,
    )
    return [machine(result), *(node for make in each for node in make(result))]


class BenchmarkDirective(Measured):
    """The charts of all committed results."""

    place = "*.json"
    shown = charts


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark", BenchmarkDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
