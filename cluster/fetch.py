"""Copies on this machine of what is below a URI: of shards, so that they are opened as indexes."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from trimseek.atomic import atomic_folder, make_folder, rename_new
from trimseek.cluster.manifest import Manifest, ShardEntry
from trimseek.cluster.storage import Storage, StoredFile
from trimseek.errors import IndexFolderError, StorageError
from trimseek.file_lock import file_lock
from trimseek.indexer.backup import card_in
from trimseek.indexer.card import is_index, write_card
from trimseek.indexer.database import DATABASE
from trimseek.indexer.store import Store
from trimseek.settings import load_settings

WAIT = 600.0  # seconds for another process of this machine that fetches the same


def copies_folder() -> Path:
    """Where copies of all indexes are kept on this machine."""
    return load_settings().home / "cluster"


def cache_folder(storage: Storage) -> Path:
    """Where copies of an index are kept on this machine."""
    return copies_folder() / hashlib.sha256(storage.uri.encode()).hexdigest()[:16]


def fetched_shard(storage: Storage, manifest: Manifest, shard: int) -> Path:
    """The index folder of a shard on this machine, fetched and checked unless it is there.

    StorageError for a file that is missing, damaged, or does not fit on the disk.
    """
    with fetching(storage, manifest, f"shard-{shard:04d}") as folder:
        if not is_index(folder):
            fetch(storage, manifest.shards[shard], folder)
    return folder


@contextmanager
def fetching(storage: Storage, manifest: Manifest, name: str) -> Iterator[Path]:
    """Where the copy of a part of a generation is to be; one process at a time fetches it."""
    path = cache_folder(storage) / manifest.id / name
    make_folder(path.parent)
    busy = f"{path}: another process is fetching it; try again"
    with file_lock(path.with_name(f"{name}.lock"), busy, WAIT):
        yield path


def fetch(storage: Storage, entry: ShardEntry, folder: Path) -> None:
    """Make an index folder of a shard's files, wholly or not at all."""
    with atomic_folder(folder, rename_new) as temporary:
        storage.download(entry.backup, temporary / DATABASE)
        for name, file in entry.beside.items():
            storage.download(file, temporary / name)
        try:
            with closing(sqlite3.connect(temporary / DATABASE)) as db:
                db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            raise StorageError(f"{folder}: cannot be written: {error}") from error
        with Store(temporary) as store:
            card = card_in(store, temporary / DATABASE)
        write_card(card, temporary)


def fetched_file(storage: Storage, manifest: Manifest, file: StoredFile, name: str) -> Path:
    """A copy of one file of a generation, fetched unless it is there."""
    with fetching(storage, manifest, name) as path:
        if not path.is_file():
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                copy = Path(folder) / name
                storage.download(file, copy)
                copy.replace(path)
    return path


def remove_old(storage: Storage, manifest: Manifest) -> None:
    """Delete the copies of generations, but for one and the latest of the others.

    That one may be served still.
    """
    others = [
        folder
        for folder in cache_folder(storage).iterdir()
        if folder.is_dir() and folder.name != manifest.id
    ]
    for folder in sorted(others, key=lambda folder: folder.stat().st_mtime)[:-1]:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_backup(storage: Storage, file: StoredFile) -> Iterator[Store]:
    """A shard's backup, copied to this machine for as long as it is read."""
    with tempfile.TemporaryDirectory(prefix="trimseek-backup-") as folder:
        path = Path(folder) / DATABASE
        storage.download(file, path)
        try:
            store = Store(path.parent)
        except IndexFolderError as error:
            raise StorageError(f"{storage.path(file.name)}: damaged: {error}") from error
        with store:
            yield store
