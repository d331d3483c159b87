"""Rank documents for a query: by meaning, by words or by both, within a filter."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.facets import field_values
from trimseek.indexer.filters import kind_name
from trimseek.indexer.store import Store
from trimseek.search.candidates import Candidate, diversified, one_of_each
from trimseek.search.fusion import HybridSearch, Ranking, tells
from trimseek.search.hits import Source
from trimseek.search.native.retrieval import best_documents
from trimseek.search.options import Fusion, Mode, Options
from trimseek.search.passages import best_chunks
from trimseek.search.query_words import QueryWords
from trimseek.search.view import Counted, View
from trimseek.search.words import Words, WordScores

# A document may have several chunks: where too few documents are among the nearest chunks, so many
# times as many chunks are retrieved.
CHUNKS_GROWTH = 2
MOST_CHUNKS = 32_000  # SQLite takes as many parameters
DIVERSE_BLOCK = 100  # documents that are put in another order among themselves


class Allowed(NamedTuple):
    """What a filter lets through: chunks of the view, and documents of each block of words."""

    chunks: Counted
    documents: Sequence[NDArray[np.bool_] | None] | None


@dataclass(frozen=True)
class Retrieval:
    """The index as a query sees it.

    ``words``: None in an index without words. ``effort``: of an approximate snapshot, None for its
    default. ``allowed``: None where there is no filter.
    """

    store: Store
    view: View
    words: Words | None
    effort: int | None
    allowed: Allowed | None

    def batches(
        self, query: QueryWords, vector: NDArray[np.float32] | None, options: Options, first: int
    ) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time; ``first``: how many are wanted at least.

        ``vector (dim,)`` is needed in every mode but the lexical one.
        """
        if options.mode is Mode.LEXICAL:
            scores = self.word_scores(query, options.title_weight)
            return deeper(lambda depth: self.lexical(scores, depth), first)
        assert vector is not None  # noqa: S101 - the caller encodes unless the mode is lexical
        by_vector = options.mode is Mode.DENSE
        by_words = None
        if not by_vector and self.words is not None:
            by_words = self.word_scores(query, options.title_weight)
        if self.counted.compiled is not None and (by_vector or options.fusion is Fusion.SCORES):
            weight = None if by_vector else options.weight
            return self._compiled(vector, by_words, weight, first)
        if by_vector:
            return deeper(lambda depth: self.dense(vector, depth), first)
        return HybridSearch(self, vector, by_words, options.weight, options.fusion).batches()

    @property
    def counted(self) -> Counted:
        """The chunks that count."""
        return self.view.live if self.allowed is None else self.allowed.chunks

    def _compiled(
        self,
        vector: NDArray[np.float32],
        scores: WordScores | None,
        weight: float | None,
        first: int,
    ) -> Iterator[list[Candidate]]:
        """As ``batches``, by compiled code. ``weight``: None for a search by the vector alone."""
        assert self.counted.compiled is not None  # noqa: S101 - the caller has looked
        words = scores.compiled if scores is not None and tells(scores) else None
        wanted, given = first, 0
        while True:
            found = best_documents(
                *(self.counted.compiled, vector, wanted, self.view.depth(self.effort)),
                *(words, weight),
            )
            yield [as_candidate(row) for row in found[given:].tolist()]
            if len(found) < wanted or wanted >= MOST_CHUNKS:
                return
            given, wanted = len(found), min(wanted * 2, MOST_CHUNKS)

    def dense(self, vector: NDArray[np.float32], depth: int) -> Ranking:
        """Documents by the score of their best chunk."""
        wanted = depth
        while True:
            counted = self.counted
            nearest = self.view.search(vector, wanted, effort=self.effort, counted=counted)
            documents = self.view.documents_of(nearest.keys)
            best: dict[int, Candidate] = {}
            for document, key, score in zip(
                documents, nearest.keys.tolist(), nearest.scores.tolist(), strict=True
            ):
                best.setdefault(document, Candidate(document, score, key))
            complete = wanted >= counted.count
            if len(best) >= depth or complete or wanted >= MOST_CHUNKS:
                return Ranking(with_source(list(best.values())[:depth], "dense"), complete)
            wanted = min(wanted * CHUNKS_GROWTH, MOST_CHUNKS)

    def word_scores(self, query: QueryWords, title_weight: float) -> WordScores:
        """The BM25 score of every document; IndexFolderError if the index has no words yet."""
        if self.words is None:
            raise IndexFolderError(
                f"{self.store.path}: made by an earlier trimseek, without words; "
                f"'trimseek compact {self.store.path.parent}' adds them"
            )
        counted = None if self.allowed is None else self.allowed.documents
        return self.words.scores(query.term_ids, title_weight, counted)

    def lexical(self, scores: WordScores, depth: int) -> Ranking:
        """Documents by BM25."""
        ranked = scores.best(depth)
        chunks = ranked.chunks.tolist()
        documents = self.store.documents_of(chunks)
        candidates = [
            Candidate(documents[chunk], score)
            for chunk, score in zip(chunks, ranked.scores.tolist(), strict=True)
            if chunk in documents
        ]
        return Ranking(with_source(candidates, "lexical"), len(chunks) < depth)


