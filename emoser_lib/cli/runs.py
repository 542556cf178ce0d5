"""`emoser runs` and `emoser compare`: look back at what was run."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from emoser_lib.cli.options import json_option, print_json
from emoser_lib.experiments.runs.listing import (
    Comparison,
    ListedRun,
    SeedsTogether,
    compare_runs,
    find_run,
    fold_by_seed,
    headline,
    list_runs,
)

runs_option = click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)


@click.command("runs")
@click.argument("chapter", required=False)
@click.option("--by", type=click.Choice(["seed"]), help="Put runs together that differ by their seed only.")
@runs_option
@json_option
def list_all(chapter: str | None, by: str | None, runs: Path, as_json: bool) -> None:
    """List runs: score, what they changed, how long they took."""
    found = list_runs(runs, chapter)
    rows = fold_by_seed(found) if by else found
    if as_json:
        print_json([row.model_dump(mode="json", exclude={"folder"}) for row in rows])
    elif not rows:
        print(f"No runs in {runs} yet: start one, such as `emoser run 03-classical`.")
    for row in rows if not as_json else []:
        print(_seeds(row) if isinstance(row, SeedsTogether) else _line(row))


@click.command("compare")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--system", nargs=2, metavar="NAME NAME", help="One of each run; default: the one it is about.")
@click.option("--metric", default="macro_f1", show_default=True, help="macro_f1, uar or accuracy.")
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@runs_option
@json_option
def compare(
    first: str,
    second: str,
    system: tuple[str, str] | None,
    metric: str,
    resamples: int,
    seed: int,
    runs: Path,
    as_json: bool,
) -> None:
    """Compare two runs on the clips that both answered."""
    folders = (find_run(first, runs), find_run(second, runs))
    told = compare_runs(*folders, system or (None, None), metric, resamples, seed)
    if as_json:
        print_json(told)
    else:
        print(_sentence(told))
        for name, (one, other) in told.parameters.items():
            print(f"  {name}: {_value(one)} | {_value(other)}")


def _line(run: ListedRun) -> str:
    trained = "" if run.seconds_trained is None else f", trained {run.seconds_trained:.0f} s"
    changed = " ".join(f"{name}={_value(value)}" for name, value in run.parameters.items())
    return f"{headline(run)}; {run.seconds:.0f} s{trained}; {_age(run.date)} {changed}".rstrip()


def _seeds(of: SeedsTogether) -> str:
    spread = "" if of.sd is None else f" ± {of.sd:.3f} [{of.lowest:.3f} to {of.highest:.3f}]"
    changed = " ".join(f"{name}={_value(value)}" for name, value in of.parameters.items())
    many = f"{len(of.seeds)} seed{'s' if len(of.seeds) > 1 else ''}"
    return f"{of.chapter} ({of.profile}, {of.run}) {of.metric} {of.mean:.3f}{spread}; {many} {changed}".rstrip()


def _sentence(told: Comparison) -> str:
    one, other = told.systems
    names = f"{one} − {other}" if one != other else f"{one}, first − second"
    return (
        f"{names}: {told.metric} {told.difference:+.3f}, 95 % interval [{told.low:+.3f}, {told.high:+.3f}], "
        f"p = {told.p_value:.3f}; {told.n:,} clips, drawn by {told.unit}."
    )


def _value(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _age(date: str) -> str:
    hours = (datetime.now(UTC) - datetime.fromisoformat(date)).total_seconds() / 3600
    return f"{hours / 24:.0f} d ago" if hours >= 24 else f"{hours:.0f} h ago" if hours >= 1 else "now"
