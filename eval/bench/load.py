"""Load a running service with requests that arrive at a fixed rate, whether it keeps up or not.

This is an open loop: a request is sent when it is due, even if earlier ones have no answer yet, and
its latency counts from then. So a stall counts for all requests that would have waited (no
"coordinated omission", Tene 2013). ``lateness`` is how much later than due this program sent its
requests: where it comes near the latencies, they are the load generator's and not the service's.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from trimseek.console import progress
from trimseek.errors import ConfigError, MissingExtraError, ServiceError
from trimseek.eval.bench.report import EMPTY_CELL, Cells
from trimseek.eval.bench.results import Percentiles
from trimseek.eval.bench.timing import percentiles
from trimseek.eval.quality.collection import read_collection
from trimseek.eval.quality.judgments import read_queries
from trimseek.indexer.corpus import SAMPLE

FORMAT_VERSION = 1
SECONDS = 10.0
P99_BOUND = 50.0  # ms
TIMEOUT = 10.0  # seconds for one request
WARM_UP = 50  # requests
FIRST_RATE = 25.0  # requests a second; doubled until one does not hold
HIGHEST_RATE = 51_200.0  # at which the doubling ends
HALVINGS = 3  # steps to narrow down the highest rate that holds
HITS = 10  # asked of each search
INDEX_PATH = "/v1/indexes/"
T = TypeVar("T")


@dataclass(frozen=True)
class RatePoint:
    """What was measured at one rate. Rates in requests a second, latencies in ms.

    ``errors``: how many requests failed, by HTTP status or name of the error. ``latency`` and
    ``longest``: of those answered, None if none was. ``holds``: p99 is within the bound and
    nothing failed.
    """

    rate: float
    answered_rate: float
    requests: int
    errors: dict[str, int]
    latency: Percentiles | None
    longest: float | None
    lateness: Percentiles
    holds: bool


@dataclass(frozen=True)
class LoadReport:
    """``points``: by rate. ``highest``: the highest rate that holds ``p99_bound`` ms, or None."""

    url: str
    seconds: float
    p99_bound: float
    points: list[RatePoint]
    highest: float | None
    format_version: int = FORMAT_VERSION


def query_texts(collections: Sequence[str], split: str, file: Path | None) -> list[str]:
    """Queries to send: a file's, the collections', or else the judged Python questions."""
    if file is not None:
        return list(read_queries(file).values())
    names = list(collections) or [SAMPLE]
    return [text for name in names for text in read_collection(name, split).queries.values()]


async def load_test(
    url: str,
    texts: Sequence[str],
    rates: Sequence[float],
    *,
    seconds: float = SECONDS,
    p99_bound: float = P99_BOUND,
) -> LoadReport:
    """Measure each rate; without rates, find the highest that holds the bound.

    ``url``: a service, or one index of it. ``seconds``: for each rate. ``p99_bound``: ms.
    ConfigError for numbers and URLs that make no sense, ServiceError if no service answers.
    """
    try:
        import aiohttp
    except ImportError:
        raise MissingExtraError("trimseek bench load", "bench") from None
    if not all(0 < number < float("inf") for number in (*rates, seconds, p99_bound)):
        raise ConfigError("--rate, --seconds and --p99 must be greater than 0")
    timeout = aiohttp.ClientTimeout(total=TIMEOUT)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        try:
            address = await search_address(session, url)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise ServiceError(f"{url}: no trimseek service answers: {reason}") from error
        loader = Loader(session, address, texts, seconds, p99_bound)
        await loader.hold(FIRST_RATE, requests=WARM_UP)
        if rates:
            points = [await loader.hold(rate) for rate in rates]
        else:
            points = await loader.search()
    points.sort(key=lambda point: point.rate)
    held = [point.rate for point in points if point.holds]
    return LoadReport(address, seconds, p99_bound, points, max(held, default=None))


def on_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``, on uvloop where it is installed.

    asyncio wakes up to a millisecond late. uvloop does not, and it leaves more of the CPUs to the
    service, which runs on the same ones.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def search_address(session: Any, url: str) -> str:
    """The URL that searches the index; ConfigError unless ``url`` says which index."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"{url}: expected http://HOST:PORT or .../v1/indexes/NAME")
    root = f"{parts.scheme}://{parts.netloc}"
    async with session.get(f"{root}{INDEX_PATH.rstrip('/')}") as response:
        response.raise_for_status()
        try:
            names = [index["name"] for index in (await response.json())["indexes"]]
        except (KeyError, TypeError) as error:
            raise ValueError("its list of indexes is not one") from error
    if parts.path.startswith(INDEX_PATH):
        wanted = parts.path.removeprefix(INDEX_PATH).partition("/")[0]
        if wanted not in [quote(name) for name in names]:
            raise ConfigError(f"{url}: no such index; there are {', '.join(names) or 'none'}")
        return f"{root}{INDEX_PATH}{wanted}/search"
    if len(names) != 1:
        raise ConfigError(f"{url}: has the indexes {', '.join(names)}; add /v1/indexes/NAME")
    return f"{root}{INDEX_PATH}{quote(names[0])}/search"


