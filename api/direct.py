"""The way of what is asked most, past the framework's layers."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Send

from api.errors import as_answer
from trimseek.errors import TrimseekError

JSON = "application/json"


class Direct(NamedTuple):
    """Answers a request whose body is a ``model``, by the endpoint that is registered for it.

    The framework still describes the endpoint, and answers what is no such body, so that a mistake
    is told in one way only.
    """

    model: type[BaseModel]
    endpoint: Callable[..., Awaitable[Response]]

    async def __call__(
        self, framework: ASGIApp, request: Request, parameters: Mapping[str, Any], send: Send
    ) -> None:
        received: deque[Message] = deque()
        try:
            while not received or goes_on(received[-1]):
                received.append(await request.receive())
            asked = self._asked(request, received)
            if asked is None:
                await framework(request.scope, again(received, request.receive), send)
                return
            response = await self.endpoint(**parameters, body=asked, request=request)
        except TrimseekError as error:
            response = as_answer(error)
        await response(request.scope, request.receive, send)

    def _asked(self, request: Request, received: deque[Message]) -> BaseModel | None:
        """The body as a model; None where it is not one."""
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind.strip().lower() != JSON or received[-1]["type"] != "http.request":
            return None
        try:
            body = b"".join(each.get("body", b"") for each in received)
            return self.model.model_validate_json(body)
        except ValidationError:
            return None


def goes_on(message: Message) -> bool:
    """Whether more of the body follows."""
    return message["type"] == "http.request" and bool(message.get("more_body"))


def again(received: deque[Message], receive: Receive) -> Receive:
    """What was received, then what comes."""

    async def next_one() -> Message:
        return received.popleft() if received else await receive()

    return next_one
