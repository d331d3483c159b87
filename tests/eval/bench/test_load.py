"""Load against a real service, and against servers that misbehave on purpose."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.conftest import Run, ingest, write_jsonl
from trimseek.errors import ConfigError, ServiceError
from trimseek.eval.bench import load
from trimseek.eval.bench.load import LoadReport, load_test
from trimseek.eval.figures.service import service

TEXTS = ["one two", "three"]


@pytest.fixture(autouse=True)
def hardly_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "WARM_UP", 1)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("load")
    corpus = write_jsonl(folder / "c.jsonl", [{"_id": str(i), "text": f"t {i}"} for i in range(20)])
    ingest(corpus, folder / "index", tiny_encoder)
    with service(folder / "index") as running:
        yield running.url


def test_rates_of_a_real_service(url: str) -> None:
    measured = asyncio.run(load_test(url, TEXTS, [20, 60], seconds=0.5, p99_bound=60_000))
    assert [point.rate for point in measured.points] == [20, 60]
    assert [point.requests for point in measured.points] == [10, 30]
    for point in measured.points:
        assert point.errors == {}
        assert point.latency is not None
        assert 0 < point.latency.p50 <= point.latency.p99
        assert point.holds
    assert measured.highest == 60
    assert measured.url.endswith("/v1/indexes/index/search")


def test_the_command_on_a_real_service(url: str, run: Run) -> None:
    words = ("load", url, "--rate", "20", "--seconds", "0.3", "--p99", "60000")
    done = run("bench", *words, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["points"][0]["requests"] == 6
    shown = run("bench", *words)
    assert "highest rate that holds p99 within 60000 ms: 20/s" in shown.stderr
    wrong = run("bench", "load", f"{url}/v1/indexes/other")
    assert wrong.returncode == 2
    assert "no such index; there are index" in wrong.stderr


def test_nobody_there(run: Run) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = run("bench", "load", f"http://127.0.0.1:{port}", "--rate", "10")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no trimseek service answers" in done.stderr


Answer = Callable[[web.Request], Awaitable[web.Response]]


def against(answer: Answer, rates: list[float], names: tuple[str, ...] = ("i",), **how: Any) -> Any:
    """The load test's report on a server whose search is ``answer``."""

    async def indexes(_: web.Request) -> web.Response:
        return web.json_response({"indexes": [{"name": name} for name in names]})

    async def both() -> LoadReport:
        app = web.Application()
        app.router.add_get("/v1/indexes", indexes)
        app.router.add_post("/v1/indexes/{name}/search", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            return await load_test(f"http://127.0.0.1:{port}", TEXTS, rates, **how)
        finally:
            await runner.cleanup()

    return asyncio.run(both())


def test_a_stall_is_charged_to_all_who_would_have_waited() -> None:
    """The server stops for 0.5 s: a closed loop would count one slow request, not fifty."""
    requests, free_at = [0], [0.0]

    async def stalls_once(_: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        requests[0] += 1
        if requests[0] == 2:  # the first after the warm-up
            free_at[0] = loop.time() + 0.5
        await asyncio.sleep(max(0.0, free_at[0] - loop.time()))
        return web.json_response({})

    (point,) = against(stalls_once, [100], seconds=1.0, p99_bound=100).points
    assert point.requests == 100
    # half of the requests fell into the stall, and waited 0.25 s on average
    assert point.latency.p95 > 300
    assert point.longest > 480
    assert not point.holds


def test_errors_are_counted_by_status() -> None:
    count = [0]

    async def every_other(_: web.Request) -> web.Response:
        count[0] += 1
        return web.json_response({}, status=429 if count[0] % 2 else 200)

    (point,) = against(every_other, [50], seconds=0.4, p99_bound=1000).points
    assert point.errors == {"429": 10}
    assert not point.holds


def test_timeouts_and_broken_connections_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "TIMEOUT", 0.2)

    async def never(request: web.Request) -> web.Response:
        if (await request.json())["query"] == TEXTS[0]:
            assert request.transport is not None
            request.transport.close()
        await asyncio.sleep(1)
        return web.json_response({})

    (point,) = against(never, [20], seconds=0.2).points
    assert sum(point.errors.values()) == point.requests == 4
    assert point.errors["timeout"] == 2
    assert point.latency is None
    assert point.answered_rate == 0


def test_the_highest_rate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that takes 4 ms for each request, one after another: 250 a second at the most."""
    monkeypatch.setattr(load, "HALVINGS", 1)

    turn = asyncio.Lock()

    async def slow(_: web.Request) -> web.Response:
        async with turn:
            await asyncio.sleep(0.004)
        return web.json_response({})

    measured = against(slow, [], seconds=0.5, p99_bound=60)
    assert measured.highest is not None
    assert measured.highest < 250
    assert not measured.points[-1].holds
    assert [point.rate for point in measured.points] == sorted(
        point.rate for point in measured.points
    )


def test_which_index_must_be_clear() -> None:
    async def fine(_: web.Request) -> web.Response:
        return web.json_response({})

    with pytest.raises(ConfigError, match="has the indexes a, b; add /v1/indexes/NAME"):
        against(fine, [10], names=("a", "b"))


@pytest.mark.parametrize(
    ("url", "rates", "seconds", "message"),
    [
        ("localhost:80", [1.0], 1.0, "expected http://HOST:PORT"),
        ("http://", [1.0], 1.0, "expected http://HOST:PORT"),
        ("http://127.0.0.1:1", [0.0], 1.0, "must be greater than 0"),
        ("http://127.0.0.1:1", [1.0], -1.0, "must be greater than 0"),
    ],
)
def test_bad_arguments(url: str, rates: list[float], seconds: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        asyncio.run(load_test(url, TEXTS, rates, seconds=seconds))


def test_a_server_of_another_kind_is_refused() -> None:
    async def run() -> None:
        runner = web.AppRunner(web.Application())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            await load_test(f"http://127.0.0.1:{runner.addresses[0][1]}", TEXTS, [1])
        finally:
            await runner.cleanup()

    with pytest.raises(ServiceError, match="no trimseek service answers: 404"):
        asyncio.run(run())
