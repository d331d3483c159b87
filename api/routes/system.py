"""The page, its documentation, health and metrics."""

from pathlib import Path

import numpy as np
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, Response

from api import metrics
from api.docs import documentation
from api.errors import DeadlineError
from api.keys import Role
from api.routes.register import Endpoints, as_json
from api.schemas import Status
from api.service import Service
from trimseek.errors import EncoderError

PROBE = "is anybody there?"
PAGE = Path(__file__).parent.parent / "page"
KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
CACHED = {"Cache-Control": "no-cache"}  # asked for again each time, and answered with 304


def add_system(endpoints: Endpoints, service: Service, app: FastAPI) -> None:
    async def healthz() -> Response:
        """The process is alive."""
        return as_json({"status": "alive"})

    def probe() -> None:
        for searcher in service.indexes.all():
            searcher.summary()
            if not np.isfinite(searcher.encoder.encode([PROBE]).vectors).all():
                raise EncoderError(f"the encoder of {searcher.name} gives no finite vector")

    async def readyz() -> Response:
        """Every index can be searched and its encoder encodes; 503 once the process is to end."""
        if service.draining.is_set():
            raise DeadlineError("the service is ending")
        await run_in_threadpool(probe)
        return as_json({"status": "ready"})

    async def scrape() -> Response:
        """For Prometheus."""

        def now() -> bytes:
            return metrics.exposition(each.summary() for each in service.indexes.all())

        content = await run_in_threadpool(now)
        return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def docs() -> Response:
        """The API for people to read, with an example of each call."""
        return HTMLResponse(documentation(app.openapi()))

    async def openapi() -> Response:
        """The API for programs to read."""
        return as_json(app.openapi())

    endpoints.add("GET", "/healthz", Role.NONE, healthz, answer=Status)
    endpoints.add("GET", "/readyz", Role.NONE, readyz, answer=Status)
    endpoints.add("GET", "/metrics", Role.READ, scrape, kind="text/plain")
    endpoints.add("GET", "/openapi.json", Role.NONE, openapi, listed=False)
    endpoints.add("GET", "/docs", Role.NONE, docs, listed=False)
    for path in sorted(PAGE.iterdir()):
        url = "/" if path.name == "index.html" else f"/{path.name}"
        endpoints.add("GET", url, Role.NONE, file_endpoint(path), listed=False)


def file_endpoint(path: Path):  # type: ignore[no-untyped-def]
    async def file() -> Response:
        return FileResponse(path, media_type=KINDS[path.suffix], headers=CACHED)

    return file
