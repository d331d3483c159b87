"""An endpoint: its function, who may use it, and every status that it can answer with."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any, NamedTuple

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from trimseek.api.keys import Role
from trimseek.api.schemas import ErrorAnswer

JSON = "application/json"
HTML = "text/html"
MEANINGS = {
    400: "Not a request that can be understood.",
    401: "No API key, or one that does not count.",
    403: "The key may not do this.",
    404: "No such index, document, task, model or path.",
    405: "Not a method of this path.",
    408: "The body did not arrive in time.",
    409: "Not possible as things are.",
    413: "The body, the batch or a document is too large.",
    415: "The body is packed, or not JSON.",
    422: "The request makes no sense; the message says where.",
    429: "Too much is waiting; Retry-After says when to try again.",
    500: "Unexpected; the service's log says more.",
    503: "Not now: not in time, not ready, or the disk fails.",
}


class Tag(NamedTuple):
    """A group of endpoints in /openapi.json."""

    name: str
    description: str


# By the module of the endpoints' functions.
TAGS = {
    "searching": Tag("search", "Search, batches, comparisons, recommendations, facets."),
    "documents": Tag("documents", "Put, get, change and delete documents."),
    "administration": Tag("indexes", "Indexes, and long work on them."),
    "embedding": Tag("embeddings", "Embeddings and models, as OpenAI's."),
    "reranking": Tag("reranking", "Reranking, as Cohere's, Jina's and TEI's."),
    "system": Tag("service", "Health and metrics."),
}
# In the order in which a request's headers are looked at.
SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorAnswer,
        "description": text,
        **({"headers": RETRY_AFTER} if status == 429 else {}),
    }
    for status, text in MEANINGS.items()
}


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    ``answer``: the model of its content, which is not validated again; None where the content is of
    ``media_type``. ``other_statuses``: with the same content. ``takes_query``: it asks the engine
    for one query, so that a full queue refuses it before its body is read. ``direct_body``: the
    model of its body, where it is answered without FastAPI's routing and validation
    (``api.direct``). ``listed``: in /openapi.json.
    """

    method: str
    path: str
    role: Role
    function: Callable[..., Any]
    answer: Any = None
    status: int = 200
    other_statuses: tuple[int, ...] = ()
    takes_query: bool = False
    direct_body: type[BaseModel] | None = None
    listed: bool = True
    media_type: str = JSON

    @property
    def tag(self) -> str:
        """Its group in /openapi.json."""
        return TAGS[self.function.__module__.rpartition(".")[2]].name

    @cached_property
    def takes_body(self) -> bool:
        """Whether it reads a body."""
        return "body" in signature(self.function).parameters

    def security(self, *, with_keys: bool) -> list[dict[str, list[str]]]:
        """As OpenAPI has it: a key in one of two headers; without keys, reading needs none."""
        if self.role is Role.NONE:
            return []
        free: list[dict[str, list[str]]] = [] if with_keys or self.role > Role.READ else [{}]
        keys: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
        return free + keys

    def register(self, app: FastAPI, *, with_keys: bool) -> None:
        """Let FastAPI answer and describe it."""
        content: dict[int | str, dict[str, Any]] = {
            status: {"model": self.answer} for status in self.other_statuses
        }
        if self.answer is None and self.listed:
            content[self.status] = {"content": {self.media_type: {}}}
        app.add_api_route(
            self.path,
            self.function,
            methods=[self.method],
            status_code=self.status,
            response_model=self.answer,
            responses=FAILURES | content,
            include_in_schema=self.listed,
            tags=[self.tag],
            openapi_extra={"security": self.security(with_keys=with_keys)},
        )


def as_json(content: Any, status: int = 200) -> Response:
    """Content as a JSON response; numpy numbers and dates are understood."""
    return Response(to_json(content), status, media_type=JSON)
