"""The service under load, beside one as most people would write it.

python -m eval.over_http INDEX QUESTIONS.jsonl.gz > eval/results/http.json

At a steady rate, by clients that ask again as soon as they are answered, and at three times the
rate that it sustains; then the same clients ask ``eval.workers.plain_service`` (FastAPI,
sentence-transformers, FAISS), which holds the same vectors and needs what `make peers` installs.
The load generator takes its share of the same CPUs.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import aiohttp
import numpy as np
from pydantic import TypeAdapter

from encoders.catalog import find_checkpoint
from encoders.unlabelled import some_texts
from eval.bench import machine
from eval.load import Loader, RatePoint, on_a_loop, paced
from eval.report import Cells
from eval.results import Closed, Machine, Percentiles
from eval.service import service, wait_until_ready
from eval.timing import percentiles
from indexer.folder import open_index
from trimseek.console import note
from trimseek.settings import load_settings

RESULTS = Path(__file__).parent / "results" / "http.json"
RATE = 100.0  # requests a second
CLIENTS = 16
SECONDS = 10.0
OVERLOAD = 3.0  # times what the clients get
QUERIES = 500
WARM_UP = 100
HITS = 10
SOON = 1.0  # seconds within which a service should be as before


@dataclass(frozen=True)
class Overload:
    """A rate that cannot be held. ``recovered``: p99 at the steady rate, a second later."""

    rate: float
    answered_per_second: float
    refused: float
    failed: int
    accepted: Percentiles
    refusal: Percentiles | None
    recovered: Percentiles


@dataclass(frozen=True)
class HttpResults:
    """``overhead_ms``: median of what a client waits beyond encoding and searching."""

    machine: Machine
    date: str
    documents: int
    steady: RatePoint
    overhead_ms: float
    closed: Closed
    overload: Overload
    baseline: Closed


class Asked(NamedTuple):
    status: int
    seconds: float
    content: Any


class Clients:
    """Asks one search address."""

    def __init__(self, session: aiohttp.ClientSession, address: str, texts: Sequence[str]) -> None:
        self._session, self._address, self._texts = session, address, texts
        self._numbers = count()

    async def ask(self) -> Asked:
        """Status, seconds, and the answer."""
        query = self._texts[next(self._numbers) % len(self._texts)]
        began = time.perf_counter()
        body = {"query": query, "k": HITS}
        async with self._session.post(self._address, json=body) as response:
            content = await response.json()
        return Asked(response.status, time.perf_counter() - began, content)

    async def closed(self, clients: int, seconds: float) -> Closed:
        latencies: list[float] = []
        end = time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                status, elapsed, _ = await self.ask()
                if status == 200:
                    latencies.append(elapsed)

        await asyncio.gather(*(client() for _ in range(clients)))
        return Closed(clients, len(latencies) / seconds, percentiles(latencies))

    async def overhead(self) -> float:
        """One request at a time."""
        waits: list[float] = []
        for _ in range(QUERIES):
            _, elapsed, content = await self.ask()
            waits.append(elapsed * 1e3 - content["timing_ms"]["total"])
        return median(waits)

    async def overload(self, rate: float, seconds: float) -> Overload:
        """An open loop, as ``eval.load``, that keeps apart what was refused."""
        accepted: list[float] = []
        refused: list[float] = []
        failed = 0

        async def one(sent: float) -> None:
            nonlocal failed
            try:
                status, _, _ = await self.ask()
            except (aiohttp.ClientError, TimeoutError):
                status = 0
            elapsed = time.perf_counter() - sent
            if status == 200:
                accepted.append(elapsed)
            elif status == 429:
                refused.append(elapsed)
            else:
                failed += 1

        began, tasks = time.perf_counter(), []
        async for _ in paced(rate, round(rate * seconds)):
            # from when it is sent: a load generator that is late is not the service's fault
            tasks.append(asyncio.create_task(one(time.perf_counter())))
        await asyncio.gather(*tasks)
        elapsed = time.perf_counter() - began
        await asyncio.sleep(SOON)
        after = [(await self.ask())[1] for _ in range(WARM_UP)]
        return Overload(
            rate,
            len(accepted) / elapsed,
            len(refused) / len(tasks),
            failed,
            percentiles(accepted),
            percentiles(refused) if refused else None,
            percentiles(after),
        )


async def measure(address: str, texts: Sequence[str]) -> tuple[RatePoint, float, Closed, Overload]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        clients = Clients(session, address, texts)
        await clients.closed(2, 2.0)
        steady = await Loader(session, address, texts, SECONDS, 8.0).hold(RATE)
        note(f"{steady}")
        overhead = await clients.overhead()
        closed = await clients.closed(CLIENTS, SECONDS)
        note(f"{overhead:.2f} ms beside encoding and searching; {closed}")
        overload = await clients.overload(OVERLOAD * closed.queries_per_second, SECONDS)
        note(f"{overload}")
    return steady, overhead, closed, overload


async def measure_baseline(address: str, texts: Sequence[str]) -> Closed:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        clients = Clients(session, address, texts)
        await clients.closed(2, 2.0)
        return await clients.closed(CLIENTS, SECONDS)


@contextmanager
def plain_service(folder: Path) -> Iterator[str]:
    """The baseline's search address, over the vectors of an index."""
    card, store = open_index(folder)
    parts = [part.vectors for part in store.vectors(0, card.dim)]
    store.close()
    with tempfile.TemporaryDirectory(prefix="trimseek-http-") as name:
        path = Path(name) / "vectors.npy"
        np.save(path, np.concatenate(parts).astype(np.float32))
        python = load_settings().peers / "bin" / "python"
        server = subprocess.Popen(  # noqa: S603 - our own
            [
                python,
                "-m",
                "eval.workers.plain_service",
                find_checkpoint("minilm"),
                path,
                str(PORT),
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{PORT}"
            wait_until_ready(url)
            yield f"{url}/search"
        finally:
            server.terminate()
            server.wait()


PORT = 8911


def main(arguments: Sequence[str]) -> None:
    folder = Path(arguments[0])
    texts = some_texts(Path(arguments[1]), QUERIES)
    with service(folder) as running:
        address = f"{running.url}/v1/indexes/{folder.resolve().name}/search"
        steady, overhead, closed, overload = on_a_loop(measure(address, texts))
    with plain_service(folder) as address:
        baseline = on_a_loop(measure_baseline(address, texts))
    note(f"baseline: {baseline}")
    _, store = open_index(folder)
    documents = store.counts().documents
    store.close()
    today = datetime.now(UTC).date().isoformat()
    found = HttpResults(
        machine(None, {}), today, documents, steady, overhead, closed, overload, baseline
    )
    print(json.dumps(asdict(found), indent=1))


def read_http() -> HttpResults:
    return TypeAdapter(HttpResults).validate_json(RESULTS.read_text("utf-8"))


def http_cells(found: HttpResults) -> Cells:
    """What was measured, a line each."""
    steady, closed, over, plain = found.steady, found.closed, found.overload, found.baseline
    assert steady.latency is not None  # noqa: S101 - it was answered
    ours, theirs = closed.queries_per_second, plain.queries_per_second
    refusal = f"; refusals after {over.refusal.p50:.1f} ms (p50)" if over.refusal else ""
    rows = [
        [f"{steady.rate:.0f} requests/s", f"p50 {steady.latency.p50:.2f} ms, p99 "
         f"{steady.latency.p99:.2f} ms"],
        ["HTTP, beside encoding and searching", f"{found.overhead_ms:.2f} ms"],
        [f"{closed.clients} clients that ask at once again", f"{ours:.0f} searches/s, "
         f"p50 {closed.latency.p50:.1f} ms, p99 {closed.latency.p99:.1f} ms"],
        ["the same clients, plain FastAPI + sentence-transformers + FAISS",
         f"{theirs:.0f} searches/s: {ours / theirs:.1f} times fewer"],
        [f"{OVERLOAD:.0f} times that, {over.rate:.0f} requests/s",
         f"{over.answered_per_second:.0f} answered/s (p99 {over.accepted.p99:.1f} ms), "
         f"{over.refused:.0%} refused with 429{refusal}, {over.failed} failed"],
        ["a second later, one at a time", f"p99 {over.recovered.p99:.2f} ms"],
    ]  # fmt: skip
    return Cells(f"{found.documents:,} documents over HTTP", ["load", "measured"], rows)


if __name__ == "__main__":
    main(sys.argv[1:])
