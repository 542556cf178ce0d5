"""The folder of a demo model, replaced whole and never in place of something else; for the `make_demo_*` scripts."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emoser_lib.errors import DataError


def refuse_other(out: Path) -> None:
    """Refuse a folder that has files but is not of a model.

    Raises:
        DataError: it is such a one.
    """
    if out.exists() and any(out.iterdir()) and not (out / "config.json").exists():
        raise DataError(f"{out} has files but is not the folder of a model, and would be replaced: name another one.")


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of ``out`` when the block ends well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        folder = Path(temporary) / out.name
        folder.mkdir()
        yield folder
        if out.exists():
            shutil.rmtree(out)
        folder.rename(out)


def refuse_large(folder: Path, limit: int) -> int:
    """The bytes of a folder's files.

    Raises:
        DataError: they are more than ``limit``.
    """
    size = sum(path.stat().st_size for path in folder.iterdir())
    if size > limit:
        raise DataError(f"{folder} has {size:,} bytes, more than {limit:,}: make the model smaller.")
    return size
