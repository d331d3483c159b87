"""Documents: put, get, patch, delete."""

from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from api.errors import TooLargeError, first_mistake, is_text
from api.keys import Role
from api.routes.register import Endpoints, as_json
from api.schemas import (
    DeleteAnswer,
    DeleteRequest,
    DocumentAnswer,
    NewDocument,
    PatchRequest,
    PutAnswer,
    PutRequest,
)
from api.service import Content, Service
from api.tasks import TaskKind
from api.writing import Written
from indexer.documents import Document
from indexer.filters import from_json
from trimseek.errors import CorpusError, QueryError, UnknownDocumentError


def add_documents(endpoints: Endpoints, service: Service) -> None:
    settings, writing = service.settings, service.writing

    def parse(content: Any, place: str) -> Document:
        """CorpusError says what is wrong with one document."""
        try:
            new = NewDocument.model_validate(content)
        except ValidationError as error:
            raise CorpusError(first_mistake(error.errors(), place)) from None
        if len(new.text) + len(new.title) > settings.max_document:
            raise CorpusError(f"{place}: more than {settings.max_document:,} characters")
        return Document(new.id, new.title, new.text, new.metadata, where=place)

    async def put(index: str, body: PutRequest) -> Response:
        """Add documents, or replace those of their ids; durable when it is answered.

        Doing it again changes nothing. What is unchanged is not embedded anew.
        """
        if len(body.documents) > settings.max_documents:
            raise TooLargeError(
                f"{len(body.documents)} documents at once; the most is {settings.max_documents}"
            )
        folder = service.indexes.get(index).folder
        documents: list[Document] = []
        results: list[Written | None] = []
        for i, content in enumerate(body.documents):
            try:
                documents.append(parse(content, f"documents[{i}]"))
                results.append(None)
            except CorpusError as error:
                results.append(Written(id_of(content), "failed", str(error)))
        written = iter(
            await writing.run(
                writing.put, folder, index, documents,
                count=len(documents), seconds=settings.deadline,
            )
            if documents
            else []
        )  # fmt: skip
        done = [each or next(written) for each in results]
        if documents:
            await refresh(index)
        return as_json({"index": index, "results": [each._asdict() for each in done]})

    async def refresh(index: str) -> None:
        """A new snapshot in the background, when enough was written."""
        folder = service.indexes.get(index).folder
        if await writing.run(writing.is_stale, folder, seconds=settings.deadline):
            service.tasks.start(index, folder, TaskKind.SNAPSHOT)

    async def get(index: str, id: str) -> Response:  # noqa: A002 - the URL's name for it
        """A document as it was indexed."""
        searcher = service.indexes.get(index)
        document = await service.engine.run(searcher.document, id, seconds=settings.deadline)
        return as_json(content_of(index, document))

    async def patch(index: str, id: str, body: PatchRequest) -> Response:  # noqa: A002
        """Change metadata, without embedding anything; durable when it is answered."""
        searcher = service.indexes.get(index)
        try:
            document = await writing.run(
                writing.patch, searcher.folder, id, body.metadata, seconds=settings.deadline
            )
        except UnknownDocumentError:
            raise UnknownDocumentError(f"index {index!r} has no document {id!a}") from None
        return as_json(content_of(index, document))

    async def delete(index: str, id: str) -> Response:  # noqa: A002
        """Delete a document; 0 are deleted if it is gone already."""
        searcher = service.indexes.get(index)
        deleted = await writing.run(
            writing.delete, searcher.folder, [id], seconds=settings.deadline
        )
        return as_json({"index": index, "deleted": deleted})

    async def delete_some(index: str, body: DeleteRequest) -> Response:
        """Delete documents by their ids, or all that a filter lets through."""
        if (body.ids is None) == (body.filter is None):
            raise QueryError('say which documents: "ids" or "filter", one of the two')
        folder = service.indexes.get(index).folder
        if body.ids is not None:
            if len(body.ids) > settings.max_documents:
                raise TooLargeError(f"{len(body.ids)} ids; the most is {settings.max_documents}")
            work = writing.run(
                writing.delete, folder, body.ids, count=len(body.ids), seconds=settings.deadline
            )
        else:
            where = from_json(body.filter)
            work = writing.run(writing.delete_where, folder, where, seconds=settings.deadline)
        return as_json({"index": index, "deleted": await work})

    base = "/v1/indexes/{index}/documents"
    endpoints.add("POST", base, Role.WRITE, put, answer=PutAnswer)
    endpoints.add("POST", f"{base}/delete", Role.WRITE, delete_some, answer=DeleteAnswer)
    endpoints.add("GET", f"{base}/{{id:path}}", Role.READ, get, answer=DocumentAnswer)
    endpoints.add("PATCH", f"{base}/{{id:path}}", Role.WRITE, patch, answer=DocumentAnswer)
    endpoints.add("DELETE", f"{base}/{{id:path}}", Role.WRITE, delete, answer=DeleteAnswer)


def id_of(content: Any) -> str | None:
    """What a document that failed is called, as far as that can be told."""
    found = content.get("id") if isinstance(content, dict) else None
    return found if isinstance(found, str) and is_text(found) else None


def content_of(index: str, document: Document) -> Content:
    return {
        "index": index,
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
    }
