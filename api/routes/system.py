"""The page, its documentation, health and metrics."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, Response

from trimseek.api import metrics
from trimseek.api.docs import documentation
from trimseek.api.endpoints import HTML, Endpoint, as_json
from trimseek.api.errors import NotReadyError
from trimseek.api.keys import Role
from trimseek.api.schemas import Status
from trimseek.api.service import Service, service_of

PAGE = Path(__file__).resolve().parent.parent / "page"
MEDIA_TYPES = {
    ".html": HTML,
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
REVALIDATED = {"Cache-Control": "no-cache"}  # browsers ask each time, and get 304


async def healthz() -> Response:
    """The process is alive."""
    return as_json({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Indexes can be searched and their encoders encode; 503 once the process is to end."""
    service = service_of(request)
    if service.draining.is_set():
        raise NotReadyError("the service is ending")
    await run_in_threadpool(probe, service)
    return as_json({"status": "ready"})


def probe(service: Service) -> None:
    """Raise what keeps every index from being searched; a damaged one harms itself alone."""
    working, damaged = service.indexes.all()
    if damaged and not working:
        raise next(iter(damaged.values()))
    for searcher in working:
        searcher.probe()


async def scrape(request: Request) -> Response:
    """For Prometheus."""
    indexes = service_of(request).indexes

    def exposition() -> bytes:
        return metrics.exposition(searcher.summary() for searcher in indexes.all().working)

    content = await run_in_threadpool(exposition)
    return Response(content, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def docs(request: Request) -> Response:
    """The API for people to read, with an example of each call."""
    root = service_of(request).settings.root_path
    return HTMLResponse(documentation(request.app.openapi(), root))


async def openapi(request: Request) -> Response:
    """The API for programs to read."""
    return as_json(request.app.openapi())


def file_endpoint(path: Path) -> Callable[[], Awaitable[Response]]:
    """What answers with a file of the page."""

    async def file() -> Response:
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=REVALIDATED)

    return file


ENDPOINTS = (
    Endpoint("GET", "/healthz", Role.NONE, healthz, answer=Status),
    Endpoint("GET", "/readyz", Role.NONE, readyz, answer=Status),
    Endpoint("GET", "/metrics", Role.READ, scrape, media_type="text/plain"),
    Endpoint("GET", "/openapi.json", Role.NONE, openapi, listed=False),
    Endpoint("GET", "/docs", Role.NONE, docs, listed=False, media_type=HTML),
    *(
        Endpoint(
            "GET",
            "/" if path.name == "index.html" else f"/{path.name}",
            Role.NONE,
            file_endpoint(path),
            listed=False,
            media_type=MEDIA_TYPES[path.suffix],
        )
        for path in sorted(PAGE.iterdir())
    ),
)
