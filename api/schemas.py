"""What goes in and comes out over HTTP."""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core import from_json as json_value

from trimseek.encoders.card import LARGEST_SIZE, LONGEST_PROMPT
from trimseek.errors import QueryError
from trimseek.ids import LONGEST_ID
from trimseek.indexer.filters import OPERATORS, Filter, from_json, parse_field
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.where import parse_where
from trimseek.search.listing import MOST_LISTED
from trimseek.search.options import (
    DEFAULT_RERANK_DEPTH,
    DEFAULT_WEIGHT,
    MOST_EFFORT,
    MOST_FACETS,
    MOST_HITS,
    MOST_OFFSET,
    MOST_TITLE_WEIGHT,
    Fusion,
    Mode,
    Options,
)
from trimseek.search.recommend import Basis, Examples, History, asked_of


def request_config(*examples: dict[str, Any]) -> ConfigDict:
    """Of what comes in: unknown fields are refused, and a number that is written as a text."""
    return ConfigDict(extra="forbid", strict=True, json_schema_extra=described_with(examples))


def described_with(examples: tuple[dict[str, Any], ...]) -> Callable[[dict[str, Any]], None]:
    """What adds examples to a JSON schema, and null to what may be left out (``RequestBody``)."""

    def describe(schema: dict[str, Any]) -> None:
        if examples:
            schema["examples"] = list(examples)
        needed = schema.get("required", ())
        for name, own in schema.get("properties", {}).items():
            known = own.get("anyOf", [{key: own[key] for key in own.keys() - TOLD}])
            if name not in needed and known != [{}] and NULL not in known:
                told = {key: own[key] for key in own if key in TOLD}
                schema["properties"][name] = {"anyOf": [*known, NULL], **told}

    return describe


NULL = {"type": "null"}
TOLD = {"title", "description", "default"}  # keys of a schema that are not its rules


class RequestBody(BaseModel):
    """A body; a field that may be left out and is null counts as left out."""

    model_config = request_config()

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, values: Any) -> Any:
        if not isinstance(values, dict) or None not in values.values():
            return values
        needed = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {
            name: value
            for name, value in values.items()
            if value is not None or name in needed or name not in cls.model_fields
        }


FilterJson = Annotated[
    JsonValue,
    Field(
        description='Which documents count: {"field": "year", "op": ">=", "value": 2020}, with op '
        f"one of {', '.join(OPERATORS)}; "
        '{"and": [...]}, {"or": [...]}, {"not": {...}}.'
    ),
]
Metadata = dict[str, JsonValue]


class TaskKind(str, Enum):
    """A new snapshot; room given back; every document embedded by another encoder."""

    SNAPSHOT = "snapshot"
    COMPACT = "compact"
    REEMBED = "reembed"