def deeper(rank: Callable[[int], Ranking], first: int) -> Iterator[list[Candidate]]:
    """A list from its beginning: ``first`` documents, then as many again, and so on."""
    depth, given = first, 0
    while True:
        ranking = rank(depth)
        yield ranking.candidates[given:]
        if ranking.complete or depth >= MOST_CHUNKS:
            return
        given, depth = len(ranking.candidates), min(depth * 2, MOST_CHUNKS)


def as_candidate(row: tuple[Any, ...]) -> Candidate:
    """A row of ``FOUND``."""
    document, chunk, score, cosine, bm25, dense_rank, lexical_rank = row
    sources = {"dense": Source(dense_rank or None, cosine)}
    if bm25 > 0:
        sources["lexical"] = Source(lexical_rank or None, bm25)
    return Candidate(document, score, chunk, sources)


def with_source(candidates: Sequence[Candidate], name: str) -> list[Candidate]:
    """Note each one's rank in the list of that name."""
    return [
        replace(candidate, sources={name: Source(rank, candidate.score)})
        for rank, candidate in enumerate(candidates, 1)
    ]


def selected(store: Store, candidates: list[Candidate], options: Options) -> list[Candidate]:
    """Those of at least ``min_score`` and, with ``group_by``, the best of each of its values."""
    if options.min_score is not None:
        candidates = [candidate for candidate in candidates if candidate.score >= options.min_score]
    if options.group_by is None:
        return candidates
    documents = [candidate.document for candidate in candidates]
    values = field_values(store, options.group_by, documents)

    def group(candidate: Candidate) -> Hashable | None:
        value = values.get(candidate.document)
        return None if value is None else (kind_name(value), value)  # 1 is not true

    return one_of_each(candidates, group)


def diversify(
    store: Store, dim: int, candidates: list[Candidate], query: QueryWords, diversity: float
) -> list[Candidate]:
    """Documents in the order of maximal marginal relevance, ``DIVERSE_BLOCK`` by so many.

    A document's relevance is its score as a share of the best one's, its vector that of its best
    chunk. Blocks are the same whatever page is wanted, and so is the order.
    """
    ordered: list[Candidate] = []
    best = max((abs(candidate.score) for candidate in candidates[:1]), default=0.0)
    for start in range(0, len(candidates), DIVERSE_BLOCK):
        block = candidates[start : start + DIVERSE_BLOCK]
        chunks = best_chunks(store, block, query, {})
        stored = store.vectors_of([chunk.key for chunk in chunks.values()], dim)
        rows = {int(key): row for row, key in enumerate(stored.keys)}
        known = [
            candidate
            for candidate in block
            if candidate.document in chunks and chunks[candidate.document].key in rows
        ]
        order = [rows[chunks[candidate.document].key] for candidate in known]
        vectors = stored.vectors[order].astype(np.float32)
        scores = np.array([candidate.score for candidate in known], np.float32)
        relevance = scores / max(best, 1e-9)
        ordered += [known[i] for i in diversified(relevance, vectors, len(known), diversity)]
    return ordered
