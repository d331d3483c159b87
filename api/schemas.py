"""What goes in and comes out over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.tasks import State, TaskKind
from indexer.filters import from_json, parse_field
from indexer.snapshot import SnapshotKind
from search.options import MOST_EFFORT, MOST_FACETS, MOST_HITS, MOST_OFFSET, Mode, Options


def asked(*examples: dict[str, Any]) -> ConfigDict:
    """Of what comes in: unknown fields are refused, and a number that is written as a text."""
    shown: dict[str, Any] = {"examples": list(examples)} if examples else {}
    return ConfigDict(extra="forbid", strict=True, json_schema_extra=shown)


FilterJson = Annotated[
    JsonValue,
    Field(
        description='Which documents count: {"field": "year", "op": ">=", "value": 2020}, with op '
        'one of =, !=, <, <=, >, >=, in, exists, prefix; {"and": [...]}, {"or": [...]}, '
        '{"not": {...}}.'
    ),
]
Metadata = dict[str, JsonValue]


class Timing(BaseModel):
    """Milliseconds in the service: encoding the query, everything after it, and both."""

    encode: float
    search: float
    total: float


class SearchRequest(BaseModel):
    model_config = asked(
        {"query": "split a shell command into words", "k": 3},
        {
            "query": "random choice",
            "mode": "hybrid",
            "filter": {"field": "kind", "value": "function"},
            "facets": ["module"],
            "highlight": True,
        },
    )

    query: str = Field(description="What to look for.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    mode: Mode = Field(
        Mode.DENSE, strict=False, description="By meaning, by words (BM25), or by both."
    )
    filter: FilterJson = None
    offset: int = Field(0, ge=0, le=MOST_OFFSET, description="Hits to leave out.")
    effort: int | None = Field(
        None, ge=1, le=MOST_EFFORT, description="Of an hnsw or ivf index: more finds more."
    )
    min_score: float | None = Field(
        None, allow_inf_nan=False, description="The least score of a hit."
    )
    group_by: str | None = Field(
        None, description="A metadata field; only the best hit of each of its values is given."
    )
    diversity: float = Field(0.0, ge=0, le=1, description="How much hits should differ.")
    highlight: bool = Field(False, description="Say where the query's words are in passages.")
    facets: list[str] = Field(
        [], max_length=MOST_FACETS, description="Metadata fields whose values are counted."
    )
    include: list[str] | None = Field(
        None, max_length=100, description="Metadata fields to give; all of them by default."
    )
    exclude: list[str] = Field([], max_length=100, description="Metadata fields to leave out.")

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


class BatchRequest(BaseModel):
    model_config = asked({"queries": [{"query": "pick a random element", "k": 1}]})

    queries: list[JsonValue] = Field(
        min_length=1, description="Each as in a search; one that is wrong fails alone."
    )


class CompareRequest(BaseModel):
    """The same query through two encoders of the index's space."""

    model_config = asked({"query": "pick a random element", "k": 5})

    query: str
    k: int = Field(10, ge=1, le=100)
    encoders: Annotated[list[str], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Names that the index's description lists; the fullest and its own."
    )


