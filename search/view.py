"""The vectors of an index at one moment: its snapshot, what was added since, what was deleted.

A view never changes, as FAISS is not safe for a search during an addition; ``refreshed`` gives
the next one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.card import read_card
from indexer.folder import refresh_snapshot, write_lock
from indexer.snapshot import fill, new_index, read_snapshot
from indexer.store import SnapshotRecord, Store
from trimseek.console import note
from trimseek.errors import IndexFolderError, StorageError

# Parts beyond which a view is put together anew.
MOST_PARTS = 8


class Scored(NamedTuple):
    """Chunk keys and scores, best first; of equal scores the older chunk first."""

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class View:
    """``parts``: FAISS indexes under chunk keys; ``deleted``: keys to leave out, ascending."""

    snapshot: int
    parts: tuple[Any, ...]
    deleted: NDArray[np.int64]
    last_chunk: int

    def search(self, query: NDArray[np.float32], k: int) -> Scored:
        """The k nearest chunks of a query ``(dim,)``; fewer if there are fewer."""
        parameters = None
        if len(self.deleted):
            gone = faiss.IDSelectorNot(faiss.IDSelectorBatch(self.deleted))
            # faiss itself adds the keyword arguments, in Python
            parameters = faiss.SearchParameters(sel=gone)  # type: ignore[call-arg]
        # One query is one thread's work: a second one only fights onnxruntime's for the CPU
        # (measured on 2 cores: 5.7 ms a search instead of 1.6). The setting is the thread's own.
        faiss.omp_set_num_threads(1)
        keys, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for part in self.parts:
            if part.ntotal:
                found = part.search(query[None], min(k, part.ntotal), params=parameters)
                scores.append(found[0][0])
                keys.append(found[1][0])
        merged = Scored(np.concatenate(keys), np.concatenate(scores))
        order = np.lexsort((merged.keys, -merged.scores))
        order = order[merged.keys[order] >= 0][:k]
        return Scored(merged.keys[order], merged.scores[order])


def open_view(store: Store, folder: Path, dim: int) -> View:
    """The view of what is committed now; a snapshot that is missing or damaged is made anew."""
    record = store.snapshot()
    if record is None:
        return view_without_snapshot(store, dim)
    try:
        return view_of(store, record, read_snapshot(record, folder, dim), dim)
    except IndexFolderError as error:
        newer = store.snapshot()
        if newer != record:  # another process replaced the file between our two looks
            return open_view(store, folder, dim)
        note(f"{error}; making it anew from documents.db")
    if not rebuild(folder):
        return view_without_snapshot(store, dim)
    return open_view(store, folder, dim)


def rebuild(folder: Path) -> bool:
    """Write the snapshot anew; false where the folder cannot be written now."""
    try:
        with write_lock(folder):
            store = Store(folder, writable=True)
            try:
                refresh_snapshot(store, folder, read_card(folder))
            finally:
                store.close()
    except StorageError:
        return False
    return True


def view_without_snapshot(store: Store, dim: int) -> View:
    index = new_index(dim)
    last = fill(index, store.vectors(0, dim))
    return View(0, (index,), np.empty(0, np.int64), last)


def view_of(store: Store, record: SnapshotRecord, snapshot: Any, dim: int) -> View:
    view = View(record.number, (snapshot,), np.empty(0, np.int64), record.last_chunk)
    return with_changes(view, store, dim)


def refreshed(view: View, store: Store, folder: Path, dim: int) -> View:
    """The view of what is committed now, sharing with the old one what has not changed."""
    record = store.snapshot()
    if (record.number if record else 0) != view.snapshot or len(view.parts) > MOST_PARTS:
        return open_view(store, folder, dim)
    return with_changes(view, store, dim)


def with_changes(view: View, store: Store, dim: int) -> View:
    """Add the chunks stored after the view's last one, and leave out those deleted since."""
    fresh = new_index(dim)
    last = fill(fresh, store.vectors(view.last_chunk, dim)) or view.last_chunk
    parts = (*view.parts, fresh) if fresh.ntotal else view.parts
    deleted = store.tombstones()
    return View(view.snapshot, parts, deleted[deleted <= last], last)
