"""Search, batches, comparisons, recommendations, facets."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api import metrics
from trimseek.api.endpoints import Endpoint, as_json
from trimseek.api.errors import TooLargeError, describe_error, first_mistake
from trimseek.api.indexes import own_encoder, query_encoders
from trimseek.api.keys import Role
from trimseek.api.schemas import (
    BatchAnswer,
    BatchRequest,
    CompareAnswer,
    CompareRequest,
    FacetsAnswer,
    FacetsRequest,
    RecommendAnswer,
    RecommendRequest,
    SearchAnswer,
    SearchRequest,
    UrlSearchRequest,
)
from trimseek.api.service import Service, service_of
from trimseek.api.settings import ServiceSettings
from trimseek.errors import QueryError, TrimseekError
from trimseek.indexer.filters import Filter, depth_of, field_name, from_json, parse_field
from trimseek.search.content import (
    Content,
    MetadataFields,
    facet_content,
    hit_content,
    recommend_content,
    search_content,
)
from trimseek.search.hits import Results, Timing
from trimseek.search.reader_searcher import ReaderSearcher
from trimseek.search.recommend import recommend as find_recommended

WATCH_AFTER = 0.02  # seconds, after which it is worth watching whether the client is still there
# options of a URL that may be given several times
LISTS = {"facets", "include", "exclude", "vector"}
CLIENT_CLOSED = 499  # nginx's status for a client that has left


async def search(index: str, body: SearchRequest, request: Request) -> Response:
    """The documents that answer the query best."""
    request.state.query = body.query
    return await unless_gone(request, search_index(service_of(request), index, body))


async def search_by_url(
    index: str, asked: Annotated[UrlSearchRequest, Query()], request: Request
) -> Response:
    """The same as POST, for a link or a browser; lists are repeated: facets=year&facets=kind."""
    names = [name for name, _ in request.query_params.multi_items() if name not in LISTS]
    if twice := {name for name in names if names.count(name) > 1}:
        raise QueryError(f"{min(twice)}: given twice")
    request.state.query = asked.query
    return await unless_gone(request, search_index(service_of(request), index, asked))


async def search_batch(index: str, body: BatchRequest, request: Request) -> Response:
    """Many queries at once; one that is wrong fails alone."""
    service = service_of(request)
    most = service.settings.max_queries
    if len(body.queries) > most:
        raise TooLargeError(f"{len(body.queries)} queries in one batch; the most is {most}")
    await service.indexes.opened(index)
    service.engine.admit(len(body.queries))
    searches = [search_or_error(service, index, query) for query in body.queries]

    async def all_results() -> Content:
        return {"results": await asyncio.gather(*searches)}

    return await unless_gone(request, all_results())


async def search_or_error(service: Service, index: str, query: Any) -> Content:
    """The result of one query of a batch, or its error; it was admitted with the others."""
    try:
        body = SearchRequest.model_validate(query)
        return await search_index(service, index, body, admitted=True)
    except ValidationError as error:
        message = first_mistake(error.errors())
        return {"error": {"type": "invalid_request", "message": message}}
    except TrimseekError as error:
        _, kind, message = describe_error(error)
        return {"error": {"type": kind, "message": message}}


async def search_index(
    service: Service, index: str, body: SearchRequest, *, admitted: bool = False
) -> Content:
    """``SearchAnswer`` of a request."""
    settings, options = service.settings, body.options()
    k = body.k if "k" in body.model_fields_set else min(body.k, settings.max_k)
    check_limits(settings, body.query, k, options.where)
    if body.rerank:
        if options.rerank_depth > settings.max_rerank_depth:
            raise QueryError(
                f"rerank_depth is {options.rerank_depth}; the most is {settings.max_rerank_depth}"
            )
        scorer = await run_in_threadpool(service.cross_encoder)
        options = replace(options, scorer=scorer)
    searcher = await service.indexes.opened(index)
    results = await service.engine.search(
        searcher, body.query, k, options, settings.deadline, admitted=admitted
    )
    metrics.HITS.labels(index).inc(len(results.hits))
    fields = None
    if body.include is not None or body.exclude:
        include = None if body.include is None else frozenset(body.include)
        fields = MetadataFields(include, frozenset(body.exclude))
    return {"index": index, **search_content(results, fields)}


def check_limits(
    settings: ServiceSettings, query: str = "", k: int = 1, where: Filter | None = None
) -> None:
    """QueryError for what is beyond the service's limits."""
    if len(query) > settings.max_query:
        raise QueryError(
            f"the query has {len(query):,} characters; the most is {settings.max_query:,}"
        )
    if k > settings.max_k:
        raise QueryError(f"k is {k}; the most is {settings.max_k}")
    if where is not None and depth_of(where) > settings.max_filter_depth:
        raise QueryError(f"the filter is more than {settings.max_filter_depth} levels deep")


