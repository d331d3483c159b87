"""Query to hits: encode, find the nearest chunks, give their documents."""

import json
import time
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from encoders import QueryEncoder, find_encoder
from indexer.documents import Document
from indexer.folder import check_space, open_index
from indexer.summary import IndexSummary, summarize
from search.hits import Hit, Passage, Results, Timing
from search.view import View, open_view, refreshed
from trimseek.errors import QueryError, UnknownDocumentError

MOST_HITS = 1000
LONGEST_QUERY = 100_000  # characters
# Chunks looked at for each hit wanted, where documents have several; doubled until it is enough.
CHUNKS_PER_HIT = 2
MOST_CHUNKS = 32_000  # SQLite takes as many parameters


class Searcher:
    """An index opened for searching, safe to call from several threads.

    ``query_encoder``: a name as ``find_encoder`` takes it; the document encoder's by default.
    An encoder of another space is refused (IndexFolderError). What another process commits to
    the index is seen by the next search.
    """

    def __init__(self, folder: Path, query_encoder: str | None = None) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.card, self._store = open_index(folder)
        name = self.card.encoder if query_encoder is None else query_encoder
        self.encoder = QueryEncoder(find_encoder(name))
        check_space(self.card, self.encoder.card.space, folder, name)
        self._version = self._store.version()
        self._view = open_view(self._store, folder, self.card.dim)
        self._refreshing = Lock()

    def close(self) -> None:
        self._store.close()

    def search(self, query: str, k: int = 10) -> Results:
        """The k documents whose best passage is nearest to the query.

        Fewer if the index has fewer. QueryError for a blank query or a k beyond 1 to 1000.
        """
        check_query(query, k)
        started = time.perf_counter()
        encoded = self.encoder.encode([query])
        after_encoding = time.perf_counter()
        hits = self.nearest(encoded.vectors[0], k)
        ended = time.perf_counter()
        timing = Timing(
            encode=(after_encoding - started) * 1e3,
            search=(ended - after_encoding) * 1e3,
            total=(ended - started) * 1e3,
        )
        return Results(hits, encoded.tokens, encoded.truncated > 0, timing)

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """The k documents nearest to a query vector ``(dim,)`` of the index's space."""
        view = self._current_view()
        wanted = k
        while True:
            found = view.search(vector, wanted)
            documents = self._store.documents_of(found.keys.tolist())
            best: dict[int, tuple[int, float]] = {}
            for key, score in zip(found.keys.tolist(), found.scores.tolist(), strict=True):
                if key in documents:
                    best.setdefault(documents[key], (key, score))
            if len(best) >= k or len(found.keys) < wanted or wanted == MOST_CHUNKS:
                return self._hits(list(best.values())[:k])
            wanted = min(wanted * CHUNKS_PER_HIT, MOST_CHUNKS)

    def document(self, id_: str) -> Document:
        """A document as it was indexed; UnknownDocumentError."""
        stored = self._store.document(id_)
        if stored is None:
            raise UnknownDocumentError(f"index {self.name!r} has no document {id_!r}")
        return stored

    def summary(self) -> IndexSummary:
        return summarize(self.folder)

    def _hits(self, best: list[tuple[int, float]]) -> list[Hit]:
        rows = self._store.chunks([key for key, _ in best])
        return [
            Hit(
                id=row.id,
                score=score,
                title=row.title,
                passage=Passage(row.passage, row.start, row.end),
                metadata=json.loads(row.metadata),
            )
            for key, score in best
            if (row := rows.get(key)) is not None
        ]

    def _current_view(self) -> View:
        version = self._store.version()
        if version != self._version:
            with self._refreshing:
                if version != self._version:
                    self._view = refreshed(self._view, self._store, self.folder, self.card.dim)
                    self._version = version
        return self._view


def check_query(query: str, k: int) -> None:
    if not 1 <= k <= MOST_HITS:
        raise QueryError(f"k is {k}; it must be from 1 to {MOST_HITS}")
    if not query.strip():
        raise QueryError("the query is empty")
    if len(query) > LONGEST_QUERY:
        raise QueryError(f"the query has {len(query):,} characters; the most is {LONGEST_QUERY:,}")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"the query is not Unicode text at character {error.start}") from None
    if "\0" in query:
        raise QueryError("the query holds a NUL character (U+0000)")
