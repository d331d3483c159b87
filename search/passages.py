"""The passage that a document is shown by, and the hit that is made of both."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from trimseek.console import note
from trimseek.indexer.metadata import stored_metadata
from trimseek.indexer.rows import ChunkPlace, StoredChunk
from trimseek.indexer.store import Store
from trimseek.search.candidates import Candidate
from trimseek.search.hits import Highlight, Hit, Passage
from trimseek.search.options import Mode, Options
from trimseek.search.query_words import Span, SpanFinder


def document_hits(
    store: Store, candidates: Sequence[Candidate], words: SpanFinder, options: Options
) -> dict[int, Hit]:
    """Hits by document, in the order of the candidates; those deleted meanwhile are left out."""
    documents = [candidate.document for candidate in candidates]
    spans = words.spans(store, documents) if options.highlight else {}
    if options.mode is not Mode.DENSE:
        chunks = best_chunks(store, candidates, words, spans)
        candidates = [
            replace(candidate, chunk=chunks[candidate.document].key)
            for candidate in candidates
            if candidate.document in chunks
        ]
    rows = store.chunks(
        [candidate.chunk for candidate in candidates if candidate.chunk is not None]
    )
    return {
        candidate.document: as_hit(
            row, candidate, spans.get(candidate.document, []) if options.highlight else []
        )
        for candidate in candidates
        if candidate.chunk is not None and (row := rows.get(candidate.chunk)) is not None
    }


def best_chunks(
    store: Store,
    candidates: Sequence[Candidate],
    words: SpanFinder,
    spans: dict[int, list[Span]],
) -> dict[int, ChunkPlace]:
    """Each document's best chunk by document key: the nearest, else that of most words.

    ``spans``: where the query's words are, by document key; looked up where it is empty.
    """
    places = store.chunks_of([candidate.document for candidate in candidates])
    unknown = [
        candidate.document
        for candidate in candidates
        if candidate.chunk is None and len(places.get(candidate.document, ())) > 1
    ]
    spans = spans or words.spans(store, unknown)
    return {
        candidate.document: best_place(
            places[candidate.document], candidate.chunk, spans.get(candidate.document)
        )
        for candidate in candidates
        if candidate.document in places
    }


def best_place(
    places: Sequence[ChunkPlace], chunk: int | None, spans: Sequence[Span] | None
) -> ChunkPlace:
    """The chunk that is known to be best, else the one with most of the spans, else the first."""
    for place in places:
        if place.key == chunk:
            return place
    inside = [
        sum(place.start <= span.start and span.end <= place.end for span in spans or ())
        for place in places
    ]
    return places[int(np.argmax(inside))]


def hit_metadata(row: StoredChunk) -> dict[str, Any]:
    """A document's metadata; none, and a note, where it is damaged: others can be shown."""
    try:
        return stored_metadata(row.metadata)
    except ValueError as error:
        note(f"damaged metadata of document {row.id!a} ({error}); trimseek verify --deep says more")
        return {}


def as_hit(row: StoredChunk, candidate: Candidate, spans: Sequence[Span]) -> Hit:
    """A hit with the highlights that lie inside its passage."""
    return Hit(
        id=row.id,
        score=candidate.score,
        title=row.title,
        passage=Passage(row.passage, row.start, row.end),
        metadata=hit_metadata(row),
        sources=candidate.sources,
        highlights=tuple(
            Highlight(span.start - row.start, span.end - row.start)
            for span in spans
            if row.start <= span.start and span.end <= row.end
        ),
    )
