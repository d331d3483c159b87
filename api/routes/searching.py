"""Search, batches, comparisons, recommendations, facets."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.responses import Response

from api import metrics
from api.errors import TooLargeError, described, first_mistake
from api.indexes import own_encoder, query_encoders
from api.keys import Role
from api.routes.register import Endpoints, as_json
from api.schemas import (
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
)
from api.service import (
    Content,
    Fields,
    Service,
    facet_content,
    hit_content,
    search_content,
)
from encoders import QueryEncoder
from indexer.filters import Filter, depth_of, field_name, from_json, parse_field
from search import Searcher
from search.hits import FacetValue, Results, Timing
from search.options import MOST_HITS
from search.recommend import Examples
from search.recommend import recommend as find_alike
from trimseek.errors import QueryError, TrimseekError

PATIENCE = 0.02  # seconds, after which it is worth looking whether the client is still there
CLIENT_CLOSED = 499  # nginx's word for it


def add_searching(endpoints: Endpoints, service: Service) -> None:
    settings, engine = service.settings, service.engine

    def check_limits(query: str = "", k: int = 1, where: Filter | None = None) -> None:
        if len(query) > settings.max_query:
            raise QueryError(
                f"the query has {len(query):,} characters; the most is {settings.max_query:,}"
            )
        if k > settings.max_k:
            raise QueryError(f"k is {k}; the most is {settings.max_k}")
        if where is not None and depth_of(where) > settings.max_filter_depth:
            raise QueryError(f"the filter is more than {settings.max_filter_depth} levels deep")

    async def one(index: str, request: SearchRequest, *, admitted: bool = False) -> Content:
        options = request.options()
        k = request.k if "k" in request.model_fields_set else min(request.k, settings.max_k)
        check_limits(request.query, k, options.where)
        searcher = service.indexes.get(index)
        results = await engine.search(
            searcher, request.query, k, options, settings.deadline, admitted=admitted
        )
        metrics.HITS.labels(index).inc(len(results.hits))
        fields = None
        if request.include is not None or request.exclude:
            include = None if request.include is None else frozenset(request.include)
            fields = Fields(include, frozenset(request.exclude))
        return search_content(index, results, fields)

    async def search(index: str, body: SearchRequest, request: Request) -> Response:
        """The documents that answer the query best."""
        request.state.query = body.query
        return await unless_gone(request, one(index, body))

    async def search_by_url(
        index: str,
        request: Request,
        q: Annotated[str, Query(description="What to look for.")],
        k: Annotated[int, Query(ge=1, le=MOST_HITS, description="How many hits.")] = 10,
    ) -> Response:
        """The same as POST, for a link or a browser."""
        request.state.query = q
        asked = SearchRequest.model_validate({"query": q, "k": k})
        return await unless_gone(request, one(index, asked))

    async def search_batch(index: str, body: BatchRequest, request: Request) -> Response:
        """Many queries at once; one that is wrong fails alone."""
        if len(body.queries) > settings.max_queries:
            raise TooLargeError(
                f"{len(body.queries)} queries in one batch; the most is {settings.max_queries}"
            )
        service.indexes.get(index)
        engine.admit(len(body.queries))

        async def attempt(query: Any) -> Content:
            try:
                return await one(index, SearchRequest.model_validate(query), admitted=True)
            except ValidationError as error:
                message = first_mistake(error.errors())
                return {"error": {"type": "invalid_request", "message": message}}
            except TrimseekError as error:
                _, kind, message = described(error)
                return {"error": {"type": kind, "message": message}}

        async def all_of_them() -> Content:
            return {"results": await asyncio.gather(*map(attempt, body.queries))}

        return await unless_gone(request, all_of_them())

    async def compare(index: str, body: CompareRequest) -> Response:
        """One query through two encoders: full against compressed, side by side."""
        check_limits(body.query, body.k)
        searcher = service.indexes.get(index)
        known = query_encoders(searcher)
        names = body.encoders or [next(iter(known)), own_encoder(searcher)]
        for name in names:
            if name not in known:
                raise QueryError(f"encoder {name!a} is not one of {', '.join(known)}")
        results = [
            await engine.run(
                ask_with,
                service,
                searcher,
                known[name],
                body.query,
                body.k,
                seconds=settings.deadline,
            )
            for name in names
        ]
        found = [{hit.id for hit in each.hits} for each in results]
        return as_json(
            {
                "index": index,
                "results": [
                    {
                        "encoder": name,
                        "hits": [hit_content(hit) for hit in each.hits],
                        "timing_ms": each.timing_ms._asdict(),
                    }
                    for name, each in zip(names, results, strict=True)
                ],
                "shared": len(found[0] & found[1]),
            }
        )

    async def recommend(index: str, body: RecommendRequest) -> Response:
        """Documents like some of the index and unlike others, by their stored vectors."""
        weights = None if body.weights is None else tuple(body.weights)
        examples = Examples(tuple(body.like), tuple(body.unlike), weights)
        options = body.options()
        check_limits(k=body.k, where=options.where)
        searcher = service.indexes.get(index)
        began = time.perf_counter()
        hits = await engine.run(
            find_alike, searcher, examples, body.k, options, seconds=settings.deadline
        )
        elapsed = (time.perf_counter() - began) * 1e3
        return as_json(
            {
                "index": index,
                "hits": [hit_content(hit) for hit in hits],
                "timing_ms": Timing(0.0, elapsed, elapsed)._asdict(),
            }
        )

    async def facets(index: str, body: FacetsRequest) -> Response:
        """How many documents have each value of a metadata field, the most frequent first."""
        fields = [parse_field(field) for field in body.fields]
        where = None if body.filter is None else from_json(body.filter)
        check_limits(where=where)
        searcher = service.indexes.get(index)

        def count() -> dict[str, list[FacetValue]]:
            return {field_name(each): searcher.facets(each, where) for each in fields}

        found = await engine.run(count, seconds=settings.deadline)
        return as_json({"index": index, "facets": facet_content(found)})

    base = "/v1/indexes/{index}"
    endpoints.add(
        "POST",
        f"{base}/search",
        Role.READ,
        search,
        answer=SearchAnswer,
        queries=True,
        direct=SearchRequest,
    )
    endpoints.add(
        "GET", f"{base}/search", Role.READ, search_by_url, answer=SearchAnswer, queries=True
    )
    endpoints.add("POST", f"{base}/search/batch", Role.READ, search_batch, answer=BatchAnswer)
    endpoints.add("POST", f"{base}/compare", Role.READ, compare, answer=CompareAnswer)
    endpoints.add("POST", f"{base}/recommend", Role.READ, recommend, answer=RecommendAnswer)
    endpoints.add("POST", f"{base}/facets", Role.READ, facets, answer=FacetsAnswer)


async def unless_gone(request: Request, work: Coroutine[Any, Any, Content]) -> Response:
    """The answer; where the client has left, the work is dropped and nobody hears of it."""
    loop, asking = asyncio.get_running_loop(), asyncio.current_task()
    assert asking is not None  # noqa: S101 - in a coroutine
    watching: list[asyncio.Task[None]] = []
    left = False

    async def watch() -> None:
        nonlocal left
        await disconnected(request)
        left = asking.cancel()

    timer = loop.call_later(PATIENCE, lambda: watching.append(loop.create_task(watch())))
    try:
        return as_json(await work)
    except asyncio.CancelledError:
        if not left:
            raise
        asking.uncancel()
        return Response(status_code=CLIENT_CLOSED)
    finally:
        timer.cancel()
        for each in watching:
            each.cancel()


async def disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def ask_with(service: Service, searcher: Searcher, name: str, query: str, k: int) -> Results:
    """Search by another encoder of the index's space."""
    encoder = service.encoder(name, "query")
    assert isinstance(encoder, QueryEncoder)  # noqa: S101 - of that role
    return searcher.search_with(encoder, query, k)
