"""Clients of the service, for programs: one that waits, one to be awaited.

    with Client("http://127.0.0.1:8080", key="ts_...") as client:
        for hit in client.search("docs", "how do I ...", k=5).hits:
            print(hit.score, hit.title)

A request that is refused because too much is waiting (429), or cannot be answered now (503), is
sent again after the time that Retry-After says; every write is idempotent, so that is safe.
ServiceError for any other failure, with the service's message.
"""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from trimseek.api.schemas import (
    BatchAnswer,
    CompareAnswer,
    CountAnswer,
    DeleteAnswer,
    DocumentAnswer,
    Dropped,
    EmbeddingsAnswer,
    FacetsAnswer,
    GetAnswer,
    Index,
    IndexAnswer,
    IndexList,
    ListAnswer,
    PutAnswer,
    RecommendAnswer,
    RerankAnswer,
    SearchAnswer,
    TaskAnswer,
    TaskList,
)
from trimseek.errors import MissingExtraError, ServiceError

try:
    import httpx
except ImportError:
    raise MissingExtraError("trimseek.Client", "client") from None

Answer = TypeVar("Answer", bound=BaseModel)
RETRIED = {429, 503}
FIRST_WAIT = 0.1  # seconds, doubled each time, where the service does not say
LONGEST_WAIT = 10.0
Json = Mapping[str, Any]


class Call(NamedTuple, Generic[Answer]):
    """One request, and the model of its answer."""

    method: str
    path: str
    answer: type[Answer]
    body: Json | None = None


def index_path(index: str, *rest: str) -> str:
    """The path of an index, or of what lies below it; names are quoted."""
    return "/".join(["/v1/indexes", quote(index, safe=""), *rest])


def document_path(index: str, id_: str) -> str:
    """The path of a document; slashes in its id stay."""
    return index_path(index, "documents", quote(id_, safe="/"))


def search_call(index: str, query: str, k: int, options: Json) -> Call[SearchAnswer]:
    """``options``: as ``Client.search``."""
    return Call(
        "POST", index_path(index, "search"), SearchAnswer, {"query": query, "k": k, **options}
    )


def batch_call(index: str, queries: Sequence[Json]) -> Call[BatchAnswer]:
    """``queries``: the body of a search each."""
    body = {"queries": list(queries)}
    return Call("POST", index_path(index, "search", "batch"), BatchAnswer, body)


def compare_call(
    index: str, query: str, k: int, encoders: Sequence[str] | None
) -> Call[CompareAnswer]:
    """``encoders``: two names, or the service's own choice."""
    names = None if encoders is None else list(encoders)
    body = {"query": query, "k": k, "encoders": names}
    return Call("POST", index_path(index, "compare"), CompareAnswer, body)


def recommend_call(
    index: str, like: Sequence[str] | None, k: int, options: Json
) -> Call[RecommendAnswer]:
    """``options``: as ``Client.recommend``."""
    body = {"like": None if like is None else list(like), "k": k, **options}
    return Call("POST", index_path(index, "recommend"), RecommendAnswer, body)


def facets_call(index: str, fields: Sequence[str], filter_: Any) -> Call[FacetsAnswer]:
    """``filter_``: None counts all documents."""
    body = {"fields": list(fields), "filter": filter_}
    return Call("POST", index_path(index, "facets"), FacetsAnswer, body)


def put_call(index: str, documents: Sequence[Json]) -> Call[PutAnswer]:
    """``documents``: with id, text, title, metadata."""
    body = {"documents": list(documents)}
    return Call("POST", index_path(index, "documents"), PutAnswer, body)


def document_call(index: str, id_: str) -> Call[DocumentAnswer]:
    """A document by its id."""
    return Call("GET", document_path(index, id_), DocumentAnswer)


def get_call(index: str, ids: Sequence[str]) -> Call[GetAnswer]:
    """Many documents by their ids."""
    body = {"ids": list(ids)}
    return Call("POST", index_path(index, "documents", "get"), GetAnswer, body)


def list_call(index: str, limit: int, cursor: str | None, filter_: Any) -> Call[ListAnswer]:
    """``cursor``: of the page before; None begins."""
    body = {"limit": limit, "cursor": cursor, "filter": filter_}
    return Call("POST", index_path(index, "documents", "list"), ListAnswer, body)


def count_call(index: str, filter_: Any) -> Call[CountAnswer]:
    """``filter_``: None counts all documents."""
    body = {"filter": filter_}
    return Call("POST", index_path(index, "documents", "count"), CountAnswer, body)