class State(str, Enum):
    """Of a task."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Timing(BaseModel):
    """Milliseconds in the service: encoding the query, searching, reranking, and all together."""

    encode: float
    search: float
    total: float
    rerank: float


class SearchRequest(RequestBody):
    """A query, and how it is searched."""

    model_config = request_config(
        {"query": "split a shell command into words", "k": 3},
        {
            "query": "random choice",
            "mode": "hybrid",
            "filter": {"field": "kind", "value": "function"},
            "facets": ["module"],
            "highlight": True,
        },
    )

    query: str = Field("", description="What to look for; may be left out where there is a vector.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    mode: Mode = Field(
        Mode.HYBRID, strict=False, description="By meaning, by words (BM25), or by both."
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
    weight: float = Field(
        DEFAULT_WEIGHT, ge=0, le=1, description="Of meaning in hybrid mode; 0 is words alone."
    )
    fusion: Fusion = Field(
        Fusion.SCORES,
        strict=False,
        description="Of hybrid mode: a weighted sum of scores, or reciprocal ranks.",
    )
    title_weight: float = Field(
        1.0,
        ge=0,
        le=MOST_TITLE_WEIGHT,
        description="How often a word of a title counts for BM25.",
    )
    prefix: bool = Field(
        False, description="The last word is only begun, and stands for all that begin so."
    )
    suggest: bool = Field(
        False, description="Say what a query with words that no document has may have meant."
    )
    rerank: bool = Field(
        False, description="Let the service's cross-encoder put the best documents in order."
    )
    rerank_depth: int = Field(
        DEFAULT_RERANK_DEPTH,
        ge=1,
        le=MOST_HITS,
        description="So many of the best are reranked; no others are found.",
    )
    vector: list[float] | None = Field(
        None,
        max_length=LARGEST_SIZE,
        description="The query's, in the place of the encoder's; of the index's space.",
    )
    require_all: bool = Field(
        False,
        description="Of an index in a cluster: rather 503 than an answer that lacks the documents "
        "of shards that do not answer.",
    )

    def options(self) -> Options:
        """As ``Searcher`` takes them, without a cross-encoder; QueryError for a wrong filter."""
        return Options(
            mode=self.mode,
            offset=self.offset,
            where=self.where(),
            effort=self.effort,
            min_score=self.min_score,
            group_by=parse_field(self.group_by) if self.group_by else None,
            diversity=self.diversity,
            highlight=self.highlight,
            facets=tuple(map(parse_field, self.facets)),
            weight=self.weight,
            fusion=self.fusion,
            title_weight=self.title_weight,
            prefix=self.prefix,
            suggest=self.suggest,
            rerank_depth=self.rerank_depth,
            vector=None if self.vector is None else tuple(self.vector),
            require_all=self.require_all,
        )

    def where(self) -> Filter | None:
        """The filter; QueryError for a wrong one."""
        return None if self.filter is None else from_json(self.filter)


URL_FILTER = 'As JSON, or as for --where: year >= 2020 and kind = "function".'


class UrlSearchRequest(SearchRequest):
    """The same in a URL's query: ``q`` and the other options by their names."""

    model_config = ConfigDict(strict=False)

    query: str = Field(alias="q", description="What to look for.")
    filter: str | None = Field(None, description=URL_FILTER)

    def where(self) -> Filter | None:
        """The filter; QueryError for a wrong one."""
        return filter_of_url(self.filter)


def filter_of_url(given: str | None) -> Filter | None:
    """A filter as JSON, or as for ``--where``; QueryError."""
    text = (given or "").strip()
    if not text.startswith("{"):
        return parse_where(text) if text else None
    try:
        return from_json(json_value(text))
    except ValueError as error:
        raise QueryError(f"filter: {error}") from None


class FilterRequest(RequestBody):
    """What a filter may be given with."""

    filter: FilterJson = None

    def where(self) -> Filter | None:
        """The filter; QueryError for a wrong one."""
        return None if self.filter is None else from_json(self.filter)


class ListRequest(FilterRequest):
    """Which documents are listed, and from where on."""

    model_config = request_config({"limit": 2}, {"filter": {"field": "kind", "op": "exists"}})

    limit: int = Field(100, ge=1, le=MOST_LISTED, description="So many documents at most.")
    cursor: str | None = Field(None, description="Of the page before; none begins.")


class UrlListRequest(ListRequest):
    """The same in a URL's query."""

    model_config = ConfigDict(strict=False)

    filter: str | None = Field(None, description=URL_FILTER)

    def where(self) -> Filter | None:
        """The filter; QueryError for a wrong one."""
        return filter_of_url(self.filter)


class CountRequest(FilterRequest):
    """Which documents are counted."""

    model_config = request_config({}, {"filter": {"field": "kind", "op": "exists"}})


class GetRequest(RequestBody):
    """Which documents are given."""

    model_config = request_config({"ids": ["random.choice", "random.shuffle"]})

    ids: list[str] = Field(min_length=1)


