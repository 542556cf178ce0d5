"""`emoser plan`: what runs need, before anything is downloaded."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from emoser_lib.cli.options import json_option, own_folder, own_folder_options, print_json
from emoser_lib.cli.run import PROFILE, chapters_of, notes_of, planned_runs, profile_of
from emoser_lib.errors import EmoserError, UsageError
from emoser_lib.experiments.planning.dry_run import describe_plan, dry_run
from emoser_lib.experiments.runs.runner import check_places
from emoser_lib.experiments.runs.settling import settle


@click.command("plan")
@click.argument("notebook", required=False)
@PROFILE
@click.option("--only", metavar="RUN", help="One run of the notebook; default: all.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Change one; repeat it.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@own_folder_options
@json_option
def plan_runs(
    notebook: str | None,
    profile: str | None,
    only: str | None,
    parameter: Sequence[tuple[str, str]],
    runs: Path,
    as_json: bool,
    **own: Any,
) -> int:
    """Say what the runs of a profile need, without weights: parameters, memory, download, licences.

    NOTEBOOK: one chapter; default: all that the profile names. What `emoser run` would refuse is said, where the corpus
    is here; exit code as there. Exit code 1 if a licence must be accepted first.
    """
    if notebook is None and (only or parameter):
        raise UsageError("--only and --parameter belong to one notebook: name it.")
    folder = own_folder(**own)
    profile = profile_of(profile, folder)
    names = [notebook] if notebook else chapters_of(profile)
    planned = [run for name in names for run in planned_runs(name, profile, only, parameter, folder)]
    check_places(runs)
    unfit: list[EmoserError] = []
    for run in planned:
        try:
            for note in notes_of(run, if_here=True):
                print(f"emoser: {run.chapter}: {note}", file=sys.stderr)
        except EmoserError as error:
            unfit.append(error if notebook else type(error)(f"{run.chapter} ({run.name}): {error}"))
    done = dry_run(planned, profile, list(settle(runs).values()))
    if as_json:
        print_json(done)
    else:
        print(describe_plan(done))
    for sentence in dict.fromkeys([*done.refused, *map(str, unfit)]):
        print(f"emoser: {sentence}", file=sys.stderr)
    return unfit[0].exit_code if unfit else int(bool(done.refused))
