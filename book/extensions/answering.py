"""The directive that shows what `make bench-answering` measured, so that no number of it is typed in prose."""

import json
from pathlib import Path
from typing import Any

from benchmark import table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Result = dict[str, Any]

WAYS = {
    "ours": "ours",
    "padded": "padded rows, logits everywhere, frames kept",
    "heard anew": "padded rows, logits everywhere, the encoder run too",
}


def times(value: float) -> str:
    """Two digits: some of these ratios are near one."""
    return f"{value:.2f}×"


def machine(found: Result) -> str:
    """One paragraph: what was measured, on what, when."""
    hardware = found["hardware"]
    return (
        f"A Qwen-Audio of {found['parameters'] / 1e6:.0f} million random parameters, {found['clips']} clips of "
        f"the corpus {found['corpus']}, fp32. Machine: {hardware['cpu']}, {found['threads']} threads, "
        f"{hardware['memory_gb']} GB; matrix products {found['matmul_gflops']:.0f} GFLOP/s. {found['date'][:10]}, "
        f"commit {found['commit'] or 'none'}."
    )


def answers(found: Result) -> nodes.table:
    """Labels scored and answers written."""
    ways = found["answers"]
    scored = ways["scored"]
    rows = [
        [
            name,
            f"{of['seconds']:.1f}",
            f"{of['gflop']:,.0f}",
            times(of["seconds"] / scored["seconds"]),
            times(of["gflop"] / scored["gflop"]),
        ]
        for name, of in ways.items()
    ]
    head = ["way", "seconds", "GFLOP", "time, scored = 1", "FLOPs, scored = 1"]
    return table(f"All {found['clips']} clips, {found['batch_size']} at once", head, rows)


def steps(found: Result) -> nodes.table:
    """Training steps."""
    rows = [
        [
            str(of["batch_size"]),
            title,
            f"{of['seconds'][way]:.2f}",
            f"{of['gflop'][way]:,.0f}",
            times(of["times_slower"][way]),
            times(of["gflop"][way] / of["gflop"]["ours"]),
        ]
        for of in found["steps"]
        for way, title in WAYS.items()
    ]
    head = ["batch", "way", "seconds a step", "GFLOP a step", "time, ours = 1", "FLOPs, ours = 1"]
    difference = max(of["largest_loss_difference"] for of in found["steps"])
    return table(f"A LoRA step; the losses differ by {difference:.0e} at most", head, rows)


class AnsweringDirective(SphinxDirective):
    """The tables of the committed result."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "benchmark" / "answering" / "result.json"
        self.env.note_reread()  # a result that comes later must show
        if not path.is_file():
            return [nodes.paragraph("", "Nothing has been measured yet.")]
        found = json.loads(path.read_text(encoding="utf-8"))
        return [nodes.paragraph("", machine(found)), answers(found), steps(found)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-answering", AnsweringDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
