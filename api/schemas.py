"""What goes in and comes out over HTTP."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from indexer.filters import from_json, parse_field
from search.options import MOST_EFFORT, MOST_FACETS, MOST_HITS, MOST_OFFSET, Mode, Options


class Timing(BaseModel):
    """Milliseconds in the service: encoding the query, everything after it, and both."""

    encode: float
    search: float
    total: float


class SearchRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "split a shell command into words", "k": 3}]},
    )

    query: str = Field(description="What to look for.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    mode: Mode = Field(Mode.DENSE, description="By meaning, by words (BM25), or by both.")
    filter: JsonValue = Field(
        None,
        description='Which documents count: {"field": "year", "op": ">=", "value": 2020}, with op '
        'one of =, !=, <, <=, >, >=, in, exists, prefix; {"and": [...]}, {"or": [...]}, '
        '{"not": {...}}.',
    )
    offset: int = Field(0, ge=0, le=MOST_OFFSET, description="Hits to leave out.")
    effort: int | None = Field(
        None, ge=1, le=MOST_EFFORT, description="Of an hnsw or ivf index: more finds more."
    )
    min_score: float | None = Field(None, description="The least score of a hit.")
    group_by: str | None = Field(
        None, description="A metadata field; only the best hit of each of its values is given."
    )
    diversity: float = Field(0.0, ge=0, le=1, description="How much hits should differ.")
    highlight: bool = Field(False, description="Say where the query's words are in passages.")
    facets: list[str] = Field(
        [], max_length=MOST_FACETS, description="Metadata fields whose values are counted."
    )

    def options(self) -> Options:
        return Options(
            mode=self.mode,
            offset=self.offset,
            where=None if self.filter is None else from_json(self.filter),
            effort=self.effort,
            min_score=self.min_score,
            group_by=parse_field(self.group_by) if self.group_by else None,
            diversity=self.diversity,
            highlight=self.highlight,
            facets=tuple(map(parse_field, self.facets)),
        )


class RecommendRequest(BaseModel):
    """Documents like some and unlike others."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"like": ["random.choice"], "k": 3}]}
    )

    like: list[str] = Field(min_length=1, description="Ids of documents that are liked.")
    unlike: list[str] = Field([], description="Ids of documents that are not.")
    weights: list[float] | None = Field(None, description="One for each that is liked.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    filter: JsonValue = Field(None, description="Which documents count, as in a search.")

    def options(self) -> Options:
        return Options(where=None if self.filter is None else from_json(self.filter))


class Passage(BaseModel):
    """The part of the document that matched: characters `start` to `end` of its text."""

    text: str
    start: int
    end: int


class Source(BaseModel):
    """Where the document stands in one of the lists that were fused."""

    rank: int
    score: float


class Highlight(BaseModel):
    """A word of the query: characters `start` to `end` of the passage."""

    start: int
    end: int


class FacetValue(BaseModel):
    value: str | int | float | bool
    documents: int


class Hit(BaseModel):
    id: str
    score: float = Field(
        description="dense: cosine of query and passage; lexical: BM25; hybrid: fused ranks."
    )
    title: str
    passage: Passage
    metadata: dict[str, Any]
    sources: dict[str, Source] = Field(description='By "dense" and "lexical".')
    highlights: list[Highlight]


class SearchAnswer(BaseModel):
    index: str
    hits: list[Hit] = Field(description="Best first; fewer than k if the index has fewer.")
    query_tokens: int
    truncated: bool = Field(description="The query was too long; its end was left out.")
    facets: dict[str, list[FacetValue]] = Field(description="Of the best documents.")
    timing_ms: Timing


class RecommendAnswer(BaseModel):
    index: str
    hits: list[Hit] = Field(description="Best first.")
    timing_ms: Timing


class Index(BaseModel):
    name: str
    documents: int
    chunks: int
    encoder: str = Field(description="The document encoder.")
    query_encoder: str
    space: str
    dim: int


class IndexList(BaseModel):
    indexes: list[Index]
    timing_ms: Timing


class DocumentAnswer(BaseModel):
    index: str
    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    timing_ms: Timing


class Status(BaseModel):
    status: str


class ErrorDetail(BaseModel):
    type: str = Field(examples=["unknown_index"])
    message: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a success has this shape."""

    error: ErrorDetail
