"""What goes in and comes out over HTTP."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from search.options import MOST_HITS


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


class Passage(BaseModel):
    """The part of the document that matched: characters `start` to `end` of its text."""

    text: str
    start: int
    end: int


class Hit(BaseModel):
    id: str
    score: float = Field(description="Cosine similarity of query and passage.")
    title: str
    passage: Passage
    metadata: dict[str, Any]


class SearchAnswer(BaseModel):
    index: str
    hits: list[Hit] = Field(description="Best first; fewer than k if the index has fewer.")
    query_tokens: int
    truncated: bool = Field(description="The query was too long; its end was left out.")
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
