"""Query to hits in one index: encode, retrieve by meaning or by words, filter, fuse."""

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TypeVar

from trimseek.encoders import QueryEncoder
from trimseek.errors import IndexFolderError, ReplacedError
from trimseek.indexer.card import Identity, IndexCard
from trimseek.indexer.summary import IndexSummary, summarize
from trimseek.search.index_reader import KeptFilters, SingleIndexReader
from trimseek.search.opened import Moment, OpenedIndex
from trimseek.search.reader import IndexReader
from trimseek.search.reader_searcher import ReaderSearcher

T = TypeVar("T")


class Searcher(ReaderSearcher):
    """An index opened for searching, safe to call from several threads.

    ``query_encoder``: a name as ``find_encoder`` takes it; the document encoder's by default.
    An encoder of another space is refused (IndexFolderError). What another process commits to
    the index is seen by the next search. ``shared``: see ``Encoder``.
    """

    def __init__(
        self, folder: Path, query_encoder: str | None = None, *, shared: bool = False
    ) -> None:
        self.folder, self._shared = folder, shared
        self.name = folder.resolve().name
        self._query_encoder = query_encoder
        self._identity = Identity(folder)
        self._opening = Lock()
        self._opened = self._open()
        self._filters = KeptFilters()

    def close(self) -> None:
        """Close the index."""
        self._opened.close()

    def _open(self) -> OpenedIndex:
        return OpenedIndex(self.folder, self._query_encoder, shared=self._shared)

    @property
    def card(self) -> IndexCard:
        """index.json of the index that is in the folder now."""
        return self._current().card

    @property
    def encoder(self) -> QueryEncoder:
        """The query encoder."""
        return self._current().encoder

    @property
    def encoder_name(self) -> str:
        """The name that the query encoder was given by."""
        return self._current().encoder_name

    def _current(self) -> OpenedIndex:
        """The index that is in the folder now; another one is opened if it has come since.

        What was opened goes on where the folder is gone.
        """
        if self._identity.now() not in (self._opened.identity, None):
            with self._opening:
                old = self._opened
                if self._identity.now() not in (old.identity, None):
                    self._opened = self._open()
                    old.close()
        return self._opened

    def read(self, work: Callable[[Moment], T]) -> T:
        """What ``work`` reads, all of it at one moment of the index that is in the folder now.

        The one way to whatever is stored: ``work`` may be called again where another index has
        come, or somebody has begun to write, while it was reading.
        """
        while True:
            opened = self._current()
            try:
                with opened.moment() as moment:
                    try:
                        result = work(moment)
                    except IndexFolderError:
                        if not moment.store.is_outdated():
                            raise
                        continue
                    if not moment.store.is_outdated():
                        return result
            except ReplacedError:
                if self._identity.now() in (opened.identity, None):
                    raise  # it was closed

    def reading(self, work: Callable[[IndexReader], T]) -> T:
        """As ``read``, of what a search reads."""
        return self.read(lambda now: work(SingleIndexReader(now, self._filters)))

    def summary(self) -> IndexSummary:
        """What the index holds now."""
        return summarize(self.folder)
