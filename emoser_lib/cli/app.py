"""`emoser app`: a page on this machine that asks trained systems about a clip."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting import load_system
from emoser_lib.reporting.page import served


@click.command("app")
@click.argument("runs_asked", nargs=-1, required=True, metavar="RUN...")
@click.option("--system", multiple=True, metavar="NAME", help="Of one run, one of several; repeat it.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--device", default="auto", show_default=True, help="Where models compute: cpu, cuda:1, mps.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: the first free one from 7860 on.")
def app(runs_asked: Sequence[str], system: Sequence[str], runs: Path, device: str, port: int | None) -> None:
    """Open a page on 127.0.0.1 that asks trained systems about a clip, until you stop it (Ctrl+C).

    RUN: one to four; a run's folder, its key, or an exported folder. Nothing leaves this machine.
    """
    if system and len(runs_asked) > 1:
        raise UsageError("--system belongs to one run: name one, or leave --system out.")
    names: Sequence[str | None] = system or [None]
    wanted = [(run, name) for run in runs_asked for name in names]
    found = [load_system(run, name, runs=runs, device=device).load() for run, name in wanted]
    titles = [f"{one.needs.name} ({Path(run).resolve().name})" for (run, _), one in zip(wanted, found, strict=True)]
    with served(list(zip(titles, found, strict=True)), port) as address:
        print(f"{address} (stop with Ctrl+C)", flush=True)
        print("emoser: recordings are deleted when the page is stopped.", file=sys.stderr)
        threading.Event().wait()
