"""Files that are either wholly there or not there at all."""

import ctypes
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from trimseek.errors import StorageError

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
LEFT_OVER = 3600.0  # seconds after which what a killed process had begun is taken away
# Of Linux's renameat2: fail where something is; two names change places at once.
AT_FDCWD, RENAME_NOREPLACE, RENAME_EXCHANGE = -100, 1, 2


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal."""
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
    """Make a file's content survive a power loss."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``, whose file is removed at the end if it is still there.

    StorageError if the disk is full.
    """
    remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it replaces ``path`` durably.

    On any error the temporary file is removed and ``path`` is as it was. StorageError if the
    disk is full.
    """
    with temporary_file(path) as temporary:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, wholly or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, "utf-8")


@contextmanager
def atomic_folder(path: Path, move: Callable[[Path, Path], None] | None = None) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; on success it becomes ``path`` durably.

    ``move(temporary, path)``: ``replace_folder`` by default, or ``rename_new`` where nothing may
    be replaced. On any error nothing changes.
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
        (move or replace_folder)(temporary, path)
    except OSError as error:
        raise storage_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(source: Path, path: Path) -> None:
    """Rename ``source`` to ``path``, taking away what was at ``path``; on one file system.

    There is one or the other at ``path`` at any moment, where the system can do that (Linux).
    """
    if not path.exists():
        rename_new(source, path)
    elif renamed(source, path, RENAME_EXCHANGE):
        shutil.rmtree(source, ignore_errors=True)
    else:
        old = temporary_folder(path)
        path.rename(old / "replaced")
        source.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    sync_folder(path.parent)


def rename_new(source: Path, path: Path) -> None:
    """Rename a folder; FileExistsError where something is at ``path`` already."""
    if not renamed(source, path, RENAME_NOREPLACE):
        if path.exists():
            raise FileExistsError(errno.EEXIST, "exists already", str(path))
        source.rename(path)  # refuses a folder with anything in it
    sync_folder(path.parent)


def renamed(source: Path, path: Path, flag: int) -> bool:
    """Whether renameat2 (Linux) did it; false where it cannot be done at all."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(source), os.fsencode(path)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], flag) == 0)


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
    """Whether there is a process of that number."""
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
