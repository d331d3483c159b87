"""Indexes and tasks: list, describe, create, drop; long work in the background."""

from dataclasses import asdict

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from api import metrics
from api.indexes import check_known, query_encoders
from api.keys import Role
from api.routes.register import Endpoints, as_json
from api.schemas import (
    CreateRequest,
    Dropped,
    Index,
    IndexAnswer,
    IndexList,
    TaskAnswer,
    TaskList,
    TaskRequest,
)
from api.service import Service, index_content
from api.tasks import TaskKind
from trimseek.errors import QueryError

CARD_SHOWN = ("precision", "pooling", "dim", "max_tokens", "recipe")


def add_administration(endpoints: Endpoints, service: Service) -> None:
    indexes = service.indexes

    def list_indexes() -> Response:
        """The indexes that this service has."""
        return as_json({"indexes": [index_content(each) for each in indexes.all()]})

    def describe(index: str) -> Response:
        """One index: its size, its encoders, how long its queries take."""
        searcher = indexes.get(index)
        card = asdict(searcher.encoder.card)
        return as_json(
            index_content(searcher)
            | {
                "encoders": list(query_encoders(searcher)),
                "latency_ms": metrics.percentiles(),
                "card": {name: card[name] for name in CARD_SHOWN if name in card},
            }
        )

    async def create(index: str, body: CreateRequest) -> Response:
        """Make an empty index; 201 if it is new, 200 if it is there as it is asked for."""
        made = await run_in_threadpool(indexes.create, index, body.encoder, body.facets, body.kind)
        content = await run_in_threadpool(index_content, indexes.get(index))
        return as_json(content, 201 if made else 200)

    async def drop(index: str) -> Response:
        """Delete an index and all that is in it."""
        await service.writing.run(indexes.drop, index, seconds=service.settings.deadline)
        return as_json({"dropped": index})

    def start(index: str, body: TaskRequest) -> Response:
        """Begin long work; the answer says its id."""
        searcher = indexes.get(index)
        if (body.kind is TaskKind.REEMBED) != (body.encoder is not None):
            raise QueryError('"encoder" goes with a reembed task, and with no other')
        if body.encoder is not None:
            check_known(body.encoder)
        task = service.tasks.start(index, searcher.folder, body.kind, body.encoder)
        return as_json(asdict(task), 202)

    def list_tasks() -> Response:
        """What was begun since this process started."""
        return as_json({"tasks": [asdict(each) for each in service.tasks.all()]})

    def get_task(task: str) -> Response:
        """How far a task is."""
        return as_json(asdict(service.tasks.get(task)))

    base = "/v1/indexes"
    endpoints.add("GET", base, Role.READ, list_indexes, answer=IndexList)
    endpoints.add("GET", f"{base}/{{index}}", Role.READ, describe, answer=IndexAnswer)
    endpoints.add("PUT", f"{base}/{{index}}", Role.ADMIN, create, answer=Index, also=(201,))
    endpoints.add("DELETE", f"{base}/{{index}}", Role.ADMIN, drop, answer=Dropped)
    endpoints.add(
        "POST", f"{base}/{{index}}/tasks", Role.ADMIN, start, answer=TaskAnswer, status=202
    )
    endpoints.add("GET", "/v1/tasks", Role.READ, list_tasks, answer=TaskList)
    endpoints.add("GET", "/v1/tasks/{task}", Role.READ, get_task, answer=TaskAnswer)
