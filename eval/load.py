"""Load a running service with requests that arrive at a fixed rate, whether it keeps up or not.

An open loop: a request is due at its time even if earlier ones have no answer yet, and its latency
counts from then, so that a service that stalls is charged for everyone who would have waited
(no "coordinated omission", Tene 2013). ``lateness`` says how far this program itself fell behind:
where it nears the latencies, the load generator is what was measured.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from eval.collection import read_collection
from eval.judgments import read_queries
from eval.report import NOTHING, Cells
from eval.results import Percentiles
from eval.timing import percentiles
from indexer.corpus import SAMPLE
from trimseek.console import progress
from trimseek.errors import ConfigError, MissingExtraError, ServiceError

FORMAT_VERSION = 1
SECONDS = 10.0
P99_BOUND = 50.0  # ms
TIMEOUT = 10.0  # seconds for one request
WARM_UP = 50
FIRST_RATE = 25.0  # requests a second; doubled until one does not hold
HIGHEST_RATE = 51_200.0
HALVINGS = 3  # steps to narrow down the highest rate that holds
HITS = 10
INDEX_PATH = "/v1/indexes/"
T = TypeVar("T")


@dataclass(frozen=True)
class RatePoint:
    """One rate, held for some seconds. Rates in requests a second, latencies in ms.

    ``errors``: how many requests by status, or by the name of what went wrong. ``holds``: p99 is
    within the bound and nothing failed.
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
    """``highest``: the highest rate tried that holds ``p99_bound`` ms, None if none does."""

    url: str
    seconds: float
    p99_bound: float
    points: list[RatePoint]
    highest: float | None
    format_version: int = FORMAT_VERSION


def query_texts(collections: Sequence[str], split: str, file: Path | None) -> list[str]:
    """What is asked: a file's queries, the collections', or the judged Python questions."""
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
    """Hold each rate for some seconds; without rates, find the highest that holds the bound.

    ``url``: a service, or one index of it. ConfigError, ServiceError.
    """
    try:
        import aiohttp
    except ImportError:
        raise MissingExtraError("trimseek bench --http", "bench") from None
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
    """As ``asyncio.run``, by uvloop where it is installed.

    asyncio wakes up to a millisecond late; uvloop does not, and leaves more of the CPUs to the
    service that is measured on them.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


async def search_address(session: Any, url: str) -> str:
    """The search URL of the index that is meant; ConfigError if that is not clear."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--http {url}: expected http://HOST:PORT or .../v1/indexes/NAME")
    root = f"{parts.scheme}://{parts.netloc}"
    async with session.get(f"{root}{INDEX_PATH.rstrip('/')}") as response:
        response.raise_for_status()
        try:
            names = [each["name"] for each in (await response.json())["indexes"]]
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
    """When each of so many requests is due, at that time or as soon after it as can be."""
    began = time.perf_counter()
    for i in range(count):
        due = began + i / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        elif i % 16 == 0:
            await asyncio.sleep(0)  # behind: let answers in all the same
        yield due


class Loader:
    """Sends the texts in turn to one search address."""

    def __init__(
        self, session: Any, address: str, texts: Sequence[str], seconds: float, p99_bound: float
    ) -> None:
        self._session, self._address, self._texts = session, address, texts
        self._seconds, self._p99_bound = seconds, p99_bound
        self._sent = 0

    async def hold(self, rate: float, requests: int | None = None) -> RatePoint:
        """Send at this rate for the given seconds, or a number of requests."""
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
        """Double the rate until one does not hold, then halve the gap a few times."""
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
        except Exception as error:  # whatever a connection can die of is counted, not raised
            outcome = type(error).__name__
        if outcome == "200":
            latencies.append(time.perf_counter() - due)
        else:
            errors[outcome] += 1


def cells(report: LoadReport) -> Cells:
    """Latency against rate."""
    columns: dict[str, Callable[[RatePoint], str]] = {
        "requests/s": lambda point: f"{point.rate:,.0f}",
        "answered/s": lambda point: f"{point.answered_rate:,.0f}",
        "p50 ms": lambda point: shown(point.latency and point.latency.p50),
        "p95": lambda point: shown(point.latency and point.latency.p95),
        "p99": lambda point: shown(point.latency and point.latency.p99),
        "longest": lambda point: shown(point.longest),
        "errors": lambda point: (
            ", ".join(f"{n} {name}" for name, n in point.errors.items()) or NOTHING
        ),
        "lateness p99": lambda point: shown(point.lateness.p99),
        f"p99 within {report.p99_bound:g} ms": lambda point: "yes" if point.holds else "no",
    }
    heading = f"{report.url}, each rate for {report.seconds:g} s"
    rows = [[column(point) for column in columns.values()] for point in report.points]
    return Cells(heading, tuple(columns), rows)


def verdict(report: LoadReport) -> str:
    if report.highest is None:
        return f"no rate holds p99 within {report.p99_bound:g} ms"
    return f"highest rate that holds p99 within {report.p99_bound:g} ms: {report.highest:,.0f}/s"


def shown(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"
