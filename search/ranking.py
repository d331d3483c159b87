"""Rank documents for a query: by meaning, by words or by both, within a filter."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.facets import field_values
from trimseek.indexer.filters import Sql, kind_name
from trimseek.indexer.store import Store
from trimseek.search.candidates import Candidate, diversified, one_of_each
from trimseek.search.fusion import HybridSearch, Ranking
from trimseek.search.hits import Source
from trimseek.search.options import Mode, Options
from trimseek.search.passages import best_chunks
from trimseek.search.query_words import QueryWords
from trimseek.search.view import View
from trimseek.search.words import Words, WordScores

# A document may have several chunks: where too few documents are among the nearest chunks, so many
# times as many chunks are retrieved.
CHUNKS_GROWTH = 2
MOST_CHUNKS = 32_000  # SQLite takes as many parameters
DIVERSE_BLOCK = 100  # documents that are put in another order among themselves


class Allowed(NamedTuple):
    """What a filter lets through: an expression over ``documents``, and chunk keys, ascending."""

    sql: Sql
    chunks: NDArray[np.int64]


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
        if options.mode is Mode.DENSE:
            return deeper(lambda depth: self.dense(vector, depth), first)
        by_words = None if self.words is None else self.word_scores(query, options.title_weight)
        return HybridSearch(self, vector, by_words, options.weight, options.fusion).batches()

    def dense(self, vector: NDArray[np.float32], depth: int) -> Ranking:
        """Documents by the score of their best chunk."""
        wanted = depth
        while True:
            chunks = None if self.allowed is None else self.allowed.chunks
            nearest = self.view.search(vector, wanted, effort=self.effort, allowed=chunks)
            documents = self.store.documents_of(nearest.keys.tolist())
            best: dict[int, Candidate] = {}
            for key, score in zip(nearest.keys.tolist(), nearest.scores.tolist(), strict=True):
                if key in documents:
                    best.setdefault(documents[key], Candidate(documents[key], score, key))
            complete = wanted >= (self.view.count if chunks is None else len(chunks))
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
        return self.words.scores(query.term_ids, title_weight)

    def lexical(self, scores: WordScores, depth: int) -> Ranking:
        """Documents by BM25."""
        allowed = None if self.allowed is None else self.allowed.chunks
        ranked = scores.best(depth, allowed)
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
