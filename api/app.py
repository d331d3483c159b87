"""The HTTP application over open indexes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import errors
from api.gate import Gate
from api.routes.administration import add_administration
from api.routes.documents import add_documents
from api.routes.embedding import add_embedding
from api.routes.register import Endpoints
from api.routes.searching import add_searching
from api.routes.system import add_system
from api.service import Service
from trimseek import __version__


def create_app(service: Service) -> FastAPI:
    """The application; it closes the service when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # FastAPI's own pages load scripts from the net: /docs is ours
    app = FastAPI(
        title="trimseek",
        version=__version__,
        description="Semantic search on a CPU budget.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    endpoints = Endpoints(app)
    add_searching(endpoints, service)
    add_documents(endpoints, service)
    add_administration(endpoints, service)
    add_embedding(endpoints, service)
    add_system(endpoints, service, app)
    app.state.entries = tuple(endpoints.entries)
    app.add_middleware(
        Gate,
        entries=app.state.entries,
        settings=service.settings,
        keys=service.keys,
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
