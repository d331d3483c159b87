"""The short way of a plain search: from a connection's bytes to the answer's, past the framework.

Most searches are a query and few options. They are parsed, admitted and answered in the event loop
itself, some at a time: handing such a query to a thread and its answer through the framework takes
longer than the search. Whatever is not plain (other options, a mistake, a long query, an index
that takes long) goes the general way, which gives the same answers; so does all that fails here.
"""

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.responses import Response

from trimseek.api import metrics
from trimseek.api.endpoints import JSON
from trimseek.api.errors import OverloadedError, as_answer, logger
from trimseek.api.gate import REQUEST_ID, UNTOLD_TYPES
from trimseek.api.keys import Key, Role
from trimseek.api.logs import log_request
from trimseek.api.schemas import SearchRequest
from trimseek.api.security import secured
from trimseek.api.service import Service
from trimseek.api.settings import ServiceSettings
from trimseek.errors import QueryError, TrimseekError
from trimseek.search import Searcher
from trimseek.search.hits import Timing
from trimseek.search.options import check_query
from trimseek.search.plain import MODES, PlainAnswer, PlainQuery, plain_answers

PATH = re.compile(rb"/v1/indexes/([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/search")
ROUTE = "/v1/indexes/{index}/search"
OPTIONS = {"query", "k", "mode", "offset", "weight", "title_weight", "effort"}
LARGEST_BODY = 4096  # bytes
LONGEST_QUERY = 200  # characters: some dozens of tokens
LONGEST_SEARCH = 4.0  # ms: what takes longer on average would keep other connections waiting
FORGOTTEN = 0.99  # of what an index took, with each query that goes the general way
NEW_SHARE = 0.05  # of the last query in the average
# Headers that ask for more than the lane knows.
OTHER_HEADERS = {b"expect", b"transfer-encoding", b"upgrade", b"origin"}


class Connection(Protocol):
    """What the lane needs of a client's connection."""

    def answer_plain(self, head: bytes, body: bytes) -> None:
        """Write an answer; its head without the line that ends it."""

    def leave_lane(self) -> None:
        """Let the framework answer."""


@dataclass(eq=False)
class PlainRequest:
    """A request that may be plain, until it is answered; ``began`` in ``time.perf_counter``.

    ``dropped``: nobody waits for the answer any more.
    """

    connection: Connection
    index: str
    headers: Sequence[tuple[bytes, bytes]]
    began: float
    body: bytearray = field(default_factory=bytearray)
    id: str = ""
    key: Key | None = None
    query: PlainQuery | None = None
    searcher: Searcher | None = None
    whole: bool = False
    dropped: bool = False


