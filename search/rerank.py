"""Rerank: a cross-encoder reads the query with each of the best documents' passages."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trimseek.encoders.cross_encoder import probabilities
from trimseek.indexer.rows import StoredChunk
from trimseek.search.candidates import Candidate
from trimseek.search.hits import Source
from trimseek.search.options import Scorer
from trimseek.search.query_words import QueryWords
from trimseek.search.reader import IndexReader

RERANK = "rerank"  # the name of its scores among a hit's sources


def reranked(
    reader: IndexReader, candidates: Sequence[Candidate], words: QueryWords, scorer: Scorer
) -> list[Candidate]:
    """The documents in the order of their scores, of equal ones in the order they have.

    A document is read by its best passage, behind its title, as it was embedded. Its score becomes
    a number from 0 to 1; the cross-encoder's own is among its sources. Documents that were deleted
    meanwhile are left out.
    """
    passages = reader.passages(candidates, words)
    known = [
        replace(candidate, chunk=passages[candidate.document].key)
        for candidate in candidates
        if candidate.document in passages
    ]
    texts = [passage_text(passages[candidate.document]) for candidate in known]
    scores = scorer.scores(words.query, texts).scores
    shown = probabilities(scores)
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        replace(
            known[i],
            score=float(shown[i]),
            sources=known[i].sources | {RERANK: Source(rank, float(scores[i]))},
        )
        for rank, i in enumerate(order, 1)
    ]


def passage_text(row: StoredChunk) -> str:
    """A passage behind its document's title."""
    return f"{row.title} {row.passage}".strip()
