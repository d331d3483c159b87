"""What a search reads of one index at one moment."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import OutOfTimeError
from trimseek.indexer.card import IndexCard
from trimseek.indexer.documents import Document
from trimseek.indexer.facets import MOST_VALUES, facet_counts, facet_totals, field_values
from trimseek.indexer.filter_notes import FilterNotes
from trimseek.indexer.filters import Condition, Field, Filter, Scalar, Sql, to_sql
from trimseek.indexer.rows import StoredChunk
from trimseek.search.candidates import Candidate
from trimseek.search.hits import Hit
from trimseek.search.opened import Moment
from trimseek.search.options import Mode, Options
from trimseek.search.passages import best_chunks, document_hits
from trimseek.search.query_words import QueryWords, SpanFinder
from trimseek.search.reader import ValueCounts
from trimseek.search.retrieval import Allowed, Retrieval
from trimseek.search.suggestions import suggestion, written_words
from trimseek.search.words import WordScores

FILTERS_KEPT = 32


class KeptFilters:
    """What filters let through, and what they ask for in vain, while an index does not change."""

    def __init__(self) -> None:
        self._allowed: dict[tuple[str, int, Sql], Allowed] = {}
        self.notes = FilterNotes()

    def allowed(self, now: Moment, where: Filter | None) -> Allowed | None:
        """What a filter lets through; None for everything."""
        if where is None:
            return None
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


class SingleIndexReader:
    """One index at a moment."""

    shards = None

    def __init__(self, now: Moment, filters: KeptFilters) -> None:
        self.now, self._filters = now, filters

    @property
    def card(self) -> IndexCard:
        """Of the index."""
        return self.now.card

    @property
    def has_words(self) -> bool:
        """False of what an earlier trimseek made."""
        return self.now.words is not None

    def words(self, query: str, *, prefix: bool = False) -> QueryWords:
        """A query's words."""
        return QueryWords(query, self.now.store, self.now.words, prefix=prefix)

    def batches(
        self,
        words: QueryWords,
        vector: NDArray[np.float32] | None,
        options: Options,
        first: int,
    ) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time."""
        now, scores = self.now, None
        allowed = self._filters.allowed(now, options.where)
        if allowed is not None and not allowed.chunks.count:
            return iter(())
        if options.mode is not Mode.DENSE and now.words is not None:
            documents = None if allowed is None else allowed.documents
            scores = now.words.scores(words.term_ids, options.title_weight, documents)
        return self.retrieval(vector, scores, options.effort, allowed).batches(options, first)

    def retrieval(
        self,
        vector: NDArray[np.float32] | None,
        scores: WordScores | None,
        effort: int | None,
        allowed: Allowed | None,
    ) -> Retrieval:
        """A query's documents in the index."""
        now = self.now
        return Retrieval(now.store, now.view, vector, scores, effort or now.effort, allowed)

    def allowed(self, where: Filter | None) -> Allowed | None:
        """What a filter lets through; None for everything."""
        return self._filters.allowed(self.now, where)

    def field_values(self, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
        """The first value of a metadata field of each document that has one."""
        return field_values(self.now.store, field, documents)

    def facet_counts(
        self, field: Field, documents: Sequence[int], most: int | None = MOST_VALUES
    ) -> ValueCounts:
        """The values of a field among some documents; at most so many, all for None."""
        return facet_counts(self.now.store, field, documents, most)

    def facet_totals(
        self, field: Field, where: Filter | None, most: int | None = MOST_VALUES
    ) -> ValueCounts:
        """The values of a field among all documents of a filter."""
        return facet_totals(self.now.store, field, self._sql(where), most)

    def _sql(self, where: Filter | None) -> Sql | None:
        return None if where is None else to_sql(where, self.now.store.facets())

    def passages(
        self, candidates: Sequence[Candidate], words: SpanFinder
    ) -> dict[int, StoredChunk]:
        """Each document's best passage by document."""
        chunks = best_chunks(self.now.store, candidates, words, {})
        rows = self.now.store.chunks([place.key for place in chunks.values()])
        return {
            document: rows[place.key] for document, place in chunks.items() if place.key in rows
        }

    def vectors(
        self, candidates: Sequence[Candidate], words: SpanFinder
    ) -> dict[int, NDArray[np.float32]]:
        """Each document's best passage's vector ``(dim,)``."""
        chunks = best_chunks(self.now.store, candidates, words, {})
        keys = [place.key for place in chunks.values()]
        stored = self.now.store.vectors_of(keys, self.now.card.dim)
        vectors = dict(zip(stored.keys.tolist(), stored.vectors.astype(np.float32), strict=True))
        return {
            document: vectors[place.key]
            for document, place in chunks.items()
            if place.key in vectors
        }

    def hits(
        self, candidates: Sequence[Candidate], words: SpanFinder, options: Options
    ) -> list[Hit]:
        """The documents of some candidates, in their order."""
        return list(document_hits(self.now.store, candidates, words, options).values())

    def suggestion(self, words: QueryWords) -> str | None:
        """What a query with mistyped words may have meant."""
        if self.now.words is None:
            return None
        store, stored = self.now.store, self.now.words

        def writings(terms: Sequence[str]) -> dict[str, set[str]]:
            return written_words(terms, store, stored).joined()

        return suggestion(words, store, stored, writings)

    def warnings(self, conditions: Sequence[Condition]) -> tuple[str, ...]:
        """A sentence for each condition that asks for what no document has."""
        now = self.now
        try:
            return self._filters.notes.of(now.store, now.card.id, now.version, conditions)
        except OutOfTimeError:  # what was found is worth more than a note
            return ()

    def missing(self, condition: Condition) -> list[str]:
        """As ``FilterNotes.sentences``."""
        now = self.now
        return self._filters.notes.sentences(now.store, now.card.id, now.version, condition)

    def passage_sums(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The sum of the vectors of the passages of those documents that are there."""
        store, dim = self.now.store, self.now.card.dim
        keys = store.keys_of(ids)
        places = store.chunks_of(list(keys.values()))
        return {
            id_: store.vectors_of([place.key for place in places.get(key, [])], dim)
            .vectors.astype(np.float32)
            .sum(axis=0)
            for id_, key in keys.items()
        }

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of those documents that are there, by id."""
        return self.now.store.keys_of(ids)

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those documents that are there, by id."""
        return self.now.store.documents_by_id(ids)

    def documents_after(
        self, key: int, count: int, where: Filter | None
    ) -> list[tuple[int, Document]]:
        """At most so many documents behind a key, ascending, that a filter lets through."""
        return self.now.store.documents_after(key, count, self._sql(where))

    def count(self, where: Filter | None) -> int:
        """How many documents a filter lets through."""
        sql = self._sql(where)
        return self.now.store.counts().documents if sql is None else self.now.store.count_where(sql)

    def sample(self, count: int) -> list[Document]:
        """At most so many documents, evenly from all."""
        return [document for _, document in self.now.store.some_documents(count)]
