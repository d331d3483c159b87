"""An index folder: index.json, documents.db, snapshot-<n>.faiss, words-<n>.bin, vectors-<n>.bin."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self

from trimseek.atomic import atomic_folder, make_folder, rename_new, replace_folder
from trimseek.errors import IndexExistsError, IndexFolderError, ReplacedError, StorageError
from trimseek.file_lock import file_lock
from trimseek.indexer.card import (
    CARD,
    IndexCard,
    folder_identity,
    read_card,
    with_new_id,
    write_card,
)
from trimseek.indexer.database import DATABASE
from trimseek.indexer.filters import check_path, parse_field
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.snapshot import (
    KIND,
    add_files,
    build_snapshot,
    built_snapshot,
    check_files,
    is_stale,
    read_snapshot,
    use_snapshot,
)
from trimseek.indexer.stems import check_language
from trimseek.indexer.store import Store

LOCK = "write.lock"
WAIT = 10.0  # seconds that a short write waits for another writer to finish


@contextmanager
def write_lock(folder: Path, wait: float = 0.0) -> Iterator[None]:
    """One writer at a time; StorageError if there is another, after so many seconds.

    While it is held, no other index takes the folder's place: what replaces it takes the lock, too.
    """
    busy = f"{folder}: another program is writing to this index; try again"
    with file_lock(folder / LOCK, busy, wait):
        yield


def folder_bytes(folder: Path) -> int:
    """Of the files in it; of those that are there still, while others write."""
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return 0
    total = 0
    for path in paths:
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def check_space(card: IndexCard, space: str, folder: Path, encoder: str) -> None:
    """Refuse an encoder whose vectors cannot be compared with the index's."""
    if card.space != space:
        raise IndexFolderError(
            f"{folder}: made by {card.encoder!r} in space {card.space}, but {encoder!r} is of "
            f"space {space}; use an encoder of the index's space, or make another index"
        )


class OpenIndex(NamedTuple):
    """Card and store of an index, opened for reading; closed at the end of a ``with`` block."""

    card: IndexCard
    store: Store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def open_index(folder: Path) -> OpenIndex:
    """Open an index for reading; IndexFolderError if there is none, or it is damaged or newer."""
    while True:
        identity = folder_identity(folder)
        try:
            card = read_card(folder)
            store = Store(folder)
        except (IndexFolderError, StorageError):
            if folder_identity(folder) == identity:
                raise
            continue  # another index has come between the two looks
        if folder_identity(folder) == identity:
            check_same(card, store)
            return OpenIndex(card, store)
        store.close()


def check_same(card: IndexCard, store: Store) -> None:
    """IndexFolderError, and the store is closed, where card and database are of two indexes."""
    if card.id and store.id not in ("", card.id):
        store.close()
        raise IndexFolderError(
            f"{store.path}: of another index than {CARD} beside it; restore it from a backup"
        )


@contextmanager
def open_for_changes(
    folder: Path, wait: float = WAIT, *, began: str | None = None
) -> Iterator[OpenIndex]:
    """Card and store of an index that exists, under its write lock.

    ``began``: the id of the index that the work began with; ReplacedError if it is not there now.
    """
    with write_lock(folder, wait):
        if began is not None and folder_identity(folder) != began:
            raise replaced_error(folder)
        with open_writable(folder) as opened:
            yield opened


def replaced_error(folder: Path) -> ReplacedError:
    """What to say where another index has come meanwhile."""
    return ReplacedError(f"{folder}: another index has taken its place meanwhile; run it again")


def open_writable(folder: Path, *, durable: bool = False) -> OpenIndex:
    """Card and store, to be written to while the write lock is held.

    An index of an earlier trimseek gets an id: first in the database, so that a crash in between
    leaves no card with an id that its database lacks.
    """
    card = read_card(folder)
    store = Store(folder, writable=True, durable=durable)
    if not card.id:
        card = replace(with_new_id(card), id=store.id or with_new_id(card).id)
        with store.transaction():
            store.set_id(card.id)
        write_card(card, folder)
    check_same(card, store)
    return OpenIndex(card, store)


def create_index(
    folder: Path,
    card: IndexCard,
    *,
    facets: Sequence[str] = (),
    kind: SnapshotKind | None = None,
    language: str | None = None,
) -> None:
    """Make an empty index of a new folder, wholly or not at all.

    ``facets``: metadata fields to index. ``kind``: of its snapshots, by size where it is None.
    ``language``: of its words, guessed by the texts where it is None.
    IndexExistsError if something is there already.
    """
    exists = IndexExistsError(f"{folder}: exists already; open it, or choose another folder")
    if folder.exists():
        raise exists
    try:
        with (
            atomic_folder(folder, rename_new) as temporary,
            create_files(temporary, card).store as store,
        ):
            configure(store, facets, kind, language)
            store.checkpoint()
    except FileExistsError:  # made by another process meanwhile
        raise exists from None


