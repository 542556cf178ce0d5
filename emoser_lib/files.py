"""Write files whole or not at all, say of a folder what belongs to it, and let one process at a time work on it."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock

from emoser_lib.errors import DataError

MANIFEST = "whole.json"
"""The file that says what belongs to a folder, written last: see `seal`."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a write says where no more, or nothing at all, may be written."""

LARGE = 2**26
"""Bytes: of larger files `damage` compares the size alone where it is not to look deep (our choice: a twentieth of a
second)."""

FORBIDDEN = (errno.EACCES, errno.EPERM)

FULL_WORDS = ("No space left on device", "Disk quota exceeded", "File too large", "Read-only file system")
"""How safetensors says the same, without a number."""

TORCH_WORDS = ("PytorchStreamWriter failed", "iostream error", "unexpected pos")
"""What torch says then, and hardly ever else."""


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it: whole or not at all, after a power cut too.

    Args:
        path: the file; its folder is made if it is not there.
        content: text (written as UTF-8) or bytes.

    Raises:
        DataError: the disk is full, or the folder may only be read.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> write_whole(path, "one")
    >>> path.read_text(), [one.name for one in path.parent.iterdir()]
    ('one', ['a.txt'])
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            Path(partial).chmod(0o644)
            Path(partial).replace(path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise


@contextmanager
def writing(folder: Path, way: str = "name a folder elsewhere (--runs, EMOSER_CACHE, EMOSER_DATA)") -> Iterator[None]:
    """Tell of a full disk, or of a folder that may only be read, as that.

    Args:
        folder: what the block writes to.
        way: what else can be done than to make room.

    Raises:
        DataError: it cannot be written.

    >>> with writing(Path("runs")):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
    emoser_lib.errors.DataError: runs cannot be written (No space left on device): make room there or name a folder
    elsewhere (--runs, EMOSER_CACHE, EMOSER_DATA).
    """
    try:
        yield
    except Exception as error:  # safetensors and torch have errors of their own for it
        number = getattr(error, "errno", None)
        where = Path(getattr(error, "filename", None) or os.devnull)
        ours = number in FORBIDDEN and (where.is_relative_to(folder) or folder.is_relative_to(where))
        said = next((words for words in FULL_WORDS if words in str(error)), "")
        if any(words in str(error) for words in TORCH_WORDS):
            said = "no room, or over its quota"
        if not (number in FULL or ours or said) or isinstance(error, DataError):
            raise
        raise DataError(
            f"{folder} cannot be written ({getattr(error, 'strerror', None) or said}): make room there or {way}."
        ) from None


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, a link or a pipe; where nothing is, nothing.

    >>> import tempfile
    >>> loop = Path(tempfile.mkdtemp()) / "loop"
    >>> loop.symlink_to(loop)
    >>> remove(loop), remove(loop), list(loop.parent.iterdir())
    (None, None, [])
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink(missing_ok=True)


def make_folder(folder: Path, above: Path) -> Path:
    """Make a folder and those on the way to it; what stands in the place of one and is none is removed, with a warning.

    Args:
        folder: below ``above``.
        above: the folder that all of this belongs to, made too, but nothing is removed for it.

    Raises:
        DataError: it cannot be written, or ``above`` is no folder.

    >>> import tempfile
    >>> home = Path(tempfile.mkdtemp())
    >>> make_folder(home / "a" / "b", home).is_dir()
    True
    """
    with writing(above):
        try:
            above.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise DataError(f"{above} is no folder: remove it, or name another (--runs, EMOSER_CACHE).") from None
        way = above
        for part in folder.relative_to(above).parts:
            way = way / part
            if os.path.lexists(way) and not way.is_dir():
                warnings.warn(f"{way} is no folder: what was in it is made again", stacklevel=2)
                remove(way)
            way.mkdir(exist_ok=True)
    return folder


def seal(folder: Path, names: Iterable[str] | None = None, of: str = "") -> None:
    """Write down what belongs to a folder, when all of it is on the disk: names, sizes, sha256 (`MANIFEST`).

    Args:
        folder: whose files are written.
        names: of files in it; default: all that are in it, hidden ones left out.
        of: what the folder is of, if `damage` is to tell it from another one's.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_whole(folder / "a.txt", "one")
    >>> seal(folder)
    >>> damage(folder)
    ''
    >>> write_whole(folder / "a.txt", "two")
    >>> damage(folder)
    'a.txt is not what was written'
    """
    if names is None:
        found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
        names = [one.as_posix() for one in found if not one.name.startswith(".") and one.as_posix() != MANIFEST]
    names = list(names)
    with writing(folder):
        inside = {folder / name for name in names}
        for path in inside | {path.parent for path in inside}:
            _sync(path)
        listed = {"of": of, "files": {name: _sized(folder / name) for name in names}}
        write_whole(folder / MANIFEST, json.dumps(listed | {"sha256": _sha256(listed)}, indent=1) + "\n")
        _sync(folder)


def damage(folder: Path, of: str = "", deep: bool = True) -> str:
    """Say what of a sealed folder is not as it was written; nothing where it is whole.

    Args:
        folder: that `seal` was called for, or not.
        of: as there.
        deep: read all files; else only those that are not `LARGE`.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return f"{MANIFEST} is not there"
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        digest, files = listed.pop("sha256"), dict(listed["files"])
        if digest != _sha256(listed):
            return f"{MANIFEST} is not what was written"
        if listed["of"] != of:
            return f"it is of {listed['of']}"
        for name, written in files.items():
            if not (folder / name).is_file():
                return f"{name} is not there"
            size = (folder / name).stat().st_size
            if size != written[0] or ((deep or size <= LARGE) and _sized(folder / name) != written):
                return f"{name} is not what was written"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return f"it cannot be read ({error})"
    return ""


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "empty"
    >>> path.touch()
    >>> file_sha256(path)[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written_sha256(folder: Path, name: str) -> str | None:
    """Return the sha256 that a file had when its folder was sealed; ``None`` where it says nothing of it."""
    try:
        return str(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"][name][1])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _sized(path: Path) -> list[Any]:
    return [path.stat().st_size, file_sha256(path)]


def _sha256(listed: Any) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path, busy: Exception | None = None, seconds: float = 0) -> Iterator[None]:
    """Hold a lock for as long as the block lasts; it ends with the process, even a killed one.

    Args:
        path: of the lock; its folder is made if it is not there.
        busy: raised where another process still holds it after ``seconds``; ``None``: wait for as long as it takes.
        seconds: to wait.

    Raises:
        DataError: the file system has no locks, or may only be read.

    >>> import tempfile
    >>> lock = Path(tempfile.mkdtemp()) / ".lock"
    >>> with locked(lock), locked(lock, busy=RuntimeError("somebody works here")):
    ...     pass
    Traceback (most recent call last):
    RuntimeError: somebody works here
    """
    with writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path) and not path.is_file():
            remove(path)  # a folder, a link without end, a pipe
    # Without locks of the system filelock would put a file there, which outlives a process that is killed.
    lock = filelock.FileLock(path, timeout=-1 if busy is None else seconds, fallback_to_soft=False)
    try:
        with writing(path.parent):
            lock.acquire()
    except filelock.Timeout:
        raise busy or AssertionError from None
    except (NotImplementedError, OSError) as error:
        if getattr(error, "errno", errno.ENOSYS) not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise
        raise DataError(
            f"{path.parent} is on a file system without locks (Lustre without -o flock, NFS without lockd), where two "
            "processes would disturb each other: name a folder on another one (--runs, EMOSER_CACHE, EMOSER_DATA)."
        ) from None
    try:
        yield
    finally:
        lock.release()
