"""A client's connection: limits of a request's head, of the time that it takes, and of idle ones.

uvicorn alone reads a head of any size for any time, and keeps a connection on which nothing arrives
for ever: each costs a file descriptor, of which a process has a limited number.
"""

import asyncio
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trimseek.api import metrics
from trimseek.api.balance import Balance
from trimseek.api.errors import SlowBodyError
from trimseek.api.lane import PlainLane, PlainRequest
from trimseek.api.security import secured

LARGEST_HEAD = 32 * 2**10  # bytes of method, address and headers
MOST_HEADERS = 100
SENDING = 30.0  # seconds beyond the deadline that a client may take to read its answer


class HeadTooLargeError(Exception):
    """Raised within the parser, which ends with it."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with limits.

    ``head_seconds``: until a request's head must be whole, from the connection's beginning or from
    the head's first byte. ``most``: connections at once; the oldest without a request under way
    makes room for a new one. ``lane``: answers plain searches past the framework. ``balance``: with
    the other processes of the socket. ``idle``: those without a request under way, oldest first.
    """

    head_seconds = 10.0
    most = 1000
    lane: PlainLane | None = None
    balance: Balance | None = None
    idle: dict["Connection", None] = {}  # noqa: RUF012 - of all connections of the process

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = False
        self._head_bytes = 0  # of a head that is not whole yet
        self._timer: asyncio.TimerHandle | None = None
        self._refusal = HTTPStatus.BAD_REQUEST, "not HTTP that can be understood"
        self._plain: PlainRequest | None = None  # under way in the lane
        self._taken_over = False  # from another process
        self._counted = False
        self._keep_alive = True

    def take_over(self) -> "Connection":
        """Keep a connection that another process has handed over."""
        self._taken_over = True
        return self

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return self._plain is None and (self.cycle is None or self.cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head; where there are too many connections, the oldest idle one goes."""
        super().connection_made(transport)
        if not self._taken_over and self._hand_over():
            return
        if self.balance is not None:
            self.balance.opened()
            self._counted = True
        if len(self.connections) > self.most:
            oldest = next(iter(self.idle), self)
            self.idle.pop(oldest, None)
            oldest.transport.abort()
        if not transport.is_closing():
            self.idle[self] = None
            self._wait(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_waiting()
        self.idle.pop(self, None)
        if self.balance is not None and self._counted:
            self.balance.closed()
        if self._plain is not None:
            self._plain.dropped, self._plain = True, None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        was_in_head = self._in_head
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and was_in_head:
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD:
                self._refuse_head()
                self.send_400_response("")
                return
        if self._timer is None and self.is_idle:
            self._wait(self.head_seconds)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._withdraw_plain()
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        self._check_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A whole header."""
        super().on_header(name, value)
        self._check_head()

    def on_headers_complete(self) -> None:
        """The head is whole: from now on the application's deadline counts."""
        self._in_head = False
        is_idle = self.is_idle
        self.idle.pop(self, None)
        self._wait(self.head_seconds + SENDING)
        if is_idle and self.lane is not None and self.parser.get_method() == b"POST":
            self._plain = self.lane.begin(self, self.url, self.headers)
        if self._plain is None or self.lane is None:
            super().on_headers_complete()
        else:
            self._wait(self.lane.deadline)
            self._keep_alive = (
                self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            )

    def on_body(self, body: bytes) -> None:
        """A part of the body; of a plain request no more comes than its head says."""
        if self._plain is None:
            super().on_body(body)
        else:
            self._plain.body += body

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._plain is None:
            super().on_message_complete()
        elif self.lane is not None:
            self._wait(self.lane.deadline + SENDING)
            if not self.lane.submit(self._plain):
                self.leave_lane()

    def leave_lane(self) -> None:
        """Let the framework answer what is not plain: as if the request arrived now."""
        request, self._plain = self._plain, None
        if request is not None and not self.transport.is_closing():
            super().on_headers_complete()
            super().on_body(bytes(request.body))
            super().on_message_complete()

    def answer_plain(self, head: bytes, body: bytes) -> None:
        """Write an answer; ``head`` is without the line that ends it."""
        self._plain = None
        if self.transport.is_closing():
            return
        dates = b"".join(
            name + b": " + value + b"\r\n" for name, value in self.server_state.default_headers
        )
        end = b"\r\n" if self._keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join([head, dates, end, body]))
        if not self._keep_alive:
            self.transport.close()
        self.on_response_complete()

    def shutdown(self) -> None:
        """Answer what is under way, then close."""
        self._withdraw_plain()
        super().shutdown()

    def _withdraw_plain(self) -> None:
        """Let the framework answer a plain request that waits: something follows it."""
        if self._plain is not None and self._plain.whole and self.lane is not None:
            self.lane.withdraw(self._plain)
            self.leave_lane()

    def on_response_complete(self) -> None:
        """The answer is sent: the next head may come, or uvicorn closes what stays idle."""
        super().on_response_complete()
        if self.is_idle and not self.transport.is_closing():
            self._stop_waiting()
            self.idle[self] = None
            if self._in_head:
                self._wait(self.head_seconds)
            else:
                self._hand_over()

    def _hand_over(self) -> bool:
        """Give it to another process that has fewer, before anything more is read from it."""
        if self.balance is None or self.transport.get_write_buffer_size():
            return False
        accepted = self.transport.get_extra_info("socket")
        if accepted is None or not self.balance.handed_over(accepted, counted=self._counted):
            return False
        self.transport.abort()  # this process's end of it
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, in the shape of all our errors, and end the connection."""
        status, message = self._refusal
        kind = status.phrase.lower().replace(" ", "_")
        body = to_json({"error": {"type": kind, "message": message}})
        headers = secured(
            [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
        )
        lines = [f"HTTP/1.1 {status.value} {status.phrase}".encode()]
        lines += [name + b": " + value for name, value in headers.raw]
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        self.transport.close()
        metrics.REQUESTS.labels(metrics.UNKNOWN, metrics.UNKNOWN, status.value).inc()

    def _check_head(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if len(self.headers) > MOST_HEADERS or size > LARGEST_HEAD:
            self._refuse_head()
            raise HeadTooLargeError

    def _refuse_head(self) -> None:
        self._refusal = (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"the address and headers have more than {LARGEST_HEAD:,} bytes, or there are more "
            f"than {MOST_HEADERS} headers",
        )

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._time_is_over)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_is_over(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._plain is not None and not self._plain.whole and self.lane is not None:
            self._keep_alive = False
            self.lane.refuse(self._plain, SlowBodyError("the body did not arrive in time"))
        elif not self.is_idle:
            self.transport.abort()  # its answer is not read
        elif self._in_head:
            self._refusal = HTTPStatus.REQUEST_TIMEOUT, "the request's head did not arrive in time"
            self.send_400_response("")
        else:
            self.transport.close()


def connection_class(
    head_seconds: float, lane: PlainLane, balance: Balance | None, most: int
) -> type[Connection]:
    """Connections of this process, at most so many."""
    attributes = {
        "head_seconds": head_seconds,
        "most": most,
        "lane": lane,
        "balance": balance,
    }
    return type("ServiceConnection", (Connection,), attributes)
