"""How an endpoint is registered: with who may use it, and every status that it can answer."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from api.direct import Direct
from api.gate import Entry
from api.keys import Role
from api.schemas import ErrorAnswer

MEANINGS = {
    400: "Not a request that can be understood.",
    401: "No API key, or one that does not count.",
    403: "The key may not do this.",
    404: "No such index, document, task or path.",
    405: "Not a method of this path.",
    408: "The body did not arrive in time.",
    409: "Not possible as things are.",
    413: "The body, the batch or a document is too large.",
    422: "What is asked makes no sense; the message says where.",
    429: "Too much is waiting; Retry-After says when to try again.",
    500: "Unexpected; the service's log says more.",
    503: "Not now: not in time, not ready, or the disk fails.",
}
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorAnswer,
        "description": text,
        **(
            {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}
            if status == 429
            else {}
        ),
    }
    for status, text in MEANINGS.items()
}


class Endpoints:
    """Adds endpoints to an app, and remembers them for the gate."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.entries: list[Entry] = []

    def add(
        self,
        method: str,
        path: str,
        role: Role,
        endpoint: Callable[..., Any],
        *,
        answer: Any = None,
        status: int = 200,
        queries: bool = False,
        direct: type[BaseModel] | None = None,
        listed: bool = True,
        kind: str = "application/json",
        also: tuple[int, ...] = (),
    ) -> None:
        """``answer``: the model of its content, of that media type; it is not validated again.

        ``also``: other statuses with such an answer. ``direct``: the model of its
        body, if it is answered past the framework.
        """
        content: dict[int | str, dict[str, Any]] = {each: {"model": answer} for each in also}
        if answer is None and listed:
            content[status] = {"content": {kind: {}}}
        self.app.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=answer,
            status_code=status,
            responses=FAILURES | content,
            include_in_schema=listed,
        )
        past = None if direct is None else Direct(direct, endpoint)
        self.entries.append(Entry(method, path, role, queries, past))


def as_json(content: Any, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")
