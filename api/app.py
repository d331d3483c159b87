"""The HTTP service over opened indexes."""

import time
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query

from api import errors
from api.schemas import (
    DocumentAnswer,
    ErrorAnswer,
    Index,
    IndexList,
    RecommendAnswer,
    RecommendRequest,
    SearchAnswer,
    SearchRequest,
    Status,
    Timing,
)
from search import Results, Searcher
from search.options import MOST_HITS
from search.recommend import Examples
from search.recommend import recommend as find_alike
from trimseek import __version__
from trimseek.errors import EncoderError, UnknownIndexError

PROBE = "is anybody there?"
FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "A body that cannot be read"},
    404: {"model": ErrorAnswer, "description": "No such index or document"},
    422: {"model": ErrorAnswer, "description": "A request that makes no sense"},
    500: {"model": ErrorAnswer, "description": "The service failed"},
    503: {"model": ErrorAnswer, "description": "Not ready"},
}


def create_app(searchers: Mapping[str, Searcher]) -> FastAPI:
    """The service; ``searchers`` by the name of their index.

    Endpoints are plain functions, which FastAPI runs in threads: encoding and searching are
    native code that runs outside Python's lock.
    """
    # FastAPI's pages at /docs and /redoc load scripts from the net: only /openapi.json stays
    app = FastAPI(
        title="trimseek", version=__version__, responses=FAILURES, docs_url=None, redoc_url=None
    )
    errors.install(app)

    def searcher(index: str) -> Searcher:
        if index not in searchers:
            raise UnknownIndexError(f"no index {index!r}; there are: {', '.join(searchers)}")
        return searchers[index]

    @app.post("/v1/indexes/{index}/search")
    def search(index: str, request: SearchRequest) -> SearchAnswer:
        """The documents that answer the query best."""
        opened = searcher(index)
        return search_answer(index, opened.search(request.query, request.k, request.options()))

    @app.get("/v1/indexes/{index}/search")
    def search_by_url(
        index: str,
        q: Annotated[str, Query(description="What to look for.")],
        k: Annotated[int, Query(ge=1, le=MOST_HITS, description="How many hits.")] = 10,
    ) -> SearchAnswer:
        """The same as POST, for a link or a browser."""
        return search_answer(index, searcher(index).search(q, k))

    @app.post("/v1/indexes/{index}/recommend")
    def recommend(index: str, request: RecommendRequest) -> RecommendAnswer:
        """Documents like some of the index and unlike others, by their stored vectors."""
        started = time.perf_counter()
        weights = None if request.weights is None else tuple(request.weights)
        examples = Examples(tuple(request.like), tuple(request.unlike), weights)
        hits = find_alike(searcher(index), examples, request.k, request.options())
        return RecommendAnswer.model_validate(
            {"index": index, "hits": hits, "timing_ms": lookup_timing(started)},
            from_attributes=True,
        )

    @app.get("/v1/indexes")
    def list_indexes() -> IndexList:
        """The indexes that this service has."""
        started = time.perf_counter()
        indexes = [describe(name, opened) for name, opened in searchers.items()]
        return IndexList(indexes=indexes, timing_ms=lookup_timing(started))

    @app.get("/v1/indexes/{index}/documents/{id:path}")
    def get_document(index: str, id: str) -> DocumentAnswer:  # noqa: A002 - the URL's name for it
        """A document as it was indexed."""
        started = time.perf_counter()
        document = searcher(index).document(id)
        return DocumentAnswer(
            index=index,
            id=document.id,
            title=document.title,
            text=document.text,
            metadata=dict(document.metadata),
            timing_ms=lookup_timing(started),
        )

    @app.get("/healthz")
    def healthz() -> Status:
        """The process is alive."""
        return Status(status="alive")

    @app.get("/readyz")
    def readyz() -> Status:
        """Every index can be searched and its encoder encodes a probe."""
        for opened in searchers.values():
            opened.summary()
            if not np.isfinite(opened.encoder.encode([PROBE]).vectors).all():
                raise EncoderError(f"the encoder of {opened.name} gives no finite vector")
        return Status(status="ready")

    return app


def search_answer(index: str, results: Results) -> SearchAnswer:
    return SearchAnswer.model_validate({"index": index, **results._asdict()}, from_attributes=True)


def describe(name: str, searcher: Searcher) -> Index:
    summary = searcher.summary()
    return Index(
        name=name,
        documents=summary.documents,
        chunks=summary.chunks,
        encoder=summary.encoder,
        query_encoder=searcher.encoder.card.name,
        space=summary.space,
        dim=summary.dim,
    )


def lookup_timing(started: float) -> Timing:
    """The timing of an answer for which nothing was encoded."""
    elapsed = (time.perf_counter() - started) * 1e3
    return Timing(encode=0.0, search=elapsed, total=elapsed)
