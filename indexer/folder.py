"""An index folder: index.json, documents.db, snapshot-<n>.faiss."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from indexer.card import CARD, IndexCard, read_card, write_card
from indexer.snapshot import build_snapshot, is_stale, read_snapshot
from indexer.store import DATABASE, Store
from trimseek.atomic import make_folder
from trimseek.errors import IndexFolderError, StorageError

LOCK = "write.lock"
POLL = 0.005  # seconds
WAIT = 10.0  # seconds that a short write waits for another writer to finish


@contextmanager
def write_lock(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """One writer at a time; StorageError if there is another, after so many seconds."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=wait, poll_interval=POLL)
    except Timeout:
        raise StorageError(
            f"{folder}: another program is writing to this index; try again"
        ) from None
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def folder_bytes(folder: Path) -> int:
    """Of the files in it."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def folder_identity(folder: Path) -> tuple[int, int] | None:
    """Another value when another index has taken the folder's place; None while none is there."""
    try:
        found = (folder / CARD).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def check_space(card: IndexCard, space: str, folder: Path, encoder: str) -> None:
    """Refuse an encoder whose vectors cannot be compared with the index's."""
    if card.space != space:
        raise IndexFolderError(
            f"{folder}: made by {card.encoder!r} in space {card.space}, but {encoder!r} is of "
            f"space {space}; use an encoder of the index's space, or make another index"
        )


@contextmanager
def open_for_writing(folder: Path, card: IndexCard) -> Iterator[Store]:
    """The store of an index, created if the folder is new or empty; holds the write lock.

    A folder that was created here and got no document is taken away again, so that a failed
    first run leaves nothing behind.
    """
    existed = folder.exists()
    if existed and not folder.is_dir():
        raise IndexFolderError(f"{folder}: a file; --into needs a folder")
    if existed and not (folder / CARD).is_file() and has_other_files(folder):
        raise IndexFolderError(f"{folder}: neither empty nor an index; choose another folder")
    make_folder(folder)
    with write_lock(folder):
        created = not (folder / CARD).is_file()
        store = None
        try:
            store = create_files(folder, card) if created else Store(folder, writable=True)
            yield store
        finally:
            empty = store is None or (created and store.counts().documents == 0)
            if store is not None:
                store.close()
            if created and empty:
                remove_files(folder, whole=not existed)


def has_other_files(folder: Path) -> bool:
    """Whether there is more than an index would have that was killed while it was created."""
    beginnings = (LOCK, DATABASE, f".{CARD}.")
    return any(not path.name.startswith(beginnings) for path in folder.iterdir())


def create_files(folder: Path, card: IndexCard) -> Store:
    """An empty index; its card comes last, so that a folder with a card is complete."""
    remove_files(folder, whole=False)
    store = Store(folder, writable=True, create=True)
    write_card(card, folder)
    return store


def remove_files(folder: Path, *, whole: bool) -> None:
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def refresh_snapshot(store: Store, folder: Path, card: IndexCard) -> bool:
    """Write a new snapshot if there is none that is whole, or too much changed since.

    Whether it did.
    """
    record = store.snapshot()
    if record is not None and not is_stale(store, card.dim):
        try:
            read_snapshot(record, folder, card.dim)
        except IndexFolderError:
            pass
        else:
            return False
    build_snapshot(store, folder, card.dim)
    return True


def open_index(folder: Path) -> tuple[IndexCard, Store]:
    """Card and store of an index, for reading."""
    card = read_card(folder)
    return card, Store(folder)
