"""What is computed clip by clip and takes long, kept on disk as JSON lines as soon as it is there."""

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from emoser_lib.errors import DataError
from emoser_lib.experiments.training.cells import run_folder
from emoser_lib.files import locked, remove, write_whole, writing

JSON = Any


def kept_lines(
    identity: Mapping[str, Any],
    module: str,
    batches: Sequence[Sequence[str]],
    run: Callable[[Sequence[str]], Sequence[JSON]],
    home: Path | None = None,
) -> dict[str, JSON]:
    """A value for each clip: read from disk where it is there, else computed, batch by batch.

    One that was stopped, even killed, goes on after the last batch it wrote. Each line has a checksum: those that are
    not whole, and those of before there was one, are computed again, with a warning. Of two processes that want
    the same one waits.

    Args:
        identity: everything that decides the values, as JSON can write it.
        module: the name of the one that computes them, see `kept_cell`.
        batches: ids of the clips that are computed together; those of which every clip is there are left out.
        run: computes a batch: a value for each clip, as JSON can write it.
        home: default ``runs`` in the cache folder.

    Returns:
        Clip id -> its value.
    """
    path = run_folder(identity, module, home) / "clips.jsonl"
    key = path.parent.name
    with locked(path.parent / ".lock"):
        values = _whole_lines(path, key)
        for batch in batches:
            if all(clip in values for clip in batch):
                continue
            new = dict(zip(batch, run(batch), strict=True))
            lines = [_line(clip, value, key) for clip, value in new.items()]
            with writing(path.parent), path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            values |= new
    return {clip: values[clip] for batch in batches for clip in batch}


def _line(clip: str, value: JSON, key: str) -> str:
    """A clip, its value, and the checksum of both and of what they are kept under."""
    try:
        said = json.dumps([clip, value], ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise DataError(f"the answer for clip {clip} has a number that is not finite, so it is not kept.") from None
    return f'{said[:-1]}, "{hashlib.sha256((key + said).encode()).hexdigest()[:16]}"]\n'


def _whole_lines(path: Path, key: str) -> dict[str, JSON]:
    """The values of the lines that are whole. The others are taken out: a kill left the last one half, or of damage."""
    if os.path.lexists(path) and not path.is_file():
        remove(path)
        warnings.warn(f"{path} is not a file: its answers are made again", stacklevel=3)
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    values: dict[str, JSON] = {}
    whole = []
    for line in lines:
        with suppress(ValueError, TypeError, DataError):
            clip, value, _ = json.loads(line)
            if line == _line(clip, value, key).encode():
                values[clip] = value
                whole.append(line)
    if len(whole) < len(lines):
        if whole != lines[:-1] or lines[-1].endswith(b"\n"):
            lost = len(lines) - len(whole)
            warnings.warn(f"{path} has {lost} lines that are not whole: their answers are made again", stacklevel=3)
        write_whole(path, b"".join(whole))
    return values
