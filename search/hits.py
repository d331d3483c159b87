"""What a search gives back."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Passage(NamedTuple):
    """The part of a document that matched: characters ``start`` to ``end`` of its text."""

    text: str
    start: int
    end: int


class Source(NamedTuple):
    """A document's score in one of the lists that were fused, and where it stands there, from 1.

    ``rank`` is None where it was not met in the list.
    """

    rank: int | None
    score: float


class Highlight(NamedTuple):
    """A word of the query in a hit's passage: characters ``start`` to ``end`` of the passage."""

    start: int
    end: int


class Hit(NamedTuple):
    """A document.

    ``score``: in dense mode the inner product of query and passage vector, a cosine in [-1, 1];
    in lexical mode BM25; in hybrid mode what ``fusion`` makes of both; reranked a number from 0 to
    1. ``sources``: rank and score in "dense", "lexical" and "rerank". ``highlights``: empty unless
    asked for.
    """

    id: str
    score: float
    title: str
    passage: Passage
    metadata: dict[str, Any]
    sources: Mapping[str, Source] = NOTHING
    highlights: tuple[Highlight, ...] = ()


class Timing(NamedTuple):
    """Milliseconds: encoding the query, searching and reading hits, reranking, all together."""

    encode: float
    search: float
    total: float
    rerank: float = 0.0


class FacetValue(NamedTuple):
    """A metadata value, and how many of the best documents have it."""

    value: str | int | float | bool
    documents: int


class ShardCount(NamedTuple):
    """How many shards of an index have answered, of how many there are."""

    answered: int
    of: int

    @property
    def warning(self) -> str | None:
        """What to say where some are missing."""
        if self.answered == self.of:
            return None
        return (
            f"{self.of - self.answered} of {self.of} shards did not answer: documents of theirs "
            "are missing"
        )


class Results(NamedTuple):
    """Hits, best first. ``truncated``: the query was longer than the encoder's max_tokens.

    ``facets``: values of the fields that were asked for, the most frequent first. ``warnings``:
    what the filter asks for and no document has. ``suggestion``: the query as it was meant
    perhaps, where documents do not have one of its words but one of nearly the same letters.
    ``shards``: of an index that was divided into some, else None.
    """

    hits: list[Hit]
    query_tokens: int
    truncated: bool
    timing_ms: Timing
    facets: Mapping[str, list[FacetValue]] = NOTHING
    warnings: tuple[str, ...] = ()
    suggestion: str | None = None
    shards: ShardCount | None = None
