"""`emoser run`: execute notebooks and record what came of it."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emoser_lib.cli.gpus import own_gpu
from emoser_lib.cli.options import FiniteRange, json_option, own_folder, own_folder_options, print_json
from emoser_lib.cli.progress import ProgressLine
from emoser_lib.errors import UsageError
from emoser_lib.experiments.runs.listing import headline, listed
from emoser_lib.experiments.runs.parameters import parameters_of
from emoser_lib.experiments.runs.profiles import PlannedRun, chapters_in, plan, prepared
from emoser_lib.experiments.runs.runner import check_places, find_notebook, notebook_folders, run
from emoser_lib.experiments.runs.settling import settle
from emoser_lib.systems.progress import in_words

PROFILE = click.option(
    "--profile", metavar="NAME", help="demo, small, paper, or own: the default with --root, else demo."
)


def profile_of(profile: str | None, folder: dict[str, Any]) -> str:
    """Return the profile that is meant: runs on a user's own recordings are no demo."""
    return ("own" if folder else "demo") if profile is None else profile


def planned_runs(
    notebook: str, profile: str, only: str | None, parameter: Sequence[tuple[str, str]], folder: dict[str, Any]
) -> list[PlannedRun]:
    """Plan the runs of a notebook as the options ask for them, checked."""

    path = find_notebook(notebook)
    known = parameters_of(path)
    values: dict[str, Any] = {n: known[n].parse(v) if n in known else v for n, v in parameter}
    if folder:
        values |= {"corpus": "folder", "corpus_options": folder}
    return plan(path, profile, only, values)


def notes_of(planned: PlannedRun, if_here: bool = False) -> tuple[str, ...]:
    """Check a run's corpus against its chapter and parameters, and return what is derived, left out or found.

    Args:
        planned: the run.
        if_here: look at it only if the corpus is on this machine.
    """
    ready = prepared(planned, if_here)
    return ready.notes if ready else ()


def chapters_of(profile: str) -> list[str]:
    """List the notebooks that a profile names, of the folder that `find_notebook` looks in."""

    for folder in notebook_folders():
        if sorted(folder.glob("[0-9]*.ipynb")):
            return [str(folder / f"{name}.ipynb") for name in sorted(chapters_in(folder, profile))]
    raise UsageError("there is no folder notebooks/ with profiles/ in it here: name a notebook by its path.")


@click.command("run")
@click.argument("notebook")
@PROFILE
@click.option("--only", metavar="RUN", help="One run of the profile; default: all.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Change one; repeat it.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--timeout", type=FiniteRange(min=1), help="Seconds for one run; default: none.")
@own_folder_options
@json_option
def run_notebook(
    notebook: str,
    profile: str | None,
    only: str | None,
    parameter: Sequence[tuple[str, str]],
    runs: Path,
    timeout: float | None,
    as_json: bool,
    **own: Any,
) -> int:
    """Execute a notebook and write its record."""

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "torchrun starts a run several times, each with a record: start `emoser run` once, or a script that trains."
        )
    folder = own_folder(**own)
    runs_planned = planned_runs(notebook, profile_of(profile, folder), only, parameter, folder)
    notes = [note for planned in runs_planned for note in notes_of(planned)]  # of all, before the first kernel starts
    for note in dict.fromkeys(notes):
        print(f"emoser: {note}", file=sys.stderr)
    records = []
    check_places(runs)
    settle(runs, again=[runs / planned.chapter / planned.key for planned in runs_planned])
    for planned in runs_planned:
        print(f"{planned.chapter} {planned.key} ({planned.name}) …", file=sys.stderr)
        line = ProgressLine(f"{planned.chapter} {planned.key}")
        try:
            with own_gpu():
                record, where = run(planned, runs, timeout, line)
        finally:
            line.clear()
        records.append(record)
        print(f"{headline(listed(where))} in {in_words(record.seconds)}: {where}", file=sys.stderr)
        if record.error:
            # A record names no folder of this machine; here the run's own is named whole.
            error = record.error.replace(f"…/{where.parent.name}", str(where.parent))
            print(f"emoser: {planned.chapter}: {error}", file=sys.stderr)
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
    return 0 if all(record.status == "ok" for record in records) else 1
