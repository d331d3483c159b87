"""Answers to whatever is asked of an index, however it is stored."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders import Encoder, QueryEncoder
from trimseek.errors import CorpusError, EncoderError, QueryError, UnknownDocumentError
from trimseek.indexer.card import IndexCard
from trimseek.indexer.documents import Document
from trimseek.indexer.filter_notes import conditions_asked
from trimseek.indexer.filters import Field, Filter, check_filter, check_path, kind_name
from trimseek.indexer.folder import check_space
from trimseek.indexer.own_vectors import checked_vector
from trimseek.indexer.summary import IndexSummary
from trimseek.search.hits import FacetValue, Results, Timing
from trimseek.search.listing import DocumentPage, check_listing, page_of
from trimseek.search.options import DEFAULT, Mode, Options, check_options, check_query
from trimseek.search.ranking import find, named_fields
from trimseek.search.reader import IndexReader

T = TypeVar("T")

SAMPLED = 200  # documents whose metadata fields are told
PROBE = "is anybody there?"
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


class ReaderSearcher(ABC):
    """Searches what ``reading`` lets it read, safe to call from several threads.

    ``folder``: has the index's card. ``refusal``: why it is not written to; None where it is.
    """

    name: str
    folder: Path
    refusal: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Close the index."""

    @property
    @abstractmethod
    def card(self) -> IndexCard:
        """index.json of the index that is there now."""

    @property
    @abstractmethod
    def encoder(self) -> QueryEncoder:
        """The query encoder."""

    @property
    @abstractmethod
    def encoder_name(self) -> str:
        """The name that the query encoder was given by."""

    @abstractmethod
    def reading(self, work: Callable[[IndexReader], T]) -> T:
        """What ``work`` reads, all of it at one moment; ``work`` may be called again."""

    @abstractmethod
    def summary(self) -> IndexSummary:
        """What the index holds now."""

    def probe(self) -> None:
        """Raise what keeps the index from being searched."""
        encoder = self.encoder
        probe = encoder.items.by_popularity[0] if encoder.card.histories else PROBE
        if not np.isfinite(encoder.encode([probe]).vectors).all():
            raise EncoderError(f"the encoder of {self.name} gives no finite vector")

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

        def work(reader: IndexReader) -> Results:
            vector = encoded
            if vector is not None and vector.space != reader.card.space:
                vector = self.encode([query])[0]
            return self._answer(reader, query, vector, k, options)

        return self.reading(work)

    def _answer(
        self,
        reader: IndexReader,
        query: str,
        encoded: EncodedQuery | None,
        k: int,
        options: Options,
    ) -> Results:
        started = time.perf_counter()
        vector, scaled = encoded and encoded.vector, False
        if options.vector is not None:
            vector, scaled = self._given_vector(options.vector)
        words = reader.words(query, prefix=options.prefix)
        hits, facets, rerank = find(reader, words, vector, k, options)
        search = (time.perf_counter() - started) * 1e3 - rerank
        suggested = reader.suggestion(words) if options.suggest else None
        warnings = reader.warnings(conditions_asked(options.where, named_fields(options)))
        if options.mode is Mode.HYBRID and not reader.has_words:
            warnings = (*warnings, NO_WORDS)
        if scaled:
            warnings = (*warnings, "the vector was not of unit length, and was scaled to it")
        if options.scorer is not None and options.offset + k > options.rerank_depth:
            warnings = (*warnings, f"only the {options.rerank_depth} best documents were reranked")
        encode = 0.0 if encoded is None else encoded.milliseconds
        timing = Timing(encode, search, encode + search + rerank, rerank)
        tokens, truncated = (0, False) if encoded is None else (encoded.tokens, encoded.truncated)
        warnings = (*warnings, *shard_warnings(reader))
        return Results(hits, tokens, truncated, timing, facets, warnings, suggested, reader.shards)

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

        def work(reader: IndexReader) -> Results:
            check_space(reader.card, encoder.card.space, self.folder, encoder.card.name)
            return self._answer(reader, query, encoded, k, Options(mode=Mode.DENSE))

        return self.reading(work)

    def facets(self, field: Field, where: Filter | None = None) -> list[FacetValue]:
        """The values of a field among all documents, or those of a filter, as ``facet_totals``.

        QueryError for a field that no document can have, or such a filter.
        """
        check_path(field)
        if where is not None:
            check_filter(where)
        totals = self.reading(lambda reader: reader.facet_totals(field, where))
        return [FacetValue(*total) for total in totals]

    def warnings(self, where: Filter | None, fields: Sequence[Field] = ()) -> tuple[str, ...]:
        """What a filter asks for, or which of the fields, no document has: a sentence each."""
        conditions = conditions_asked(where, fields)
        return self.reading(lambda reader: reader.warnings(conditions)) if conditions else ()

    def document(self, id_: str) -> Document:
        """A document as it was indexed; UnknownDocumentError."""
        stored = self.reading(lambda reader: reader.documents([id_]))
        if id_ not in stored:
            raise UnknownDocumentError(f"index {self.name!r} has no document {id_!r}")
        return stored[id_]

    def documents(self, ids: Sequence[str]) -> list[Document | None]:
        """The documents of some ids, in their order; None for each that is not there."""
        found = self.reading(lambda reader: reader.documents(list(dict.fromkeys(ids))))
        return [found.get(id_) for id_ in ids]

    def page(
        self, where: Filter | None = None, limit: int = 100, cursor: str | None = None
    ) -> DocumentPage:
        """Documents in the order in which they came; ``cursor``: of the page before.

        QueryError for a limit beyond 1 to 1000, a wrong filter, or a cursor of something else.
        """
        check_listing(limit, where)
        return self.reading(lambda reader: page_of(reader, where, limit, cursor))

    def count(self, where: Filter | None = None) -> int:
        """How many documents there are, or how many a filter lets through; QueryError."""
        if where is not None:
            check_filter(where)
        return self.reading(lambda reader: reader.count(where))

    def fields(self) -> dict[str, str]:
        """The metadata fields of some documents, and of what kind the first value of each is."""
        kinds: dict[str, str] = {}
        for document in self.reading(lambda reader: reader.sample(SAMPLED)):
            for name, value in document.metadata.items():
                kinds.setdefault(name, kind_name(value))
        return kinds


def shard_warnings(reader: IndexReader) -> list[str]:
    """What to say of shards that have not answered."""
    warning = None if reader.shards is None else reader.shards.warning
    return [] if warning is None else [warning]


def encode_queries(encoder: Encoder, queries: Sequence[str]) -> list[EncodedQuery]:
    """Encode queries together; each is charged its share of the time.

    QueryError for an encoder that does not read texts.
    """
    if encoder.card.histories and encoder.by_text is not None:
        encoder = encoder.by_text
    if encoder.card.histories:
        raise QueryError(
            "the index's encoder reads histories of items, not texts: search by words (mode "
            "lexical), or ask for recommendations"
        )
    started = time.perf_counter()
    encoded = zip(*encoder.encode_each(queries), strict=True)
    share = (time.perf_counter() - started) * 1e3 / max(1, len(queries))
    return [EncodedQuery(*query, share, encoder.card.space) for query in encoded]
