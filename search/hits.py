"""What a search gives back."""

from typing import Any, NamedTuple


class Passage(NamedTuple):
    """The part of a document that matched: characters ``start`` to ``end`` of its text."""

    text: str
    start: int
    end: int


class Hit(NamedTuple):
    """A document. ``score``: inner product of query and passage vector; cosine in [-1, 1]."""

    id: str
    score: float
    title: str
    passage: Passage
    metadata: dict[str, Any]


class Timing(NamedTuple):
    """Milliseconds: encoding the query, searching vectors and reading hits, all together."""

    encode: float
    search: float
    total: float


class Results(NamedTuple):
    """Hits, best first. ``truncated``: the query was longer than the encoder's max_tokens."""

    hits: list[Hit]
    query_tokens: int
    truncated: bool
    timing_ms: Timing
