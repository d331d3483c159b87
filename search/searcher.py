"""Query to hits: encode, retrieve by meaning or by words, filter, fuse, give the documents."""

import json
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Condition, Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders import QueryEncoder, find_encoder
from indexer.documents import Document
from indexer.efforts import tuned_effort
from indexer.facets import facet_counts, facet_totals, field_values
from indexer.filters import Field, Filter, Sql, field_name, to_sql
from indexer.folder import check_space, folder_identity, open_index
from indexer.rows import ChunkPlace, StoredChunk
from indexer.summary import IndexSummary, summarize
from indexer.words import Span, matching_spans, search_words
from search.candidates import Candidate, diversified, fuse, one_of_each
from search.hits import FacetValue, Highlight, Hit, Passage, Results, Source, Timing
from search.options import DEFAULT, Mode, Options, check_count, check_options, check_query
from search.view import View, open_view, refreshed
from trimseek.errors import UnknownDocumentError

# Chunks looked at for each hit wanted, where documents have several; doubled until it is enough.
CHUNKS_PER_HIT = 2
MOST_CHUNKS = 32_000  # SQLite takes as many parameters
FUSED_DEPTH = 100  # of each list at least: what stands deeper hardly changes a fused rank
COUNTED_DEPTH = 100  # documents whose facets are counted at least
DIVERSITY_POOL = 4  # documents to choose from for each that is wanted
FILTERS_KEPT = 32


class Allowed(NamedTuple):
    """What a filter lets through: an expression over ``documents``, and chunk keys, ascending."""

    sql: Sql
    chunks: NDArray[np.int64]


class EncodedQuery(NamedTuple):
    """A query's vector ``(dim,) float32``, how many tokens it has, and how long it took (ms).

    ``space``: the vector's.
    """

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool
    milliseconds: float
    space: str


class Ranking(NamedTuple):
    """Documents, best first; ``complete``: there are no more."""

    candidates: list[Candidate]
    complete: bool


Ranker = Callable[[int], Ranking]  # of how many documents are wanted


