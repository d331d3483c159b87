"""Indexes and tasks: list, describe, create, drop; long work in the background."""

from dataclasses import asdict

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api import metrics
from trimseek.api.endpoints import Endpoint, as_json
from trimseek.api.errors import describe_error
from trimseek.api.indexes import check_known, query_encoders, shown
from trimseek.api.keys import Role
from trimseek.api.schemas import (
    CreateRequest,
    Dropped,
    Index,
    IndexAnswer,
    IndexList,
    TaskAnswer,
    TaskKind,
    TaskList,
    TaskRequest,
)
from trimseek.api.service import index_content, service_of
from trimseek.api.tasks import Task
from trimseek.errors import QueryError
from trimseek.search.content import Content

CARD_FIELDS = ("pooling", "dim", "max_tokens", "recipe")


def list_indexes(request: Request) -> Response:
    """The indexes that this service has."""
    service = service_of(request)
    working, damaged = service.indexes.all()
    reranker = service.settings.reranker
    return as_json(
        {
            "indexes": [index_content(searcher) for searcher in working],
            "damaged": {name: describe_error(error)[2] for name, error in damaged.items()},
            "reranker": None if reranker is None else shown(reranker),
        }
    )


def describe(index: str, request: Request) -> Response:
    """One index: its size, its encoders, how long its queries take."""
    searcher = service_of(request).indexes.get(index)
    card = searcher.encoder.card
    fields = {name: getattr(card, name) for name in CARD_FIELDS}
    return as_json(
        index_content(searcher)
        | {
            "encoders": list(query_encoders(searcher)),
            "fields": searcher.fields(),
            "latency_ms": metrics.percentiles(),
            "card": {"precision": card.precision.value, **fields},
        }
    )


async def create(index: str, body: CreateRequest, request: Request) -> Response:
    """Make an empty index; 201 if it is new, 200 if it is there already with that encoder."""
    indexes = service_of(request).indexes
    made = await run_in_threadpool(
        indexes.create,
        index,
        body.encoder,
        body.facets,
        body.kind,
        body.language,
        (body.query_prompt, body.document_prompt),
    )
    content = await run_in_threadpool(index_content, await indexes.opened(index))
    return as_json(content, 201 if made else 200)


async def drop(index: str, request: Request) -> Response:
    """Delete an index and all that is in it."""
    service = service_of(request)
    indexes, writing = service.indexes, service.writing
    folder = indexes.droppable(index)
    await writing.run(writing.drop, folder, indexes.drop, seconds=service.settings.deadline)
    return as_json({"dropped": index})


def start_task(index: str, body: TaskRequest, request: Request) -> Response:
    """Begin long work; the answer says its id."""
    service = service_of(request)
    folder = service.indexes.folder(index)
    if (body.kind is TaskKind.REEMBED) != (body.encoder is not None):
        raise QueryError('"encoder" goes with a reembed task, and with no other')
    if body.encoder is not None:
        check_known(body.encoder)
    task = service.tasks.start(index, folder, body.kind, body.encoder)
    return as_json(task_content(task), 202)


def list_tasks(request: Request) -> Response:
    """The tasks since the service started."""
    return as_json({"tasks": [task_content(task) for task in service_of(request).tasks.all()]})


def get_task(task: str, request: Request) -> Response:
    """How far a task is."""
    return as_json(task_content(service_of(request).tasks.get(task)))


def task_content(task: Task) -> Content:
    """``schemas.TaskAnswer`` of a task."""
    return {name: value for name, value in asdict(task).items() if name != "process"}


BASE = "/v1/indexes"
INDEX = f"{BASE}/{{index}}"
ENDPOINTS = (
    Endpoint("GET", BASE, Role.READ, list_indexes, answer=IndexList),
    Endpoint("GET", INDEX, Role.READ, describe, answer=IndexAnswer),
    Endpoint("PUT", INDEX, Role.ADMIN, create, answer=Index, other_statuses=(201,)),
    Endpoint("DELETE", INDEX, Role.ADMIN, drop, answer=Dropped),
    Endpoint("POST", f"{INDEX}/tasks", Role.ADMIN, start_task, answer=TaskAnswer, status=202),
    Endpoint("GET", "/v1/tasks", Role.READ, list_tasks, answer=TaskList),
    Endpoint("GET", "/v1/tasks/{task}", Role.READ, get_task, answer=TaskAnswer),
)
