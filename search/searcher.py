"""Query to hits: encode, retrieve by meaning or by words, filter, fuse, give the documents."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders import QueryEncoder
from trimseek.errors import (
    CorpusError,
    IndexFolderError,
    OutOfTimeError,
    QueryError,
    ReplacedError,
    UnknownDocumentError,
)
from trimseek.indexer.card import Identity, IndexCard
from trimseek.indexer.documents import Document
from trimseek.indexer.facets import facet_counts, facet_totals
from trimseek.indexer.filter_notes import FilterNotes, conditions_asked
from trimseek.indexer.filters import (
    Field,
    Filter,
    Sql,
    check_filter,
    check_path,
    field_name,
    kind_name,
    to_sql,
)
from trimseek.indexer.folder import check_space
from trimseek.indexer.own_vectors import checked_vector
from trimseek.indexer.store import Store
from trimseek.indexer.summary import IndexSummary, summarize
from trimseek.search.candidates import Candidate
from trimseek.search.hits import FacetValue, Hit, Results, Timing
from trimseek.search.listing import DocumentPage, check_listing, page_of
from trimseek.search.opened import Moment, OpenedIndex
from trimseek.search.options import DEFAULT, Mode, Options, check_options, check_query
from trimseek.search.passages import hits_of
from trimseek.search.query_words import QueryWords
from trimseek.search.ranking import DIVERSE_BLOCK, Allowed, Retrieval, diversify, selected
from trimseek.search.rerank import reranked
from trimseek.search.suggestions import suggestion

T = TypeVar("T")

COUNTED_DEPTH = 100  # documents whose facets are counted
FILTERS_KEPT = 32
SAMPLED = 200  # documents whose metadata fields are told
NO_WORDS = (
    "the index is of an earlier trimseek and has no words yet: it was searched by meaning alone; "
    "'trimseek compact' adds them"
)


class EncodedQuery(NamedTuple):
    """A query's vector ``(dim,) float32``, how many tokens it has, and how long it took (ms).

    ``space``: the vector's.
    """

    vector: NDArray[np.float32]
    tokens: int
    truncated: bool
    milliseconds: float
    space: str


class Found(NamedTuple):
    """What ``Searcher.find`` gives; ``rerank``: milliseconds that reranking took."""

    hits: list[Hit]
    facets: dict[str, list[FacetValue]]
    rerank: float


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
        self._identity = Identity(folder)
        self._opening = Lock()
        self._opened = self._open()
        self._allowed: dict[tuple[str, int, Sql], Allowed] = {}
        self._notes = FilterNotes()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

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

    def search(self, query: str, k: int = 10, options: Options = DEFAULT) -> Results:
        """The k documents that answer the query best; fewer if there are fewer.

        QueryError for a blank query, a k beyond 1 to 1000, or options that make no sense.
        """
        return self.search_batch([query], k, options)[0]

    def search_batch(
        self, queries: Sequence[str], k: int = 10, options: Options = DEFAULT
    ) -> list[Results]:
        """As ``search``, for several queries, which are encoded together."""
        for query in queries:
            check_query(query, k, options)
        check_options(options)
        encoded = self.encode(queries) if options.needs_encoding else [None] * len(queries)
        return [
            self.answer(query, vector, k, options)
            for query, vector in zip(queries, encoded, strict=True)
        ]

    def encode(self, queries: Sequence[str]) -> list[EncodedQuery]:
        """Encode queries together; each is charged its share of the time."""
        return encode_queries(self.encoder, queries)

    def answer(
        self, query: str, encoded: EncodedQuery | None, k: int, options: Options = DEFAULT
    ) -> Results:
        """As ``search``, of a query that ``encode`` has encoded; None where none need be.

        Where an index of another space has come in between, it is encoded anew.
        """

        def work(now: Moment) -> Results:
            vector = encoded
            if vector is not None and vector.space != now.card.space:
                vector = self.encode([query])[0]
            return self._answer(now, query, vector, k, options)

        return self.read(work)

    def _answer(
        self, now: Moment, query: str, encoded: EncodedQuery | None, k: int, options: Options
    ) -> Results:
        started = time.perf_counter()
        vector, scaled = encoded and encoded.vector, False
        if options.vector is not None:
            vector, scaled = self._given_vector(options.vector)
        words = QueryWords(query, now.store, now.words, prefix=options.prefix)
        hits, facets, rerank = self.find(now, words, vector, k, options)
        search = (time.perf_counter() - started) * 1e3 - rerank
        suggested = suggestion(words, now.store, now.words) if options.suggest else None
        warnings = self._warnings(now, options.where, named_fields(options))
        if options.mode is Mode.HYBRID and now.words is None:
            warnings = (*warnings, NO_WORDS)
        if scaled:
            warnings = (*warnings, "the vector was not of unit length, and was scaled to it")
        if options.scorer is not None and options.offset + k > options.rerank_depth:
            warnings = (*warnings, f"only the {options.rerank_depth} best documents were reranked")
        if encoded is None:
            timing = Timing(0.0, search, search + rerank, rerank)
            return Results(hits, 0, False, timing, facets, warnings, suggested)
        encode = encoded.milliseconds
        timing = Timing(encode, search, encode + search + rerank, rerank)
        tokens, truncated = encoded.tokens, encoded.truncated
        return Results(hits, tokens, truncated, timing, facets, warnings, suggested)

    def _given_vector(self, given: tuple[float, ...]) -> tuple[NDArray[np.float32], bool]:
        """A query's own vector, and whether it was scaled; QueryError."""
        try:
            return checked_vector(given, self.encoder.card, "the query")
        except CorpusError as error:
            raise QueryError(str(error)) from None

    def search_with(self, encoder: QueryEncoder, query: str, k: int) -> Results:
        """As ``search`` by meaning alone, by another encoder of the index's space."""
        check_query(query, k)
        encoded = encode_queries(encoder, [query])[0]

        def work(now: Moment) -> Results:
            check_space(now.card, encoder.card.space, self.folder, encoder.card.name)
            return self._answer(now, query, encoded, k, Options(mode=Mode.DENSE))

        return self.read(work)

    def facets(self, field: Field, where: Filter | None = None) -> list[FacetValue]:
        """The values of a field among all documents, or those of a filter, as ``facet_totals``.

        QueryError for a field that no document can have, or such a filter.
        """
        check_path(field)
        if where is not None:
            check_filter(where)

        def work(now: Moment) -> list[FacetValue]:
            sql = None if where is None else to_sql(where, now.store.facets())
            return [FacetValue(*total) for total in facet_totals(now.store, field, sql)]

        return self.read(work)

    def warnings(self, where: Filter | None, fields: Sequence[Field] = ()) -> tuple[str, ...]:
        """What a filter asks for, or which of the fields, no document has: a sentence each."""
        if where is None and not fields:
            return ()
        return self.read(lambda now: self._warnings(now, where, fields))

    def _warnings(
        self, now: Moment, where: Filter | None, fields: Sequence[Field]
    ) -> tuple[str, ...]:
        conditions = conditions_asked(where, fields)
        if not conditions:
            return ()
        try:
            return self._notes.of(now.store, now.card.id, now.version, conditions)
        except OutOfTimeError:  # what was found is worth more than a note
            return ()

    def document(self, id_: str) -> Document:
        """A document as it was indexed; UnknownDocumentError."""
        stored = self.read(lambda now: now.store.document(id_))
        if stored is None:
            raise UnknownDocumentError(f"index {self.name!r} has no document {id_!r}")
        return stored

    def documents(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents of some ids, in their order; None for each that is not there."""
        found = self.read(lambda now: now.store.documents_by_id(list(dict.fromkeys(ids))))
        return [found.get(id_) for id_ in ids]

    def page(
        self, where: Filter | None = None, limit: int = 100, cursor: str | None = None
    ) -> DocumentPage:
        """Documents in the order in which they came; ``cursor``: of the page before.

        QueryError for a limit beyond 1 to 1000, a wrong filter, or a cursor of something else.
        """
        check_listing(limit, where)
        return self.read(lambda now: page_of(now, where, limit, cursor))

    def count(self, where: Filter | None = None) -> int:
        """How many documents there are, or how many a filter lets through; QueryError."""
        if where is None:
            return self.read(lambda now: now.store.counts().documents)
        check_filter(where)
        return self.read(lambda now: now.store.count_where(to_sql(where, now.store.facets())))

    def fields(self) -> dict[str, str]:
        """The metadata fields of some documents, and of what kind the first value of each is."""
        sampled = self.read(lambda now: now.store.some_documents(SAMPLED))
        kinds: dict[str, str] = {}
        for _, document in sampled:
            for name, value in document.metadata.items():
                kinds.setdefault(name, kind_name(value))
        return kinds

    def summary(self) -> IndexSummary:
        """What the index holds now."""
        return summarize(self.folder)

    def find(
        self,
        now: Moment,
        words: QueryWords,
        vector: NDArray[np.float32] | None,
        k: int,
        options: Options,
    ) -> Found:
        """Hits at a moment, and the facets that are asked for.

        ``vector (dim,)``: the query's, not needed in lexical mode. Options that were checked.
        """
        allowed = None if options.where is None else self._let_through(now, options.where)
        if allowed is not None and not allowed.chunks.count:
            return Found([], {field_name(field): [] for field in options.facets}, 0.0)
        effort = options.effort or now.effort
        retrieval = Retrieval(now.store, now.view, now.words, effort, allowed)
        wanted = options.offset + k
        pool = -(-wanted // DIVERSE_BLOCK) * DIVERSE_BLOCK if options.diversity else wanted
        counted = COUNTED_DEPTH if options.facets else 0
        depth = options.rerank_depth if options.scorer else 0
        candidates: list[Candidate] = []
        chosen: list[Candidate] = []
        for batch in retrieval.batches(words, vector, options, max(depth or pool, counted)):
            candidates += batch
            if depth:
                enough = len(candidates) >= depth
            else:
                chosen = selected(now.store, candidates, options)
                enough = len(chosen) >= pool
            if enough and len(candidates) >= counted:
                break
        rerank = 0.0
        if options.scorer is not None:
            began = time.perf_counter()
            ordered = reranked(now.store, candidates[:depth], words, options.scorer)
            chosen = selected(now.store, ordered, options)
            rerank = (time.perf_counter() - began) * 1e3
        facets = facets_of(now.store, candidates[:counted], options)
        if options.diversity:
            pooled = chosen[:pool]
            chosen = diversify(now.store, now.card.dim, pooled, words, options.diversity)
        hits = hits_of(now.store, chosen[options.offset : wanted], words, options)
        return Found(hits, facets, rerank)

    def _let_through(self, now: Moment, where: Filter) -> Allowed:
        """What a filter lets through; kept until something is committed."""
        sql = to_sql(where, now.store.facets())
        key = (now.card.id, now.version, sql)
        allowed = self._allowed.get(key)
        if allowed is None:
            keys = now.store.matching(sql)
            documents = None if now.words is None else now.words.counted(keys)
            allowed = Allowed(now.view.counted(keys), documents)
            kept = self._allowed if len(self._allowed) < FILTERS_KEPT else {}
            self._allowed = kept | {key: allowed}
        return allowed


def named_fields(options: Options) -> list[Field]:
    """The fields whose values are counted or grouped by."""
    grouped = [] if options.group_by is None else [options.group_by]
    return [*options.facets, *grouped]


def facets_of(
    store: Store, candidates: list[Candidate], options: Options
) -> dict[str, list[FacetValue]]:
    """The values of the fields that are to be counted, among the candidates."""
    documents = [candidate.document for candidate in candidates]
    return {
        field_name(field): [
            FacetValue(*counted) for counted in facet_counts(store, field, documents)
        ]
        for field in options.facets
    }


def encode_queries(encoder: QueryEncoder, queries: Sequence[str]) -> list[EncodedQuery]:
    """Encode queries together; each is charged its share of the time."""
    started = time.perf_counter()
    encoded = zip(*encoder.encode_each(queries), strict=True)
    share = (time.perf_counter() - started) * 1e3 / max(1, len(queries))
    return [EncodedQuery(*query, share, encoder.card.space) for query in encoded]
