"""Errors as HTTP answers: one table, one JSON shape."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response

from trimseek.errors import (
    ConfigError,
    CorpusError,
    EncoderError,
    IndexFolderError,
    MissingShardsError,
    OutOfTimeError,
    QueryError,
    StorageError,
    TrimseekError,
    UnknownDocumentError,
    UnknownIndexError,
)

logger = logging.getLogger("trimseek.api")


class OverloadedError(TrimseekError):
    """More is waiting than may wait; ``retry_after``: whole seconds."""

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeadlineError(TrimseekError):
    """The request's time is over."""


class NotReadyError(TrimseekError):
    """The process is about to end."""


class TooLargeError(TrimseekError):
    """A body, a batch or a document beyond its limit."""


class SlowBodyError(TrimseekError):
    """The body did not arrive in time."""


class UnauthorizedError(TrimseekError):
    """No key, or one that does not count."""


class ForbiddenError(TrimseekError):
    """A key that may not do this."""


class ConflictError(TrimseekError):
    """What is asked for cannot be, as things are."""


class UnknownModelError(TrimseekError):
    """No index has an encoder of that name."""


class UnsupportedBodyError(TrimseekError):
    """A body that is not JSON as it stands."""


class UnknownTaskError(TrimseekError):
    """There is no task of that id."""


# class -> (status, type in the answer); the first that fits counts
STATUS: dict[type[TrimseekError], tuple[int, str]] = {
    QueryError: (422, "invalid_request"),
    CorpusError: (422, "invalid_document"),
    ConfigError: (422, "invalid_request"),
    UnknownIndexError: (404, "unknown_index"),
    UnknownDocumentError: (404, "unknown_document"),
    UnknownTaskError: (404, "unknown_task"),
    UnknownModelError: (404, "unknown_model"),
    UnsupportedBodyError: (415, "unsupported_body"),
    UnauthorizedError: (401, "unauthorized"),
    ForbiddenError: (403, "forbidden"),
    SlowBodyError: (408, "slow_body"),
    ConflictError: (409, "conflict"),
    TooLargeError: (413, "too_large"),
    OverloadedError: (429, "overloaded"),
    DeadlineError: (503, "deadline"),
    OutOfTimeError: (503, "deadline"),
    NotReadyError: (503, "not_ready"),
    MissingShardsError: (503, "missing_shards"),
    StorageError: (503, "storage"),
    IndexFolderError: (503, "damaged_index"),
    EncoderError: (503, "encoder"),
    TrimseekError: (500, "internal"),
}
# What is said of these; what the error itself says may name a place on this machine.
HIDDEN: dict[type[TrimseekError], str] = {
    OutOfTimeError: "no answer within the time limit",
    StorageError: "the index cannot be written or read now; see the service's log",
    IndexFolderError: "the index cannot be read now; see the service's log",
    EncoderError: "the encoder cannot be used now; see the service's log",
}


def answer(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An error in the one JSON shape."""
    content = {"error": {"type": kind, "message": message}}
    return Response(to_json(content), status, dict(headers or {}), "application/json")


def describe_error(error: TrimseekError) -> tuple[int, str, str]:
    """Status, type and message of an error; what is not for others is logged."""
    status, kind = next(entry for cls, entry in STATUS.items() if isinstance(error, cls))
    hidden = next((text for cls, text in HIDDEN.items() if isinstance(error, cls)), None)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        hidden = "unexpected error; see the service's log"
    if hidden is not None:
        logger.error("%s", error)
    return status, kind, hidden or str(error)


def as_answer(error: TrimseekError) -> Response:
    """An error of ours as its response, with the headers of its status."""
    headers = {}
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = 'Bearer realm="trimseek"'
    return answer(*describe_error(error), headers)


def trimseek_error(_: Request, error: Exception) -> Response:
    """The handler of our own errors."""
    assert isinstance(error, TrimseekError)  # noqa: S101 - what it is registered for
    return as_answer(error)


def invalid_request(_: Request, error: Exception) -> Response:
    """The first thing wrong with a request."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
    return answer(422, "invalid_request", first_mistake(error.errors()))


def first_mistake(mistakes: Sequence[Any], *within: str) -> str:
    """Where the first of pydantic's mistakes is, and what should be there."""
    place = ".".join([*within, *map(str, mistakes[0]["loc"])])
    return f"{place}: {mistakes[0]['msg']}".encode("utf-8", "replace").decode()


def is_text(value: str) -> bool:
    """Whether it can be said in an answer: no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def http_error(_: Request, error: Exception) -> Response:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - what it is registered for
    kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
    return answer(error.status_code, kind, str(error.detail), error.headers)


def install(app: FastAPI) -> None:
    """Register the handlers; the gate answers everything else with a 500."""
    app.add_exception_handler(TrimseekError, trimseek_error)
    app.add_exception_handler(RequestValidationError, invalid_request)
    app.add_exception_handler(HTTPException, http_error)
