"""Documents of an index for a query: by meaning, by words or by both, within a filter."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.store import Store
from trimseek.search.candidates import Candidate
from trimseek.search.fusion import HybridSearch, Ranking, tells
from trimseek.search.hits import Source
from trimseek.search.native.retrieval import best_documents
from trimseek.search.options import Fusion, Mode, Options
from trimseek.search.view import Counted, View
from trimseek.search.words import WordScores

# A document may have several chunks: where too few documents are among the nearest chunks, so many
# times as many chunks are retrieved.
CHUNKS_GROWTH = 2
MOST_CHUNKS = 32_000  # SQLite takes as many parameters


class Allowed(NamedTuple):
    """What a filter lets through: chunks of the view, and documents of each block of words."""

    chunks: Counted
    documents: Sequence[NDArray[np.bool_] | None] | None


@dataclass(frozen=True)
class Retrieval:
    """A query's documents in one index.

    ``vector (dim,)``: the query's, not needed in lexical mode. ``scores``: of its words, None where
    the index has none, or where they are not needed. ``effort``: of an approximate snapshot, None
    for its default. ``allowed``: None where there is no filter.
    """

    store: Store
    view: View
    vector: NDArray[np.float32] | None
    scores: WordScores | None
    effort: int | None
    allowed: Allowed | None

    def batches(self, options: Options, first: int) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time; ``first``: how many are wanted at least."""
        if options.mode is Mode.LEXICAL:
            return deeper(self.lexical, first)
        by_vector = options.mode is Mode.DENSE
        if self.counted.compiled is not None and (by_vector or options.fusion is Fusion.SCORES):
            return self._compiled(None if by_vector else options.weight, first)
        if by_vector:
            return deeper(self.dense, first)
        return HybridSearch(self, options.weight, options.fusion).batches()

    @property
    def counted(self) -> Counted:
        """The chunks that count."""
        return self.view.live if self.allowed is None else self.allowed.chunks

    @property
    def tells(self) -> bool:
        """Whether the query has words that tell documents from each other."""
        return self.scores is not None and tells(self.scores)

    def _compiled(self, weight: float | None, first: int) -> Iterator[list[Candidate]]:
        """As ``batches``, by compiled code. ``weight``: None for a search by the vector alone."""
        parts = self.counted.compiled
        assert parts is not None  # noqa: S101 - the caller has looked
        words = self.scores.compiled if self.scores is not None and self.tells else None
        depth, wanted, given = self.view.depth(self.effort), first, 0
        while True:
            found = best_documents(parts, self._vector, wanted, depth, words, weight)
            yield [as_candidate(row) for row in found[given:].tolist()]
            if len(found) < wanted or wanted >= MOST_CHUNKS:
                return
            given, wanted = len(found), min(wanted * 2, MOST_CHUNKS)

    @property
    def _vector(self) -> NDArray[np.float32]:
        assert self.vector is not None  # noqa: S101 - the caller encodes unless the mode is lexical
        return self.vector

    def dense(self, depth: int) -> Ranking:
        """Documents by the score of their best chunk."""
        wanted = depth
        while True:
            counted = self.counted
            nearest = self.view.search(self._vector, wanted, effort=self.effort, counted=counted)
            documents = self.view.documents_of(nearest.keys)
            best: dict[int, Candidate] = {}
            for document, key, score in zip(
                documents, nearest.keys.tolist(), nearest.scores.tolist(), strict=True
            ):
                best.setdefault(document, Candidate(document, score, key))
            every_chunk = wanted >= counted.count
            if len(best) >= depth or every_chunk or wanted >= MOST_CHUNKS:
                complete = every_chunk and len(best) <= depth
                return Ranking(with_source(list(best.values())[:depth], "dense"), complete)
            wanted = min(wanted * CHUNKS_GROWTH, MOST_CHUNKS)

    def lexical(self, depth: int) -> Ranking:
        """Documents by BM25; IndexFolderError if the index has no words yet."""
        if self.scores is None:
            raise IndexFolderError(
                f"{self.store.path}: made by an earlier trimseek, without words; "
                f"'trimseek compact {self.store.path.parent}' adds them"
            )
        ranked = self.scores.best(depth)
        chunks = ranked.chunks.tolist()
        documents = self.store.documents_of(chunks)
        candidates = [
            Candidate(documents[chunk], score)
            for chunk, score in zip(chunks, ranked.scores.tolist(), strict=True)
            if chunk in documents
        ]
        return Ranking(with_source(candidates, "lexical"), len(chunks) < depth)

    def cosines(self, documents: Sequence[int]) -> dict[int, Candidate]:
        """The best chunk of documents that are not in the dense list."""
        chunks = self.store.vectors_of_documents(documents, len(self._vector))
        scores = (chunks.vectors.astype(np.float32) * self._vector).sum(axis=1).tolist()
        best: dict[int, Candidate] = {}
        for document, key, score in zip(
            chunks.documents.tolist(), chunks.keys.tolist(), scores, strict=True
        ):
            if document not in best or score > best[document].score:
                sources = {"dense": Source(None, score)}
                best[document] = Candidate(document, score, key, sources)
        return best

    def bm25(self, documents: Sequence[int]) -> dict[int, float]:
        """The scores of documents that are not in the lexical list."""
        assert self.scores is not None  # noqa: S101 - there is a lexical list
        first = self.store.first_chunks(documents)
        values = self.scores.of(np.array(list(first.values()), np.int64)).tolist()
        return dict(zip(first, values, strict=True))


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
        Candidate(
            *(candidate.document, candidate.score, candidate.chunk),
            {name: Source(rank, candidate.score)},
        )
        for rank, candidate in enumerate(candidates, 1)
    ]