def rerank_call(query: str, texts: Sequence[str], top_n: int | None) -> Call[RerankAnswer]:
    """``top_n``: so many of the best; None for all."""
    body = {"query": query, "documents": list(texts), "top_n": top_n}
    return Call("POST", "/v1/rerank", RerankAnswer, body)


def patch_call(index: str, id_: str, metadata: Json) -> Call[DocumentAnswer]:
    """``metadata``: new values; None removes a field."""
    body = {"metadata": dict(metadata)}
    return Call("PATCH", document_path(index, id_), DocumentAnswer, body)


def delete_call(index: str, ids: Sequence[str] | None, filter_: Any) -> Call[DeleteAnswer]:
    """By ids or by a filter, one of the two."""
    body = {"ids": None if ids is None else list(ids), "filter": filter_}
    return Call("POST", index_path(index, "documents", "delete"), DeleteAnswer, body)


def indexes_call() -> Call[IndexList]:
    """All indexes."""
    return Call("GET", "/v1/indexes", IndexList)


def index_call(index: str) -> Call[IndexAnswer]:
    """One index."""
    return Call("GET", index_path(index), IndexAnswer)


def create_call(index: str, encoder: str, options: Json) -> Call[Index]:
    """``options``: facets, kind."""
    return Call("PUT", index_path(index), Index, {"encoder": encoder, **options})


def drop_call(index: str) -> Call[Dropped]:
    """Delete an index."""
    return Call("DELETE", index_path(index), Dropped)


def start_call(index: str, kind: str, encoder: str | None) -> Call[TaskAnswer]:
    """``encoder``: of a reembed task alone."""
    body = {"kind": kind, "encoder": encoder}
    return Call("POST", index_path(index, "tasks"), TaskAnswer, body)


def task_call(id_: str) -> Call[TaskAnswer]:
    """One task."""
    return Call("GET", f"/v1/tasks/{quote(id_, safe='')}", TaskAnswer)


def tasks_call() -> Call[TaskList]:
    """All tasks."""
    return Call("GET", "/v1/tasks", TaskList)


def embed_call(texts: Sequence[str], role: str, model: str | None) -> Call[EmbeddingsAnswer]:
    """``model``: None for that of the first index."""
    body = {"input": list(texts), "role": role, "model": model}
    return Call("POST", "/v1/embeddings", EmbeddingsAnswer, body)


def headers_of(key: str | None) -> dict[str, str]:
    """The header that an API key goes into."""
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def wait_of(response: httpx.Response, attempt: int) -> float:
    """Seconds until it is worth asking again, never the same for all clients."""
    said = response.headers.get("retry-after", "")
    wait = float(said) if said.isdecimal() else FIRST_WAIT * 2**attempt
    return min(wait, LONGEST_WAIT) * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


def answer_of(response: httpx.Response, call: Call[Answer]) -> Answer:
    """The answer as its model; ServiceError says what the service said."""
    if response.is_success:
        return call.answer.model_validate_json(response.content)
    try:
        error = response.json()["error"]
        reason = f"{error['type']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        reason = response.reason_phrase
    raise ServiceError(f"{call.method} {call.path}: {response.status_code} {reason}")


def unreachable(call: Call[Any], error: Exception) -> ServiceError:
    """The error of a request that got no answer."""
    reason = str(error) or type(error).__name__
    return ServiceError(f"{call.method} {call.path}: no answer: {reason}")


