"""`emoser score` and `emoser submission`: the challenge's results file."""

from pathlib import Path
from typing import Any

import click

from emoser_lib.cli.options import json_option, own_folder, own_folder_options, print_json
from emoser_lib.corpora import load_corpus
from emoser_lib.experiments import merge_submissions, read_submission, score_submission


@click.group()
def submission() -> None:
    """Merge results files of the challenge (id,task_1,task_2); `emoser score` scores them."""


@submission.command("merge")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("results.csv"), show_default=True)
@click.option("--corpus", "name", default="emospeech", show_default=True, help="Whose test split it is for.")
@own_folder_options
@json_option
def merge(first: Path, second: Path, out: Path, name: str, as_json: bool, **own: Any) -> None:
    """Put the tasks of two files into one, such as task_1 of a run that reads and task_2 of one that hears.

    FIRST, SECOND: what two runs wrote with their parameter `predictions`. Both are checked before anything is written:
    every test clip once, known labels only.
    """

    corpus = load_corpus(name, **own_folder(**own))
    for path in (first, second):
        read_submission(path, corpus)
    written = merge_submissions(first, second, out)
    merged = read_submission(written, corpus)
    assert merged.task_1 is not None
    if as_json:
        return print_json({"file": str(written), "clips": len(merged.task_1)})
    print(f"{written}: task_1 and task_2 of {len(merged.task_1)} clips")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--corpus", "name", default="emospeech", show_default=True, help="Whose test split is scored.")
@own_folder_options
@json_option
def score(file: Path, name: str, as_json: bool, **own: Any) -> None:
    """Score a submission (CSV with the header id,task_1,task_2) on a corpus's test split."""

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
