"""`emoser predict` and `emoser export`: a trained system asked about new clips, or passed on."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from emoser_lib.cli.options import json_option, pairs, print_json
from emoser_lib.errors import UsageError
from emoser_lib.experiments.predicting import Clip, export_system, load_system
from emoser_lib.experiments.predicting.answers import answers_as_csv, answers_as_json, ask, ask_into
from emoser_lib.experiments.predicting.asked import clips_of_table, named_clips


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which run's system is meant, and where its parts are."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="Where models compute: cpu, cuda:1, mps."),
        click.option("--encoder", metavar="NAME", help="Where an exported system's audio encoder is."),
        click.option("--llm", metavar="NAME", help="Where an exported system's language model is: a name or a folder."),
        click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True),
        click.option("--system", metavar="NAME", help="One of several; default: the best of the record."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("run")
@click.argument("clips", nargs=-1, metavar="[CLIP]...")
@click.option("--transcription", multiple=True, help="What is said; with several clips repeat it, in their order.")
@click.option("--table", type=click.Path(path_type=Path), help="Many clips: a table with audio, transcription or both.")
@click.option("--column", multiple=True, metavar="OURS=THEIRS", help="Of the table: audio=file; repeat it.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@json_option
@click.option("--output", type=click.Path(path_type=Path), help="Write them there instead; what is there is kept.")
@run_options
def predict(
    run: str,
    clips: Sequence[str],
    transcription: Sequence[str],
    table: Path | None,
    column: Sequence[str],
    as_csv: bool,
    as_json: bool,
    output: Path | None,
    **which: Any,
) -> None:
    """Ask a trained system about clips: the likeliest label, and the probability of each.

    RUN: a run's folder, its key, or an exported folder. CLIP: audio files.

    With --output (CSV, or JSON if it ends in .json) a stopped call goes on where it was.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other: leave one out.")
    system = load_system(run, **which)
    asked = _clips(clips, transcription, table, pairs(column, "--column", "audio=file"))
    if output is not None:
        form = "json" if as_json or (output.suffix.lower() == ".json" and not as_csv) else "csv"
        before, new = ask_into(system, asked, output, form)  # type: ignore[arg-type]
        print(f"{output}: {new} new answers, {before} were there", file=sys.stderr)
        return
    answers = list(ask(system, system.check(asked)))
    if as_json:
        return print_json(answers_as_json(system.labels, answers))
    if as_csv:
        print(answers_as_csv(system.labels, answers), end="")
        return
    for answer in answers:
        ordered = sorted(answer.probabilities.items(), key=lambda pair: -pair[1])
        print(f"{answer.id}: {answer.label}  ({', '.join(f'{label} {p:.2f}' for label, p in ordered)})")


def _clips(clips: Sequence[str], said: Sequence[str], table: Path | None, columns: dict[str, str]) -> list[Clip]:
    if table is not None:
        if clips or said:
            raise UsageError("--table names all clips: leave out the others and --transcription.")
        return named_clips(clips_of_table(table, columns))
    if columns:
        raise UsageError("--column belongs to a table of clips: name it with --table.")
    if said and clips and len(said) != len(clips):
        raise UsageError(f"there are {len(clips)} clips and {len(said)} transcriptions: give one for each (--table).")
    paths = clips or [""] * len(said)
    return named_clips([Clip(path, text) for path, text in zip(paths, said or [""] * len(paths), strict=True)])


@click.command()
@click.argument("run")
@click.argument("folder", type=click.Path(path_type=Path))
@run_options
@json_option
def export(run: str, folder: Path, as_json: bool, **which: Any) -> None:
    """Write a trained system into a new folder that stands alone, with a model card and a script that uses it.

    RUN: a run's folder, its key, or an exported folder. Nothing is sent anywhere.
    """
    written = export_system(load_system(run, **which), folder)
    if as_json:
        return print_json({"folder": str(written), "files": sorted(path.name for path in written.iterdir())})
    print(f"{written}: {', '.join(sorted(path.name for path in written.iterdir()))}")