class Client:
    """Calls a service and waits for its answers.

    ``key``: an API key. ``retries``: how often a refused request is sent again. ``timeout``: in
    seconds.
    """

    def __init__(
        self, url: str, key: str | None = None, *, retries: int = 5, timeout: float = 30.0
    ) -> None:
        self.retries = retries
        self._http = httpx.Client(base_url=url, headers=headers_of(key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def search(self, index: str, query: str, k: int = 10, **options: Any) -> SearchAnswer:
        """Search; options as in the API: mode, filter, offset, facets, highlight ..."""
        return self._send(search_call(index, query, k, options))

    def search_many(self, index: str, queries: Sequence[Json]) -> BatchAnswer:
        """Several searches, each with its own options: one result or error for each."""
        return self._send(batch_call(index, queries))

    def compare(
        self, index: str, query: str, k: int = 10, encoders: Sequence[str] | None = None
    ) -> CompareAnswer:
        """One query through two encoders, side by side."""
        return self._send(compare_call(index, query, k, encoders))

    def recommend(
        self, index: str, like: Sequence[str] | None = None, k: int = 10, **options: Any
    ) -> RecommendAnswer:
        """Documents like some, or that follow a ``history``, the latest item last.

        Options: unlike and weights, or seen and again; filter, offset, group_by, diversity.
        """
        return self._send(recommend_call(index, like, k, options))

    def facets(self, index: str, fields: Sequence[str], filter: Any = None) -> FacetsAnswer:  # noqa: A002
        """Values of metadata fields, counted."""
        return self._send(facets_call(index, fields, filter))

    def put(self, index: str, documents: Sequence[Json]) -> PutAnswer:
        """Add or replace documents; durable when it returns. Says what became of each."""
        return self._send(put_call(index, documents))

    def document(self, index: str, id_: str) -> DocumentAnswer:
        """A document as it was indexed."""
        return self._send(document_call(index, id_))

    def documents(self, index: str, ids: Sequence[str]) -> GetAnswer:
        """Documents in the order of their ids, None for what is not there."""
        return self._send(get_call(index, ids))

    def page(
        self,
        index: str,
        limit: int = 100,
        cursor: str | None = None,
        filter: Any = None,  # noqa: A002
    ) -> ListAnswer:
        """Documents in the order in which they came, and the cursor of the next page."""
        return self._send(list_call(index, limit, cursor, filter))

    def count(self, index: str, filter: Any = None) -> CountAnswer:  # noqa: A002
        """How many documents there are, or a filter lets through."""
        return self._send(count_call(index, filter))

    def rerank(self, query: str, texts: Sequence[str], top_n: int | None = None) -> RerankAnswer:
        """Texts in the order in which they answer a query, by the service's cross-encoder."""
        return self._send(rerank_call(query, texts, top_n))

    def patch(self, index: str, id_: str, metadata: Json) -> DocumentAnswer:
        """Change metadata; the document as it is now."""
        return self._send(patch_call(index, id_, metadata))

    def delete(
        self,
        index: str,
        ids: Sequence[str] | None = None,
        filter: Any = None,  # noqa: A002
    ) -> DeleteAnswer:
        """Delete documents by ids or by a filter."""
        return self._send(delete_call(index, ids, filter))

    def indexes(self) -> IndexList:
        """The indexes of the service."""
        return self._send(indexes_call())

    def index(self, index: str) -> IndexAnswer:
        """One index: its size, encoders and latencies."""
        return self._send(index_call(index))

    def create(self, index: str, encoder: str = "minilm-int8", **options: Any) -> Index:
        """Make an empty index; options: facets, kind."""
        return self._send(create_call(index, encoder, options))

    def drop(self, index: str) -> Dropped:
        """Delete an index and all that is in it."""
        return self._send(drop_call(index))

    def start(self, index: str, kind: str, encoder: str | None = None) -> TaskAnswer:
        """Begin long work: "snapshot", "compact" or "reembed"."""
        return self._send(start_call(index, kind, encoder))

    def task(self, id_: str) -> TaskAnswer:
        """How far a task is."""
        return self._send(task_call(id_))

    def tasks(self) -> TaskList:
        """The tasks since the service started."""
        return self._send(tasks_call())

    def embed(
        self, texts: Sequence[str], role: str = "query", model: str | None = None
    ) -> EmbeddingsAnswer:
        """Vectors of texts; ``role``: "query" or "document"."""
        return self._send(embed_call(texts, role, model))

    def _send(self, call: Call[Answer]) -> Answer:
        for attempt in range(self.retries + 1):
            try:
                response = self._http.request(call.method, call.path, json=call.body)
            except httpx.HTTPError as error:
                raise unreachable(call, error) from error
            if response.status_code not in RETRIED or attempt == self.retries:
                break
            time.sleep(wait_of(response, attempt))
        return answer_of(response, call)


class AsyncClient:
    """As ``Client``; its methods are awaited."""

    def __init__(
        self, url: str, key: str | None = None, *, retries: int = 5, timeout: float = 30.0
    ) -> None:
        self.retries = retries
        self._http = httpx.AsyncClient(base_url=url, headers=headers_of(key), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def search(self, index: str, query: str, k: int = 10, **options: Any) -> SearchAnswer:
        """Search; options as in the API: mode, filter, offset, facets, highlight ..."""
        return await self._send(search_call(index, query, k, options))

    async def search_many(self, index: str, queries: Sequence[Json]) -> BatchAnswer:
        """Several searches, each with its own options: one result or error for each."""
        return await self._send(batch_call(index, queries))

    async def compare(
        self, index: str, query: str, k: int = 10, encoders: Sequence[str] | None = None
    ) -> CompareAnswer:
        """One query through two encoders, side by side."""
        return await self._send(compare_call(index, query, k, encoders))

    async def recommend(
        self, index: str, like: Sequence[str] | None = None, k: int = 10, **options: Any
    ) -> RecommendAnswer:
        """Documents like some, or that follow a ``history``, the latest item last.

        Options: unlike and weights, or seen and again; filter, offset, group_by, diversity.
        """
        return await self._send(recommend_call(index, like, k, options))

    async def facets(self, index: str, fields: Sequence[str], filter: Any = None) -> FacetsAnswer:  # noqa: A002
        """Values of metadata fields, counted."""
        return await self._send(facets_call(index, fields, filter))

    async def put(self, index: str, documents: Sequence[Json]) -> PutAnswer:
        """Add or replace documents; durable when it returns. Says what became of each."""
        return await self._send(put_call(index, documents))

    async def document(self, index: str, id_: str) -> DocumentAnswer:
        """A document as it was indexed."""
        return await self._send(document_call(index, id_))

    async def documents(self, index: str, ids: Sequence[str]) -> GetAnswer:
        """Documents in the order of their ids, None for what is not there."""
        return await self._send(get_call(index, ids))

    async def page(
        self,
        index: str,
        limit: int = 100,
        cursor: str | None = None,
        filter: Any = None,  # noqa: A002
    ) -> ListAnswer:
        """Documents in the order in which they came, and the cursor of the next page."""
        return await self._send(list_call(index, limit, cursor, filter))

    async def count(self, index: str, filter: Any = None) -> CountAnswer:  # noqa: A002
        """How many documents there are, or a filter lets through."""
        return await self._send(count_call(index, filter))

    async def rerank(
        self, query: str, texts: Sequence[str], top_n: int | None = None
    ) -> RerankAnswer:
        """Texts in the order in which they answer a query, by the service's cross-encoder."""
        return await self._send(rerank_call(query, texts, top_n))

    async def patch(self, index: str, id_: str, metadata: Json) -> DocumentAnswer:
        """Change metadata; the document as it is now."""
        return await self._send(patch_call(index, id_, metadata))

    async def delete(
        self,
        index: str,
        ids: Sequence[str] | None = None,
        filter: Any = None,  # noqa: A002
    ) -> DeleteAnswer:
        """Delete documents by ids or by a filter."""
        return await self._send(delete_call(index, ids, filter))

    async def indexes(self) -> IndexList:
        """The indexes of the service."""
        return await self._send(indexes_call())

    async def index(self, index: str) -> IndexAnswer:
        """One index: its size, encoders and latencies."""
        return await self._send(index_call(index))

    async def create(self, index: str, encoder: str = "minilm-int8", **options: Any) -> Index:
        """Make an empty index; options: facets, kind."""
        return await self._send(create_call(index, encoder, options))

    async def drop(self, index: str) -> Dropped:
        """Delete an index and all that is in it."""
        return await self._send(drop_call(index))

    async def start(self, index: str, kind: str, encoder: str | None = None) -> TaskAnswer:
        """Begin long work: "snapshot", "compact" or "reembed"."""
        return await self._send(start_call(index, kind, encoder))

    async def task(self, id_: str) -> TaskAnswer:
        """How far a task is."""
        return await self._send(task_call(id_))

    async def tasks(self) -> TaskList:
        """The tasks since the service started."""
        return await self._send(tasks_call())

    async def embed(
        self, texts: Sequence[str], role: str = "query", model: str | None = None
    ) -> EmbeddingsAnswer:
        """Vectors of texts; ``role``: "query" or "document"."""
        return await self._send(embed_call(texts, role, model))

    async def _send(self, call: Call[Answer]) -> Answer:
        for attempt in range(self.retries + 1):
            try:
                response = await self._http.request(call.method, call.path, json=call.body)
            except httpx.HTTPError as error:
                raise unreachable(call, error) from error
            if response.status_code not in RETRIED or attempt == self.retries:
                break
            await asyncio.sleep(wait_of(response, attempt))
        return answer_of(response, call)
