"""Searches with few options, from queries to JSON by the shortest way.

A plain search costs little more than its encoding and its retrieval, both of which are one call of
compiled code. What is left is kept small here: hits are ready-made pieces of JSON, kept until
something is committed. The general way (``Searcher.answer``, ``search.content``) gives the same.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.search.fusion import tells
from trimseek.search.native.retrieval import best_documents
from trimseek.search.opened import Moment
from trimseek.search.options import DEFAULT_WEIGHT, Mode
from trimseek.search.query_words import QueryWords
from trimseek.search.reader_searcher import EncodedQuery
from trimseek.search.searcher import Searcher

MODES = (Mode.DENSE, Mode.HYBRID)


class PlainQuery(NamedTuple):
    """A query by vectors, or by vectors and words. Checked as ``check_query`` does."""

    query: str
    k: int = 10
    mode: Mode = Mode.HYBRID
    offset: int = 0
    weight: float = DEFAULT_WEIGHT
    title_weight: float = 1.0
    effort: int | None = None


class PlainAnswer(NamedTuple):
    """An answer as JSON, but for its beginning; how many hits; ms of encoding and of searching."""

    json: str
    hits: int
    encode: float
    search: float


def is_plain(searcher: Searcher) -> bool:
    """Whether an index can be searched so at present."""
    return searcher.read(lambda now: now.view.live.compiled is not None and now.words is not None)


def plain_answers(searcher: Searcher, queries: Sequence[PlainQuery]) -> list[PlainAnswer] | None:
    """The answers of some queries, which are encoded together; None for an index that is not plain.

    IndexFolderError, EncoderError.
    """
    encoded = searcher.encode([query.query for query in queries])

    def work(now: Moment) -> list[PlainAnswer] | None:
        fits = encoded[0].space == now.card.space and now.words is not None
        if now.view.live.compiled is None or not fits:
            return None
        return [plain_answer(now, *pair) for pair in zip(queries, encoded, strict=True)]

    return searcher.read(work)


def plain_answer(now: Moment, query: PlainQuery, encoded: EncodedQuery) -> PlainAnswer:
    """The answer of one query."""
    began = time.perf_counter()
    hits = hits_json(now, found_rows(now, query, encoded.vector)[query.offset :])
    search = (time.perf_counter() - began) * 1e3
    truncated = "true" if encoded.truncated else "false"
    text = (
        f'"hits":[{",".join(hits)}],"query_tokens":{encoded.tokens},"truncated":{truncated},'
        f'"facets":{{}},"warnings":[],"suggestion":null,"timing_ms":{{"encode":'
        f'{encoded.milliseconds!r},"search":{search!r},"total":{encoded.milliseconds + search!r},'
        f'"rerank":0.0}}}}'
    )
    return PlainAnswer(text, len(hits), encoded.milliseconds, search)


def found_rows(
    now: Moment, query: PlainQuery, vector: NDArray[np.float32]
) -> list[tuple[int, int, float, float, float, int, int]]:
    """The best documents, rows of ``FOUND``."""
    parts, words, weight = now.view.live.compiled, None, None
    assert parts is not None  # noqa: S101 - the caller has looked
    if query.mode is Mode.HYBRID:
        assert now.words is not None  # noqa: S101 - the caller has looked
        weight = query.weight
        terms = QueryWords(query.query, now.store, now.words).term_ids
        scores = now.words.scores(terms, query.title_weight)
        words = scores.compiled if tells(scores) else None
    depth = now.view.depth(query.effort or now.effort)
    found = best_documents(parts, vector, query.offset + query.k, depth, words, weight)
    rows: list[tuple[int, int, float, float, float, int, int]] = found.tolist()
    return rows


def hits_json(
    now: Moment, rows: Sequence[tuple[int, int, float, float, float, int, int]]
) -> list[str]:
    """Hits as JSON."""
    pieces = now.pieces.of(now.store, [row[1] for row in rows])
    hits = []
    for _, chunk, score, cosine, bm25, dense_rank, lexical_rank in rows:
        piece = pieces.get(chunk)
        if piece is None:
            continue
        sources = f'"dense":{{"rank":{dense_rank or "null"},"score":{cosine!r}}}'
        if bm25 > 0:
            sources += f',"lexical":{{"rank":{lexical_rank or "null"},"score":{bm25!r}}}'
        hits.append(f'{piece.head}{score!r}{piece.tail}{{{sources}}},"highlights":[]}}')
    return hits
