"""A lock that one process holds at a time.

The ``filelock`` library makes the folder of a lock file where there is none, so that an index that
was dropped while somebody waited to write to it would leave a folder behind; this one does not.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimseek.errors import StorageError

POLL = 0.005  # seconds


@contextmanager
def file_lock(path: Path, busy: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is made in a folder that exists.

    StorageError: ``busy`` if another holds it for more than ``wait`` seconds, or what the system
    says if the file cannot be made. While it is held, the file at ``path`` is what is locked.
    """
    end = time.monotonic() + wait
    try:
        descriptor = locked(path)
        while descriptor is None:
            if time.monotonic() >= end:
                raise StorageError(busy)
            time.sleep(POLL)
            descriptor = locked(path)
    except OSError as error:
        raise StorageError(f"{path.parent}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def locked(path: Path) -> int | None:
    """A descriptor that holds the lock; None if another holds it, or if the file was replaced."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