class BatchRequest(RequestBody):
    """Several searches at once."""

    model_config = request_config({"queries": [{"query": "pick a random element", "k": 1}]})

    queries: list[JsonValue] = Field(
        min_length=1, description="Each as in a search; one that is wrong fails alone."
    )


class CompareRequest(RequestBody):
    """The same query through two encoders of the index's space."""

    model_config = request_config({"query": "pick a random element", "k": 5})

    query: str
    k: int = Field(10, ge=1, le=100)
    encoders: Annotated[list[str], Field(min_length=2, max_length=2)] | None = Field(
        None, description="Names that the index's description lists; the fullest and its own."
    )


class RecommendRequest(RequestBody):
    """Documents like some and unlike others, or the items that follow a history."""

    model_config = request_config({"like": ["random.choice"], "k": 3})

    like: list[str] | None = Field(
        None, min_length=1, description="Ids of documents that are liked; or give a history."
    )
    unlike: list[str] = Field([], description="Ids of documents that are not.")
    weights: list[float] | None = Field(None, description="One for each that is liked.")
    history: list[str] | None = Field(
        None,
        description="Ids of the items that somebody took, the latest last, for an index whose "
        "encoder is a recommender. Items that it does not know are left out and counted; where "
        "none is left, the most popular items are recommended.",
    )
    seen: list[str] = Field([], description="With a history: further items not to recommend.")
    again: bool = Field(False, description="With a history: recommend also what is in it.")
    k: int = Field(10, ge=1, le=MOST_HITS, description="How many hits.")
    filter: FilterJson = None
    offset: int = Field(0, ge=0, le=MOST_OFFSET, description="Hits to leave out.")
    group_by: str | None = Field(
        None, description="A metadata field; only the best hit of each of its values is given."
    )
    diversity: float = Field(0.0, ge=0, le=1, description="How much hits should differ.")
    effort: int | None = Field(
        None, ge=1, le=MOST_EFFORT, description="Of an hnsw or ivf index: more finds more."
    )
    require_all: bool = Field(
        False,
        description="Of an index in a cluster: rather 503 than an answer that lacks the documents "
        "of shards that do not answer.",
    )

    def asked(self) -> Examples | History:
        """As ``recommend`` takes it; QueryError unless it is one of the two."""
        return asked_of(
            self.like, self.unlike, self.weights, self.history, self.seen, again=self.again
        )

    def options(self) -> Options:
        """As ``recommend`` takes them; QueryError for a wrong filter."""
        return Options(
            where=None if self.filter is None else from_json(self.filter),
            offset=self.offset,
            group_by=parse_field(self.group_by) if self.group_by else None,
            diversity=self.diversity,
            effort=self.effort,
            require_all=self.require_all,
        )


class FacetsRequest(RequestBody):
    """Values of metadata fields, counted over all documents or those of a filter."""

    model_config = request_config({"fields": ["module"]})

    fields: list[str] = Field(min_length=1, max_length=MOST_FACETS)
    filter: FilterJson = None


class NewDocument(RequestBody):
    """A document to be stored."""

    model_config = request_config()

    id: str = Field(min_length=1, max_length=LONGEST_ID)
    title: str = ""
    text: str = ""
    metadata: Metadata = {}
    vector: list[float] | None = Field(
        None, description="Its own, in the place of the encoder's; scaled to unit length."
    )


class PutRequest(RequestBody):
    """Documents to add, or to put in place of those of their ids."""

    model_config = request_config(
        {"documents": [{"id": "fox", "text": "The quick brown fox.", "metadata": {"n": 1}}]}
    )

    documents: list[JsonValue] = Field(
        min_length=1,
        description="Each with an id, a text, perhaps a title and metadata; one that is wrong "
        "fails alone.",
    )


class PatchRequest(RequestBody):
    """JSON Merge Patch of the metadata (RFC 7396, first level): null takes a field away."""

    model_config = request_config({"metadata": {"reviewed": True}})

    metadata: Metadata


