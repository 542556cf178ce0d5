"""The directive that shows what `make bench-hearing` measured, so that no number of it is typed in prose."""

import pandas as pd
from benchmark import Measured, Result, chart
from docutils import nodes
from sphinx.application import Sphinx

from emoser_lib.reporting.figures import bar_panels


def machine(found: Result) -> nodes.Node:
    """One paragraph: what was measured, on what, when."""
    hardware = found["hardware"]
    loss, gradient = found["largest_loss_difference"], found["largest_gradient_difference"]
    says = (
        f"{found['encoder']} and {found['llm']}, joined by one linear layer; {found['clips']} clips "
        f"of {found['corpus']}, batch {found['batch_size']}, fp32. Machine: {hardware['cpu']}, {found['threads']} "
        f"threads, {hardware['memory_gb']} GB; matrix products {found['matmul_gflops']:.0f} GFLOP/s. "
        f"{found['date'][:10]}. At each step the two ways' losses differ by {loss:.0e} at most, their gradients by "
        f"{gradient:.0e} of the norm."
    )
    return nodes.paragraph("", says)


def epochs(found: Result) -> list[nodes.Node]:
    """An epoch with frames kept and in the released way."""
    seconds, flops = found["epoch_seconds"], found["gflop_a_step"]
    faster, fewer = found["times_faster"], found["times_fewer_flops"]
    kept = "frames kept, later epochs"
    measured = {
        "seconds an epoch": {
            "released way, each epoch": seconds["released"],
            "frames kept, first epoch": seconds["kept"] + seconds["encoding"],
            kept: seconds["kept"],
        },
        "GFLOP of the first step": {
            "released way, each epoch": flops["released"],
            "frames kept, first epoch": flops["kept"] + flops["encoder"],
            kept: flops["kept"],
        },
    }
    says = (
        f"With frames kept, an epoch is {faster['later']:.2f} times faster, with {fewer['later']:.2f} times fewer "
        f"FLOPs; the first, which also encodes, {faster['first']:.2f} times, with {fewer['first']:.2f} times fewer."
    )
    return chart(bar_panels(pd.DataFrame(measured), kept), "An epoch of training the projector, two ways", says)


def ways(found: Result) -> list[nodes.Node]:
    """How many positions the audio takes, and what that is worth."""
    rows = {
        ("all of Whisper's window" if row["whole"] else "the clip's frames")
        + (f", {row['stack']} joined" if row["stack"] > 1 else ""): row
        for row in found["rows"]
    }
    columns = {
        "positions a clip": "positions",
        "seconds a step": "seconds_a_step",
        "GFLOP a step": "gflop",
        f"macro-F1, {found['held']} clips of other speakers": "macro_f1",
    }
    measured = {what: {name: row[key] for name, row in rows.items()} for what, key in columns.items()}
    first, *_, last = rows.values()
    slower, best = last["seconds_a_step"] / first["seconds_a_step"], max(row["macro_f1"] for row in rows.values())
    says = (
        f"All of Whisper's window takes {slower:.0f} times as long as the clip's own frames. After so short a training "
        f"the best macro-F1 is {best:.3f}."
    )
    epochs = f"{found['epochs']} epoch{'s' if found['epochs'] > 1 else ''}"
    return chart(bar_panels(pd.DataFrame(measured)), f"Three ways of handing over the audio, {epochs}", says)


def memory(found: Result) -> nodes.Node:
    """Peak memory by number of clips."""
    (few, before), (many, after) = found["memory"].items()
    says = (
        f"At its most the process takes {before['peak_mb']:,.0f} MB with {int(few):,} clips and "
        f"{after['peak_mb']:,.0f} MB with {int(many):,}, {found['memory_growth']:.2f} times as much."
    )
    return nodes.paragraph("", says)


def charts(found: Result) -> list[nodes.Node]:
    """All charts of a result."""
    return [machine(found), *epochs(found), *ways(found), memory(found)]


class HearingDirective(Measured):
    """The charts of the committed result."""

    place = "hearing/result.json"
    shown = charts


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-hearing", HearingDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
