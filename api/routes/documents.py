"""Documents: put, get, patch, delete."""

from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from trimseek.api.endpoints import Endpoint, as_json
from trimseek.api.errors import TooLargeError, first_mistake, is_text
from trimseek.api.keys import Role
from trimseek.api.routes.searching import check_limits
from trimseek.api.schemas import (
    CountAnswer,
    CountRequest,
    DeleteAnswer,
    DeleteRequest,
    DocumentAnswer,
    GetAnswer,
    GetRequest,
    ListAnswer,
    ListRequest,
    NewDocument,
    PatchRequest,
    PutAnswer,
    PutRequest,
    TaskKind,
    UrlListRequest,
)
from trimseek.api.service import Service, service_of
from trimseek.errors import QueryError, UnknownDocumentError
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import from_json
from trimseek.indexer.writer import Written
from trimseek.search.content import Content, document_content


async def put(index: str, body: PutRequest, request: Request) -> Response:
    """Add documents, or replace those of their ids; durable when it is answered.

    Doing it again changes nothing. What is unchanged is not embedded anew.
    """
    service = service_of(request)
    settings, writing = service.settings, service.writing
    if len(body.documents) > settings.max_documents:
        raise TooLargeError(
            f"{len(body.documents)} documents at once; the most is {settings.max_documents}"
        )
    folder = service.indexes.folder(index)
    entries = [
        parse_document(content, f"documents[{i}]", settings.max_document)
        for i, content in enumerate(body.documents)
    ]
    results = await writing.run(
        writing.put, folder, index, entries, count=len(entries), seconds=settings.deadline
    )
    await refresh(service, index)
    return as_json({"index": index, "results": [result._asdict() for result in results]})


def parse_document(content: Any, place: str, max_characters: int) -> Document | Written:
    """A document of a request, or why it is none."""
    try:
        new = NewDocument.model_validate(content)
    except ValidationError as error:
        return Written(id_of(content), "failed", first_mistake(error.errors(), place))
    if len(new.text) + len(new.title) > max_characters:
        reason = f"{place}: more than {max_characters:,} characters"
        return Written(id_of(content), "failed", reason)
    vector = None if new.vector is None else tuple(new.vector)
    return Document(new.id, new.title, new.text, new.metadata, where=place, vector=vector)


def id_of(content: Any) -> str | None:
    """The id of a document that cannot be read, as far as it has one."""
    id_ = content.get("id") if isinstance(content, dict) else None
    return id_ if isinstance(id_, str) and is_text(id_) else None


async def refresh(service: Service, index: str) -> None:
    """Begin a new snapshot in the background, if enough was written for one."""
    folder, deadline = service.indexes.folder(index), service.settings.deadline
    if await service.writing.run(service.writing.is_stale, folder, seconds=deadline):
        await run_in_threadpool(service.tasks.start, index, folder, TaskKind.SNAPSHOT)


async def get(index: str, id: str, request: Request) -> Response:  # noqa: A002 - the URL's name
    """A document as it was indexed."""
    service = service_of(request)
    searcher = await service.indexes.opened(index)
    deadline = service.settings.deadline
    document = await service.engine.run(searcher.document, id, seconds=deadline, searcher=searcher)
    return as_json({"index": index, **document_content(document)})


async def patch(
    index: str,
    id: str,  # noqa: A002
    body: PatchRequest,
    request: Request,
) -> Response:
    """Change metadata, without embedding anything; durable when it is answered."""
    service = service_of(request)
    folder, writing = service.indexes.folder(index), service.writing
    deadline = service.settings.deadline
    try:
        document = await writing.run(writing.patch, folder, id, body.metadata, seconds=deadline)
    except UnknownDocumentError:
        raise UnknownDocumentError(f"index {index!r} has no document {id!a}") from None
    return as_json({"index": index, **document_content(document)})


async def delete(index: str, id: str, request: Request) -> Response:  # noqa: A002
    """Delete a document; 0 are deleted if it is gone already."""
    service = service_of(request)
    folder, writing = service.indexes.folder(index), service.writing
    deadline = service.settings.deadline
    deleted = await writing.run(writing.delete, folder, [id], seconds=deadline)
    return as_json({"index": index, "deleted": deleted})


