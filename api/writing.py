"""Writes to indexes: one at a time in this process, by a thread of its own.

Other processes may write too: ``IndexWriter`` lets all take turns.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from api import metrics
from api.errors import DeadlineError, OverloadedError
from encoders import DocumentEncoder, find_encoder
from indexer.card import read_card
from indexer.documents import Document
from indexer.filters import Filter
from indexer.folder import folder_identity
from indexer.writer import IndexWriter, check_documents
from trimseek.errors import CorpusError

T = TypeVar("T")


class Written(NamedTuple):
    """What became of one document: added, updated, unchanged, or failed and why."""

    id: str | None
    status: str
    error: str | None = None


class Writing:
    """``capacity``: documents that may wait; then OverloadedError."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.taken = capacity, 0
        self._thread = ThreadPoolExecutor(1, "write")
        self._writers: dict[Path, tuple[tuple[int, int] | None, IndexWriter]] = {}

    def close(self) -> None:
        self._thread.shutdown()
        for _, writer in self._writers.values():
            writer.close()

    async def run(
        self, work: Callable[..., T], *arguments: Any, count: int = 1, seconds: float
    ) -> T:
        """Do it when its turn comes.

        DeadlineError after so many seconds: it may then still be done, or never.
        """
        if self.taken and self.taken + count > self.capacity:
            raise OverloadedError(f"{self.taken} documents are waiting to be written; try later")
        self.taken += count
        future = self._thread.submit(work, *arguments)

        def done(_: object) -> None:
            self.taken -= count

        waiting = asyncio.wrap_future(future)
        waiting.add_done_callback(done)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except TimeoutError:
            raise DeadlineError(
                f"not written within {seconds:g} s; ask what became of it"
            ) from None

    def put(self, folder: Path, name: str, documents: Sequence[Document]) -> list[Written]:
        """Add or replace documents; one that cannot be stored fails alone."""
        writer = self._writer(folder)
        seen: set[str] = set()
        failed: dict[int, str] = {}
        for i, document in enumerate(documents):
            try:
                check_documents([document])
                if document.id in seen:
                    raise CorpusError(f"{document.where}: the id {document.id!a} is given twice")
            except CorpusError as error:
                failed[i] = str(error)
            else:
                seen.add(document.id)
        sound = [each for i, each in enumerate(documents) if i not in failed]
        statuses = iter(writer.put_each(sound) if sound else [])
        written = [
            Written(each.id, "failed", failed[i])
            if i in failed
            else Written(each.id, next(statuses))
            for i, each in enumerate(documents)
        ]
        for one in written:
            metrics.WRITTEN.labels(name, one.status).inc()
        return written

    def delete(self, folder: Path, ids: Sequence[str]) -> int:
        return self._writer(folder).delete(ids)

    def delete_where(self, folder: Path, condition: Filter) -> int:
        return self._writer(folder).delete_where(condition)

    def patch(self, folder: Path, id_: str, changes: Mapping[str, Any]) -> Document:
        return self._writer(folder).patch(id_, changes)

    def is_stale(self, folder: Path) -> bool:
        """Whether enough was written for a new snapshot."""
        return self._writer(folder).is_stale()

    def _writer(self, folder: Path) -> IndexWriter:
        """The open writer of an index; another one where another index is in its place."""
        identity = folder_identity(folder)
        known = self._writers.get(folder)
        if known is not None and known[0] == identity:
            return known[1]
        if known is not None:
            known[1].close()
            del self._writers[folder]
        encoder = DocumentEncoder(find_encoder(read_card(folder).encoder))
        writer = IndexWriter(folder, encoder)
        self._writers[folder] = identity, writer
        return writer