def replace_index(source: Path, folder: Path, began: str | None) -> None:
    """Rename an index folder to ``folder``, in place of the index that the work began with.

    ``began``: its identity; None where there was none. ReplacedError if something else is there
    now; StorageError while somebody writes to it.
    """
    if began is None:
        try:
            rename_new(source, folder)
        except FileExistsError:
            raise replaced_error(folder) from None
        return
    with write_lock(folder, WAIT):
        if folder_identity(folder) != began:
            raise replaced_error(folder)
        replace_folder(source, folder.resolve())


def configure(
    store: Store, facets: Sequence[str], kind: SnapshotKind | None, language: str | None = None
) -> None:
    """Index these metadata fields too, and use that kind and language, if they are given.

    ``kind``: of the next snapshots. ``language``: of the words (``stems``), which are made anew
    where it is another one. QueryError for a field that no filter could name, or no such language.
    """
    for field in facets:
        check_path(parse_field(field))
    if language is not None:
        check_language(language)
    with store.transaction():
        for field in facets:
            store.add_facet(field)
        if kind is not None:
            store.set_setting(KIND, kind.value)
        if language is not None and language != store.given_language:
            store.make_words(language)


@contextmanager
def open_or_create(folder: Path, new_card: Callable[[], IndexCard]) -> Iterator[OpenIndex]:
    """An index under its write lock, created with a new card if the folder is new or empty.

    A folder that was created here and got no document is removed again, so that a failed first
    run leaves nothing behind.
    """
    existed = folder.exists()
    if existed and not folder.is_dir():
        raise IndexFolderError(f"{folder}: a file; --into needs a folder")
    if existed and not (folder / CARD).is_file() and has_other_files(folder):
        raise IndexFolderError(f"{folder}: neither empty nor an index; choose another folder")
    make_folder(folder)
    with write_lock(folder):
        created = not (folder / CARD).is_file()
        opened = None
        try:
            opened = create_files(folder, new_card()) if created else open_writable(folder)
            yield opened
        finally:
            empty = opened is None or (created and opened.store.counts().documents == 0)
            if opened is not None:
                opened.store.close()
            if created and empty:
                remove_files(folder, whole=not existed)


def has_other_files(folder: Path) -> bool:
    """Whether there is more than an index would have that was killed while it was created."""
    beginnings = (LOCK, DATABASE, f".{CARD}.")
    return any(not path.name.startswith(beginnings) for path in folder.iterdir())


def create_files(folder: Path, card: IndexCard) -> OpenIndex:
    """An empty index with an id of its own.

    Its card comes last, so that a folder with a card is complete.
    """
    remove_files(folder, whole=False)
    card = with_new_id(card)
    store = Store(folder, writable=True, create=True)
    with store.transaction():
        store.set_id(card.id)
    write_card(card, folder)
    return OpenIndex(card, store)


def remove_files(folder: Path, *, whole: bool) -> None:
    """Empty a folder that an index was created in; ``whole``: remove it too."""
    if whole:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def needs_snapshot(opened: OpenIndex, folder: Path) -> bool:
    """Whether there is no snapshot that is whole, with what lies beside it, or too much changed."""
    card, store = opened
    record = store.snapshot()
    if record is None or is_stale(store, card.dim):
        return True
    try:
        read_snapshot(record, folder, card.dim)
        check_files(store, record, folder, card.dim)
    except IndexFolderError:
        return True
    return False


def refresh_snapshot(opened: OpenIndex, folder: Path) -> bool:
    """Write a new snapshot if one is needed, under the write lock; whether it did."""
    if not needs_snapshot(opened, folder):
        add_files(opened.store, folder, opened.card.dim)
        return False
    build_snapshot(opened.store, folder, opened.card.dim)
    return True


def renew_snapshot(folder: Path, *, always: bool = True) -> bool:
    """Write a new snapshot while others may write; whether it is in use now.

    ``always``: even if none is needed. What was overtaken is dropped: by another snapshot, or by
    another index in the folder's place.
    """
    with open_index(folder) as opened:
        if not always and not needs_snapshot(opened, folder):
            return False
        card, store = opened
        with built_snapshot(store, folder, card.dim) as built:
            try:
                with open_for_changes(folder, began=card.id or folder_identity(folder)) as current:
                    return use_snapshot(built, current.store, folder) is not None
            except ReplacedError:
                return False