class Searcher:
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
        self._refreshing = Lock()
        self._turns, self._under_way = Condition(), 0
        self._open()

    def close(self) -> None:
        self._store.close()

    def _open(self) -> None:
        identity = folder_identity(self.folder)
        self.card, self._store = open_index(self.folder)
        name = self._query_encoder or self.card.encoder
        self.encoder_name = name
        self.encoder = QueryEncoder(find_encoder(name), shared=self._shared)
        check_space(self.card, self.encoder.card.space, self.folder, name)
        self._version = self._store.version()
        self._view = open_view(self._store, self.folder, self.card.dim)
        self._effort = tuned_effort(self._store, self._view.kind, self.encoder.card)
        self._allowed: dict[tuple[int, Sql], Allowed] = {}
        self._identity = identity

    @contextmanager
    def _steady(self) -> Iterator[None]:
        """One index from the beginning of a search to its end.

        If another one has taken the folder's place (restored, or embedded by another encoder), it
        is opened when the searches under way have ended.
        """
        with self._turns:
            while folder_identity(self.folder) not in (self._identity, None):
                if self._under_way:
                    self._turns.wait()
                else:
                    self._store.close()
                    self._open()
            self._under_way += 1
        try:
            yield
        finally:
            with self._turns:
                self._under_way -= 1
                self._turns.notify_all()

    def search(self, query: str, k: int = 10, options: Options = DEFAULT) -> Results:
        """The k documents that answer the query best; fewer if there are fewer.

        QueryError for a blank query, a k beyond 1 to 1000, or options that make no sense.
        """
        check_query(query, k)
        check_options(options)
        with self._steady():
            encoded = None if options.mode is Mode.LEXICAL else self.encode([query])[0]
            return self._answer(query, encoded, k, options)

    def encode(self, queries: Sequence[str]) -> list[EncodedQuery]:
        """Encode queries together; each is charged its share of the time."""
        return encode_queries(self.encoder, queries)

    def answer(
        self, query: str, encoded: EncodedQuery | None, k: int, options: Options = DEFAULT
    ) -> Results:
        """As ``search``, of a query that ``encode`` has encoded; None in lexical mode.

        Where an index of another space has come in between, it is encoded anew.
        """
        with self._steady():
            if encoded is not None and encoded.space != self.card.space:
                encoded = self.encode([query])[0]
            return self._answer(query, encoded, k, options)

    def _answer(
        self, query: str, encoded: EncodedQuery | None, k: int, options: Options
    ) -> Results:
        started = time.perf_counter()
        hits, facets = self._find(query, encoded and encoded.vector, k, options)
        search = (time.perf_counter() - started) * 1e3
        if encoded is None:
            return Results(hits, 0, False, Timing(0.0, search, search), facets)
        encode = encoded.milliseconds
        timing = Timing(encode, search, encode + search)
        return Results(hits, encoded.tokens, encoded.truncated, timing, facets)

    def search_with(self, encoder: QueryEncoder, query: str, k: int) -> Results:
        """As ``search``, by another encoder of the index's space."""
        check_query(query, k)
        check_space(self.card, encoder.card.space, self.folder, encoder.card.name)
        return self.answer(query, encode_queries(encoder, [query])[0], k)

    def facets(self, field: Field, where: Filter | None = None) -> list[FacetValue]:
        """The values of a field among all documents, or those of a filter, as ``facet_totals``."""
        sql = None if where is None else to_sql(where, self._store.facets())
        return [FacetValue(*each) for each in facet_totals(self._store, field, sql)]

    def nearest(self, vector: NDArray[np.float32], k: int, options: Options = DEFAULT) -> list[Hit]:
        """The k documents nearest to a vector ``(dim,)`` of the index's space."""
        check_count(k)
        check_options(options)
        with self._steady():
            return self._find("", vector, k, replace(options, mode=Mode.DENSE))[0]

    def document(self, id_: str) -> Document:
        """A document as it was indexed; UnknownDocumentError."""
        stored = self._store.document(id_)
        if stored is None:
            raise UnknownDocumentError(f"index {self.name!r} has no document {id_!r}")
        return stored

    def vectors(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """The mean of each document's chunks' vectors, of unit length, ``(n, dim)``.

        UnknownDocumentError if one is not there.
        """
        keys = self._store.keys_of(ids)
        for id_ in ids:
            if id_ not in keys:
                raise UnknownDocumentError(f"index {self.name!r} has no document {id_!r}")
        places = self._store.chunks_of([keys[id_] for id_ in ids])
        means = np.zeros((len(ids), self.card.dim), np.float32)
        for i, id_ in enumerate(ids):
            chunks = [place.key for place in places.get(keys[id_], [])]
            found = self._store.vectors_of(chunks, self.card.dim).vectors.astype(np.float32)
            means[i] = found.sum(axis=0)
        lengths = np.linalg.norm(means, axis=1, keepdims=True)
        return (means / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    @property
    def view(self) -> View:
        """The vectors as they are committed now."""
        return self._current_view()

    def some_documents(self, count: int) -> list[Document]:
        """At most so many documents, evenly from all."""
        return [document for _, document in self._store.some_documents(count)]

    def summary(self) -> IndexSummary:
        return summarize(self.folder)

    def _find(
        self, query: str, vector: NDArray[np.float32] | None, k: int, options: Options
    ) -> tuple[list[Hit], dict[str, list[FacetValue]]]:
        view = self._current_view()
        allowed = None if options.where is None else self._let_through(options.where)
        if allowed is not None and not len(allowed.chunks):
            return [], {field_name(field): [] for field in options.facets}
        ranker = self._ranker(query, vector, options, view, allowed)
        wanted = options.offset + k
        pool = wanted * DIVERSITY_POOL if options.diversity else wanted
        depth = max(pool, COUNTED_DEPTH if options.facets else 0)
        while True:
            ranking = ranker(depth)
            chosen = self._filtered(ranking.candidates, options)
            if len(chosen) >= pool or ranking.complete or depth >= MOST_CHUNKS:
                break
            depth = min(depth * 2, MOST_CHUNKS)
        facets = self._facets(ranking.candidates, options)
        if options.diversity:
            chosen = self._diversified(chosen, query, wanted, options.diversity)
        return self._hits(chosen[options.offset : wanted], query, options), facets

    def _ranker(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        options: Options,
        view: View,
        allowed: Allowed | None,
    ) -> Ranker:
        """What ranks documents in the mode of the options."""

        def dense(depth: int) -> Ranking:
            assert vector is not None  # noqa: S101 - encoded in every mode but the lexical one
            return self._dense(vector, depth, view, options.effort or self._effort, allowed)

        def lexical(depth: int) -> Ranking:
            found = search_words(self._store, query, depth, allowed and allowed.sql)
            ranked = [Candidate(each.document, each.score) for each in found]
            return Ranking(with_source(ranked, "lexical"), len(found) < depth)

        def hybrid(depth: int) -> Ranking:
            # a power of two of the depth, so that the next page fuses the same lists
            depth = max(FUSED_DEPTH, 1 << (depth - 1).bit_length())
            parts = {"dense": dense(depth), "lexical": lexical(depth)}
            fused = fuse({name: part.candidates for name, part in parts.items()})
            return Ranking(fused, all(part.complete for part in parts.values()))

        return {Mode.DENSE: dense, Mode.LEXICAL: lexical, Mode.HYBRID: hybrid}[options.mode]

    def _dense(
        self,
        vector: NDArray[np.float32],
        depth: int,
        view: View,
        effort: int | None,
        allowed: Allowed | None,
    ) -> Ranking:
        """Documents by their best chunk."""
        wanted = depth
        while True:
            keys = None if allowed is None else allowed.chunks
            found = view.search(vector, wanted, effort=effort, allowed=keys)
            documents = self._store.documents_of(found.keys.tolist())
            best: dict[int, Candidate] = {}
            for key, score in zip(found.keys.tolist(), found.scores.tolist(), strict=True):
                if key in documents:
                    best.setdefault(documents[key], Candidate(documents[key], score, key))
            complete = len(found.keys) < wanted
            if len(best) >= depth or complete or wanted >= MOST_CHUNKS:
                return Ranking(with_source(list(best.values())[:depth], "dense"), complete)
            wanted = min(wanted * CHUNKS_PER_HIT, MOST_CHUNKS)

    def _let_through(self, where: Filter) -> Allowed:
        """What a filter lets through; kept until something is committed."""
        sql = to_sql(where, self._store.facets())
        key = (self._version, sql)
        found = self._allowed.get(key)
        if found is None:
            found = Allowed(sql, self._store.matching(sql))
            kept = self._allowed if len(self._allowed) < FILTERS_KEPT else {}
            self._allowed = kept | {key: found}
        return found

    def _filtered(self, candidates: list[Candidate], options: Options) -> list[Candidate]:
        """Without those of too low a score and, where asked, one for each value of a field."""
        if options.min_score is not None:
            candidates = [each for each in candidates if each.score >= options.min_score]
        if options.group_by is None:
            return candidates
        keys = [each.document for each in candidates]
        groups = field_values(self._store, options.group_by, keys)

        def group(candidate: Candidate) -> Hashable | None:
            value = groups.get(candidate.document)
            return None if value is None else (type(value), value)  # 1 is not true

        return one_of_each(candidates, group)

    def _diversified(
        self, candidates: list[Candidate], query: str, count: int, diversity: float
    ) -> list[Candidate]:
        """Reordered by maximal marginal relevance; relevance is the score's share of the best."""
        places = self._best_chunks(candidates, query, {})
        keys = [places[each.document].key for each in candidates if each.document in places]
        known = [each for each in candidates if each.document in places]
        if not known:
            return []
        found = self._store.vectors_of(keys, self.card.dim)
        rows = {int(key): row for row, key in enumerate(found.keys)}
        known = [each for each, key in zip(known, keys, strict=True) if key in rows]
        order = [rows[key] for key in keys if key in rows]
        vectors = found.vectors[order].astype(np.float32)
        scores = np.array([each.score for each in known], np.float32)
        relevance = scores / max(float(np.abs(scores).max()), 1e-9)
        return [known[i] for i in diversified(relevance, vectors, count, diversity)]

    def _facets(self, candidates: list[Candidate], options: Options) -> dict[str, list[FacetValue]]:
        keys = [each.document for each in candidates]
        return {
            field_name(field): [
                FacetValue(value, count) for value, count in facet_counts(self._store, field, keys)
            ]
            for field in options.facets
        }

    def _best_chunks(
        self, candidates: Sequence[Candidate], query: str, spans: dict[int, list[Span]]
    ) -> dict[int, ChunkPlace]:
        """Where each document's best passage lies: the nearest, else that of most words.

        ``spans``: where the words are, as far as it is known.
        """
        places = self._store.chunks_of([each.document for each in candidates])
        unknown = [
            each.document
            for each in candidates
            if each.chunk is None and len(places.get(each.document, ())) > 1
        ]
        spans = spans or matching_spans(self._store, query, unknown)
        return {
            each.document: best_place(places[each.document], each.chunk, spans.get(each.document))
            for each in candidates
            if each.document in places
        }

    def _hits(self, candidates: Sequence[Candidate], query: str, options: Options) -> list[Hit]:
        keys = [each.document for each in candidates]
        spans = matching_spans(self._store, query, keys) if options.highlight else {}
        if options.mode is not Mode.DENSE:
            places = self._best_chunks(candidates, query, spans)
            candidates = [
                replace(each, chunk=places[each.document].key)
                for each in candidates
                if each.document in places
            ]
        rows = self._store.chunks([each.chunk for each in candidates if each.chunk is not None])
        return [
            as_hit(row, each, spans.get(each.document, []) if options.highlight else [])
            for each in candidates
            if each.chunk is not None and (row := rows.get(each.chunk)) is not None
        ]

    def _current_view(self) -> View:
        version = self._store.version()
        if version != self._version:
            with self._refreshing:
                if version != self._version:
                    self._view = refreshed(self._view, self._store, self.folder, self.card.dim)
                    kind = self._view.kind
                    self._effort = tuned_effort(self._store, kind, self.encoder.card)
                    self._version = version
        return self._view


def encode_queries(encoder: QueryEncoder, queries: Sequence[str]) -> list[EncodedQuery]:
    started = time.perf_counter()
    vectors, tokens, truncated = encoder.encode_each(queries)
    share = (time.perf_counter() - started) * 1e3 / max(1, len(queries))
    each = zip(vectors, tokens, truncated, strict=True)
    return [EncodedQuery(*query, share, encoder.card.space) for query in each]


def with_source(candidates: Sequence[Candidate], name: str) -> list[Candidate]:
    """Each with its rank in the list of that name."""
    return [
        replace(each, sources={name: Source(rank, each.score)})
        for rank, each in enumerate(candidates, 1)
    ]


def best_place(
    places: Sequence[ChunkPlace], chunk: int | None, spans: Sequence[Span] | None
) -> ChunkPlace:
    """The chunk that is known to be best, else the one with most of the spans, else the first."""
    for place in places:
        if place.key == chunk:
            return place
    inside = [
        sum(place.start <= span.start and span.end <= place.end for span in spans or ())
        for place in places
    ]
    return places[int(np.argmax(inside))]


def as_hit(row: StoredChunk, candidate: Candidate, spans: Sequence[Span]) -> Hit:
    return Hit(
        id=row.id,
        score=candidate.score,
        title=row.title,
        passage=Passage(row.passage, row.start, row.end),
        metadata=json.loads(row.metadata),
        sources=candidate.sources,
        highlights=tuple(
            Highlight(span.start - row.start, span.end - row.start)
            for span in spans
            if row.start <= span.start and span.end <= row.end
        ),
    )
