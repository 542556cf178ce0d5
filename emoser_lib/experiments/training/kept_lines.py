"""What is computed clip by clip and takes long, kept on disk as JSON lines as soon as it is there."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emoser_lib.errors import DataError
from emoser_lib.experiments.training.cells import run_folder
from emoser_lib.files import locked

JSON = Any


def kept_lines(
    identity: Mapping[str, Any],
    module: str,
    batches: Sequence[Sequence[str]],
    run: Callable[[Sequence[str]], Sequence[JSON]],
    home: Path | None = None,
) -> dict[str, JSON]:
    """A value for each clip: read from disk where it is there, else computed, batch by batch.

    One that was stopped, even killed, goes on after the last batch it wrote. Of two processes that want the same one
    waits.

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
    with locked(path.parent / ".lock"):
        values = dict(_whole_lines(path))
        for batch in batches:
            if all(clip in values for clip in batch):
                continue
            new = dict(zip(batch, run(batch), strict=True))
            lines = [_line(clip, value) for clip, value in new.items()]
            with path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            values |= new
    return {clip: values[clip] for batch in batches for clip in batch}


def _line(clip: str, value: JSON) -> str:
    try:
        return json.dumps([clip, value], ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError:
        raise DataError(f"the answer for clip {clip} has a number that is not finite, so it is not kept.") from None


def _whole_lines(path: Path) -> Iterator[tuple[str, JSON]]:
    """The lines up to the first that is not whole; what a kill left behind it is cut off."""
    if not path.is_file():
        return
    good = 0
    with path.open("r+b") as file:
        for line in file:
            try:
                clip, value = json.loads(line)
                if not line.endswith(b"\n") or not isinstance(clip, str):
                    break
            except ValueError:
                break
            good += len(line)
            yield clip, value
        file.truncate(good)
