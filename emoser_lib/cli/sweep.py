"""`emoser sweep`: train the cells of a grid, each by a run of its own, then run the chapter that shows them."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from emoser_lib.cli.options import json_option, print_json
from emoser_lib.errors import UsageError

FRONT = "scripts/workflow.py"
PLACES = "notebooks/places"
PLACE_FILE = "config.yaml"
"""Snakemake's workflow profiles: one a place where jobs run."""


@click.command("sweep")
@click.argument("name")
@click.option("--profile", default="demo", show_default=True, help="demo, small or paper.")
@click.option("--cores", type=click.IntRange(min=1), default=os.cpu_count(), show_default=True, help="Jobs at a time.")
@click.option("--place", default="cores", show_default=True, help=f"cores, gpus, slurm ({PLACES}) or a folder.")
@click.option("--dry-run", is_flag=True, help="List the jobs, and which are done.")
@json_option
def sweep(name: str, profile: str, cores: int, place: str, dry_run: bool, as_json: bool) -> None:
    """Train the cells of a sweep, a run each, then run its chapter, which finds them.

    NAME: declared in the profile. The same command goes on where a stopped one was, also after `kill -9`.
    """
    if as_json and not dry_run:
        raise UsageError("--json is for what --dry-run lists.")
    if dry_run:
        _list(name, profile, as_json)
        return
    checkout = _checkout()
    folder = next((one for one in (checkout / PLACES / place, Path(place).absolute()) if _is_place(one)), None)
    if folder is None:
        known = ", ".join(sorted(path.parent.name for path in (checkout / PLACES).glob(f"*/{PLACE_FILE}")))
        raise UsageError(f"there is no place '{place}': name one of {known}, or a folder with Snakemake's config.yaml.")
    # On this machine nothing else is imported here: a sweep that is done is to say so in seconds.
    arguments = [f"--workflow-profile={folder}", "--cores", str(cores), "--quiet", "rules", "host", "progress"]
    asked = [f"{of}={value}" for of, value in _for_a_job(name, profile, checkout, folder).items()]
    chosen = ["--config", f"profile={profile}", f"sweep={name}", *asked, "--", "sweep"]
    os.execv(sys.executable, [sys.executable, str(checkout / FRONT), *arguments, *chosen])


def _checkout() -> Path:
    from emoser_lib.environment import ROOT

    for folder in (Path.cwd(), ROOT):
        if (folder / FRONT).is_file() and (folder / "notebooks/Snakefile").is_file():
            return folder
    raise UsageError("a sweep needs the project's checkout, for its notebooks and their workflow: change into it.")


def _for_a_job(name: str, profile: str, checkout: Path, place: Path) -> dict[str, int]:
    """Memory and minutes of a job, for a place that sends jobs elsewhere."""
    import yaml

    told = yaml.safe_load((place / PLACE_FILE).read_text(encoding="utf-8")) or {}
    if told.get("executor", "local") == "local":
        return {}
    from emoser_lib.experiments.planning.jobs import needs_of_a_job
    from emoser_lib.experiments.runs.settling import settle
    from emoser_lib.experiments.runs.sweeps import plan_sweep

    runs = plan_sweep(checkout / "notebooks", name, profile).runs
    needs = needs_of_a_job(runs, profile, list(settle(checkout / "runs").values()))
    minutes = f"{needs.runtime} minutes" if needs.runtime else "as long as the place says"
    print(f"A job asks for {needs.mem_mb:,} MB and {minutes} (see `emoser plan`).", file=sys.stderr)
    return needs.resources


def _is_place(folder: Path) -> bool:
    return (folder / PLACE_FILE).is_file()


def _list(name: str, profile: str, as_json: bool) -> None:
    from emoser_lib.experiments.runs.settling import settle
    from emoser_lib.experiments.runs.sweeps import plan_sweep

    checkout = _checkout()
    planned = plan_sweep(checkout / "notebooks", name, profile)
    runs = checkout / "runs"
    records = settle(runs)
    rows = []
    for whole in planned.runs:
        for part in (*planned.cells[whole.key], whole):
            record = records.get(runs / part.chapter / part.key)
            status = "to do" if record is None else str(record.status)
            row: dict[str, Any] = {"chapter": part.chapter, "key": part.key, "status": status, "command": part.command}
            rows.append(row | {"cell": part is not whole})
    if as_json:
        print_json(rows)
        return
    for row in rows:
        print(f"{row['status']:8} {row['command']}")
    done = sum(row["status"] == "ok" for row in rows)
    print(f"{len(rows)} jobs, {done} done.")
