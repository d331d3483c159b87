"""The HTTP application over open indexes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from trimseek import __version__
from trimseek.api import errors
from trimseek.api.endpoints import SECURITY_SCHEMES, TAGS
from trimseek.api.gate import Gate
from trimseek.api.routes import (
    administration,
    documents,
    embedding,
    reranking,
    searching,
    system,
)
from trimseek.api.service import Service

# In the order of /openapi.json and of the page /docs.
ENDPOINTS = (
    *searching.ENDPOINTS,
    *documents.ENDPOINTS,
    *administration.ENDPOINTS,
    *embedding.ENDPOINTS,
    *reranking.ENDPOINTS,
    *system.ENDPOINTS,
)


class Application(FastAPI):
    """Says in /openapi.json how a key is sent, too: the gate looks at it, not FastAPI."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document."""
        document = super().openapi()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        return document


def create_app(service: Service) -> FastAPI:
    """The application; it closes the service when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # FastAPI's own pages load scripts from the net: /docs is ours
    app = Application(
        title="trimseek",
        version=__version__,
        description="Semantic search on a CPU budget.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send clients to whatever their Host header says
        lifespan=lifespan,
        openapi_tags=[tag._asdict() for tag in TAGS.values()],
        servers=[{"url": service.settings.root_path}] if service.settings.root_path else None,
    )
    app.state.service = service
    errors.install(app)
    for endpoint in ENDPOINTS:
        endpoint.register(app, with_keys=bool(service.keys))
    app.add_middleware(
        Gate,
        endpoints=ENDPOINTS,
        settings=service.settings,
        access=service.access,
        engine=service.engine,
    )
    if service.settings.origins:  # outermost: browsers ask before they send a key
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(service.settings.origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
        )
    return app
