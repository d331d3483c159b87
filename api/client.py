"""A client of the service, for programs: waiting or not.

    with Client("http://127.0.0.1:8080", key="ts_...") as client:
        for hit in client.search("docs", "how do I ...", k=5).hits:
            print(hit.score, hit.title)

``AsyncClient`` has the same methods, to be awaited. What is refused because too much is waiting
(429), or cannot be answered now (503), is asked again after what Retry-After says; every write is
idempotent, so that is safe. ServiceError for any other failure, with the service's message.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from api.schemas import (
    BatchAnswer,
    DeleteAnswer,
    DocumentAnswer,
    EmbeddingsAnswer,
    FacetsAnswer,
    Index,
    IndexAnswer,
    IndexList,
    PutAnswer,
    RecommendAnswer,
    SearchAnswer,
    TaskAnswer,
)
from trimseek.errors import MissingExtraError, ServiceError

try:
    import httpx
except ImportError:
    raise MissingExtraError("api.client", "client") from None

A = TypeVar("A", bound=BaseModel)
RETRIED = {429, 503}
FIRST_WAIT = 0.1  # seconds, doubled each time, where the service does not say
LONGEST_WAIT = 10.0


class Call(NamedTuple):
    """One request, and what its answer is."""

    method: str
    path: str
    answer: type[BaseModel]
    body: Mapping[str, Any] | None = None


def index_path(index: str, *rest: str) -> str:
    return "/".join(["/v1/indexes", quote(index, safe=""), *rest])


def document_path(index: str, id_: str) -> str:
    return index_path(index, "documents", quote(id_, safe="/"))


class Calls:
    """What can be asked; ``_do`` sends it."""

    def _do(self, call: Call) -> Any:
        raise NotImplementedError

    def search(self, index: str, query: str, k: int = 10, **options: Any) -> Any:
        """``SearchAnswer``; options as in the API: mode, filter, offset, facets, highlight ..."""
        body = {"query": query, "k": k, **options}
        return self._do(Call("POST", index_path(index, "search"), SearchAnswer, body))

    def search_many(self, index: str, queries: Sequence[Mapping[str, Any]]) -> Any:
        """``BatchAnswer``: one result or error for each query."""
        body = {"queries": list(queries)}
        return self._do(Call("POST", index_path(index, "search", "batch"), BatchAnswer, body))

    def recommend(self, index: str, like: Sequence[str], k: int = 10, **options: Any) -> Any:
        """``RecommendAnswer``; options: unlike, weights, filter."""
        body = {"like": list(like), "k": k, **options}
        return self._do(Call("POST", index_path(index, "recommend"), RecommendAnswer, body))

    def facets(self, index: str, fields: Sequence[str], filter: Any = None) -> Any:  # noqa: A002
        """``FacetsAnswer``."""
        body = {"fields": list(fields), "filter": filter}
        return self._do(Call("POST", index_path(index, "facets"), FacetsAnswer, body))

    def put(self, index: str, documents: Sequence[Mapping[str, Any]]) -> Any:
        """``PutAnswer``: what became of each document; durable when it is there."""
        body = {"documents": list(documents)}
        return self._do(Call("POST", index_path(index, "documents"), PutAnswer, body))

    def document(self, index: str, id_: str) -> Any:
        """``DocumentAnswer``."""
        return self._do(Call("GET", document_path(index, id_), DocumentAnswer))

    def patch(self, index: str, id_: str, metadata: Mapping[str, Any]) -> Any:
        """``DocumentAnswer``: as it is now."""
        body = {"metadata": dict(metadata)}
        return self._do(Call("PATCH", document_path(index, id_), DocumentAnswer, body))

    def delete(self, index: str, ids: Sequence[str] | None = None, filter: Any = None) -> Any:  # noqa: A002
        """``DeleteAnswer``; by ids or by a filter."""
        body = {"ids": None if ids is None else list(ids), "filter": filter}
        return self._do(Call("POST", index_path(index, "documents", "delete"), DeleteAnswer, body))

    def indexes(self) -> Any:
        """``IndexList``."""
        return self._do(Call("GET", "/v1/indexes", IndexList))

    def index(self, index: str) -> Any:
        """``IndexAnswer``."""
        return self._do(Call("GET", index_path(index), IndexAnswer))

    def create(self, index: str, encoder: str = "minilm-int8", **options: Any) -> Any:
        """``Index``; options: facets, kind."""
        return self._do(Call("PUT", index_path(index), Index, {"encoder": encoder, **options}))

    def start(self, index: str, kind: str, encoder: str | None = None) -> Any:
        """``TaskAnswer`` of long work: snapshot, compact or reembed."""
        body = {"kind": kind, "encoder": encoder}
        return self._do(Call("POST", index_path(index, "tasks"), TaskAnswer, body))

    def task(self, id_: str) -> Any:
        """``TaskAnswer``: how far it is."""
        return self._do(Call("GET", f"/v1/tasks/{quote(id_, safe='')}", TaskAnswer))

    def embed(self, texts: Sequence[str], role: str = "query", model: str | None = None) -> Any:
        """``EmbeddingsAnswer``."""
        body = {"input": list(texts), "role": role, "model": model}
        return self._do(Call("POST", "/v1/embeddings", EmbeddingsAnswer, body))


def headers_of(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def wait_of(response: httpx.Response, attempt: int) -> float:
    """Seconds until it is worth asking again, never all clients at one moment."""
    said = response.headers.get("retry-after", "")
    wait = float(said) if said.isdecimal() else FIRST_WAIT * 2**attempt
    return min(wait, LONGEST_WAIT) * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


def answer_of(response: httpx.Response, call: Call) -> BaseModel:
    """The answer as its model; ServiceError says what the service said."""
    if response.is_success:
        return call.answer.model_validate_json(response.content)
    try:
        error = response.json()["error"]
        reason = f"{error['type']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        reason = response.reason_phrase
    raise ServiceError(f"{call.method} {call.path}: {response.status_code} {reason}")


class Client(Calls):
    """``retries``: how often what was refused is asked again; ``timeout``: in seconds."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: int = 5, timeout: float = 30.0
    ) -> None:
        self.retries = retries
        self._http = httpx.Client(base_url=url, headers=headers_of(key), timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _do(self, call: Call) -> Any:
        for attempt in range(self.retries + 1):
            try:
                response = self._http.request(call.method, call.path, json=call.body)
            except httpx.HTTPError as error:
                raise unreachable(call, error) from error
            if response.status_code not in RETRIED or attempt == self.retries:
                break
            time.sleep(wait_of(response, attempt))
        return answer_of(response, call)


class AsyncClient(Calls):
    """As ``Client``; its methods are awaited."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: int = 5, timeout: float = 30.0
    ) -> None:
        self.retries = retries
        self._http = httpx.AsyncClient(base_url=url, headers=headers_of(key), timeout=timeout)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _do(self, call: Call) -> Any:
        for attempt in range(self.retries + 1):
            try:
                response = await self._http.request(call.method, call.path, json=call.body)
            except httpx.HTTPError as error:
                raise unreachable(call, error) from error
            if response.status_code not in RETRIED or attempt == self.retries:
                break
            await asyncio.sleep(wait_of(response, attempt))
        return answer_of(response, call)


def unreachable(call: Call, error: Exception) -> ServiceError:
    reason = str(error) or type(error).__name__
    return ServiceError(f"{call.method} {call.path}: no answer: {reason}")
