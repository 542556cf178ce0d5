"""Write files whole or not at all, and let one process at a time do what two must not do at once."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name in its folder, then rename it: whole or not at all, after a power cut too.

    Args:
        path: the file; its folder is made if it is not there.
        content: text (written as UTF-8) or bytes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "new" / "a.txt"
    >>> write_whole(path, "one")
    >>> path.read_text(), [one.name for one in path.parent.iterdir()]
    ('one', ['a.txt'])
    """
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
def locked(path: Path, busy: Exception | None = None, seconds: float = 0) -> Iterator[None]:
    """Hold a lock for as long as the block lasts; it ends with the process, even a killed one.

    Args:
        path: of the lock; its folder is made if it is not there.
        busy: raised where another process still holds it after ``seconds``; ``None``: wait for as long as it takes.
        seconds: to wait.

    >>> import tempfile
    >>> lock = Path(tempfile.mkdtemp()) / ".lock"
    >>> with locked(lock), locked(lock, busy=RuntimeError("somebody works here")):
    ...     pass
    Traceback (most recent call last):
    RuntimeError: somebody works here
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, timeout=-1 if busy is None else seconds)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise busy or AssertionError from None
    try:
        yield
    finally:
        lock.release()
