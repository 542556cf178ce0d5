"""A *cell*: one training on one cut of a corpus, kept on disk as soon as it is done, under a key of what made it."""

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from emoser_lib.corpora import cache_home
from emoser_lib.environment import commit, now, shipped_files
from emoser_lib.errors import DataError
from emoser_lib.files import MANIFEST, damage, locked, make_folder, remove, seal, write_whole, writing
from emoser_lib.systems.device import agreed, first_process
from emoser_lib.systems.finite import check_finite
from emoser_lib.systems.fitting import Trained
from emoser_lib.values import Immutable
from emoser_lib.versions import versions_behind

KEYED_PACKAGES = ("torch", "transformers", "peft")

KEPT = (".lock", "training")
"""What of a cell's folder is no part of the cell."""


class Cell(Immutable):
    """One finished training: what it said about the clips held out, after each epoch.

    Attributes:
        key: hash of everything the result depends on.
        ids: of the held-out clips.
        labels: in the order of the scores.
        epochs: log-probability of each label's word, [epochs][clips][labels].
        log: loss, learning rate and gradient norm along the steps.
        trainable: trained parameters.
        steps: run in the last go; fewer than all where a stopped training was gone on with.
        seconds: of the last go.
        threads, commit, date: how and when.
        device, processes: where it was trained, and by how many processes together. Older cells: one CPU or GPU.
    """

    key: str
    ids: tuple[str, ...]
    labels: tuple[str, ...]
    epochs: tuple[tuple[tuple[float, ...], ...], ...]
    log: tuple[dict[str, float], ...]
    trainable: int
    steps: int
    seconds: float
    threads: int
    commit: str | None
    date: str
    device: str | None = None
    processes: int = 1

    def scores(self, epoch: int = -1) -> pd.DataFrame:
        """Log-probabilities of one epoch, the last by default: one row a clip, one column a label."""
        return pd.DataFrame(self.epochs[epoch], index=pd.Index(self.ids, name="id"), columns=list(self.labels))

    def predicted(self, epoch: int = -1) -> pd.Series:
        """The label whose word is most probable, by clip id."""
        return self.scores(epoch).idxmax(axis=1).rename("predicted")


def kept_cell(
    identity: Mapping[str, Any],
    module: str,
    ids: Sequence[str],
    labels: Sequence[str],
    run: Callable[[Path], Trained],
    home: Path | None = None,
    with_weights: bool = False,
) -> Cell:
    """The cell of this identity: read from disk if it is finished and whole, else trained.

    Each cell has a folder ``<key>`` below ``home``: what the training keeps while it runs, ``cell.json`` when it is
    done, then a manifest of all this (`emoser_lib.files.seal`). A cell that is not as its manifest says, or has none,
    is trained again, with a warning. Of two processes that want the same cell one waits; those that train it together
    (torchrun) do not.

    A cell that is not below ``home`` is looked for among those that are committed with the book (`committed_cells`),
    by the same checks. They have scores only: nothing of what was trained.

    Args:
        identity: everything that decides the result, as JSON can write it.
        module: the name of the one that computes it; a raised version of it, or of one that it imports, makes another
            cell (`versions_behind`).
        ids, labels: of the scores.
        run: trains; it may keep its checkpoints in ``training`` below the folder it is given, which is then removed.
        home: default ``runs`` in the cache folder (`cache_home`).
        with_weights: what was trained is asked for too, so a committed cell does not do.

    Raises:
        DataError: a score is not finite, or the disk is full; or what ``run`` raises.
    """
    folder = run_folder(identity, module, home)
    with locked(folder / ".lock") if first_process() else nullcontext():
        places = [folder] if with_weights else [folder, committed_cells() / folder.name]
        if (found := agreed(first_process() and next(filter(_finished, places), None))) is not None:
            return read_cell(found)
        started = time.monotonic()
        with writing(folder):
            trained = run(folder)
        for scores in trained.scores:
            check_finite(torch.from_numpy(scores), ids)
        cell = Cell(
            key=folder.name,
            ids=tuple(ids),
            labels=tuple(labels),
            epochs=trained.scores.astype(float).round(6).tolist(),
            log=tuple(trained.log),
            trainable=trained.trainable,
            steps=trained.steps,
            seconds=round(time.monotonic() - started, 1),
            threads=torch.get_num_threads(),
            commit=commit(),
            date=now(),
            device=trained.device,
            processes=trained.processes,
        )
        if first_process():
            write_whole(folder / "cell.json", cell.model_dump_json() + "\n")
            seal(folder, [path.relative_to(folder).as_posix() for path in _parts(folder)], folder.name)
            shutil.rmtree(folder / "training", ignore_errors=True)
        agreed(None)  # nobody goes on before the files are there
    return cell