class PlainLane:
    """Answers plain searches of a service, in the thread of its event loop alone."""

    def __init__(self, service: Service) -> None:
        self._service, self._settings = service, service.settings
        self.deadline = service.settings.deadline  # seconds, for a body to arrive
        self._waiting: deque[PlainRequest] = deque()
        self._is_scheduled = False
        self._milliseconds: WeakKeyDictionary[Searcher, float] = WeakKeyDictionary()
        self._head = head_of(200, JSON)
        self._requests = metrics.REQUESTS.labels("POST", ROUTE, 200)
        self._latency = metrics.LATENCY.labels(ROUTE)

    def begin(
        self, connection: Connection, url: bytes, headers: Sequence[tuple[bytes, bytes]]
    ) -> PlainRequest | None:
        """A request by its head; None where it is not plain. It is one of POST."""
        match = PATH.fullmatch(url)
        if match is None or self._settings.root_path:
            return None
        length, request_id = 0, ""
        for name, value in headers:
            if name in OTHER_HEADERS:
                return None
            if name == b"content-length":
                length = int(value) if value.isdigit() else LARGEST_BODY + 1
            elif name == b"content-encoding" or (name == b"content-type" and not is_json(value)):
                return None
            elif name == b"x-request-id":
                request_id = value.decode("latin-1")
        if not 0 < length <= min(LARGEST_BODY, self._settings.max_body):
            return None
        if not REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8)
        index = match.group(1).decode()
        return PlainRequest(connection, index, headers, time.perf_counter(), id=request_id)

    def submit(self, request: PlainRequest) -> bool:
        """Answer a whole request soon; false where it is not plain after all."""
        request.whole = True
        searcher = self._service.indexes.known(request.index)
        if not isinstance(searcher, Searcher) or self._takes_long(searcher):
            return False
        request.searcher = searcher
        request.query = plain_query(bytes(request.body), self._settings)
        if request.query is None:
            return False
        try:
            headers = Headers(raw=list(request.headers))
            request.key = self._service.access.check({"query_string": b""}, headers, Role.READ)
            self._service.engine.admit(1)
        except TrimseekError as error:
            self.refuse(request, error)
            return True
        self._count(1)
        self._waiting.append(request)
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._answer_some)
        return True

    def withdraw(self, request: PlainRequest) -> None:
        """Forget one that waits."""
        self._waiting.remove(request)
        self._count(-1)

    def _count(self, queries: int) -> None:
        self._service.engine.taken += queries
        metrics.QUEUE.set(self._service.engine.taken)

    def _takes_long(self, searcher: Searcher) -> bool:
        average = self._milliseconds.get(searcher, 0.0)
        if average <= LONGEST_SEARCH:
            return False
        self._milliseconds[searcher] = average * FORGOTTEN
        return True

    def _answer_some(self) -> None:
        """Answer what waits, as many as are encoded together; the loop reads in between."""
        batch: list[PlainRequest] = []
        others: deque[PlainRequest] = deque()
        while self._waiting and len(batch) < self._settings.batch:
            request = self._waiting.popleft()
            fits = not batch or request.searcher is batch[0].searcher
            (batch if fits else others).append(request)
        self._waiting.extendleft(reversed(others))
        if batch:
            self._answer(batch)
        self._is_scheduled = bool(self._waiting)
        if self._is_scheduled:
            asyncio.get_running_loop().call_soon(self._answer_some)

    def _answer(self, batch: list[PlainRequest]) -> None:
        self._count(-len(batch))
        asked = [request for request in batch if not request.dropped]
        searcher = batch[0].searcher
        if not asked or searcher is None:
            return
        began = time.perf_counter()
        answers = self._answers(searcher, [request.query for request in asked if request.query])
        if answers is None:
            self._milliseconds[searcher] = 2 * LONGEST_SEARCH  # not again for some time
            for request in asked:
                request.connection.leave_lane()
            return
        took = (time.perf_counter() - began) * 1e3 / len(asked)
        average = self._milliseconds.get(searcher, took)
        self._milliseconds[searcher] = average + NEW_SHARE * (took - average)
        metrics.BATCH.observe(len(asked))
        for request, answer in zip(asked, answers, strict=True):
            metrics.observe_search(
                Timing(answer.encode, answer.search, answer.encode + answer.search)
            )
            metrics.HITS.labels(request.index).inc(answer.hits)
            body = f'{{"index":"{request.index}",{answer.json}'.encode()
            self._send(request, self._head, body, 200)

    def _answers(
        self, searcher: Searcher, queries: Sequence[PlainQuery]
    ) -> list[PlainAnswer] | None:
        try:
            return plain_answers(searcher, queries)
        except TrimseekError:  # the general way says what is wrong
            return None
        except Exception:
            logger.exception("a plain search failed")
            return None

    def refuse(self, request: PlainRequest, error: TrimseekError) -> None:
        """Answer with an error; not one that waits."""
        if isinstance(error, OverloadedError):
            metrics.REFUSED.inc()
        response: Response = as_answer(error)
        head = head_of(response.status_code, JSON, response.headers.raw)
        self._send(request, head, bytes(response.body), response.status_code)

    def _send(self, request: PlainRequest, head: bytes, body: bytes, status: int) -> None:
        own = f"content-length: {len(body)}\r\nx-request-id: {request.id}\r\n".encode()
        request.connection.answer_plain(head + own, body)
        seconds = time.perf_counter() - request.began
        if status == 200:
            self._requests.inc()
        else:
            metrics.REQUESTS.labels("POST", ROUTE, status).inc()
        self._latency.observe(seconds)
        if self._settings.log != "off":
            self._log(request, status, seconds)

    def _log(self, request: PlainRequest, status: int, seconds: float) -> None:
        fields: dict[str, Any] = {
            "request": request.id,
            "method": "POST",
            "route": ROUTE,
            "status": status,
            "ms": round(seconds * 1e3, 2),
        }
        if request.key is not None:
            fields["key"] = request.key.name
        if self._settings.log_queries and request.query is not None:
            fields["query"] = request.query.query
        log_request(fields, as_json=self._settings.log == "json")


def plain_query(body: bytes, settings: ServiceSettings) -> PlainQuery | None:
    """The query of a request's body; None for one that is wrong or asks for more."""
    try:
        request = SearchRequest.model_validate_json(body)
        check_query(request.query, request.k)
    except (ValidationError, QueryError):
        return None
    given = request.model_fields_set
    k = request.k if "k" in given else min(request.k, settings.max_k)
    plain = given <= OPTIONS and request.mode in MODES and k <= settings.max_k
    if not plain or len(request.query) > min(LONGEST_QUERY, settings.max_query):
        return None
    return PlainQuery(
        request.query,
        k,
        request.mode,
        request.offset,
        request.weight,
        request.title_weight,
        request.effort,
    )


def is_json(media_type: bytes) -> bool:
    """Whether a body of that Content-Type is read as JSON."""
    plain = media_type.partition(b";")[0].strip().lower().decode("latin-1")
    return plain == JSON or plain in UNTOLD_TYPES


def head_of(status: int, media_type: str, others: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """The head of an answer, without its length, id and end."""
    kept = [pair for pair in others if pair[0] not in (b"content-length", b"content-type")]
    headers = secured([(b"content-type", media_type.encode()), *kept])
    phrase = HTTPStatus(status).phrase
    lines = [f"HTTP/1.1 {status} {phrase}".encode()]
    lines += [name + b": " + value for name, value in headers.raw]
    return b"\r\n".join([*lines, b""])
