"""Fast path of an endpoint: skips FastAPI's routing and validation.

An invalid body is replayed to FastAPI, so that a mistake is described in one way only. The function
of the endpoint must take ``body`` and ``request`` beside the parameters of its path.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Send

from trimseek.api.endpoints import JSON, Endpoint
from trimseek.api.errors import as_answer
from trimseek.errors import TrimseekError


async def answer_directly(
    endpoint: Endpoint,
    framework: ASGIApp,
    request: Request,
    parameters: Mapping[str, Any],
    send: Send,
) -> None:
    """Answer a request of an endpoint with ``direct_body``; ``parameters``: those of its path."""
    messages: deque[Message] = deque()
    try:
        while not messages or has_more(messages[-1]):
            messages.append(await request.receive())
        body = parse_body(endpoint, request, messages)
        if body is None:
            await framework(request.scope, replayed(messages, request.receive), send)
            return
        response = await endpoint.function(**parameters, body=body, request=request)
    except TrimseekError as error:
        response = as_answer(error)
    await response(request.scope, request.receive, send)


def parse_body(endpoint: Endpoint, request: Request, messages: deque[Message]) -> BaseModel | None:
    """The body as the endpoint's model; None where it is not one."""
    media_type = request.headers.get("content-type", "").partition(";")[0]
    if media_type.strip().lower() != JSON or messages[-1]["type"] != "http.request":
        return None
    assert endpoint.direct_body is not None  # noqa: S101 - the gate has looked
    try:
        body = b"".join(message.get("body", b"") for message in messages)
        return endpoint.direct_body.model_validate_json(body)
    except ValidationError:
        return None


def has_more(message: Message) -> bool:
    """Whether more of the body follows."""
    return message["type"] == "http.request" and bool(message.get("more_body"))


def replayed(messages: deque[Message], receive: Receive) -> Receive:
    """Receives the messages again, then what follows them."""

    async def next_message() -> Message:
        return messages.popleft() if messages else await receive()

    return next_message
