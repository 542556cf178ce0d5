"""The directive that shows what `make bench` measured, so that no number of it is typed in prose.

```` ```{benchmark} ```` prints the tables of each result in the book's folder ``benchmark``; where there is none, it
says so.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Result = dict[str, Any]
Rows = Sequence[Sequence[str]]


def table(title: str, head: Sequence[str], rows: Rows) -> nodes.table:
    """A table with a caption; the first column names the row."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", nodes.title("", title), group)


def _row(cells: Sequence[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", cell)) for cell in cells))


def times(value: float) -> str:
    return f"{value:.1f}×"


def machine(result: Result) -> str:
    """One paragraph: what was measured, on what, when."""
    model, corpus, rate = result["model"], result["corpus"], result["matmul_gflops"]
    hardware = result["hardware"]
    median, prefix, share = result["median_tokens"], result["prefix_tokens"], result["rate_share"]
    return (
        f"{model['name']} ({model['note']}; sha256 {model['sha256'][:12]}…), LoRA of rank {result['rank']} on all "
        f"linear layers. {corpus['clips']} transcriptions of {corpus['name']}: with the prompt {median:.0f} tokens "
        f"each (median), of which the first {prefix} are the same for all. Machine: {hardware['cpu']}, "
        f"{result['threads']} threads, {hardware['memory_gb']} GB; fp32 matrix products {rate['median']:.0f} GFLOP/s "
        f"(between {rate['least']:.0f} and {rate['most']:.0f} over the run), of which our training step reaches "
        f"{share:.0%}. {result['date'][:10]}, commit {result['commit'] or 'none'}."
    )


def targets(result: Result) -> nodes.table:
    rows = [
        [
            each["target"],
            each["against"] or "–",
            f"{each['value']:.2g}",
            f"{'≤' if each['at_most'] else '≥'} {each['bound']:g}",
            "met" if each["met"] else "missed",
        ]
        for each in result["targets"]
    ]
    return table(
        "Targets of the project and what was measured", ["quantity", "against", "measured", "target", "verdict"], rows
    )


def steps(phase: str, title: str) -> Callable[[Result], nodes.table]:
    """Time, FLOPs and memory of a training step."""
    head = [
        "framework",
        "ms a clip",
        "ours faster",
        "GFLOP a step",
        "ours fewer",
        "MB a step",
        "ours of it",
        "process, MB",
    ]

    def rows(result: Result) -> nodes.table:
        return table(
            title,
            head,
            [
                [
                    result["contenders"][row["contender"]]["title"],
                    f"{1000 * row['seconds_a_sample']:.0f}",
                    times(row["times_faster"]),
                    f"{row['gflop']:,.0f}",
                    times(row["times_fewer_flops"]),
                    f"{row['peak_mb']:,.0f}",
                    f"{row['our_memory_share']:.0%}",
                    f"{row['rss_mb']:,.0f}",
                ]
                for row in result["steps"][phase]
            ],
        )

    return rows


def losses(result: Result) -> nodes.table:
    """The loss curves side by side."""
    curves = result["losses"]
    head = ["step", *(result["contenders"][name]["title"] for name in curves)]
    rows = [[str(n), *(f"{loss:.6f}" for loss in at)] for n, at in enumerate(zip(*curves.values(), strict=True), 1)]
    return table("Loss at each step, batch 4", head, rows)


def epochs(result: Result) -> nodes.table:
    seconds = result["epoch_seconds"]
    rows = [[result["contenders"][n]["title"], f"{s:.1f}", times(s / seconds["ours"])] for n, s in seconds.items()]
    return table("One epoch, batch 4", ["framework", "seconds", "beside ours"], rows)


def growth(along: str, title: str) -> Callable[[Result], nodes.table]:
    def rows(result: Result) -> nodes.table:
        grown = result["growth"][along]
        head = ["framework", *next(iter(grown.values()))]
        lines = [
            [result["contenders"][name]["title"], *(f"{seconds:.2f}" for seconds in by.values())]
            for name, by in grown.items()
        ]
        return table(title, head, lines)

    return rows


def scoring(result: Result) -> nodes.table:
    found = result["scoring"]
    rows = [
        [way, f"{1000 * seconds:.0f}", times(found["times_faster"][way]) if way in found["times_faster"] else "–"]
        for way, seconds in found["seconds_a_clip"].items()
    ]
    title = f"Six labels scored against an answer generated, batch {found['batch_size']}"
    return table(title, ["way", "ms a clip", "scoring is faster"], rows)


def contenders(result: Result) -> nodes.table:
    rows = [
        [of["title"], of["settings"].replace("`", ""), ", ".join(f"{name} {v}" for name, v in of["versions"].items())]
        for of in result["contenders"].values()
    ]
    return table("What was run", ["framework", "settings", "versions"], rows)


TABLES: tuple[Callable[[Result], nodes.table], ...] = (
    targets,
    steps("epoch", "A training step, batch 4"),
    steps("batch-16", "A training step, batch 16"),
    steps("options", "Other settings of the same tools, batch 4"),
    epochs,
    growth("batch", "Seconds a step by batch size"),
    growth("length", "Seconds a step of batch 4 by tokens of a clip"),
    scoring,
    losses,
    contenders,
)


class BenchmarkDirective(SphinxDirective):
    """All tables of all committed results."""

    def run(self) -> list[nodes.Node]:
        folder = Path(self.env.srcdir) / "benchmark"
        self.env.note_reread()  # a result that comes later must show
        shown: list[nodes.Node] = []
        for path in sorted(folder.glob("*.json")):
            result = json.loads(path.read_text(encoding="utf-8"))
            shown.append(nodes.paragraph("", machine(result)))
            shown += [make(result) for make in TABLES]
        return shown or [nodes.paragraph("", "Nothing has been measured yet.")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark", BenchmarkDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
