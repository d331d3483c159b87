"""Errors as HTTP answers: one table, one JSON shape."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from trimseek.errors import (
    EncoderError,
    IndexFolderError,
    QueryError,
    StorageError,
    TrimseekError,
    UnknownDocumentError,
    UnknownIndexError,
)

logger = logging.getLogger("trimseek.api")

# class -> (status, type in the answer); the first that fits counts
STATUS: dict[type[TrimseekError], tuple[int, str]] = {
    QueryError: (422, "invalid_request"),
    UnknownIndexError: (404, "unknown_index"),
    UnknownDocumentError: (404, "unknown_document"),
    StorageError: (503, "storage"),
    IndexFolderError: (503, "damaged_index"),
    EncoderError: (503, "encoder"),
    TrimseekError: (500, "internal"),
}


def answer(status: int, kind: str, message: str, headers: Any = None) -> JSONResponse:
    content = {"error": {"type": kind, "message": message}}
    return JSONResponse(content, status_code=status, headers=headers)


def trimseek_error(_: Request, error: Exception) -> JSONResponse:
    status, kind = next(entry for cls, entry in STATUS.items() if isinstance(error, cls))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s", error)
        return answer(status, kind, "the index cannot be read now; see the service's log")
    return answer(status, kind, str(error))


def invalid_request(_: Request, error: Exception) -> JSONResponse:
    """The first thing wrong with a request: where it is and what it should be."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return answer(422, "invalid_request", f"{place}: {first['msg']}")


def http_error(_: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return answer(error.status_code, kind, str(error.detail), error.headers)


def unexpected_error(_: Request, error: Exception) -> JSONResponse:
    logger.error("unexpected error", exc_info=error)
    return answer(500, "internal", "unexpected error; see the service's log")


def install(app: FastAPI) -> None:
    app.add_exception_handler(TrimseekError, trimseek_error)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, unexpected_error)
