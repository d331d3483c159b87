"""The middleware that every request passes: access, limits of the body, headers, metrics, log."""

import asyncio
import re
import secrets
import time
import unicodedata
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trimseek.api import metrics
from trimseek.api.access import AccessControl
from trimseek.api.direct import answer_directly
from trimseek.api.endpoints import HTML, JSON, Endpoint
from trimseek.api.engine import Engine
from trimseek.api.errors import (
    SlowBodyError,
    TooLargeError,
    UnsupportedBodyError,
    answer,
    as_answer,
    logger,
)
from trimseek.api.keys import Key, Role
from trimseek.api.logs import log_request
from trimseek.api.security import secured
from trimseek.api.settings import ServiceSettings
from trimseek.errors import QueryError, TrimseekError

UNEXPECTED = answer(500, "internal", "unexpected error; see the service's log")
# What clients call a body that they were told nothing of: browsers and curl, for one.
UNTOLD_TYPES = {"", "application/x-www-form-urlencoded", "text/plain", "application/octet-stream"}
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}  # by the first bytes
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Route(NamedTuple):
    """An endpoint, and the pattern of its path."""

    endpoint: Endpoint
    pattern: re.Pattern[str]


class Gate:
    """ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Sequence[Endpoint],
        settings: ServiceSettings,
        access: AccessControl,
        engine: Engine,
    ) -> None:
        self.app, self.settings, self.access, self.engine = app, settings, access, engine
        self.routes = [Route(endpoint, compile_path(endpoint.path)[0]) for endpoint in endpoints]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with what keeps it out."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(self, scope, receive, send)
        try:
            if exchange.redirection is not None:
                await exchange.redirection(scope, receive, exchange.answer)
                return
            exchange.admit()
            await exchange.proceed()
            if exchange.refusal is not None:
                raise exchange.refusal
        except TrimseekError as error:
            if not exchange.status:
                await as_answer(error)(scope, receive, exchange.answer)
        except Exception as error:
            logger.error("request %s: unexpected error", exchange.id, exc_info=error)
            if exchange.status:  # the answer has begun: the connection is closed
                raise
            await UNEXPECTED(scope, receive, exchange.answer)
        finally:
            exchange.record()

    def find(self, method: str, path: str) -> tuple[Endpoint | None, dict[str, str]]:
        """The endpoint of a request, and the parameters in its path."""
        for endpoint, pattern in self.routes:
            if endpoint.method == method and (match := pattern.match(path)):
                return endpoint, match.groupdict()
        return None, {}

    def methods(self, path: str) -> list[str]:
        """Methods that a path has, of the first route that it matches."""
        templates = [endpoint.path for endpoint, pattern in self.routes if pattern.match(path)]
        known = [endpoint.method for endpoint, _ in self.routes if endpoint.path in templates[:1]]
        return [*known, *(["HEAD"] if "GET" in known else [])]


def moved_to(location: str, scope: Scope) -> Response:
    """A redirection to a relative address: what a Host header says is not believed."""
    query = scope["query_string"].decode("latin-1")
    return Response(
        status_code=308, headers={"Location": f"{location}?{query}" if query else location}
    )


class Exchange:
    """One request and its answer, on their way through the gate.

    ``redirection``: its answer, where it is to be asked for elsewhere. ``refusal``: why its body
    was refused. ``status``: of the answer, 0 before it begins.
    """

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._receive, self._send = gate, receive, send
        self._began = time.perf_counter()
        self._method = scope["method"]
        # what answers GET answers HEAD: the answer's body is dropped on its way out
        self._scope = {**scope, "method": "GET"} if self._method == "HEAD" else scope
        self._headers = Headers(scope=scope)
        given = self._headers.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self._endpoint: Endpoint | None = None
        self._parameters: dict[str, str] = {}
        self.redirection: Response | None = None
        self._find()
        self._key: Key | None = None
        self._received = 0  # bytes of the body
        self._whole = False  # whether all of the body was received
        self.status = 0
        self.refusal: TrimseekError | None = None
        self._scope.setdefault("state", {})["request_id"] = self.id

    def _find(self) -> None:
        """Find the endpoint; a proxy's path in front of it and a slash behind it do not count."""
        scope, root = self._scope, self._gate.settings.root_path
        path = scope["path"]
        if root and path == root:  # the page's addresses are relative to its folder
            self.redirection = moved_to(f"{root.rpartition('/')[2]}/", scope)
            return
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        self._endpoint, self._parameters = self._gate.find(scope["method"], path)
        if self._endpoint is None and path.endswith("/"):
            shorter = path.rstrip("/")
            self._endpoint, self._parameters = self._gate.find(scope["method"], shorter)
            if self._endpoint is not None:
                path = shorter
                if self._endpoint.media_type == HTML:
                    self.redirection = moved_to(f"../{shorter.rpartition('/')[2]}", scope)
        scope["path"] = path

    def admit(self) -> None:
        """Raise what keeps the request out."""
        if any(unicodedata.category(character) == "Cc" for character in self._scope["path"]):
            raise QueryError("the path holds a control character; nothing here has one in its name")
        role = self._endpoint.role if self._endpoint else Role.READ
        self._key = self._gate.access.check(self._scope, self._headers, role)
        if self._endpoint is not None and self._endpoint.takes_body:
            self._check_type()
        length = self._headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._gate.settings.max_body:
            raise TooLargeError(self._too_large())
        if self._endpoint is not None and self._endpoint.takes_query:
            self._gate.engine.admit(1)

    def _check_type(self) -> None:
        """Let a body whose type is not told be JSON; UnsupportedBodyError for any other type."""
        packing = self._headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("", "identity"):
            raise UnsupportedBodyError(
                f"the body is packed (Content-Encoding: {packing!a}); send it as it is"
            )
        media_type = self._headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type in UNTOLD_TYPES:
            others = [pair for pair in self._scope["headers"] if pair[0] != b"content-type"]
            self._scope["headers"] = [*others, (b"content-type", JSON.encode())]
        elif media_type != JSON and not media_type.endswith("+json"):
            raise UnsupportedBodyError(f"the body is {media_type!a}; send {JSON}")

    async def proceed(self) -> None:
        """Let the endpoint answer."""
        app, endpoint = self._gate.app, self._endpoint
        if endpoint is None or endpoint.direct_body is None:
            await app(self._scope, self.receive, self.send)
        else:
            request = Request(self._scope, self.receive)
            await answer_directly(endpoint, app, request, self._parameters, self.send)

    def _too_large(self) -> str:
        return f"the body has more than {self._gate.settings.max_body:,} bytes"

    async def receive(self) -> Message:
        """The body's parts, unless it is too large or too slow; then what follows it."""
        try:
            return await self._receive_part()
        except TrimseekError as error:  # the framework makes another answer of it
            self.refusal = error
            raise

    async def _receive_part(self) -> Message:
        if self._whole:
            return await self._receive()
        left = self._gate.settings.deadline - (time.perf_counter() - self._began)
        try:
            async with asyncio.timeout(max(0.001, left)):
                message = await self._receive()
        except TimeoutError:
            raise SlowBodyError("the body did not arrive in time") from None
        part = message.get("body", b"")
        if not self._received:
            for first, packing in PACKED.items():
                if part.startswith(first):
                    raise UnsupportedBodyError(f"the body is packed ({packing}); send it as it is")
        self._received += len(part)
        self._whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self._received > self._gate.settings.max_body:
            raise TooLargeError(self._too_large())
        return message

    async def send(self, message: Message) -> None:
        """What the application answers, unless the body was refused."""
        if self.refusal is None or self.status:
            await self.answer(message)

    async def answer(self, message: Message) -> None:
        """Send a message of the answer, its headers completed."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = secured(message["headers"])
            headers.append("X-Request-ID", self.id)
            if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
                headers["Allow"] = ", ".join(self._gate.methods(self._scope["path"]))
            if not self._whole and self.status >= 400:  # the rest of the body is not read
                headers["Connection"] = "close"
            message = {**message, "headers": headers.raw}
        elif self._method == "HEAD":
            message = {**message, "body": b""}
        await self._send(message)

    def record(self) -> None:
        """Count the request, and write its log line, without the query or the key's secret."""
        seconds = time.perf_counter() - self._began
        route = self._endpoint.path if self._endpoint else metrics.UNKNOWN
        method = self._method if self._endpoint else metrics.UNKNOWN
        metrics.REQUESTS.labels(method, route, self.status).inc()
        metrics.LATENCY.labels(route).observe(seconds)
        settings = self._gate.settings
        if settings.log == "off":
            return
        fields: dict[str, object] = {
            "request": self.id,
            "method": method,
            "route": route,
            "status": self.status,
            "ms": round(seconds * 1e3, 2),
        }
        if self._key is not None:
            fields["key"] = self._key.name
        if settings.log_queries and "query" in self._scope["state"]:
            fields["query"] = self._scope["state"]["query"]
        log_request(fields, as_json=settings.log == "json")
