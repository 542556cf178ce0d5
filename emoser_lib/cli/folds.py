"""`emoser folds`: how the training clips of a corpus are cut."""

from typing import Any

import click

from emoser_lib.cli.options import json_option, own_folder, own_folder_options, print_json
from emoser_lib.corpora import load_corpus
from emoser_lib.experiments import folds as make_folds


@click.command()
@click.argument("name")
@click.option("--scheme", default="paper", show_default=True, help="paper, video or speaker.")
@own_folder_options
@json_option
def folds(name: str, scheme: str, as_json: bool, **own: Any) -> None:
    """Print the five folds of a corpus: ids of their validation clips."""

    loaded = load_corpus(name, **own_folder(**own))
    made = make_folds(loaded, scheme)
    if as_json:
        return print_json({"folds": [list(fold.validation) for fold in made]})
    label_of = loaded.training().set_index("id")["label"]
    for fold in made:
        counts = label_of[list(fold.validation)].value_counts()
        print(f"fold {fold.index}: {len(fold.validation)} clips ({', '.join(f'{x} {n}' for x, n in counts.items())})")
