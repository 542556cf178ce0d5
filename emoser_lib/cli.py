"""The `emoser` command. Every error is one sentence; exit code 2 for usage, 1 for failure.

Written with click, which papermill brings along: typer cannot express papermill's ``-p NAME VALUE``.
"""

import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import emoser_lib
from emoser_lib.cli_audit import audit
from emoser_lib.cli_checkpoints import checkpoint, qwen_audio
from emoser_lib.cli_ledger import ledger
from emoser_lib.cli_options import json_option, own_folder, own_folder_options, print_json
from emoser_lib.cli_submission import submission
from emoser_lib.errors import EmoserError, UsageError

if TYPE_CHECKING:
    from emoser_lib.experiments.profiles import PlannedRun


def main() -> None:
    """Run the command; turn errors and warnings into one sentence each on standard error."""
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        code = emoser.main(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except EmoserError as error:
        _fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "emoser"
        _fail(f"{error.format_message().rstrip('.')}: see `{command} --help`.", 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("stopped.", 130)
    except BrokenPipeError:
        # The reader has seen enough; Python's own flush at the end must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = error.filename or "a file"
        _fail(f"{where} cannot be read or written ({error.strerror or error}): make room or choose another place.", 1)


def _warn(message: Warning | str, *_: object) -> None:
    print(f"emoser: note: {message}", file=sys.stderr)


def _fail(message: str, code: int) -> None:
    # A cell that is quoted may have several lines.
    print(f"emoser: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(emoser_lib.__version__, prog_name="emoser")
def emoser() -> None:
    """Speech emotion recognition with large language models: corpora, runs, scores."""


emoser.add_command(submission)
emoser.add_command(checkpoint)
emoser.add_command(qwen_audio)
emoser.add_command(audit)
emoser.add_command(ledger)


@emoser.group()
def corpus() -> None:
    """List, describe, check and fetch corpora."""


@corpus.command("list")
@json_option
def corpus_list(as_json: bool) -> None:
    """List the corpora and whether their data are here."""
    from emoser_lib.corpora import SOURCES, data_home

    rows = [
        {
            "name": name,
            "about": source.about,
            "licence": source.licence,
            "here": source.folder is None or (data_home() / source.folder).is_dir(),
        }
        for name, source in SOURCES.items()
    ]
    if as_json:
        return print_json({"data": str(data_home()), "corpora": rows})
    for row in rows:
        print(f"{row['name']:<12} {'here   ' if row['here'] else 'missing'} {row['about']} ({row['licence']})")


@corpus.command("describe")
@click.argument("name")
@own_folder_options
@json_option
def corpus_describe(name: str, as_json: bool, **own: Any) -> None:
    """Count clips, labels, videos, speakers and hours by split."""
    from emoser_lib.corpora import describe, load_corpus

    description = describe(load_corpus(name, **own_folder(**own)))
    if as_json:
        return print_json(description)
    for split, counts in description.splits.items():
        labels = ", ".join(f"{x} {n}" for x, n in counts.labels.items()) or "no labels shown"
        known = {"videos": counts.videos, "speakers": counts.speakers, "hours": counts.hours}
        more = ", ".join(f"{n:g} {what}" for what, n in known.items() if n is not None)
        print(f"{split}: {counts.clips} clips ({labels}){'; ' + more if more else ''}")
    for reason, n in description.left_out.items():
        print(f"left out: {n} clips {reason}")


@corpus.command("check")
@click.argument("name")
@own_folder_options
@click.option("--longest", type=click.FloatRange(min=0.03), default=30.0, show_default=True, help="Seconds.")
@json_option
def corpus_check(name: str, longest: float, as_json: bool, **own: Any) -> int:
    """Name every clip with something wrong; exit code 1 if any has a fault that needs repair.

    Duplicates and labels outside the six are named too, but may be as they should.
    """
    from emoser_lib.corpora import check, load_corpus

    loaded = load_corpus(name, **own_folder(**own))
    findings = check(loaded, longest_seconds=longest)
    if as_json:
        listed = [asdict(finding) | {"fault": finding.kind.is_fault} for finding in findings]
        print_json({"name": loaded.name, "clips": len(loaded), "findings": listed})
    else:
        for finding in findings:
            print(f"{finding.kind}: {finding.clip or loaded.name}: {finding.message}")
        counted = Counter(finding.kind for finding in findings)
        found = ", ".join(f"{n} {kind}" for kind, n in counted.items()) or "nothing found"
        print(f"{loaded.name}: {len(loaded)} clips; {found}", file=sys.stderr)
    return 1 if any(finding.kind.is_fault for finding in findings) else 0


@corpus.command("fetch")
@click.argument("name")
@json_option
def corpus_fetch(name: str, as_json: bool) -> None:
    """Download a corpus's public tables and say how to get the rest."""
    from emoser_lib.corpora import fetch

    fetched = fetch(name)
    if as_json:
        return print_json(fetched)
    for file in fetched.files:
        print(f"{file.status}: {file.path}")
    if fetched.files:
        print(f"Licence: {fetched.licence}")
    print(fetched.instructions)


@emoser.command()
@click.argument("name")
@click.option("--scheme", default="paper", show_default=True, help="paper, video or speaker.")
@own_folder_options
@json_option
def folds(name: str, scheme: str, as_json: bool, **own: Any) -> None:
    """Print the five folds of a corpus: ids of their validation clips."""
    from emoser_lib.corpora import load_corpus
    from emoser_lib.experiments import folds as make_folds

    loaded = load_corpus(name, **own_folder(**own))
    made = make_folds(loaded, scheme)
    if as_json:
        return print_json({"folds": [list(fold.validation) for fold in made]})
    label_of = loaded.training().set_index("id")["label"]
    for fold in made:
        counts = label_of[list(fold.validation)].value_counts()
        print(f"fold {fold.index}: {len(fold.validation)} clips ({', '.join(f'{x} {n}' for x, n in counts.items())})")


@emoser.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--corpus", "name", default="emospeech", show_default=True, help="Whose test split is scored.")
@own_folder_options
@json_option
def score(file: Path, name: str, as_json: bool, **own: Any) -> None:
    """Score a submission (CSV with the header id,task_1,task_2) on a corpus's test split."""
    from emoser_lib.corpora import load_corpus
    from emoser_lib.experiments import read_submission, score_submission

    loaded = load_corpus(name, **own_folder(**own))
    scored = score_submission(read_submission(file, loaded), loaded)
    if as_json:
        return print_json(scored)
    for task, result in scored.model_dump().items():
        if result:
            low, high = result["ci_bootstrap_clip"]
            print(
                f"{task}: macro-F1 {result['macro_f1']:.4f} [{low:.4f}, {high:.4f}], accuracy {result['accuracy']:.4f}"
            )
            for label, of_label in result["per_class"].items():
                print(f"  {label:<10} F1 {of_label['f1']:.4f}  n {of_label['n']}")


def _planned(
    notebook: str, profile: str, only: str | None, parameter: Sequence[tuple[str, str]], folder: dict[str, Any]
) -> list["PlannedRun"]:
    """The runs of a notebook as the options ask for them, checked."""
    from emoser_lib.experiments.parameters import parameters_of
    from emoser_lib.experiments.profiles import plan
    from emoser_lib.experiments.runner import find_notebook

    path = find_notebook(notebook)
    known = parameters_of(path)
    values: dict[str, Any] = {n: known[n].parse(v) if n in known else v for n, v in parameter}
    if folder:
        values |= {"corpus": "folder", "corpus_options": folder}
    return plan(path, profile, only, values)


def _chapters() -> list[str]:
    """All notebooks of the folder that `find_notebook` looks in."""
    from emoser_lib.experiments.records import ROOT

    folders = (Path("notebooks"), ROOT / "notebooks")
    found = next((sorted(folder.glob("[0-9]*.ipynb")) for folder in folders if folder.is_dir()), [])
    if not found:
        raise UsageError("there is no folder notebooks/ here: name a notebook by its path.")
    return [str(path) for path in found]


@emoser.command("run")
@click.argument("notebook")
@click.option("--profile", default="demo", show_default=True, help="demo, small or paper.")
@click.option("--only", metavar="RUN", help="One run of the profile; default: all.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Change one; repeat it.")
@click.option("--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--timeout", type=click.FloatRange(min=1), help="Seconds for one run; default: none.")
@own_folder_options
@json_option
def run_notebook(
    notebook: str,
    profile: str,
    only: str | None,
    parameter: Sequence[tuple[str, str]],
    runs: Path,
    timeout: float | None,
    as_json: bool,
    **own: Any,
) -> int:
    """Execute a notebook and write its record."""
    from emoser_lib.experiments.runner import run

    records = []
    for planned in _planned(notebook, profile, only, parameter, own_folder(**own)):
        print(f"{planned.chapter} {planned.key} ({planned.name}) …", file=sys.stderr)
        record, where = run(planned, runs, timeout)
        records.append(record)
        print(f"{record.status} in {record.seconds:.0f} s: {where}", file=sys.stderr)
        if record.error:
            print(f"emoser: {planned.chapter}: {record.error}", file=sys.stderr)
    if as_json:
        print_json([record.model_dump(mode="json") for record in records])
    return 0 if all(record.status == "ok" for record in records) else 1


@emoser.command("plan")
@click.argument("notebook", required=False)
@click.option("--profile", default="demo", show_default=True, help="demo, small or paper.")
@click.option("--only", metavar="RUN", help="One run of the notebook; default: all.")
@click.option("-p", "--parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Change one; repeat it.")
@json_option
def plan_runs(
    notebook: str | None, profile: str, only: str | None, parameter: Sequence[tuple[str, str]], as_json: bool
) -> int:
    """Say what the runs of a profile need, without weights: parameters, memory, download, licences.

    NOTEBOOK: one chapter; default: all. Exit code 1 if a licence must be accepted first.
    """
    if notebook is None and (only or parameter):
        raise UsageError("--only and --parameter belong to one notebook: name it.")
    names = [notebook] if notebook else _chapters()
    runs = [run for name in names for run in _planned(name, profile, only, parameter, {})]
    # After the checks: torch and transformers take seconds to import.
    from emoser_lib.experiments.dry_run import describe, dry_run

    done = dry_run(runs, profile)
    if as_json:
        print_json(done)
    else:
        print(describe(done))
    for sentence in done.refused:
        print(f"emoser: {sentence}", file=sys.stderr)
    return 1 if done.refused else 0


@emoser.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """Frames of audio encoders, kept so that each clip is encoded once: list them (this) or delete them."""
    if context.invoked_subcommand is None:
        context.invoke(cache_size)


@cache.command("size")
@json_option
def cache_size(as_json: bool) -> None:
    """List what is kept, by encoder and layer."""
    from emoser_lib.systems import feature_cache

    kept = feature_cache.cache_size()
    if as_json:
        return print_json({"features": str(feature_cache.features_home()), "encoders": [asdict(one) for one in kept]})
    for one in kept:
        used = datetime.fromtimestamp(one.last_used).date()
        what = f"{one.title}, layer {one.layer}, last used {used} ({one.key})"
        print(f"{one.bytes / 1e6:9.1f} MB {one.entries:6} clips  {what}")
    print(f"{sum(one.bytes for one in kept) / 1e6:9.1f} MB in {feature_cache.features_home()}")


@cache.command("prune")
@click.option("--older-than", type=click.FloatRange(min=0), metavar="DAYS", help="Not used for so many days.")
@click.option("--encoder", metavar="NAME", help="Of this encoder: its name, or the key that `size` shows.")
@click.option("--all", "everything", is_flag=True, help="Of all encoders.")
@json_option
def cache_prune(older_than: float | None, encoder: str | None, everything: bool, as_json: bool) -> None:
    """Delete frames; they are made again when they are needed."""
    if everything == (older_than is not None or encoder is not None):
        raise UsageError("say what to delete: --older-than DAYS, --encoder NAME, both, or --all.")
    from emoser_lib.systems import feature_cache

    freed = feature_cache.prune(older_than_days=older_than, encoder=encoder)
    if as_json:
        return print_json({"freed_bytes": freed})
    print(f"{freed / 1e6:.1f} MB freed in {feature_cache.features_home()}")


@emoser.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks, and how to get it."""
    from emoser_lib.doctor import report

    return report(as_json)


if __name__ == "__main__":
    main()
