"""An endpoint: its function, who may use it, and every status that it can answer with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from trimseek.api.keys import Role
from trimseek.api.schemas import ErrorAnswer

JSON = "application/json"
MEANINGS = {
    400: "Not a request that can be understood.",
    401: "No API key, or one that does not count.",
    403: "The key may not do this.",
    404: "No such index, document, task or path.",
    405: "Not a method of this path.",
    408: "The body did not arrive in time.",
    409: "Not possible as things are.",
    413: "The body, the batch or a document is too large.",
    422: "The request makes no sense; the message says where.",
    429: "Too much is waiting; Retry-After says when to try again.",
    500: "Unexpected; the service's log says more.",
    503: "Not now: not in time, not ready, or the disk fails.",
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorAnswer,
        "description": text,
        **({"headers": RETRY_AFTER} if status == 429 else {}),
    }
    for status, text in MEANINGS.items()
}


@dataclass(frozen=True)
class Endpoint:
    """One method of one path.

    ``answer``: the model of its content, which is not validated again; None where the content is of
    ``media_type``. ``other_statuses``: with the same content. ``takes_query``: it asks the engine
    for one query, so that a full queue refuses it before its body is read. ``direct_body``: the
    model of its body, where it is answered without FastAPI's routing and validation
    (``api.direct``). ``listed``: in /openapi.json.
    """

    method: str
    path: str
    role: Role
    function: Callable[..., Any]
    answer: Any = None
    status: int = 200
    other_statuses: tuple[int, ...] = ()
    takes_query: bool = False
    direct_body: type[BaseModel] | None = None
    listed: bool = True
    media_type: str = JSON

    def register(self, app: FastAPI) -> None:
        """Let FastAPI answer and describe it."""
        content: dict[int | str, dict[str, Any]] = {
            status: {"model": self.answer} for status in self.other_statuses
        }
        if self.answer is None and self.listed:
            content[self.status] = {"content": {self.media_type: {}}}
        app.add_api_route(
            self.path,
            self.function,
            methods=[self.method],
            status_code=self.status,
            response_model=self.answer,
            responses=FAILURES | content,
            include_in_schema=self.listed,
        )


def as_json(content: Any, status: int = 200) -> Response:
    """Content as a JSON response; numpy numbers and dates are understood."""
    return Response(to_json(content), status, media_type=JSON)
