"""Queries from many connections to few threads, one for each CPU.

A query that finds a thread free is encoded and searched at once; those that come meanwhile wait,
and what waits together is encoded together. So batches form under load alone, and cost nothing
without it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from trimseek.api import metrics
from trimseek.api.errors import DeadlineError, OverloadedError
from trimseek.search import Results
from trimseek.search.options import Options, check_options, check_query
from trimseek.search.reader_searcher import ReaderSearcher
from trimseek.time_limit import check_time, time_limit

T = TypeVar("T")
SPARE_THREADS = 4


@dataclass(eq=False)
class Job:
    """One query; ``dropped`` when nobody waits for its answer any more.

    ``end``: when its time is over, in seconds of ``time.monotonic``.
    """

    searcher: ReaderSearcher
    query: str
    k: int
    options: Options
    end: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Results]
    dropped: bool = False

    def goes_with(self, first: "Job") -> bool:
        """Whether both can be encoded together."""
        encoded = self.options.needs_encoding and first.options.needs_encoding
        return self.searcher is first.searcher and encoded

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

    ``batch``: so many are encoded together at most. ``threads``: that one index may keep busy.
    There are ``SPARE_THREADS`` more, so that an index whose queries take long does not keep the
    others waiting.
    """

    def __init__(self, capacity: int, batch: int, threads: int) -> None:
        self.capacity, self.batch = capacity, batch
        self.taken = 0  # queries waiting or under way; changed by the event loop alone
        self._waiting: deque[Job] = deque()
        self._arrived = Condition()
        self._closed = False
        self._threads_of_one = threads
        # for texts of /v1/embeddings, which come by the thousand: half of the CPUs is for searches
        self.embedding_turn = asyncio.Semaphore(max(1, threads // 2))
        self._busy: Counter[ReaderSearcher] = Counter()  # threads, by the index that they work for
        self._turns: WeakKeyDictionary[ReaderSearcher, asyncio.Semaphore] = WeakKeyDictionary()
        count = threads + SPARE_THREADS
        self._others = ThreadPoolExecutor(count, "other")
        self._threads = [
            Thread(target=self._work, name=f"search-{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Let the threads end; what waits is answered first."""
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
        searcher: ReaderSearcher,
        query: str,
        k: int,
        options: Options,
        seconds: float,
        *,
        admitted: bool = False,
    ) -> Results:
        """As ``ReaderSearcher.search``; DeadlineError after so many seconds, OverloadedError.

        ``admitted``: it was, as one of several.
        """
        check_query(query, k, options)
        check_options(options)
        if not admitted:
            self.admit(1)
        loop = asyncio.get_running_loop()
        end = time.monotonic() + seconds
        job = Job(searcher, query, k, options, end, loop, loop.create_future())
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

    async def run(
        self,
        work: Callable[..., T],
        *arguments: Any,
        seconds: float,
        searcher: ReaderSearcher | None = None,
        turn: asyncio.Semaphore | None = None,
        admitted: bool = False,
    ) -> T:
        """Anything else that reads, in a thread beside those that search.

        ``searcher``: the index that it reads; so many threads at once work for one index.
        ``turn``: what it waits for, in the place of an index's. ``admitted``: it was, as the first
        part of the same work.
        """
        if not admitted:
            self.admit(1)
        self.taken += 1
        end = time.monotonic() + seconds

        def limited() -> T:
            with time_limit(end):
                check_time()  # nobody waits any more: it is not begun
                return work(*arguments)

        loop = asyncio.get_running_loop()
        if turn is None:
            turn = asyncio.Semaphore() if searcher is None else self._turn(searcher)
        try:
            async with asyncio.timeout(seconds):
                await turn.acquire()
                working = self._others.submit(limited)
                # the turn ends with the work, which may go on when nobody waits any more
                working.add_done_callback(lambda _: loop.call_soon_threadsafe(turn.release))
                return await asyncio.wrap_future(working)
        except TimeoutError:
            raise DeadlineError(f"no answer within {seconds:g} s") from None
        finally:
            self.taken -= 1

    def _turn(self, searcher: ReaderSearcher) -> asyncio.Semaphore:
        return self._turns.setdefault(searcher, asyncio.Semaphore(self._threads_of_one))

    def _work(self) -> None:
        while (jobs := self._next()) is not None:
            try:
                if jobs[0].options.needs_encoding:
                    self._answer_batch(jobs)
                else:
                    self._answer(jobs[0], None)
            finally:
                with self._arrived:
                    self._busy[jobs[0].searcher] -= 1
                    self._busy += Counter()  # forgets those without a thread
                    self._arrived.notify()

    def _next(self) -> list[Job] | None:
        """Wait for queries that may be answered now; None at the end."""
        with self._arrived:
            while not (jobs := self._take()):
                if self._closed and not self._waiting:
                    return None
                self._arrived.wait()
            self._busy[jobs[0].searcher] += 1
            return jobs

    def _take(self) -> list[Job]:
        """The first that waits for an index with a free thread, and those that go with it."""
        jobs: list[Job] = []
        others: deque[Job] = deque()
        while self._waiting and len(jobs) < self.batch:
            job = self._waiting.popleft()
            if job.dropped:
                continue
            fits = job.goes_with(jobs[0]) if jobs else self._has_thread(job.searcher)
            (jobs if fits else others).append(job)
        self._waiting.extendleft(reversed(others))
        return jobs

    def _has_thread(self, searcher: ReaderSearcher) -> bool:
        return self._busy[searcher] < self._threads_of_one

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
            with time_limit(job.end):
                results = job.searcher.answer(job.query, encoded, job.k, job.options)
        except Exception as error:
            job.finish(None, error)
        else:
            metrics.observe_search(results.timing_ms)
            job.finish(results)