async def paced(rate: float, count: int) -> AsyncIterator[float]:
    """Yields the time at which each request is due, as ``perf_counter`` has it, no earlier."""
    began = time.perf_counter()
    for i in range(count):
        due = began + i / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        elif i % 16 == 0:
            await asyncio.sleep(0)  # behind: still let answers be read
        yield due


class Loader:
    """Sends the texts one after another to one search address, over and over."""

    def __init__(
        self, session: Any, address: str, texts: Sequence[str], seconds: float, p99_bound: float
    ) -> None:
        self._session, self._address, self._texts = session, address, texts
        self._seconds, self._p99_bound = seconds, p99_bound
        self._sent = 0

    async def hold(self, rate: float, requests: int | None = None) -> RatePoint:
        """Send at a rate for the seconds of the test, or until ``requests`` are sent."""
        count = requests or max(1, round(rate * self._seconds))
        latencies: list[float] = []
        late: list[float] = []
        errors: Counter[str] = Counter()
        tasks = []
        with progress(f"{rate:,.0f} requests/s", count) as ticker:
            began = time.perf_counter()
            async for due in paced(rate, count):
                late.append(max(0.0, time.perf_counter() - due))
                tasks.append(asyncio.create_task(self._ask(due, latencies, errors)))
                ticker.advance(1)
            await asyncio.gather(*tasks)
            elapsed = time.perf_counter() - began
        latency = percentiles(latencies) if latencies else None
        return RatePoint(
            rate=rate,
            answered_rate=len(latencies) / elapsed,
            requests=count,
            errors=dict(errors),
            latency=latency,
            longest=max(latencies) * 1e3 if latencies else None,
            lateness=percentiles(late),
            holds=latency is not None and not errors and latency.p99 <= self._p99_bound,
        )

    async def search(self) -> list[RatePoint]:
        """Double the rate until one does not hold, then bisect between the last two."""
        points = [await self.hold(FIRST_RATE)]
        while points[-1].holds and points[-1].rate < HIGHEST_RATE:
            points.append(await self.hold(points[-1].rate * 2))
        low = max((point.rate for point in points if point.holds), default=None)
        high = points[-1].rate
        for _ in range(HALVINGS if low else 0):
            middle = await self.hold(((low or 0.0) + high) / 2)
            points.append(middle)
            low, high = (middle.rate, high) if middle.holds else (low, middle.rate)
        return points

    async def _ask(self, due: float, latencies: list[float], errors: Counter[str]) -> None:
        self._sent += 1
        query = self._texts[self._sent % len(self._texts)]
        try:
            async with self._session.post(
                self._address, json={"query": query, "k": HITS}
            ) as response:
                await response.read()
                outcome = str(response.status)
        except TimeoutError:
            outcome = "timeout"
        except Exception as error:  # however a connection fails, it is counted and not raised
            outcome = type(error).__name__
        if outcome == "200":
            latencies.append(time.perf_counter() - due)
        else:
            errors[outcome] += 1


def load_cells(report: LoadReport) -> Cells:
    """A row for each rate."""
    columns: dict[str, Callable[[RatePoint], str]] = {
        "requests/s": lambda point: f"{point.rate:,.0f}",
        "answered/s": lambda point: f"{point.answered_rate:,.0f}",
        "p50 ms": lambda point: milliseconds_cell(point.latency and point.latency.p50),
        "p95": lambda point: milliseconds_cell(point.latency and point.latency.p95),
        "p99": lambda point: milliseconds_cell(point.latency and point.latency.p99),
        "longest": lambda point: milliseconds_cell(point.longest),
        "errors": lambda point: (
            ", ".join(f"{n} {name}" for name, n in point.errors.items()) or EMPTY_CELL
        ),
        "lateness p99": lambda point: milliseconds_cell(point.lateness.p99),
        f"p99 within {report.p99_bound:g} ms": lambda point: "yes" if point.holds else "no",
    }
    heading = f"{report.url}, each rate for {report.seconds:g} s"
    rows = [[column(point) for column in columns.values()] for point in report.points]
    return Cells(heading, tuple(columns), rows)


def verdict(report: LoadReport) -> str:
    """The highest rate that holds, in words."""
    if report.highest is None:
        return f"no rate holds p99 within {report.p99_bound:g} ms"
    return f"highest rate that holds p99 within {report.p99_bound:g} ms: {report.highest:,.0f}/s"


def milliseconds_cell(value: float | None) -> str:
    """With two digits; empty for None."""
    return EMPTY_CELL if value is None else f"{value:.2f}"
