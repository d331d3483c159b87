"""A whole index in one file: its database, with the card inside, as of one moment."""

import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from indexer.card import CARD, IndexCard, read_card, write_card
from indexer.folder import refresh_snapshot
from indexer.store import DATABASE, Store
from trimseek.atomic import atomic_file, atomic_folder
from trimseek.errors import IndexFolderError, StorageError

CARD_SETTING = "card"


def write_backup(folder: Path, path: Path) -> None:
    """Copy the index into a file, wholly or not at all; others may write to it meanwhile."""
    if path.exists():
        raise IndexFolderError(f"{path}: exists already; name a file that does not")
    if not path.absolute().parent.is_dir():
        raise IndexFolderError(f"{path}: no such folder: {path.parent}")
    card = read_card(folder)
    store = Store(folder)
    with atomic_file(path) as temporary:
        try:
            store.copy_into(temporary)
        finally:
            store.close()
        copy = Store(temporary.parent, writable=True, name=temporary.name)
        try:
            with copy.transaction():
                copy.set_setting(CARD_SETTING, asdict(card))
        finally:
            copy.close()


def restore_backup(path: Path, folder: Path) -> None:
    """Make an index folder of a backup; what is there is replaced once the backup is sound.

    IndexFolderError if the file is damaged or no backup.
    """
    if folder.exists() and not (folder / CARD).is_file():
        raise IndexFolderError(f"{folder}: not an index; choose another folder")
    card = read_backup(path)
    with atomic_folder(folder) as temporary:
        copy_database(path, temporary / DATABASE)
        write_card(card, temporary)
        store = Store(temporary, writable=True)
        try:
            with store.transaction():
                store.forget_snapshots()
            refresh_snapshot(store, temporary, card)
            store.checkpoint()
        finally:
            store.close()


def copy_database(source: Path, target: Path) -> None:
    """The pages of a database into a new one; StorageError if the disk is full."""
    try:
        with closing(sqlite3.connect(target)) as new:
            address = f"{source.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as old:
                old.backup(new)
            new.execute("PRAGMA journal_mode = WAL")
    except sqlite3.Error as error:
        raise StorageError(f"{target}: cannot write ({error}); nothing was replaced") from error


def read_backup(path: Path) -> IndexCard:
    """The card inside a backup whose every page was checked."""
    if not path.is_file():
        raise IndexFolderError(f"{path}: no such file")
    try:
        store = Store(path.parent, name=path.name)
    except (IndexFolderError, sqlite3.Error) as error:
        raise IndexFolderError(f"{path}: not a snapshot of an index, or damaged: {error}") from None
    try:
        damage = store.check(deep=True)
        fields = store.setting(CARD_SETTING, None) if not damage else None
        if fields is None:
            raise IndexFolderError(f"{path}: damaged: {'; '.join(damage) or 'it has no card'}")
        return IndexCard(**fields)
    except TypeError as error:
        raise IndexFolderError(f"{path}: damaged: {error}") from error
    finally:
        store.close()
