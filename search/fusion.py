"""Hybrid search: documents by their scores for meaning and for words, or by their ranks in both.

The compiled code of ``search.native.retrieval`` does the same for sums of scores, where there is
any and the snapshot's kind lets it.

By scores (Bruch, Gai & Ingber 2023): each score is scaled by the least that is possible (-1 for a
cosine, 0 for BM25) and the most that the query has; a document's is the weighted sum of both, and
that of a list it is not in is looked up. By ranks (Cormack, Clarke & Büttcher 2009): the sum of
1 / (60 + rank) over both lists.

Both lists are read in stages of a fixed depth. What no document that has not been met yet can
beat is final (the threshold algorithm of Fagin, Lotem & Naor 2003), and stays where it is whatever
later stages find: the order does not depend on how many hits are wanted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from trimseek.search.candidates import Candidate
from trimseek.search.hits import Source
from trimseek.search.options import Fusion
from trimseek.search.query_words import TELLING_SHARE

FIRST_DEPTH = 64  # of each list, in the first stage
DEPTH_GROWTH = 4
MOST_DEPTH = 32_000  # SQLite takes as many parameters
RRF_CONSTANT = 60  # of Cormack, Clarke & Büttcher
LEAST_COSINE = -1.0


class Ranking(NamedTuple):
    """Documents, best first; ``complete``: there are no more."""

    candidates: list[Candidate]
    complete: bool


class Retriever(Protocol):
    """What gives a query's two lists, as deep as is asked for."""

    @property
    def tells(self) -> bool:
        """Whether the query has words that tell documents from each other."""

    def dense(self, depth: int) -> Ranking:
        """Documents by the score of their best chunk."""

    def lexical(self, depth: int) -> Ranking:
        """Documents by BM25."""

    def cosines(self, documents: Sequence[int]) -> dict[int, Candidate]:
        """The best chunk of documents that are not in the dense list."""

    def bm25(self, documents: Sequence[int]) -> dict[int, float]:
        """The scores of documents that are not in the lexical list."""


class Lists(NamedTuple):
    """Both lists at one depth."""

    dense: Ranking
    lexical: Ranking
    depth: int


@dataclass(frozen=True)
class HybridSearch:
    """One query's; ``weight``: of meaning, from 0 to 1."""

    retriever: Retriever
    weight: float
    fusion: Fusion

    def batches(self) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time."""
        final: set[int] = set()
        depth = FIRST_DEPTH
        while True:
            lists = Lists(self.retriever.dense(depth), self._lexical(depth), depth)
            complete = lists.dense.complete or depth >= MOST_DEPTH
            fused = self._by_scores(lists) if self.fusion is Fusion.SCORES else by_ranks(lists)
            bound = -np.inf if complete else fused.bound
            batch = [
                candidate
                for candidate in fused.candidates
                if candidate.score >= bound and candidate.document not in final
            ]
            final.update(candidate.document for candidate in batch)
            yield batch
            if complete:
                return
            depth = min(depth * DEPTH_GROWTH, MOST_DEPTH)

    def _lexical(self, depth: int) -> Ranking:
        if not self.retriever.tells:
            return Ranking([], complete=True)
        return self.retriever.lexical(depth)

    def _by_scores(self, lists: Lists) -> "Fused":
        dense = {each.document: each for each in lists.dense.candidates}
        lexical = {each.document: each for each in lists.lexical.candidates}
        weight = self.weight if lexical else 1.0
        most_cosine = max((each.score for each in lists.dense.candidates[:1]), default=0.0)
        most_bm25 = max((each.score for each in lists.lexical.candidates[:1]), default=1.0)

        def fused(cosine: float, bm25: float) -> float:
            scaled = (cosine - LEAST_COSINE) / max(most_cosine - LEAST_COSINE, 1e-9)
            return weight * scaled + (1 - weight) * bm25 / most_bm25

        cosines = dict(dense)
        if lexical:
            cosines |= self.retriever.cosines([key for key in lexical if key not in dense])
        only_dense = [key for key in dense if key not in lexical]
        bm25 = self.retriever.bm25(only_dense) if lexical else {}
        candidates = []
        for document, near in cosines.items():
            words = lexical.get(document)
            source = words.sources["lexical"] if words else Source(None, bm25.get(document, 0.0))
            sources = near.sources | ({"lexical": source} if source.score > 0 else {})
            score = fused(near.score, source.score)
            candidates.append(Candidate(document, score, near.chunk, sources))
        last_bm25 = 0.0 if lists.lexical.complete else lists.lexical.candidates[-1].score
        last_cosine = lists.dense.candidates[-1].score if dense else LEAST_COSINE
        return Fused(in_order(candidates), fused(last_cosine, last_bm25))


class WeighedWords(Protocol):
    """A query's words: how many of all ``documents`` have the one that fewest have."""

    @property
    def rarest(self) -> int:
        """So many."""

    @property
    def documents(self) -> int:
        """All."""


def tells(words: WeighedWords) -> bool:
    """Whether the query's words tell documents from each other."""
    return words.rarest <= TELLING_SHARE * words.documents


class Fused(NamedTuple):
    """Documents, best first; no document that is not among them scores more than ``bound``."""

    candidates: list[Candidate]
    bound: float


def by_ranks(lists: Lists) -> Fused:
    """Reciprocal rank fusion."""
    sources: dict[int, dict[str, Source]] = {}
    chunks: dict[int, int | None] = {}
    for name, ranking in (("dense", lists.dense), ("lexical", lists.lexical)):
        for candidate in ranking.candidates:
            sources.setdefault(candidate.document, {})[name] = candidate.sources[name]
            chunks[candidate.document] = chunks.get(candidate.document) or candidate.chunk
    candidates = [
        Candidate(
            document,
            sum(1 / (RRF_CONSTANT + source.rank) for source in of.values() if source.rank),
            chunks[document],
            of,
        )
        for document, of in sources.items()
    ]
    lists_left = 2 - lists.lexical.complete
    return Fused(in_order(candidates), lists_left / (RRF_CONSTANT + lists.depth + 1))


def in_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Best first; of equal scores the one with the better best rank, then the older document."""

    def place(candidate: Candidate) -> tuple[float, float, int]:
        ranks = [source.rank for source in candidate.sources.values() if source.rank]
        return -candidate.score, min(ranks, default=np.inf), candidate.document

    return sorted(candidates, key=place)
