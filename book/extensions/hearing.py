"""The directive that shows what `make bench-hearing` measured, so that no number of it is typed in prose."""

import json
from pathlib import Path
from typing import Any

from benchmark import table
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

Result = dict[str, Any]


def machine(found: Result) -> str:
    """One paragraph: what was measured, on what, when."""
    hardware = found["hardware"]
    loss, gradient = found["largest_loss_difference"], found["largest_gradient_difference"]
    return (
        f"{found['encoder']} and {found['llm']}, joined by one linear layer; {found['clips']} clips "
        f"of {found['corpus']}, batch {found['batch_size']}, fp32. Machine: {hardware['cpu']}, {found['threads']} "
        f"threads, {hardware['memory_gb']} GB; matrix products {found['matmul_gflops']:.0f} GFLOP/s. "
        f"{found['date'][:10]}, commit {found['commit'] or 'none'}. At each step the two ways' losses differ by "
        f"{loss:.0e} at most, their gradients by {gradient:.0e} of the norm."
    )


def epochs(found: Result) -> nodes.table:
    """An epoch with frames kept and in the released way."""
    seconds, flops = found["epoch_seconds"], found["gflop_a_step"]
    target = found["target"]
    met = {
        kind: "met" if found[key]["later"] >= target else "missed"
        for kind, key in (("faster", "times_faster"), ("fewer FLOPs", "times_fewer_flops"))
    }
    rows = [
        ["released way, each epoch", f"{seconds['released']:.0f}", f"{flops['released']:,.0f}", "–", "–", "–"],
        ["of which the encoder", "–", f"{flops['encoder']:,.0f}", "–", "–", "–"],
        [
            "frames kept, first epoch",
            f"{seconds['kept'] + seconds['encoding']:.0f}",
            f"{flops['kept'] + flops['encoder']:,.0f}",
            f"{found['times_faster']['first']:.2f}×",
            f"{found['times_fewer_flops']['first']:.2f}×",
            "–",
        ],
        [
            "frames kept, later epochs",
            f"{seconds['kept']:.0f}",
            f"{flops['kept']:,.0f}",
            f"{found['times_faster']['later']:.2f}×",
            f"{found['times_fewer_flops']['later']:.2f}×",
            f"≥ {target:g}×: " + ", ".join(f"{kind} {judged}" for kind, judged in met.items()),
        ],
    ]
    head = ["way", "seconds an epoch", "GFLOP of the first step", "faster", "fewer FLOPs", "target"]
    return table("Training the projector", head, rows)


def ways(found: Result) -> nodes.table:
    """How many positions the audio takes, and what that is worth."""
    rows = [
        [
            "all of Whisper's window" if row["whole"] else "the clip's frames",
            str(row["stack"]),
            f"{row['positions']:.0f}",
            f"{row['seconds_a_step']:.2f}",
            f"{row['gflop']:,.0f}",
            f"{row['macro_f1']:.3f}",
            f"{row['uar']:.3f}",
        ]
        for row in found["rows"]
    ]
    head = ["frames", "joined", "positions a clip", "seconds a step", "GFLOP a step", "macro-F1", "UAR"]
    epochs = f"{found['epochs']} epoch{'s' if found['epochs'] > 1 else ''}"
    title = f"Positions and score after {epochs}, on {found['held']} clips of other speakers"
    return table(title, head, rows)


def memory(found: Result) -> nodes.table:
    """Peak memory by number of clips."""
    rows = [
        [clips, f"{of['loaded_mb']:,.0f}", f"{of['encoded_mb']:,.0f}", f"{of['peak_mb']:,.0f}"]
        for clips, of in found["memory"].items()
    ]
    title = f"Most memory of the process, MB: {found['memory_growth']:.2f} times as much for ten times the clips"
    return table(title, ["clips", "models loaded", "clips encoded", "training"], rows)


class HearingDirective(SphinxDirective):
    """The tables of the committed result."""

    def run(self) -> list[nodes.Node]:
        path = Path(self.env.srcdir) / "benchmark" / "hearing" / "result.json"
        self.env.note_reread()  # a result that comes later must show
        if not path.is_file():
            return [nodes.paragraph("", "Nothing has been measured yet.")]
        found = json.loads(path.read_text(encoding="utf-8"))
        return [nodes.paragraph("", machine(found)), epochs(found), ways(found), memory(found)]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-hearing", HearingDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
