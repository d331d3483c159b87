"""Past the framework: what is answered, refused or given back is as with it."""

import asyncio
import json
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import ASGIApp

from trimseek.api import metrics
from trimseek.api.app import ENDPOINTS, create_app
from trimseek.api.process import open_service
from trimseek.api.routes.searching import CLIENT_CLOSED, WATCH_AFTER, unless_gone
from trimseek.api.settings import ServiceSettings
from trimseek.search.content import Content
from trimseek.settings import make_settings

JSON = "application/json"
BODIES: list[tuple[str, str, int]] = [
    ('{"query": "purring"}', JSON, 200),
    ('{"query": "purring", "k": 1, "highlight": true}', "application/json; charset=utf-8", 200),
    ('{"query": "a dog", "mode": "hybrid", "facets": ["n"], "exclude": ["n"]}', JSON, 200),
    ('{"query": "purring", "filter": {"field": "n", "op": ">", "value": 1}}', JSON, 200),
    ('{"query": "purring", "k": 0}', JSON, 422),
    ('{"query": "purring", "k": "3"}', JSON, 422),
    ('{"query": "purring", "more": 1}', JSON, 422),
    ('{"query": "  "}', JSON, 422),
    ('{"query": "purring", "filter": {"field": "n"}}', JSON, 422),
    ('{"query": "\\ud800"}', JSON, 422),
    ('{"query": "purring", "min_score": NaN}', JSON, 422),
    ("{", JSON, 422),
    ("", JSON, 422),
    ("[" * 5000, JSON, 400),
    ('{"query": "purring"}', "text/plain", 200),
    ('{"query": "purring"}', "", 200),
    ('{"query": "purring"}', "application/vnd.api+json", 200),
    ('{"query": "purring"}', "application/xml", 415),
    ('{"query": "purring", "k": null, "mode": null, "filter": null}', JSON, 200),
    ('{"query": null}', JSON, 422),
]


@pytest.fixture(scope="module")
def direct(pets: Path) -> Iterator[ASGIApp]:
    service = open_service([pets], make_settings(ServiceSettings))
    yield create_app(service)
    service.close()


@pytest.fixture(scope="module")
def framework(pets: Path) -> Iterator[ASGIApp]:
    """The same without a way past it."""
    service = open_service([pets], make_settings(ServiceSettings))
    plain = tuple(replace(endpoint, direct_body=None) for endpoint in ENDPOINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trimseek.api.app.ENDPOINTS", plain)
        app = create_app(service)
    yield app
    service.close()


def ask(app: ASGIApp, parts: list[bytes], kind: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of the answer to a body that comes in parts."""
    path = "/v1/indexes/pets/search"
    headers = [(b"host", b"localhost"), (b"content-type", kind.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }
    waiting = list(parts)
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type] # a coroutine
    content = json.loads(b"".join(each.get("body", b"") for each in sent))
    content.pop("timing_ms", None)
    named = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert len(named) == len(sent[0]["headers"])  # none twice
    assert len(named.pop("x-request-id")) == 16
    named.pop("content-length")  # as long as the timing's digits
    return sent[0]["status"], named, content


@pytest.mark.parametrize(("body", "kind", "status"), BODIES)
def test_it_answers_as_the_framework_does(
    direct: ASGIApp, framework: ASGIApp, body: str, kind: str, status: int
) -> None:
    whole = body.encode()
    answer = ask(direct, [whole], kind)
    assert answer[0] == status
    assert answer == ask(framework, [whole], kind)
    assert answer == ask(direct, [whole[:3], whole[3:], b""], kind)


def test_a_good_body_does_not_reach_the_framework(
    direct: ASGIApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_reach(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("fastapi.routing.solve_dependencies", out_of_reach)
    assert ask(direct, [b'{"query": "purring"}'], JSON)[0] == 200
    counted = metrics.REQUESTS.labels("POST", "/v1/indexes/{index}/search", 500)
    before = counted._value.get()
    assert ask(direct, [b'{"query": "purring"}'], "application/vnd.api+json")[0] == 500
    assert counted._value.get() == before + 1


def test_work_ends_when_its_client_leaves() -> None:
    ended: list[str] = []

    async def work() -> Content:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")
        return {}

    async def leaves() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def run() -> int:
        response = await unless_gone(Request({"type": "http"}, leaves), work())
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        return response.status_code

    assert asyncio.run(run()) == CLIENT_CLOSED
    assert ended == ["work"]


def test_slow_work_is_answered_to_a_client_that_stays() -> None:
    async def work() -> Content:
        await asyncio.sleep(3 * WATCH_AFTER)
        return {"done": True}

    async def stays() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def run() -> tuple[bytes, int]:
        response = await unless_gone(Request({"type": "http"}, stays), work())
        await asyncio.sleep(0)
        return bytes(response.body), len(asyncio.all_tasks())

    assert asyncio.run(run()) == (b'{"done":true}', 1)


def test_cancelled_from_outside_it_is_cancelled() -> None:
    async def work() -> Content:
        await asyncio.Event().wait()
        return {}

    async def leaves() -> MutableMapping[str, Any]:
        return {"type": "http.disconnect"}

    async def run() -> None:
        async with asyncio.timeout(WATCH_AFTER / 4):
            await unless_gone(Request({"type": "http"}, leaves), work())

    with pytest.raises(TimeoutError):
        asyncio.run(run())
