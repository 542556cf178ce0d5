"""`emoser transfer`: a trained system scored on another corpus."""

from collections.abc import Mapping
from typing import Any

import click

from emoser_lib.cli.options import json_option, own_folder, own_folder_options, pairs, print_json
from emoser_lib.cli.predict import run_options
from emoser_lib.corpora import load_other
from emoser_lib.experiments.predicting import load_system
from emoser_lib.reporting.transfer import transfer


@click.command("transfer")
@click.argument("run")
@click.argument("corpus")
@run_options
@own_folder_options
@json_option
def transfer_run(
    run: str,
    corpus: str,
    root: str | None,
    table: str | None,
    column: tuple[str, ...],
    label: tuple[str, ...],
    quoted: bool | None,
    as_json: bool,
    **which: Any,
) -> None:
    """Score a trained system on a corpus that it did not learn from, over the labels that both have.

    RUN: a run's folder, its key, or an exported folder. CORPUS: a name, or folder with --root; --label
    names the labels of either as the system's are.
    """
    options = own_folder(root, table, column, label if root else (), quoted)
    there = load_other(corpus, **{"labels": pairs(label, "--label", "joy=Alegría"), **options})
    found = transfer(load_system(run, **which), there)
    if as_json:
        return print_json(found)
    print(f"{found.system}: the labels of both are {', '.join(found.labels)}")
    print(f"{found.learnt_from} ({found.judged}): {_scores(found.own)}")
    print(f"{found.tested_on} (not learnt from): {_scores(found.scores)}")
    if found.left_out:
        print(f"left out: {', '.join(f'{n} {other}' for other, n in found.left_out.items())}")


def _scores(scores: Mapping[str, Any]) -> str:
    parts = []
    for name, title, low, high in (("macro_f1", "macro-F1", "low", "high"), ("uar", "UAR", "uar_low", "uar_high")):
        if scores.get(name) is not None:
            between = "" if scores.get(low) is None else f" [{scores[low]:.3f}, {scores[high]:.3f}]"
            parts.append(f"{title} {scores[name]:.3f}{between}")
    clips = scores.get("n")
    return f"{', '.join(parts)}{f', {clips:.0f} clips' if clips else ''}"
