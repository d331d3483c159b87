"""One shard: answers what the front of a cluster asks of it, from an ordinary index folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import QueryError
from trimseek.indexer.documents import Document
from trimseek.indexer.facets import MOST_VALUES
from trimseek.indexer.filters import Condition, Field, Filter, Scalar
from trimseek.indexer.rows import StoredChunk
from trimseek.search.candidates import Candidate
from trimseek.search.fusion import Ranking
from trimseek.search.hits import Hit
from trimseek.search.index_reader import KeptFilters, SingleIndexReader
from trimseek.search.opened import Moment, OpenedIndex
from trimseek.search.options import Options
from trimseek.search.passages import document_hits
from trimseek.search.query_words import TellingWords
from trimseek.search.reader import ValueCounts
from trimseek.search.retrieval import Retrieval
from trimseek.search.suggestions import Writing, written_words
from trimseek.search.vocabulary import WeighedTerms
from trimseek.search.words import WordScores

T = TypeVar("T")


@dataclass(frozen=True)
class ShardQuery:
    """A query as all shards get it.

    ``vector (dim,) float32``: None in lexical mode. ``terms`` and ``weights``: the query's words,
    the heaviest first, weighed by all documents of the cluster, of which ``rarest`` of
    ``documents`` have the rarest; ``terms`` is None where words do not count. ``mean_length``: of
    all documents.
    """

    vector: NDArray[np.float32] | None
    terms: tuple[str, ...] | None
    weights: tuple[float, ...]
    rarest: int
    documents: int
    mean_length: float
    title_weight: float
    where: Filter | None
    effort: int | None


class Span(NamedTuple):
    """Which places of a list are wanted: from ``start`` on, and no more than ``depth`` in all."""

    start: int
    depth: int


class ShardList(NamedTuple):
    """A part of a shard's list, best first; ``complete``: the list has no more.

    ``documents``, ``chunks`` (0 where it is not known) ``(n,) int64``; ``scores (n,) float64``: in
    the list's own measure; ``others``: in that of the other list, NaN where nobody needs it.
    """

    documents: NDArray[np.int64]
    chunks: NDArray[np.int64]
    scores: NDArray[np.float64]
    others: NDArray[np.float64]
    complete: bool


class ShardLists(NamedTuple):
    """What a shard has for a query by meaning and by words; None for what was not asked for.

    ``hits``: of its documents that are likely to be among the best of all, so that they need not
    be asked for once more.
    """

    dense: ShardList | None
    lexical: ShardList | None
    hits: dict[int, Hit]


class LikelyHits(NamedTuple):
    """How many hits of the beginnings of a shard's lists are given with them, and how."""

    most: int
    words: TellingWords
    options: Options