class DeleteRequest(RequestBody):
    """Documents by their ids, or those of a filter: one of the two."""

    model_config = request_config({"ids": ["fox"]})

    ids: list[str] | None = Field(None, min_length=1)
    filter: FilterJson = None


Prompt = Annotated[str, Field(max_length=LONGEST_PROMPT)]


class CreateRequest(RequestBody):
    """An empty index."""

    model_config = request_config({"encoder": "minilm-int8", "facets": ["module"]})

    encoder: str = Field(
        "minilm-int8",
        description="fast, balanced or best; or a name, never a path, of an encoder of documents, "
        "and with + of one of queries.",
    )
    facets: list[str] = Field([], max_length=MOST_FACETS, description="Metadata fields to index.")
    kind: Annotated[SnapshotKind, Field(strict=False)] | None = None
    language: str | None = Field(
        None,
        description="Of the texts, whose words are reduced to their stems: english, german, ...; "
        "none; auto, which looks at the texts.",
    )
    query_prompt: Prompt | None = Field(
        None, description='What stands before each query, as "query: "; the encoder\'s own if null.'
    )
    document_prompt: Prompt | None = Field(None, description="What stands before each document.")


class TaskRequest(RequestBody):
    """Long work on an index."""

    model_config = request_config({"kind": "snapshot"})

    kind: TaskKind = Field(strict=False)
    encoder: str | None = Field(None, description="The new one, of a reembed task.")


ROLES: dict[str, Literal["query", "document"]] = {
    "query": "query", "search_query": "query",
    "document": "document", "search_document": "document", "passage": "document",
}  # fmt: skip
NO_TOKENS = (
    "token numbers are not taken, as each encoder has its own: send texts. With LangChain, that is "
    "OpenAIEmbeddings(check_embedding_ctx_length=False)"
)