class RecommendRequest(BaseModel):
    """Documents like some and unlike others."""

    model_config = asked({"like": ["random.choice"], "k": 3})

    like: list[str] = Field(min_length=1, description="Ids of documents that are liked.")
    unlike: list[str] = Field([], description="Ids of documents that are not.")
    weights: list[float] | None = Field(None, description="One for each that is liked.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    filter: FilterJson = None

    def options(self) -> Options:
        return Options(where=None if self.filter is None else from_json(self.filter))


class FacetsRequest(BaseModel):
    """Values of metadata fields, counted over all documents or those of a filter."""

    model_config = asked({"fields": ["module"]})

    fields: list[str] = Field(min_length=1, max_length=MOST_FACETS)
    filter: FilterJson = None


class NewDocument(BaseModel):
    model_config = asked()

    id: str = Field(min_length=1, max_length=512)
    title: str = ""
    text: str = ""
    metadata: Metadata = {}


class PutRequest(BaseModel):
    """Documents to add, or to put in place of those of their ids."""

    model_config = asked(
        {"documents": [{"id": "fox", "text": "The quick brown fox.", "metadata": {"n": 1}}]}
    )

    documents: list[JsonValue] = Field(
        min_length=1,
        description="Each with an id, a text, perhaps a title and metadata; one that is wrong "
        "fails alone.",
    )


class PatchRequest(BaseModel):
    """JSON Merge Patch of the metadata (RFC 7396, first level): null takes a field away."""

    model_config = asked({"metadata": {"reviewed": True}})

    metadata: Metadata


class DeleteRequest(BaseModel):
    """Documents by their ids, or those of a filter: one of the two."""

    model_config = asked({"ids": ["fox"]})

    ids: list[str] | None = Field(None, min_length=1)
    filter: FilterJson = None


class CreateRequest(BaseModel):
    model_config = asked({"encoder": "minilm-int8", "facets": ["module"]})

    encoder: str = Field("minilm-int8", description="Of documents; a name, never a path.")
    facets: list[str] = Field([], max_length=MOST_FACETS, description="Metadata fields to index.")
    kind: Annotated[SnapshotKind, Field(strict=False)] | None = None


class TaskRequest(BaseModel):
    model_config = asked({"kind": "snapshot"})

    kind: TaskKind = Field(strict=False)
    encoder: str | None = Field(None, description="The new one, of a reembed task.")


class EmbeddingsRequest(BaseModel):
    """As OpenAI's; ``role`` is ours: how an encoder with prompts encodes."""

    model_config = asked({"input": ["pick a random element"], "role": "query"})

    input: str | list[str]
    model: str | None = Field(None, description="An encoder of one of the indexes.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32."
    )
    role: Literal["query", "document"] = "query"
    dimensions: int | None = Field(None, description="The encoder's own, or nothing.")
    user: str | None = Field(None, description="Taken, and not used.")


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


class ErrorDetail(BaseModel):
    type: str = Field(examples=["unknown_index"])
    message: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a success has this shape."""

    error: ErrorDetail


class BatchAnswer(BaseModel):
    results: list[SearchAnswer | ErrorAnswer] = Field(description="One for each query, in order.")


class Compared(BaseModel):
    encoder: str
    hits: list[Hit]
    timing_ms: Timing


class CompareAnswer(BaseModel):
    index: str
    results: list[Compared] = Field(description="Of each encoder.")
    shared: int = Field(description="Documents that both have.")


class RecommendAnswer(BaseModel):
    index: str
    hits: list[Hit] = Field(description="Best first.")
    timing_ms: Timing


class FacetsAnswer(BaseModel):
    index: str
    facets: dict[str, list[FacetValue]]


class WrittenDocument(BaseModel):
    id: str | None = Field(description="null where none can be told.")
    status: Literal["added", "updated", "unchanged", "failed"]
    error: str | None = None


class PutAnswer(BaseModel):
    index: str
    results: list[WrittenDocument] = Field(description="One for each document, in order.")


class DeleteAnswer(BaseModel):
    index: str
    deleted: int


class DocumentAnswer(BaseModel):
    index: str
    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class Index(BaseModel):
    name: str
    documents: int
    chunks: int
    encoder: str = Field(description="The document encoder.")
    query_encoder: str
    space: str
    dim: int
    kind: str | None = Field(description="Of the snapshot; null without one.")
    generation: int | None = Field(description="Number of the snapshot.")
    bytes: int = Field(description="On disk.")
    facets: list[str] = Field(description="Metadata fields that are indexed.")


class IndexAnswer(Index):
    encoders: list[str] = Field(description="That its queries can be compared with.")
    latency_ms: dict[str, dict[str, float]] = Field(
        description="p50, p95, p99 of encode, search, total since this process began."
    )
    card: dict[str, Any] = Field(description="Of the query encoder.")


class IndexList(BaseModel):
    indexes: list[Index]


class Dropped(BaseModel):
    dropped: str


class TaskAnswer(BaseModel):
    id: str
    index: str
    kind: TaskKind
    state: State
    done: int = Field(description="Documents.")
    total: int | None
    error: str | None
    created: datetime
    ended: datetime | None


class TaskList(BaseModel):
    tasks: list[TaskAnswer] = Field(description="Of this process.")


class Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Status(BaseModel):
    status: str
