"""An index as it was opened: its card, its query encoder, and connections for several threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from trimseek.console import note
from trimseek.encoders import QueryEncoder, find_encoder
from trimseek.encoders.catalog import find_index_encoder
from trimseek.encoders.pairs import query_encoder_name
from trimseek.errors import IndexFolderError, ReplacedError, StorageError
from trimseek.indexer.card import IndexCard, folder_identity
from trimseek.indexer.efforts import tuned_effort
from trimseek.indexer.folder import check_space, open_for_changes, open_index, refresh_snapshot
from trimseek.indexer.prompts import given_prompt
from trimseek.indexer.store import Store
from trimseek.search.pieces import Pieces
from trimseek.search.view import View, open_view, refreshed, view_without_snapshot
from trimseek.search.words import Words, open_words, refreshed_words, words_without_file


class Moment(NamedTuple):
    """An index at one moment: whatever is read through it fits together.

    ``words``: None in an index that has none yet. ``version``: another one after every change.
    ``effort``: what was tuned for the query encoder,
    None where nothing was. ``pieces``: of hits, kept while nothing is committed.
    """

    card: IndexCard
    store: Store
    version: int
    view: View
    words: Words | None
    effort: int | None
    pieces: Pieces


class Latest(NamedTuple):
    """The newest view, which all threads share, and what belongs to it; see ``Moment``."""

    version: int
    view: View
    words: Words | None
    effort: int | None
    pieces: Pieces


class OpenedIndex:
    """One index in one folder, from its opening until another has taken its place.

    ``query_encoder``, ``shared``: as ``Searcher``. ``encodes``: false where no query is encoded.
    """

    def __init__(
        self, folder: Path, query_encoder: str | None, *, shared: bool, encodes: bool = True
    ) -> None:
        self.folder = folder
        identity = folder_identity(folder)
        self.card, store = open_index(folder)
        self.identity = self.card.id or identity
        self.encoder_name = chosen_encoder(self.card, query_encoder)
        try:
            self._encoder = None
            if encodes:
                self._encoder = open_query_encoder(self.card, folder, query_encoder, shared=shared)
        except BaseException:
            store.close()
            raise
        self._connections = Connections(folder, self.card, store)
        self._refreshing = Lock()
        self._latest: Latest | None = None
        try:
            with self.moment():
                pass
        except BaseException:
            self.close()
            raise

    @property
    def encoder(self) -> QueryEncoder:
        """Of queries."""
        assert self._encoder is not None  # noqa: S101 - the caller has opened it to encode
        return self._encoder

    def close(self) -> None:
        """Close the connections, those in use when they are given back, and what is mapped."""
        self._connections.close()
        self._latest = None

    @contextmanager
    def moment(self) -> Iterator[Moment]:
        """The index as it is now, until the end of the block.

        ReplacedError if the index was closed, or another has taken its place.
        """
        with self._connections.one() as store:
            try:
                latest = self._begin(store)
                yield Moment(self.card, store, *latest)
            finally:
                store.end()

    def _begin(self, store: Store) -> Latest:
        """Begin a moment that is not before the newest view, and bring that up to it."""
        made_anew = False
        while True:
            store.begin()
            version, latest = store.version(), self._latest
            if latest is not None and latest.version == version:
                return latest
            with self._refreshing:
                latest = self._latest
                if latest is None or latest.version < version or not self.card.id:
                    try:
                        return self._refresh(store, version)
                    except IndexFolderError as error:
                        record = store.snapshot()
                        store.end()
                        store.begin()
                        if store.snapshot() == record:  # else it was replaced meanwhile
                            note(f"{error}; making it anew from documents.db")
                            if made_anew or not rebuild(self.folder):
                                view = view_without_snapshot(store, self.card.dim)
                                words = words_without_file(store)
                                return self._keep(store, store.version(), view, words)
                            made_anew = True
            store.end()

    def _refresh(self, store: Store, version: int) -> Latest:
        if self._latest is None:
            view = open_view(store, self.folder, self.card.dim)
            words = open_words(store, self.folder)
        else:
            view = refreshed(self._latest.view, store, self.folder, self.card.dim)
            words = refreshed_words(self._latest.words, store, self.folder)
        return self._keep(store, version, view, words)

    def _keep(self, store: Store, version: int, view: View, words: Words | None) -> Latest:
        effort = None
        if self._encoder is not None:
            effort = tuned_effort(store, view.kind, self._encoder.card)
        self._latest = Latest(version, view, words, effort, Pieces())
        return self._latest


def chosen_encoder(card: IndexCard, name: str | None) -> str:
    """The name of what encodes queries: of what a user names, or the index's own."""
    return card.query_encoder if name is None else query_encoder_name(name)


def open_query_encoder(
    card: IndexCard, folder: Path, name: str | None, *, shared: bool
) -> QueryEncoder:
    """The query encoder of an index, by its name or the index's own; EncoderError.

    IndexFolderError if it is of another space. ``shared``: see ``Encoder``.
    """
    chosen = chosen_encoder(card, name)
    path = find_index_encoder(chosen, folder) if name is None else find_encoder(chosen)
    encoder = QueryEncoder(path, shared=shared, prompt=given_prompt(card, "query"))
    check_space(card, encoder.card.space, folder, chosen)
    return encoder


class Connections:
    """Connections to one database: each thread that reads takes one and gives it back."""

    def __init__(self, folder: Path, card: IndexCard, first: Store) -> None:
        self._folder, self._card = folder, card
        self._idle, self._closed = [first], False
        self._lock = Lock()
        # without an id, nothing tells whether another connection is to the same index
        self._alone = None if card.id else Lock()

    def close(self) -> None:
        """Close those that are not in use now; the others when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for store in idle:
            store.close()

    @contextmanager
    def one(self) -> Iterator[Store]:
        """A connection of one's own; ReplacedError if they were closed."""
        if self._alone is not None:
            with self._alone:
                yield from self._taken()
        else:
            yield from self._taken()

    def _taken(self) -> Iterator[Store]:
        with self._lock:
            if self._closed:
                raise ReplacedError(f"{self._folder}: closed")
            store = self._idle.pop() if self._idle else None
        if store is not None and store.is_outdated():
            store.close()
            store = None
        store = store or self._new()
        try:
            yield store
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(store)
            if not keep:
                store.close()

    def _new(self) -> Store:
        card, store = open_index(self._folder)
        if card.id != self._card.id:
            store.close()
            raise ReplacedError(f"{self._folder}: another index has taken its place")
        return store


def rebuild(folder: Path) -> bool:
    """Write the snapshot anew; false where the folder cannot be written now."""
    try:
        with open_for_changes(folder, 0.0) as opened:
            refresh_snapshot(opened, folder)
    except StorageError:
        return False
    return True
