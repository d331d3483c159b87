"""The service under load, beside a service as most people would write it.

python -m trimseek.eval.figures over_http INDEX QUESTIONS.jsonl.gz

It is loaded at a steady rate, by clients that ask again as soon as they are answered, and at three
times the rate that those reached. Then the same clients ask ``plain_service.py`` (FastAPI,
sentence-transformers, FAISS), which holds the same vectors and needs what `make peers` installs.
The load generator runs on the same CPUs.
"""

import asyncio
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import aiohttp
import numpy as np

from trimseek.console import note
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.unlabelled import sample_texts
from trimseek.eval.bench.load import Loader, RatePoint, on_a_loop, paced
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.report import Cells
from trimseek.eval.bench.results import Closed, Machine, Percentiles
from trimseek.eval.bench.timing import percentiles
from trimseek.eval.figures.files import RESULTS, read_figures, today, write_figures
from trimseek.eval.figures.service import service, wait_until_ready
from trimseek.indexer.folder import open_index
from trimseek.indexer.summary import summarize
from trimseek.settings import load_settings

HTTP = RESULTS / "http.json"
PLAIN_SERVICE = Path(__file__).resolve().with_name("plain_service.py")
RATE = 100.0  # requests a second
CLIENTS = 16
SECONDS = 10.0
OVERLOAD = 3.0  # times the rate that the clients reached
QUERIES = 500
WARM_UP = 100
HITS = 10
PORT = 8911  # of the plain service
RECOVERY = 1.0  # seconds after an overload, until the service is measured again


@dataclass(frozen=True)
class Overload:
    """A rate that the service cannot sustain, in requests a second; latencies in ms.

    ``refused``: share answered with 429; ``failed``: requests with neither 200 nor 429.
    ``accepted``, ``refusal``: latencies of the two. ``recovered``: one at a time, a second later.
    """

    rate: float
    answered_per_second: float
    refused: float
    failed: int
    accepted: Percentiles
    refusal: Percentiles | None
    recovered: Percentiles


@dataclass(frozen=True)
class HttpResults:
    """The content of http.json.

    ``overhead_ms``: median of a client's wait beyond encoding and searching. ``baseline``: the
    plain service, loaded as in ``closed``.
    """

    machine: Machine
    date: str
    documents: int
    steady: RatePoint
    overhead_ms: float
    closed: Closed
    overload: Overload
    baseline: Closed


class Answer(NamedTuple):
    """Of one request; ``seconds`` until the answer was there."""

    status: int
    seconds: float
    content: Any


class LoadClients:
    """Clients of one search address, who ask the texts one after another, over and over."""

    def __init__(self, session: aiohttp.ClientSession, address: str, texts: Sequence[str]) -> None:
        self._session, self._address, self._texts = session, address, texts
        self._numbers = count()

    async def ask(self) -> Answer:
        """Search for the next text."""
        query = self._texts[next(self._numbers) % len(self._texts)]
        began = time.perf_counter()
        body = {"query": query, "k": HITS}
        async with self._session.post(self._address, json=body) as response:
            content = await response.json()
        return Answer(response.status, time.perf_counter() - began, content)

    async def closed(self, clients: int, seconds: float) -> Closed:
        """A closed loop of so many clients."""
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
        """Median ms of a request beyond the service's own time, one request at a time."""
        waits: list[float] = []
        for _ in range(QUERIES):
            _, elapsed, content = await self.ask()
            waits.append(elapsed * 1e3 - content["timing_ms"]["total"])
        return median(waits)

    async def overload(self, rate: float, seconds: float) -> Overload:
        """An open loop, as in ``trimseek.eval.bench.load``, that counts refusals apart."""
        accepted: list[float] = []
        refused: list[float] = []
        failed = 0

        async def send(sent: float) -> None:
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
            # counted from when it is sent: the load generator may be late, the service is not
            tasks.append(asyncio.create_task(send(time.perf_counter())))
        await asyncio.gather(*tasks)
        elapsed = time.perf_counter() - began
        await asyncio.sleep(RECOVERY)
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


async def measure_service(
    address: str, texts: Sequence[str]
) -> tuple[RatePoint, float, Closed, Overload]:
    """The service at a steady rate, its overhead, clients in a closed loop, and an overload."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        clients = LoadClients(session, address, texts)
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
    """The clients in a closed loop, after a warm-up."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        clients = LoadClients(session, address, texts)
        await clients.closed(2, 2.0)
        return await clients.closed(CLIENTS, SECONDS)


@contextmanager
def plain_service(folder: Path) -> Iterator[str]:
    """Run the plain service on the vectors of an index; yields its search address."""
    with open_index(folder) as (card, store):
        parts = [part.vectors for part in store.vectors(0, card.dim)]
    with tempfile.TemporaryDirectory(prefix="trimseek-http-") as name:
        path = Path(name) / "vectors.npy"
        np.save(path, np.concatenate(parts).astype(np.float32))
        python = load_settings().peers / "bin" / "python"
        server = subprocess.Popen(
            [
                python,
                "-P",
                PLAIN_SERVICE,
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


def main(arguments: Sequence[str]) -> None:
    """Measure an index with the questions of a file, and write the results."""
    folder = Path(arguments[0])
    texts = sample_texts(Path(arguments[1]), QUERIES)
    with service(folder) as running:
        address = f"{running.url}/v1/indexes/{folder.resolve().name}/search"
        steady, overhead, closed, overload = on_a_loop(measure_service(address, texts))
    with plain_service(folder) as address:
        baseline = on_a_loop(measure_baseline(address, texts))
    note(f"baseline: {baseline}")
    documents = summarize(folder).documents
    results = HttpResults(
        describe_machine(None, {}), today(), documents, steady, overhead, closed, overload, baseline
    )
    write_figures(HTTP, results)


def read_http() -> HttpResults:
    """The committed results."""
    return read_figures(HTTP, HttpResults)


def http_cells(results: HttpResults) -> Cells:
    """A row for each kind of load."""
    steady, closed, over, plain = results.steady, results.closed, results.overload, results.baseline
    assert steady.latency is not None  # noqa: S101 - requests were answered
    rate, plain_rate = closed.queries_per_second, plain.queries_per_second
    refusal = f"; refusals after {over.refusal.p50:.1f} ms (p50)" if over.refusal else ""
    rows = [
        [f"{steady.rate:.0f} requests/s", f"p50 {steady.latency.p50:.2f} ms, p99 "
         f"{steady.latency.p99:.2f} ms"],
        ["HTTP, beside encoding and searching", f"{results.overhead_ms:.2f} ms"],
        [f"{closed.clients} clients that ask at once again", f"{rate:.0f} searches/s, "
         f"p50 {closed.latency.p50:.1f} ms, p99 {closed.latency.p99:.1f} ms"],
        ["the same clients, plain FastAPI + sentence-transformers + FAISS",
         f"{plain_rate:.0f} searches/s: {rate / plain_rate:.1f} times fewer"],
        [f"{OVERLOAD:.0f} times that, {over.rate:.0f} requests/s",
         f"{over.answered_per_second:.0f} answered/s (p99 {over.accepted.p99:.1f} ms), "
         f"{over.refused:.0%} refused with 429{refusal}, {over.failed} failed"],
        ["a second later, one at a time", f"p99 {over.recovered.p99:.2f} ms"],
    ]  # fmt: skip
    return Cells(f"{results.documents:,} documents over HTTP", ["load", "measured"], rows)
