"""A whole index in one file: its database, with the card inside, as of one moment."""

import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np

from trimseek.atomic import atomic_file, atomic_folder
from trimseek.errors import IndexFolderError, StorageError
from trimseek.indexer.card import (
    IndexCard,
    card_of,
    folder_identity,
    is_index,
    with_new_id,
    write_card,
)
from trimseek.indexer.database import DATABASE
from trimseek.indexer.folder import OpenIndex, open_index, refresh_snapshot, replace_index
from trimseek.indexer.store import Store

CARD_SETTING = "card"


def write_backup(folder: Path, path: Path) -> None:
    """Copy the index into a file, wholly or not at all; others may write to it meanwhile."""
    if path.exists():
        raise IndexFolderError(f"{path}: exists already; name a file that does not")
    if not path.absolute().parent.is_dir():
        raise IndexFolderError(f"{path}: no such folder: {path.parent}")
    with atomic_file(path) as temporary:
        with open_index(folder) as (card, store):
            store.copy_into(temporary)
        with (
            Store(temporary.parent, writable=True, name=temporary.name) as copy,
            copy.transaction(),
        ):
            copy.set_setting(CARD_SETTING, asdict(card))


def restore_backup(path: Path, folder: Path) -> None:
    """Make an index folder of a backup; what is there is replaced once the backup is sound.

    IndexFolderError if the file is damaged or no backup; ReplacedError if what was there at the
    beginning is not there at the end.
    """
    if folder.exists() and not is_index(folder):
        raise IndexFolderError(f"{folder}: not an index; choose another folder")
    began = folder_identity(folder)
    card = with_new_id(read_backup(path))

    def move(temporary: Path, _: Path) -> None:
        replace_index(temporary, folder, began)

    with atomic_folder(folder, move) as temporary:
        copy_database(path, temporary / DATABASE)
        with Store(temporary, writable=True) as store:
            with store.transaction():
                store.forget_snapshots()
                store.set_id(card.id)
            write_card(card, temporary)
            refresh_snapshot(OpenIndex(card, store), temporary)
            store.checkpoint()


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
        raise IndexFolderError(f"{path}: not a backup of an index, or damaged: {error}") from None
    with store:
        damage = store.check(deep=True)
        if damage:
            raise IndexFolderError(f"{path}: damaged: {'; '.join(damage)}")
        card = card_in(store, path)
        refused = store.refused_document()
        if not all(np.isfinite(vectors).all() for _, vectors in store.vectors(0, card.dim)):
            raise IndexFolderError(f"{path}: damaged: a vector is not finite")
    if refused is not None:
        raise IndexFolderError(
            f"{path}: a document cannot be stored: {refused}; change it in the index, back up again"
        )
    return card


def card_in(store: Store, path: Path) -> IndexCard:
    """The card inside a backup; IndexFolderError where there is none."""
    fields = store.setting(CARD_SETTING, None)
    if not isinstance(fields, dict):
        raise IndexFolderError(f"{path}: damaged: it has no card")
    return card_of(fields, path)
