"""What every request passes: who asks, how much and how fast, and what is noted of it."""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import metrics
from api.direct import Direct
from api.engine import Engine
from api.errors import (
    ForbiddenError,
    OverloadedError,
    SlowBodyError,
    TooLargeError,
    UnauthorizedError,
    as_answer,
)
from api.keys import Key, Role, find_key
from api.settings import ServiceSettings
from trimseek.errors import QueryError, TrimseekError

access = logging.getLogger("trimseek.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SECRETS_IN_URL = {"key", "api_key", "apikey", "access_token", "token"}
UNKNOWN = "unknown"  # the route of what has none
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Entry(NamedTuple):
    """A route: who may use it, and whether it asks the engine for one query.

    ``direct``: what answers it in the framework's place.
    """

    method: str
    path: str
    role: Role
    queries: bool = False
    direct: Direct | None = None


class Route(NamedTuple):
    entry: Entry
    pattern: re.Pattern[str]


class Bucket:
    """Requests that a key has left: ``rate`` a second, as many at once (a token bucket)."""

    def __init__(self, rate: float) -> None:
        self.rate, self.left, self.since = rate, max(1.0, rate), time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self.left = min(max(1.0, self.rate), self.left + (now - self.since) * self.rate)
        self.since = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Gate:
    """ASGI middleware. ``keys``: without any, everyone may read and nobody may write."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        entries: Sequence[Entry],
        settings: ServiceSettings,
        keys: Sequence[Key],
        engine: Engine,
    ) -> None:
        self.app, self.settings, self.keys, self.engine = app, settings, keys, engine
        self.routes = [Route(each, compile_path(each.path)[0]) for each in entries]
        self.buckets: dict[str, Bucket] = {}
        self.hosts = settings.allowed_hosts(with_keys=bool(keys))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passing = Passing(self, scope, receive, send)
        try:
            passing.admit()
        except TrimseekError as error:
            await as_answer(error)(scope, receive, passing.answer)
        else:
            await passing.go_on()
            if passing.refused is not None and not passing.status:
                await as_answer(passing.refused)(scope, receive, passing.answer)
        finally:
            passing.note()

    def find(self, method: str, path: str) -> tuple[Entry | None, dict[str, str]]:
        """The route of a request, and what stands in the places that its path leaves open."""
        for entry, pattern in self.routes:
            if entry.method == method and (match := pattern.match(path)):
                return entry, match.groupdict()
        return None, {}

    def methods(self, path: str) -> list[str]:
        """Those that a path takes, of the first route that is like it."""
        templates = [entry.path for entry, pattern in self.routes if pattern.match(path)]
        return [entry.method for entry, _ in self.routes if entry.path in templates[:1]]


class Passing:
    """One request on its way."""

    def __init__(self, gate: Gate, scope: Scope, receive: Receive, send: Send) -> None:
        self.gate, self.scope = gate, scope
        self._receive, self._send = receive, send
        self.began = time.perf_counter()
        self.headers = Headers(scope=scope)
        given = self.headers.get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.entry, self.parameters = gate.find(scope["method"], scope["path"])
        self.key: Key | None = None
        self.status = 0
        self.read = 0
        self.whole = False
        self.refused: TrimseekError | None = None  # of reading the body
        scope.setdefault("state", {})["request_id"] = self.id

    def admit(self) -> None:
        """Raise what keeps the request out."""
        host = host_of(self.headers)
        if self.gate.hosts and host not in self.gate.hosts:
            raise ForbiddenError(f"{host!a} is not a name of this service (the setting hosts)")
        self._check_url()
        self._check_key()
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.gate.settings.max_body:
            raise TooLargeError(self._too_large())
        if self.entry is not None and self.entry.queries:
            self.gate.engine.admit(1)

    async def go_on(self) -> None:
        """To what answers it."""
        if self.entry is None or self.entry.direct is None:
            await self.gate.app(self.scope, self.receive, self.send)
        else:
            request = Request(self.scope, self.receive)
            await self.entry.direct(self.gate.app, request, self.parameters, self.send)

    def _check_url(self) -> None:
        query = self.scope["query_string"]
        if query and SECRETS_IN_URL & {
            name.lower() for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        }:
            raise QueryError(
                "an API key in a URL ends up in logs: send it as Authorization: Bearer KEY"
            )

    def _check_key(self) -> None:
        keys = self.gate.keys
        wanted = self.entry.role if self.entry else Role.READ
        secret = bearer(self.headers)
        if secret is not None:
            self.key = find_key(keys, secret)
        if wanted is Role.NONE:
            return
        if not keys:
            if wanted > Role.READ:
                raise UnauthorizedError(
                    "this service has no API keys, so nobody may write; make one with: "
                    "trimseek key NAME --role write"
                )
            return
        if self.key is None or self.key.expired:
            raise UnauthorizedError("send an API key that counts: Authorization: Bearer KEY")
        if self.key.role < wanted:
            raise ForbiddenError(f"this needs a key of the role {wanted.name.lower()}")
        rate = self.gate.settings.rate_limit
        if rate is not None:
            bucket = self.gate.buckets.setdefault(self.key.name, Bucket(rate))
            if not bucket.take():
                raise OverloadedError(f"this key has its {rate:g} requests a second; wait")

    def _too_large(self) -> str:
        return f"the body has more than {self.gate.settings.max_body:,} bytes"

    async def receive(self) -> Message:
        """The body's parts, as long as it is not too large or too slow; then what comes."""
        try:
            return await self._receive_part()
        except TrimseekError as error:  # the framework makes another answer of it
            self.refused = error
            raise

    async def _receive_part(self) -> Message:
        if self.whole:
            return await self._receive()
        left = self.gate.settings.deadline - (time.perf_counter() - self.began)
        try:
            async with asyncio.timeout(max(0.001, left)):
                message = await self._receive()
        except TimeoutError:
            raise SlowBodyError("the body did not arrive in time") from None
        self.read += len(message.get("body", b""))
        self.whole = message["type"] != "http.request" or not message.get("more_body", False)
        if self.read > self.gate.settings.max_body:
            raise TooLargeError(self._too_large())
        return message

    async def send(self, message: Message) -> None:
        """What the application answers, unless the body was refused."""
        if self.refused is None or self.status:
            await self.answer(message)

    async def answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=[*message["headers"], *HEADERS])
            headers.append("X-Request-ID", self.id)
            if self.status == HTTPStatus.METHOD_NOT_ALLOWED:
                headers["Allow"] = ", ".join(self.gate.methods(self.scope["path"]))
            is_page = headers.get("content-type", "").startswith("text/html")
            headers.append("Content-Security-Policy", PAGE if is_page else NO_CONTENT)
            if "cache-control" not in headers:
                headers.append("Cache-Control", "no-store")
            if not self.whole and self.status >= 400:  # what was not read is not read any more
                headers["Connection"] = "close"
            message = {**message, "headers": headers.raw}
        await self._send(message)

    def note(self) -> None:
        """Metrics, and a line of the log, without what was asked or by which key's secret."""
        seconds = time.perf_counter() - self.began
        route = self.entry.path if self.entry else UNKNOWN
        method = self.scope["method"] if self.entry else UNKNOWN
        metrics.REQUESTS.labels(method, route, self.status).inc()
        metrics.LATENCY.labels(route).observe(seconds)
        settings = self.gate.settings
        if settings.log == "off":
            return
        noted: dict[str, object] = {
            "request": self.id,
            "method": method,
            "route": route,
            "status": self.status,
            "ms": round(seconds * 1e3, 2),
        }
        if self.key is not None:
            noted["key"] = self.key.name
        if settings.log_queries and "query" in self.scope["state"]:
            noted["query"] = self.scope["state"]["query"]
        if settings.log == "json":
            access.info(json.dumps({"time": time.time(), **noted}, ensure_ascii=False))
        else:
            access.info(
                " ".join(
                    f"{name}={value!r}" if name == "query" else f"{name}={value}"
                    for name, value in noted.items()
                )
            )


def host_of(headers: Headers) -> str:
    """The name that a client calls the service by, without a port."""
    name = headers.get("host", "").lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0]


def bearer(headers: Headers) -> str | None:
    """The key that a request brings; None without one."""
    scheme, _, secret = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret.strip():
        return secret.strip()
    return headers.get("x-api-key")