class EmbeddingsRequest(RequestBody):
    """As OpenAI's; ``role`` is ours: how an encoder with prompts encodes."""

    model_config = request_config({"input": ["pick a random element"], "role": "query"})

    input: str | list[str]
    model: str | None = Field(
        None,
        description="An encoder of one of the indexes, with or without its precision, or an index.",
    )
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of little-endian float32."
    )
    role: Literal["query", "document"] = Field("query", description="The same as input_type.")
    input_type: (
        Literal["query", "search_query", "document", "search_document", "passage"] | None
    ) = Field(None, description="What the texts are, by the names that others use.")
    dimensions: int | None = Field(
        None, ge=1, description="So many of each vector's first numbers, again of unit length."
    )
    user: str | None = Field(None, description="Taken, and not used.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_token_numbers(cls, values: Any) -> Any:
        if isinstance(values, dict) and (given := values.get("input")) and isinstance(given, list):
            first = given[0][0] if isinstance(given[0], list) and given[0] else given[0]
            if isinstance(first, int):
                raise PydanticCustomError("token_numbers", "input: " + NO_TOKENS)
        return values

    @model_validator(mode="after")
    def _one_role(self) -> Self:
        own = ROLES[self.input_type] if self.input_type else self.role
        if "role" in self.model_fields_set and own != self.role:
            raise PydanticCustomError("two_roles", "role and input_type say different things")
        self.role = own
        return self


class RerankRequest(RequestBody):
    """As Cohere's and Jina's (`documents`), or Text Embeddings Inference's (`texts`)."""

    model_config = request_config(
        {
            "query": "pick a random element",
            "documents": ["Shuffle a list in place.", "Choose a random element of a sequence."],
            "top_n": 1,
        }
    )

    query: str
    documents: list[str | dict[str, JsonValue]] | None = Field(
        None, description='Texts, or objects with a "text".'
    )
    texts: list[str] | None = Field(
        None, description="The same for Text Embeddings Inference, whose answer is a list."
    )
    model: str | None = Field(None, description="The service's cross-encoder.")
    top_n: int | None = Field(None, ge=1, description="So many of the best; all by default.")
    return_documents: bool = Field(False, description="Give the texts back.")
    return_text: bool = Field(False, description="The same, with `texts`.")
    raw_scores: bool = Field(False, description="The model's own scores, not from 0 to 1.")
    truncate: bool = Field(True, description="Taken: what is too long is always cut.")
    truncation_direction: Literal["Right", "right"] | None = None
    max_chunks_per_doc: int | None = Field(None, description="Taken, and not used.")
    max_tokens_per_doc: int | None = Field(None, description="Taken, and not used.")
    rank_fields: list[str] | None = Field(
        None, description='Fields of each document to read, "text" by default.'
    )
    user: str | None = Field(None, description="Taken, and not used.")


class Passage(BaseModel):
    """The part of the document that matched: characters `start` to `end` of its text."""

    text: str
    start: int
    end: int


class Source(BaseModel):
    """The document's score in one of the lists that were fused, and its rank there."""

    rank: int | None = Field(description="From 1; null where it was not met in the list.")
    score: float


class Highlight(BaseModel):
    """A word of the query: characters `start` to `end` of the passage."""

    start: int
    end: int


class FacetValue(BaseModel):
    """A metadata value, and how many documents have it."""

    value: str | int | float | bool
    documents: int


class Hit(BaseModel):
    """A document of an answer."""

    id: str
    score: float = Field(
        description="dense: cosine of query and passage; lexical: BM25; hybrid: both, fused."
    )
    title: str
    passage: Passage
    metadata: dict[str, Any]
    sources: dict[str, Source] = Field(description='By "dense" and "lexical".')
    highlights: list[Highlight]


WARNINGS: Any = Field([], description="What is asked of metadata fields, and no document has.")


class ShardCount(BaseModel):
    """Shards of an index, and how many of them have answered."""

    answered: int
    of: int


SHARDS = Field(
    None,
    description="Of an index that a cluster serves, which answers though some shards do not; left "
    "out of others.",
)


class SearchAnswer(BaseModel):
    """Hits, and what the search took."""

    index: str
    hits: list[Hit] = Field(description="Best first; fewer than k if the index has fewer.")
    query_tokens: int
    truncated: bool = Field(description="The query was too long; its end was left out.")
    facets: dict[str, list[FacetValue]] = Field(description="Of the best documents.")
    warnings: list[str] = WARNINGS
    suggestion: str | None = Field(
        None, description="What the query may have meant, where `suggest` asks for it."
    )
    timing_ms: Timing
    shards: ShardCount | None = SHARDS


class ErrorDetail(BaseModel):
    """What is wrong; `type` is for programs."""

    type: str = Field(examples=["unknown_index"])
    message: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a success has this shape."""

    error: ErrorDetail


class BatchAnswer(BaseModel):
    """One result or error for each query."""

    results: list[SearchAnswer | ErrorAnswer] = Field(description="One for each query, in order.")


class Compared(BaseModel):
    """The hits of one encoder."""

    encoder: str
    hits: list[Hit]
    timing_ms: Timing


class CompareAnswer(BaseModel):
    """Two encoders side by side."""

    index: str
    results: list[Compared] = Field(description="Of each encoder.")
    shared: int = Field(description="Documents that both have.")


class RecommendAnswer(BaseModel):
    """Documents like those that are liked, or that follow a history."""

    index: str
    hits: list[Hit] = Field(description="Best first.")
    basis: Basis = Field(
        description="What they follow from: the examples, the history, or, where no item of the "
        "history is known, the popularity of items."
    )
    unknown: int = Field(description="Items of the history that the recommender does not know.")
    warnings: list[str] = WARNINGS
    timing_ms: Timing
    shards: ShardCount | None = SHARDS


class FacetsAnswer(BaseModel):
    """Values of the fields, the most frequent first."""

    index: str
    facets: dict[str, list[FacetValue]]
    warnings: list[str] = WARNINGS


class WrittenDocument(BaseModel):
    """What became of one document."""

    id: str | None = Field(description="null where none can be told.")
    status: Literal["added", "updated", "unchanged", "failed"]
    error: str | None = None


class PutAnswer(BaseModel):
    """What became of each document."""

    index: str
    results: list[WrittenDocument] = Field(description="One for each document, in order.")


class DeleteAnswer(BaseModel):
    """How many documents there were."""

    index: str
    deleted: int
    warnings: list[str] = WARNINGS


class StoredDocument(BaseModel):
    """A document as it was indexed."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class ListAnswer(BaseModel):
    """Documents in the order in which they came."""

    index: str
    documents: list[StoredDocument]
    cursor: str | None = Field(description="Of the next page; null where there is none.")
    warnings: list[str] = WARNINGS


class GetAnswer(BaseModel):
    """Documents in the order of their ids."""

    index: str
    documents: list[StoredDocument | None] = Field(description="null for what is not there.")


class CountAnswer(BaseModel):
    """How many documents there are."""

    index: str
    documents: int
    warnings: list[str] = WARNINGS


class DocumentAnswer(BaseModel):
    """A document as it was indexed."""

    index: str
    id: str
    title: str
    text: str
    metadata: dict[str, Any]


class Index(BaseModel):
    """What an index holds."""

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
    """An index with its encoders and latencies."""

    encoders: list[str] = Field(description="That its queries can be compared with.")
    fields: dict[str, str] = Field(
        description="Metadata fields of some documents, and the kind of the first value of each."
    )
    latency_ms: dict[str, dict[str, float]] = Field(
        description="p50, p95, p99 of encode, search, total since this process began."
    )
    card: dict[str, Any] = Field(description="Of the query encoder.")


class IndexList(BaseModel):
    """Every index of the service."""

    indexes: list[Index]
    damaged: dict[str, str] = Field({}, description="Why others cannot be opened, by name.")
    reranker: str | None = Field(None, description="The service's cross-encoder.")


class Dropped(BaseModel):
    """The name of an index that is gone."""

    dropped: str


class TaskAnswer(BaseModel):
    """How far a task is."""

    id: str
    index: str
    kind: TaskKind
    encoder: str | None = Field(None, description="To embed anew with; null in other tasks.")
    state: State
    done: int = Field(description="Documents.")
    total: int | None
    error: str | None
    created: datetime
    ended: datetime | None


class TaskList(BaseModel):
    """Tasks, the oldest first."""

    tasks: list[TaskAnswer] = Field(description="Since the service started.")


class Usage(BaseModel):
    """Tokens that were encoded."""

    prompt_tokens: int
    total_tokens: int


class RerankedDocument(BaseModel):
    """A text that was reranked."""

    text: str


class RerankResult(BaseModel):
    """The place of one of the texts; the best come first."""

    index: int = Field(description="Of the text among those that were sent.")
    relevance_score: float = Field(description="From 0 to 1, or the model's own (`raw_scores`).")
    document: RerankedDocument | None = Field(None, description="Where it was asked for.")


class RerankAnswer(BaseModel):
    """As Cohere's and Jina's."""

    id: str
    model: str
    results: list[RerankResult]
    usage: Usage


class TextRank(BaseModel):
    """The place of one of the texts, as Text Embeddings Inference has it."""

    index: int
    score: float
    text: str | None = None


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class ModelAnswer(BaseModel):
    """An encoder that texts can be encoded with, as OpenAI's."""

    id: str
    object: Literal["model"]
    created: int = Field(description="When the first index that has it was made: Unix seconds.")
    owned_by: str


class ModelList(BaseModel):
    """As OpenAI's."""

    object: Literal["list"]
    data: list[ModelAnswer]


class EmbeddingsAnswer(BaseModel):
    """Vectors in the order of the texts, as OpenAI's."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class Status(BaseModel):
    """Whether the process is well."""

    status: str