async def delete_several(index: str, body: DeleteRequest, request: Request) -> Response:
    """Delete documents by their ids, or all that a filter lets through."""
    service = service_of(request)
    settings, writing = service.settings, service.writing
    if (body.ids is None) == (body.filter is None):
        raise QueryError('say which documents: "ids" or "filter", one of the two')
    folder, warnings = service.indexes.folder(index), list[str]()
    if body.ids is None:
        where = from_json(body.filter)
        searcher = await service.indexes.opened(index)
        noted = service.engine.run(
            searcher.warnings, where, seconds=settings.deadline, searcher=searcher
        )
        warnings += await noted
        work = writing.run(writing.delete_where, folder, where, seconds=settings.deadline)
    elif len(body.ids) > settings.max_documents:
        raise TooLargeError(f"{len(body.ids)} ids; the most is {settings.max_documents}")
    else:
        work = writing.run(
            writing.delete, folder, body.ids, count=len(body.ids), seconds=settings.deadline
        )
    return as_json({"index": index, "deleted": await work, "warnings": warnings})


async def get_several(index: str, body: GetRequest, request: Request) -> Response:
    """Documents as they were indexed, in the order of their ids; null for what is not there."""
    service = service_of(request)
    settings = service.settings
    if len(body.ids) > settings.max_documents:
        raise TooLargeError(f"{len(body.ids)} ids; the most is {settings.max_documents}")
    searcher = await service.indexes.opened(index)
    found = await service.engine.run(
        searcher.documents, body.ids, seconds=settings.deadline, searcher=searcher
    )
    documents = [document and document_content(document) for document in found]
    return as_json({"index": index, "documents": documents})


async def list_several(index: str, body: ListRequest, request: Request) -> Response:
    """Documents in the order in which they came, page by page.

    Each one that is there all the time is given once, whatever is written meanwhile.
    """
    service, where = service_of(request), body.where()
    check_limits(service.settings, where=where)
    searcher = await service.indexes.opened(index)

    def read() -> Content:
        page = searcher.page(where, body.limit, body.cursor)
        return {
            "index": index,
            "documents": [document_content(document) for document in page.documents],
            "cursor": page.cursor,
            "warnings": list(searcher.warnings(where)),
        }

    deadline = service.settings.deadline
    return as_json(await service.engine.run(read, seconds=deadline, searcher=searcher))


async def list_by_url(
    index: str, asked: Annotated[UrlListRequest, Query()], request: Request
) -> Response:
    """The same as POST, for a link or a browser."""
    return await list_several(index, asked, request)


async def count(index: str, body: CountRequest, request: Request) -> Response:
    """How many documents there are, or how many a filter lets through."""
    service, where = service_of(request), body.where()
    check_limits(service.settings, where=where)
    searcher = await service.indexes.opened(index)

    def read() -> Content:
        counted, warnings = searcher.count(where), list(searcher.warnings(where))
        return {"index": index, "documents": counted, "warnings": warnings}

    deadline = service.settings.deadline
    return as_json(await service.engine.run(read, seconds=deadline, searcher=searcher))


BASE = "/v1/indexes/{index}/documents"
ENDPOINTS = (
    Endpoint("POST", BASE, Role.WRITE, put, answer=PutAnswer),
    Endpoint("GET", BASE, Role.READ, list_by_url, answer=ListAnswer),
    Endpoint("POST", f"{BASE}/list", Role.READ, list_several, answer=ListAnswer),
    Endpoint("POST", f"{BASE}/get", Role.READ, get_several, answer=GetAnswer),
    Endpoint("POST", f"{BASE}/count", Role.READ, count, answer=CountAnswer),
    Endpoint("POST", f"{BASE}/delete", Role.WRITE, delete_several, answer=DeleteAnswer),
    Endpoint("GET", f"{BASE}/{{id:path}}", Role.READ, get, answer=DocumentAnswer),
    Endpoint("PATCH", f"{BASE}/{{id:path}}", Role.WRITE, patch, answer=DocumentAnswer),
    Endpoint("DELETE", f"{BASE}/{{id:path}}", Role.WRITE, delete, answer=DeleteAnswer),
)
