"""`emoser doctor`: what this machine has and lacks."""

import click

from emoser_lib.cli.options import json_option
from emoser_lib.doctor import print_report


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what this machine has and lacks, and how to get it."""

    return print_report(as_json)
