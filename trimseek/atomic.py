"""Files that are either wholly there or not there at all."""

import ctypes
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trimseek.errors import StorageError

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
LEFT_OVER = 3600.0  # seconds after which what a killed process had begun is taken away
# Of Linux's renameat2: two names change places at once.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path`` durably.

    On any error the temporary file is removed and ``path`` is as it was. StorageError if the
    disk is full.
    """
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it becomes ``path`` durably.

    An existing ``path`` is replaced. On any error nothing changes.
    """
    make_folder(path.parent)
    remove_leftovers(path)
    try:
        temporary = temporary_folder(path)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in temporary.rglob("*"):
            if file.is_file():
                sync_file(file)
        replace_folder(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, path: Path) -> None:
    """Rename ``source`` to ``path``, taking away what was at ``path``; on one file system.

    There is one or the other at ``path`` at any moment, where the system can do that (Linux).
    """
    if not path.exists():
        source.rename(path)
    elif exchange(source, path):
        shutil.rmtree(source, ignore_errors=True)
    else:
        old = temporary_folder(path)
        path.rename(old / "replaced")
        source.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def exchange(one: Path, other: Path) -> bool:
    """Let two names change places at once; false where that cannot be done."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def temporary_folder(path: Path) -> Path:
    """A new folder beside ``path``, named for this process."""
    return Path(
        tempfile.mkdtemp(prefix=f".{path.name}.{os.getpid()}.", suffix=".tmp", dir=path.parent)
    )


def remove_leftovers(path: Path) -> None:
    """Take away what processes that were killed had begun to write in place of ``path``."""
    begun = re.compile(rf"\.{re.escape(path.name)}\.(\d+)(\.\w+)?\.tmp")
    for other in path.parent.glob(".*.tmp") if path.parent.is_dir() else ():
        match = begun.fullmatch(other.name)
        if match is None or is_running(int(match[1])) or age(other) < LEFT_OVER:
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:
            other.unlink(missing_ok=True)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def age(path: Path) -> float:
    """Seconds since it was changed; 0 if it is gone."""
    try:
        return time.time() - path.lstat().st_mtime
    except OSError:
        return 0.0


def make_folder(path: Path) -> Path:
    """Make a folder and those above it; StorageError if that cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{path}: cannot be created: {error.strerror}") from error
    return path


def storage_error(error: OSError, path: Path) -> Exception:
    """A StorageError for a disk that is full or broken; any other error as it is."""
    if error.errno in DISK_ERRORS or isinstance(error, PermissionError):
        return StorageError(f"{path}: cannot write: {error.strerror}; nothing was changed there")
    return error
