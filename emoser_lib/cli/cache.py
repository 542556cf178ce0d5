"""`emoser cache`: the frames that are kept of audio encoders."""

from dataclasses import asdict
from datetime import datetime

import click

from emoser_lib.cli.options import FiniteRange, json_option, print_json
from emoser_lib.errors import UsageError
from emoser_lib.systems.hearing.cache_contents import cached_encoders, features_home, prune


@click.group(invoke_without_command=True)
@click.pass_context
def cache(context: click.Context) -> None:
    """List or delete the frames of audio encoders, which are kept so that each clip is encoded once."""
    if context.invoked_subcommand is None:
        context.invoke(cache_size)


@cache.command("size")
@json_option
def cache_size(as_json: bool) -> None:
    """List what is kept, by encoder and layer."""

    kept = cached_encoders()
    if as_json:
        return print_json({"features": str(features_home()), "encoders": [asdict(one) for one in kept]})
    for one in kept:
        used = datetime.fromtimestamp(one.last_used).date()
        what = f"{one.title}, layer {one.layer}, last used {used} ({one.key})"
        print(f"{one.bytes / 1e6:9.1f} MB {one.entries:6} clips  {what}")
    print(f"{sum(one.bytes for one in kept) / 1e6:9.1f} MB in {features_home()}")


@cache.command("prune")
@click.option("--older-than", type=FiniteRange(min=0), metavar="DAYS", help="Not used for so many days.")
@click.option("--encoder", metavar="NAME", help="Of this encoder: its name, or the key that `size` shows.")
@click.option("--all", "everything", is_flag=True, help="Of all encoders.")
@json_option
def cache_prune(older_than: float | None, encoder: str | None, everything: bool, as_json: bool) -> None:
    """Delete frames; they are made again when they are needed."""
    if everything == (older_than is not None or encoder is not None):
        raise UsageError("say what to delete: --older-than DAYS, --encoder NAME, both, or --all.")

    freed = prune(older_than_days=older_than, encoder=encoder)
    if as_json:
        return print_json({"freed_bytes": freed})
    print(f"{freed / 1e6:.1f} MB freed in {features_home()}")