class Shard:
    """An index folder opened as a shard; safe to call from several threads.

    What it is asked for by its public methods: see ``search.reader.IndexReader``, whose work a
    cluster's front divides among shards.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = OpenedIndex(folder, None, shared=True, encodes=False)
        self._filters = KeptFilters()

    def close(self) -> None:
        """Close the index."""
        self._opened.close()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call one of the methods below by its name; QueryError where there is none."""
        if method not in METHODS:
            raise QueryError(f"a shard is not asked for {method!a:.40}")
        return getattr(self, method)(*arguments)

    def _read(self, work: Callable[[SingleIndexReader], T]) -> T:
        with self._opened.moment() as now:
            return work(SingleIndexReader(now, self._filters))

    def ping(self) -> int:
        """How many documents it has."""
        return self._read(lambda reader: reader.count(None))

    def lists(
        self,
        query: ShardQuery,
        dense: Span | None,
        lexical: Span | None,
        likely: LikelyHits | None = None,
    ) -> ShardLists:
        """The best documents by meaning and by words, as far as they are wanted."""

        def work(reader: SingleIndexReader) -> ShardLists:
            allowed = reader.allowed(query.where)
            if allowed is not None and not allowed.chunks.count:
                empty = ShardList(*no_rows(), complete=True)
                return ShardLists(dense and empty, lexical and empty, {})
            documents = None if allowed is None else allowed.documents
            scores = word_scores(reader.now, query, documents)
            retrieval = reader.retrieval(query.vector, scores, query.effort, allowed)
            by_meaning = None if dense is None else dense_list(retrieval, dense)
            by_words = None if lexical is None else lexical_list(retrieval, lexical)
            hits = {} if likely is None else likely_hits(reader, by_meaning, by_words, likely)
            return ShardLists(by_meaning, by_words, hits)

        return self._read(work)

    def field_values(self, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
        """The first value of a metadata field of each document that has one."""
        return self._read(lambda reader: reader.field_values(field, documents))

    def facet_counts(self, field: Field, documents: Sequence[int]) -> ValueCounts:
        """The values of a field among some documents."""
        return self._read(lambda reader: reader.facet_counts(field, documents, None))

    def facet_totals(
        self, field: Field, where: Filter | None, most: int = MOST_VALUES
    ) -> ValueCounts:
        """The most frequent values of a field among all documents of a filter."""
        return self._read(lambda reader: reader.facet_totals(field, where, most))

    def passages(
        self, candidates: Sequence[Candidate], words: TellingWords
    ) -> dict[int, StoredChunk]:
        """Each document's best passage by document."""
        return self._read(lambda reader: reader.passages(candidates, words))

    def vectors(
        self, candidates: Sequence[Candidate], words: TellingWords
    ) -> dict[int, NDArray[np.float32]]:
        """Each document's best passage's vector."""
        return self._read(lambda reader: reader.vectors(candidates, words))

    def hits(
        self, candidates: Sequence[Candidate], words: TellingWords, options: Options
    ) -> dict[int, Hit]:
        """The hits of some candidates by document."""
        return self._read(
            lambda reader: document_hits(reader.now.store, candidates, words, options)
        )

    def written_words(self, terms: Sequence[str]) -> Writing:
        """How some documents write terms."""

        def work(reader: SingleIndexReader) -> Writing:
            assert reader.now.words is not None  # noqa: S101 - every shard has words
            return written_words(terms, reader.now.store, reader.now.words)

        return self._read(work)

    def missing(self, conditions: Sequence[Condition]) -> list[list[str]]:
        """Of each condition, as ``FilterNotes.sentences``."""
        return self._read(lambda reader: [reader.missing(part) for part in conditions])

    def passage_sums(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The sum of the vectors of the passages of those documents that are there."""
        return self._read(lambda reader: reader.passage_sums(ids))

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of those documents that are there, by id."""
        return self._read(lambda reader: reader.keys_of(ids))

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those documents that are there, by id."""
        return self._read(lambda reader: reader.documents(ids))

    def documents_after(
        self, key: int, count: int, where: Filter | None
    ) -> list[tuple[int, Document]]:
        """At most so many documents behind a key, ascending, that a filter lets through."""
        return self._read(lambda reader: reader.documents_after(key, count, where))

    def count(self, where: Filter | None) -> int:
        """How many documents a filter lets through."""
        return self._read(lambda reader: reader.count(where))

    def sample(self, count: int) -> list[Document]:
        """At most so many documents, evenly from all."""
        return self._read(lambda reader: reader.sample(count))


METHODS = frozenset(
    name for name in vars(Shard) if not name.startswith("_") and name not in ("ask", "close")
)


def word_scores(
    now: Moment, query: ShardQuery, counted: Sequence[NDArray[np.bool_] | None] | None
) -> WordScores | None:
    """The BM25 scores of a shard's documents, by the weights of the whole cluster."""
    if query.terms is None or now.words is None:
        return None
    ids = now.words.ids(query.terms, now.store)
    weights = [
        (ids[term], weight)
        for term, weight in zip(query.terms, query.weights, strict=True)
        if term in ids
    ]
    terms = WeighedTerms(
        [id_ for id_, _ in weights],
        [weight for _, weight in weights],
        query.rarest,
        query.documents,
    )
    return now.words.scores_of(terms, query.title_weight, counted, query.mean_length)


def dense_list(retrieval: Retrieval, span: Span) -> ShardList:
    """The nearest documents, and their scores for words where those tell documents apart."""
    ranking = retrieval.dense(span.depth)
    candidates = ranking.candidates[span.start :]
    documents = [candidate.document for candidate in candidates]
    others = retrieval.bm25(documents) if retrieval.tells else {}
    return ShardList(*rows_of(candidates), values(documents, others), ranking.complete)


def lexical_list(retrieval: Retrieval, span: Span) -> ShardList:
    """The best documents by words, and how near they are where there is a vector."""
    ranking: Ranking = retrieval.lexical(span.depth)
    candidates = ranking.candidates[span.start :]
    documents = [candidate.document for candidate in candidates]
    near = {} if retrieval.vector is None else retrieval.cosines(documents)
    chunks = np.array([near[key].chunk or 0 if key in near else 0 for key in documents], np.int64)
    others = values(documents, {key: candidate.score for key, candidate in near.items()})
    keys, _, scores = rows_of(candidates)
    return ShardList(keys, chunks, scores, others, ranking.complete)


def likely_hits(
    reader: SingleIndexReader,
    dense: ShardList | None,
    lexical: ShardList | None,
    likely: LikelyHits,
) -> dict[int, Hit]:
    """Hits of the documents that begin the lists; their scores are the front's to tell."""
    documents: dict[int, int | None] = {}
    for some in (dense, lexical):
        if some is not None:
            first = slice(likely.most)
            for document, chunk in zip(
                some.documents[first].tolist(), some.chunks[first].tolist(), strict=True
            ):
                documents[document] = documents.get(document) or chunk or None
    candidates = [Candidate(document, 0.0, chunk) for document, chunk in documents.items()]
    return document_hits(reader.now.store, candidates, likely.words, likely.options)


def rows_of(
    candidates: Sequence[Candidate],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Documents, chunks and scores."""
    return (
        np.array([candidate.document for candidate in candidates], np.int64),
        np.array([candidate.chunk or 0 for candidate in candidates], np.int64),
        np.array([candidate.score for candidate in candidates], np.float64),
    )


def values(documents: Sequence[int], known: dict[int, float]) -> NDArray[np.float64]:
    """The numbers of documents, NaN where none is known."""
    return np.array([known.get(document, np.nan) for document in documents], np.float64)


def no_rows() -> tuple[
    NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]
]:
    """Of an empty list."""
    keys, scores = np.empty(0, np.int64), np.empty(0, np.float64)
    return keys, keys, scores, scores