def run_folder(identity: Mapping[str, Any], module: str, home: Path | None = None) -> Path:
    """The folder of what is computed, made if it is not there; arguments as `kept_cell`."""
    parts = {
        **identity,
        "code": versions_behind(module),
        "versions": [metadata.version(name) for name in KEYED_PACKAGES],
    }
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    home = home or cache_home() / "runs"
    return make_folder(home / key, home)


def committed_cells() -> Path:
    """The folder of the cells that are committed: scores without weights, so that a new machine need not train them."""
    return shipped_files() / "book" / "records" / "cells"


def read_cell(folder: Path) -> Cell:
    """Read the cell of a folder that is whole."""
    return Cell.model_validate_json((folder / "cell.json").read_text(encoding="utf-8"))


def commit_cell(folder: Path) -> Path:
    """Copy a finished cell to where it is committed (`committed_cells`), without what was trained.

    Returns:
        Its folder there.

    Raises:
        DataError: the folder has no cell of its name, or it is damaged. Cells of before there was a manifest have none.
    """
    said = damage(folder, folder.name) if os.path.lexists(folder / MANIFEST) else ""
    try:
        cell = read_cell(folder)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} has no finished cell ({str(error).splitlines()[0]}): name another folder.") from None
    if said or cell.key != folder.name:
        raise DataError(f"the cell in {folder} is not whole ({said or f'it is of {cell.key}'}): train it again.")
    for scores in cell.epochs:
        check_finite(torch.tensor(scores), cell.ids)
    there = committed_cells() / cell.key
    write_whole(there / "cell.json", cell.model_dump_json() + "\n")
    seal(there, ["cell.json"], cell.key)
    return there


def weights_of(cell: Cell, name: str, home: Path | None = None) -> Path:
    """Where a part of what a cell trained lies.

    Args:
        cell: the cell.
        name: of the file or folder in the cell's.
        home: where the cell is, see `kept_cell`.

    Raises:
        DataError: it is not there.
    """
    path = (home or cache_home() / "runs") / cell.key / name
    if path.exists():
        return path
    committed = committed_cells() / cell.key
    if committed.is_dir():
        raise DataError(
            f"{path} is not there: the cell is read from {committed}, which has scores and no weights; delete that "
            "folder, the cell is then trained again."
        )
    raise DataError(f"{path} is not there: delete the cell's folder, it is then trained again.")


def _finished(folder: Path) -> bool:
    """Whether a whole cell is there; what is left of one that is not is removed, but for its training.

    What is committed is only read.
    """
    if not os.path.lexists(folder / "cell.json") and not os.path.lexists(folder / MANIFEST):
        return False
    said = damage(folder, folder.name)
    if said:
        warnings.warn(f"the cell in {folder} is not whole ({said}): it is trained again", stacklevel=3)
        for path in folder.iterdir() if folder.parent != committed_cells() else ():
            if path.name not in KEPT:
                remove(path)
    return not said


def _parts(folder: Path) -> list[Path]:
    """The files of a cell."""
    tops = [path for path in sorted(folder.iterdir()) if path.name not in (*KEPT, MANIFEST)]
    return [path for top in tops for path in (sorted(top.rglob("*")) if top.is_dir() else [top]) if path.is_file()]
