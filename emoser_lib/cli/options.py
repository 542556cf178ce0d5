"""What several commands of `emoser` share: options, and how values become JSON."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click
from pydantic import BaseModel

from emoser_lib.errors import UsageError


class FiniteRange(click.FloatRange):
    """A range of numbers, without what is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def print_json(value: Any) -> None:
    """Print a value or a model, never NaN."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    plain = not sys.stdout.encoding.lower().startswith("utf")
    print(json.dumps(value, indent=2, ensure_ascii=plain, allow_nan=False))


def pairs(given: Sequence[str], option: str, example: str) -> dict[str, str]:
    """Turn what options of the form name=value say into a dictionary.

    Raises:
        UsageError: one is not of this form, or a name is there twice.
    """
    found: dict[str, str] = {}
    for pair in given:
        left, equals, right = (part.strip() for part in pair.partition("="))
        if not equals or not left:
            raise UsageError(f"{option} '{pair}' is not of the form name=value: write for example {option} {example}.")
        if left in found:
            raise UsageError(f"{option} names '{left}' twice: keep one of them.")
        found[left] = right
    return found


def own_folder(
    root: str | None, table: str | None, column: Sequence[str], label: Sequence[str], quoted: bool | None
) -> dict[str, Any]:
    """Turn what `own_folder_options` say into options of `load_corpus`.

    Raises:
        UsageError: something is not of the form name=value, is there twice, or lacks its folder.
    """
    if root is None and (table or column or label or quoted is not None):
        raise UsageError(
            "--table, --column, --label and --quoted belong to a folder of your own: name it with --root DIR."
        )
    options: dict[str, Any] = {
        "root": root,
        "table": table,
        "columns": pairs(column, "--column", "audio=file"),
        "labels": pairs(label, "--label", "Ira=anger"),
    }
    given = {name: value for name, value in options.items() if value}
    return given if quoted is None else {**given, "quoted": quoted}


def own_folder_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that describe a user's own recordings (corpus 'folder')."""
    for option in (
        click.option(
            "--quoted/--not-quoted",
            default=None,
            help="Quotation marks in it hold cells together (CSV: yes, .tsv: no).",
        ),
        click.option("--label", multiple=True, metavar="THEIRS=OURS", help="Ira=anger; repeat it."),
        click.option("--column", multiple=True, metavar="OURS=THEIRS", help="audio=file; repeat it."),
        click.option("--table", help="Its table, relative to --root (default metadata.csv)."),
        click.option("--root", help="Folder of your own recordings (corpus 'folder')."),
    ):
        command = option(command)
    return command
