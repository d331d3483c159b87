"""Queries from many connections to few threads, one for each CPU.

A query that finds a thread free is encoded and searched at once; those that come meanwhile wait,
and what waits together is encoded together. So batches form under load alone, and cost nothing
without it.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, TypeVar

from api import metrics
from api.errors import DeadlineError, OverloadedError
from search import Results, Searcher
from search.options import Mode, Options, check_options, check_query

T = TypeVar("T")


@dataclass(eq=False)
class Job:
    """One query; ``dropped`` when nobody waits for its answer any more."""

    searcher: Searcher
    query: str
    k: int
    options: Options
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Results]
    dropped: bool = False

    def goes_with(self, first: "Job") -> bool:
        """Whether both can be encoded together."""
        return self.searcher is first.searcher and Mode.LEXICAL not in (
            self.options.mode,
            first.options.mode,
        )

    def finish(self, results: Results | None, error: BaseException | None = None) -> None:
        """From any thread."""

        def settle() -> None:
            if self.future.done():
                return
            if error is not None:
                self.future.set_exception(error)
            elif results is not None:
                self.future.set_result(results)

        self.loop.call_soon_threadsafe(settle)


class Engine:
    """``capacity``: queries that may be waiting or under way; then OverloadedError.

    ``batch``: so many are encoded together at most. ``threads``: that encode and search.
    """

    def __init__(self, capacity: int, batch: int, threads: int) -> None:
        self.capacity, self.batch = capacity, batch
        self.taken = 0  # queries waiting or under way; changed by the event loop alone
        self._waiting: deque[Job] = deque()
        self._arrived = Condition()
        self._closed = False
        self._others = ThreadPoolExecutor(threads, "other")
        self._threads = [
            Thread(target=self._work, name=f"search-{i}", daemon=True) for i in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()
        for thread in self._threads:
            thread.join()
        self._others.shutdown()

    def admit(self, count: int) -> None:
        """OverloadedError where so many more may not wait; where nobody does, they always may."""
        if self.taken and self.taken + count > self.capacity:
            metrics.REFUSED.inc(count)
            raise OverloadedError(f"{self.taken} queries are waiting; try again later")

    async def search(
        self,
        searcher: Searcher,
        query: str,
        k: int,
        options: Options,
        seconds: float,
        *,
        admitted: bool = False,
    ) -> Results:
        """As ``Searcher.search``; DeadlineError after so many seconds, OverloadedError.

        ``admitted``: it was, as one of several.
        """
        check_query(query, k)
        check_options(options)
        if not admitted:
            self.admit(1)
        loop = asyncio.get_running_loop()
        job = Job(searcher, query, k, options, loop, loop.create_future())
        self.taken += 1
        metrics.QUEUE.set(self.taken)
        try:
            with self._arrived:
                self._waiting.append(job)
                self._arrived.notify()
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            raise DeadlineError(f"no answer within {seconds:g} s") from None
        finally:
            job.dropped = True
            self.taken -= 1
            metrics.QUEUE.set(self.taken)

    async def run(self, work: Callable[..., T], *arguments: Any, seconds: float) -> T:
        """Anything else that reads, in a thread beside those that search."""
        self.admit(1)
        self.taken += 1
        try:
            async with asyncio.timeout(seconds):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._others, work, *arguments)
        except TimeoutError:
            raise DeadlineError(f"no answer within {seconds:g} s") from None
        finally:
            self.taken -= 1

    def _work(self) -> None:
        while True:
            with self._arrived:
                while not self._waiting:
                    if self._closed:
                        return
                    self._arrived.wait()
                jobs = self._take()
            if jobs and jobs[0].options.mode is Mode.LEXICAL:
                self._answer(jobs[0], None)
            elif jobs:
                self._answer_batch(jobs)

    def _take(self) -> list[Job]:
        """The first that waits, and those behind it for the same encoder."""
        jobs: list[Job] = []
        others: deque[Job] = deque()
        while self._waiting and len(jobs) < self.batch:
            job = self._waiting.popleft()
            if job.dropped:
                continue
            (jobs if not jobs or job.goes_with(jobs[0]) else others).append(job)
        self._waiting.extendleft(reversed(others))
        return jobs

    def _answer_batch(self, jobs: Sequence[Job]) -> None:
        metrics.BATCH.observe(len(jobs))
        try:
            encoded = jobs[0].searcher.encode([job.query for job in jobs])
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].finish(None, error)
            else:  # one that cannot be encoded fails alone
                for job in jobs:
                    self._answer_batch([job])
            return
        for job, query in zip(jobs, encoded, strict=True):
            self._answer(job, query)

    def _answer(self, job: Job, encoded: Any) -> None:
        if job.dropped:
            return
        try:
            results = job.searcher.answer(job.query, encoded, job.k, job.options)
        except Exception as error:
            job.finish(None, error)
        else:
            metrics.observe_search(results.timing_ms)
            job.finish(results)
