"""The directive that shows what `make bench-answering` measured, so that no number of it is typed in prose."""

import pandas as pd
from benchmark import Measured, Result, chart
from docutils import nodes
from sphinx.application import Sphinx

from emoser_lib.reporting.figures import bar_panels

WAYS = {
    "ours": "ours",
    "padded": "padded rows, logits everywhere, frames kept",
    "heard anew": "padded rows, logits everywhere, the encoder run too",
}


def machine(found: Result) -> nodes.Node:
    """One paragraph: what was measured, on what, when."""
    hardware = found["hardware"]
    says = (
        f"A Qwen-Audio of {found['parameters'] / 1e6:.0f} million random parameters, {found['clips']} clips of "
        f"the corpus {found['corpus']}, fp32. Machine: {hardware['cpu']}, {found['threads']} threads, "
        f"{hardware['memory_gb']} GB; matrix products {found['matmul_gflops']:.0f} GFLOP/s. {found['date'][:10]}."
    )
    return nodes.paragraph("", says)


def answers(found: Result) -> list[nodes.Node]:
    """Labels scored and answers written."""
    ways = found["answers"]
    scored = ways["scored"]
    measured = {
        f"seconds, {found['clips']} clips": {name: of["seconds"] for name, of in ways.items()},
        "GFLOP": {name: of["gflop"] for name, of in ways.items()},
    }
    name, of = list(ways.items())[-1]
    slower, more = of["seconds"] / scored["seconds"], of["gflop"] / scored["gflop"]
    says = f"An answer {name}, takes {slower:.2f} times the time and {more:.2f} times the FLOPs of scoring the labels."
    caption = f"An answer scored and an answer written, {found['batch_size']} clips at once"
    return chart(bar_panels(pd.DataFrame(measured), "scored"), caption, says)


def steps(found: Result) -> list[nodes.Node]:
    """Training steps."""
    measured = {
        f"{unit} a step, batch {of['batch_size']}": {title: of[key][way] for way, title in WAYS.items()}
        for of in found["steps"]
        for unit, key in (("seconds", "seconds"), ("GFLOP", "gflop"))
    }
    last = found["steps"][-1]
    padded, anew = (last["times_slower"][way] for way in ("padded", "heard anew"))
    difference = max(of["largest_loss_difference"] for of in found["steps"])
    says = (
        f"With {last['batch_size']} clips in a batch, padded rows take {padded:.2f} times as long as ours, and "
        f"{anew:.2f} times with the encoder run too; the losses differ by {difference:.0e} at most."
    )
    return chart(bar_panels(pd.DataFrame(measured), WAYS["ours"]), "A step of LoRA in Qwen-Audio, three ways", says)


def charts(found: Result) -> list[nodes.Node]:
    return [machine(found), *answers(found), *steps(found)]


class AnsweringDirective(Measured):
    """The charts of the committed result."""

    place = "answering/result.json"
    shown = charts


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark-answering", AnsweringDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
