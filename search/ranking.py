"""Rank documents for a query: by meaning, by words or by both, within a filter."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.facets import field_values
from trimseek.indexer.filters import Sql, kind_name
from trimseek.indexer.store import Store
from trimseek.search.candidates import Candidate, diversified, fuse, one_of_each
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
FUSED_DEPTH = 100  # of each list at least: what stands deeper hardly changes a fused rank


class Allowed(NamedTuple):
    """What a filter lets through: an expression over ``documents``, and chunk keys, ascending."""

    sql: Sql
    chunks: NDArray[np.int64]


class Ranking(NamedTuple):
    """Documents, best first; ``complete``: there are no more."""

    candidates: list[Candidate]
    complete: bool


Ranker = Callable[[int], Ranking]  # takes how many documents are wanted


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

    def ranker(self, mode: Mode, query: QueryWords, vector: NDArray[np.float32] | None) -> Ranker:
        """The ranker of a mode; ``vector (dim,)`` is needed in every mode but the lexical one."""
        scores = None if mode is Mode.DENSE else self.word_scores(query)

        def dense(depth: int) -> Ranking:
            assert vector is not None  # noqa: S101 - the caller encodes unless the mode is lexical
            return self.dense(vector, depth)

        def lexical(depth: int) -> Ranking:
            assert scores is not None  # noqa: S101 - in every mode but the dense one
            return self.lexical(scores, depth)

        def hybrid(depth: int) -> Ranking:
            # a power of two of the depth, so that the next page fuses the same lists
            depth = max(FUSED_DEPTH, 1 << (depth - 1).bit_length())
            lists = {"dense": dense(depth), "lexical": lexical(depth)}
            fused = fuse({name: ranking.candidates for name, ranking in lists.items()})
            return Ranking(fused, all(ranking.complete for ranking in lists.values()))

        return {Mode.DENSE: dense, Mode.LEXICAL: lexical, Mode.HYBRID: hybrid}[mode]

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

    def word_scores(self, query: QueryWords) -> WordScores:
        """The BM25 score of every document; IndexFolderError if the index has no words yet."""
        if self.words is None:
            raise IndexFolderError(
                f"{self.store.path}: made by an earlier trimseek, without words; "
                f"'trimseek compact {self.store.path.parent}' adds them"
            )
        return self.words.scores(query.term_ids(self.store, self.words))

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
    store: Store,
    dim: int,
    candidates: list[Candidate],
    query: QueryWords,
    count: int,
    diversity: float,
) -> list[Candidate]:
    """``count`` documents in the order of maximal marginal relevance.

    A document's relevance is its score as a share of the best one's, its vector that of its best
    chunk.
    """
    chunks = best_chunks(store, candidates, query, {})
    stored = store.vectors_of([chunk.key for chunk in chunks.values()], dim)
    rows = {int(key): row for row, key in enumerate(stored.keys)}
    known = [
        candidate
        for candidate in candidates
        if candidate.document in chunks and chunks[candidate.document].key in rows
    ]
    if not known:
        return []
    order = [rows[chunks[candidate.document].key] for candidate in known]
    vectors = stored.vectors[order].astype(np.float32)
    scores = np.array([candidate.score for candidate in known], np.float32)
    relevance = scores / max(float(np.abs(scores).max()), 1e-9)
    return [known[i] for i in diversified(relevance, vectors, count, diversity)]
