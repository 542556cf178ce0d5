"""`emoser audit`: what is to be known about a corpus before its scores are believed."""

from typing import Any

import click

from emoser_lib.cli.options import json_option, own_folder, own_folder_options, print_json
from emoser_lib.corpora import load_corpus
from emoser_lib.errors import DataError
from emoser_lib.reporting.audit.leakage import leakage as measure


@click.group()
def audit() -> None:
    """Measure what is to be known about a corpus before scores on it are believed."""


@audit.command("leakage")
@click.option(
    "--corpus", "name", default="emospeech", show_default=True, help="Which; it has to know its videos or speakers."
)
@own_folder_options
@json_option
def leakage(name: str, as_json: bool, **own: Any) -> None:
    """Measure what videos give away: clips that share one with training clips, and a rule that knows nothing else.

    The rule: the most frequent training label of the clip's video, or of all training clips if it has none there.
    Where videos are not known, speakers stand for them.
    """
    corpus = load_corpus(name, **own_folder(**own))
    found = measure(corpus)
    if found.unit == "id":
        raise DataError(
            f"corpus '{corpus.name}' knows neither every clip's video nor who speaks, so nothing that they give away "
            f"can be counted: fill the column video or speaker ({corpus.mapping.option('speaker')})."
        )
    if as_json:
        return print_json(found)
    if found.test is not None:
        test, rule = found.test, found.test.video_majority
        print(
            f"test: {test.clips_sharing_video} of {test.clips} clips share a {found.unit} with training clips; the "
            f"rule has macro-F1 {rule.macro_f1:.4f}, accuracy {rule.accuracy:.4f}"
        )
    for scheme, each in found.folds.items():
        told = ", ".join(f"{one.share:.3f} / {one.macro_f1:.4f}" for one in each)
        print(f"folds by {scheme}: share of clips / macro-F1 of the rule: {told}")
