"""Writes to indexes: those to one index one at a time, in threads of their own.

Other processes may write too: ``IndexWriter`` lets all take turns.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from trimseek.api import metrics
from trimseek.api.errors import DeadlineError, OverloadedError
from trimseek.indexer.card import folder_identity, read_card
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import Filter
from trimseek.indexer.prompts import document_encoder
from trimseek.indexer.writer import IndexWriter, Written
from trimseek.time_limit import check_time, time_limit

T = TypeVar("T")
SPARE_THREADS = 2  # beside one for each CPU, for indexes whose writes take long


class Writing:
    """``capacity``: documents that may wait; then OverloadedError. ``threads``: that write.

    The writes to one index follow one another; those to others go on beside them.
    """

    def __init__(self, capacity: int, threads: int) -> None:
        self.capacity, self.taken = capacity, 0
        self._threads = ThreadPoolExecutor(threads + SPARE_THREADS, "write")
        self._turns: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
        self._lock = Lock()
        self._writers: dict[Path, IndexWriter] = {}

    def close(self) -> None:
        """Finish what waits, then close the writers."""
        self._threads.shutdown()
        for writer in self._writers.values():
            writer.close()

    async def run(
        self, work: Callable[..., T], folder: Path, *arguments: Any, count: int = 1, seconds: float
    ) -> T:
        """Write to the index in a folder when its turn comes: ``work(folder, *arguments)``.

        DeadlineError after so many seconds: it may then still be done, or never.
        """
        if self.taken and self.taken + count > self.capacity:
            raise OverloadedError(f"{self.taken} documents are waiting to be written; try later")
        self.taken += count
        end = time.monotonic() + seconds

        def limited() -> T:
            with time_limit(end):
                check_time()  # nobody waits any more: it is not begun
                return work(folder, *arguments)

        loop = asyncio.get_running_loop()
        turn = self._turns.setdefault(folder, asyncio.Lock())
        try:
            async with asyncio.timeout(seconds):
                await turn.acquire()
                writing = self._threads.submit(limited)
                # the turn ends with the work, which may go on when nobody waits any more
                writing.add_done_callback(lambda _: loop.call_soon_threadsafe(turn.release))
                return await asyncio.wrap_future(writing)
        except TimeoutError:
            raise DeadlineError(
                f"not written within {seconds:g} s; ask what became of it"
            ) from None
        finally:
            self.taken -= count

    def put(self, folder: Path, name: str, entries: Sequence[Document | Written]) -> list[Written]:
        """As ``IndexWriter.put_each``; counted under the index's name."""
        results = self._writer(folder).put_each(entries)
        for result in results:
            metrics.WRITTEN.labels(name, result.status).inc()
        return results

    def delete(self, folder: Path, ids: Sequence[str]) -> int:
        """As ``IndexWriter.delete``."""
        return self._writer(folder).delete(ids)

    def delete_where(self, folder: Path, condition: Filter) -> int:
        """As ``IndexWriter.delete_where``."""
        return self._writer(folder).delete_where(condition)

    def patch(self, folder: Path, id_: str, changes: Mapping[str, Any]) -> Document:
        """As ``IndexWriter.patch``."""
        return self._writer(folder).patch(id_, changes)

    def is_stale(self, folder: Path) -> bool:
        """Whether enough was written for a new snapshot."""
        return self._writer(folder).is_stale()

    def drop(self, folder: Path, drop: Callable[[Path], None]) -> None:
        """Drop an index, and close what it was written by. ``drop``: as ``Indexes.drop``."""
        drop(folder)
        with self._lock:
            writer = self._writers.pop(folder, None)
        if writer is not None:
            writer.close()

    def _writer(self, folder: Path) -> IndexWriter:
        """The open writer of an index; another one where another index is in its place.

        Those of indexes that another process has dropped are closed.
        """
        with self._lock:
            gone = [path for path in self._writers if folder_identity(path) is None]
            closing = [self._writers.pop(path) for path in gone]
            known = self._writers.get(folder)
            if known is not None and known.card.id != folder_identity(folder):
                closing.append(self._writers.pop(folder))
                known = None
        for writer in closing:
            writer.close()
        if known is None:
            known = IndexWriter(folder, document_encoder(read_card(folder), folder))
            with self._lock:
                self._writers[folder] = known
        return known