async def compare(index: str, body: CompareRequest, request: Request) -> Response:
    """One query through two encoders: full against compressed, side by side."""
    service = service_of(request)
    check_limits(service.settings, body.query, body.k)
    searcher = await service.indexes.opened(index)
    known = query_encoders(searcher)
    names = body.encoders or [next(iter(known)), own_encoder(searcher)]
    for name in names:
        if name not in known:
            raise QueryError(f"encoder {name!a} is not one of {', '.join(known)}")
    deadline = service.settings.deadline
    results = [
        await service.engine.run(
            *(search_with, service, searcher, known[name], body.query, body.k),
            seconds=deadline,
            searcher=searcher,
        )
        for name in names
    ]
    first, second = ({hit.id for hit in result.hits} for result in results)
    return as_json(
        {
            "index": index,
            "results": [
                {
                    "encoder": name,
                    "hits": [hit_content(hit) for hit in result.hits],
                    "timing_ms": result.timing_ms._asdict(),
                }
                for name, result in zip(names, results, strict=True)
            ],
            "shared": len(first & second),
        }
    )


def search_with(
    service: Service, searcher: ReaderSearcher, name: str, query: str, k: int
) -> Results:
    """Search with another encoder of the index's space."""
    return searcher.search_with(service.query_encoder(name), query, k)


async def recommend(index: str, body: RecommendRequest, request: Request) -> Response:
    """Documents like some of the index and unlike others, or the items that follow a history."""
    service = service_of(request)
    asked, options = body.asked(), body.options()
    check_limits(service.settings, k=body.k, where=options.where)
    searcher = await service.indexes.opened(index)
    began = time.perf_counter()
    deadline = service.settings.deadline

    found = await service.engine.run(
        *(find_recommended, searcher, asked, body.k, options), seconds=deadline, searcher=searcher
    )
    elapsed = (time.perf_counter() - began) * 1e3
    return as_json(
        {
            "index": index,
            **recommend_content(found),
            "timing_ms": Timing(0.0, elapsed, elapsed)._asdict(),
        }
    )


async def facets(index: str, body: FacetsRequest, request: Request) -> Response:
    """How many documents have each value of a metadata field, the most frequent first."""
    service = service_of(request)
    fields = [parse_field(field) for field in body.fields]
    where = None if body.filter is None else from_json(body.filter)
    check_limits(service.settings, where=where)
    searcher = await service.indexes.opened(index)

    def count() -> Content:
        counted = {field_name(field): searcher.facets(field, where) for field in fields}
        warnings = list(searcher.warnings(where, fields))
        return {"index": index, "facets": facet_content(counted), "warnings": warnings}

    deadline = service.settings.deadline
    return as_json(await service.engine.run(count, seconds=deadline, searcher=searcher))


async def unless_gone(request: Request, work: Coroutine[Any, Any, Content | Response]) -> Response:
    """The answer of some work, which is cancelled if the client leaves before."""
    loop, answering = asyncio.get_running_loop(), asyncio.current_task()
    assert answering is not None  # noqa: S101 - in a coroutine
    watchers: list[asyncio.Task[None]] = []
    left = False

    async def watch() -> None:
        nonlocal left
        await disconnected(request)
        left = answering.cancel()

    timer = loop.call_later(WATCH_AFTER, lambda: watchers.append(loop.create_task(watch())))
    try:
        content = await work
        return content if isinstance(content, Response) else as_json(content)
    except asyncio.CancelledError:
        if not left:
            raise
        answering.uncancel()
        return Response(status_code=CLIENT_CLOSED)
    finally:
        timer.cancel()
        for watcher in watchers:
            watcher.cancel()


async def disconnected(request: Request) -> None:
    """Wait until the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


BASE = "/v1/indexes/{index}"
ENDPOINTS = (
    Endpoint(
        "POST",
        f"{BASE}/search",
        Role.READ,
        search,
        answer=SearchAnswer,
        takes_query=True,
        direct_body=SearchRequest,
    ),
    Endpoint(
        "GET", f"{BASE}/search", Role.READ, search_by_url, answer=SearchAnswer, takes_query=True
    ),
    Endpoint("POST", f"{BASE}/search/batch", Role.READ, search_batch, answer=BatchAnswer),
    Endpoint("POST", f"{BASE}/compare", Role.READ, compare, answer=CompareAnswer),
    Endpoint("POST", f"{BASE}/recommend", Role.READ, recommend, answer=RecommendAnswer),
    Endpoint("POST", f"{BASE}/facets", Role.READ, facets, answer=FacetsAnswer),
)
