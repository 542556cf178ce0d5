"""`emoser checkpoint` and `emoser qwen-audio`: weights that others publish, in the form that is read here."""

from dataclasses import asdict
from pathlib import Path

import click

from emoser_lib.cli.options import json_option, print_json
from emoser_lib.systems.checkpoints.convert import convert_encoder
from emoser_lib.systems.qwen_audio import convert_qwen_audio


@click.group()
def checkpoint() -> None:
    """Convert checkpoints of audio encoders."""


@checkpoint.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--name", help="The known checkpoint it is to be, whose sha256 is pinned.")
@click.option("--sha256", metavar="HEX", help="Of the source's weights, as their publisher states it.")
@json_option
def checkpoint_convert(source: Path, dest: Path, name: str | None, sha256: str | None, as_json: bool) -> None:
    """Write an encoder's .bin or .pt as safetensors, once; nothing in it is executed.

    SOURCE: the weights, with their configuration beside them, or the folder of both. DEST: a new folder.
    """

    done = convert_encoder(source, dest, name=name, sha256=sha256)
    if as_json:
        return print_json(asdict(done) | {"folder": str(done.folder)})
    print(f"{done.folder}: {done.tensors} tensors, sha256 {done.sha256}")
    if done.left_out:
        print(f"left out, of the pre-training only: {len(done.left_out)} tensors, such as {done.left_out[0]}")


@click.group("qwen-audio")
def qwen_audio() -> None:
    """Convert Qwen-Audio-Chat, without remote code."""


@qwen_audio.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("dest", type=click.Path(path_type=Path))
@json_option
def qwen_audio_convert(source: Path, dest: Path, as_json: bool) -> None:
    """Write a checkpoint of the first version as one that transformers loads by itself.

    SOURCE: the folder with config.json, safetensors and qwen.tiktoken. DEST: a new folder. One that was stopped goes
    on where it was; nothing in SOURCE is executed.
    """

    done = convert_qwen_audio(source, dest)
    if as_json:
        return print_json(asdict(done) | {"folder": str(done.folder)})
    print(f"{done.folder}: {done.parameters_out:,} parameters in {done.shards} files, sha256 {done.sha256}")
    if not done.tokenizer:
        print("without a tokenizer: the source has no qwen.tiktoken")
