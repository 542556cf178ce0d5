"""Write files whole or not at all, and let one process at a time do what two must not do at once."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from emoser_lib.errors import DataError


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

    Raises:
        DataError: the file system has no locks.

    >>> import tempfile
    >>> lock = Path(tempfile.mkdtemp()) / ".lock"
    >>> with locked(lock), locked(lock, busy=RuntimeError("somebody works here")):
    ...     pass
    Traceback (most recent call last):
    RuntimeError: somebody works here
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without locks of the system filelock would put a file there, which outlives a process that is killed.
    lock = filelock.FileLock(path, timeout=-1 if busy is None else seconds, fallback_to_soft=False)
    try:
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
