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
from indexer.rows import SnapshotRecord
from indexer.snapshot import (
    TUNING,
    SnapshotKind,
    fill,
    new_index,
    read_snapshot,
    search_parameters,
)
from indexer.store import Store
from search.native.walk import Walk, walk_of
from trimseek.console import note
from trimseek.errors import IndexFolderError, StorageError

# Parts beyond which a view is put together anew.
MOST_PARTS = 8
# Chunks that are compared one by one sooner than picked out of a FAISS index: about 2 ms.
FEW = 1000
COMPARED_AT_A_TIME = 8192
COMPARED_SHARE = 2  # of an effort beyond the usual: candidates of ivf compared for each list
WIDER = 4  # times the effort, where it was too small to find as many as are wanted


class Scored(NamedTuple):
    """Chunk keys and scores, best first; of equal scores the older chunk first."""

    keys: NDArray[np.int64]
    scores: NDArray[np.float32]


class Part(NamedTuple):
    """A FAISS index under chunk keys; ``walk``: compiled code that finds the same in its graph."""

    kind: SnapshotKind
    index: Any
    walk: Walk | None = None


@dataclass(frozen=True)
class View:
    """``deleted``: keys to leave out, ascending. ``store`` has the vectors that were stored."""

    store: Store
    snapshot: int
    parts: tuple[Part, ...]
    deleted: NDArray[np.int64]
    last_chunk: int

    @property
    def kind(self) -> SnapshotKind:
        """Of the snapshot; what came since is always compared as a whole."""
        return self.parts[0].kind

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        effort: int | None = None,
        allowed: NDArray[np.int64] | None = None,
    ) -> Scored:
        """The k nearest chunks of a query ``(dim,)``; fewer if there are fewer.

        ``effort``: see ``indexer.snapshot``. ``allowed``: the only chunks that count, ascending;
        a few of them are compared one by one, and so are all where an approximate index does not
        give k.
        """
        if allowed is not None:
            allowed = allowed[: np.searchsorted(allowed, self.last_chunk, "right")]
            if len(allowed) <= FEW:
                return self.compare(query, k, allowed)
        # One query is one thread's work: a second one only fights onnxruntime's for the CPU
        # (measured on 2 cores: 5.7 ms a search instead of 1.6). The setting is the thread's own.
        faiss.omp_set_num_threads(1)
        found = [self._search_part(part, query, k, effort, allowed) for part in self.parts]
        keys = np.concatenate([np.empty(0, np.int64), *(each.keys for each in found)])
        scores = np.concatenate([np.empty(0, np.float32), *(each.scores for each in found)])
        if allowed is not None and len(keys) < min(k, len(allowed)):
            return self.compare(query, k, allowed)
        return best(keys, scores, k)

    def _search_part(
        self,
        part: Part,
        query: NDArray[np.float32],
        k: int,
        effort: int | None,
        allowed: NDArray[np.int64] | None,
    ) -> Scored:
        total = part.index.ntotal
        if not total:
            return Scored(np.empty(0, np.int64), np.empty(0, np.float32))
        tuning = TUNING[part.kind]
        effort = effort or tuning.effort
        least = tuning.least
        if part.kind is SnapshotKind.IVF and effort:  # its codes are coarse
            least = max(least, effort // COMPARED_SHARE)
        wanted = min(max(k * tuning.refine, least), total)
        if allowed is not None and effort:  # of what is met, only a share counts
            effort = int(effort * max(1.0, total / len(allowed)))
        walk = part.walk if allowed is None else None
        selector = None if walk else self._selector(allowed)
        live = total if allowed is not None else total - len(self.deleted)
        while True:
            bound = min(max(effort, wanted), total) if effort else None
            if walk and bound:
                found = self._undeleted(Scored(*walk.search(query, bound)), wanted)
            else:
                parameters = search_parameters(part.kind, bound, selector)
                scores, keys = part.index.search(query[None], wanted, params=parameters)
                found = Scored(keys[0][keys[0] >= 0], scores[0][keys[0] >= 0])
            enough = len(found.keys) >= min(k, live)
            if not effort or enough or effort >= total or allowed is not None:
                break
            effort *= WIDER
        return found if tuning.refine == 1 else self.compare(query, wanted, found.keys)

    def _undeleted(self, found: Scored, count: int) -> Scored:
        if not len(self.deleted):
            return Scored(found.keys[:count], found.scores[:count])
        kept = ~np.isin(found.keys, self.deleted, assume_unique=True)
        return Scored(found.keys[kept][:count], found.scores[kept][:count])

    def _selector(self, allowed: NDArray[np.int64] | None) -> Any:
        """FAISS's word for what counts; None if everything does."""
        if allowed is not None:
            members = np.zeros(self.last_chunk // 8 + 1, np.uint8)
            np.bitwise_or.at(members, allowed // 8, np.uint8(1) << (allowed % 8).astype(np.uint8))
            return faiss.IDSelectorBitmap(members)  # type: ignore[call-arg, arg-type]
        if len(self.deleted):
            return faiss.IDSelectorNot(faiss.IDSelectorBatch(self.deleted))
        return None

    def compare(self, query: NDArray[np.float32], k: int, keys: NDArray[np.int64]) -> Scored:
        """The k nearest among chunks, by the vectors that are stored."""
        found, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for start in range(0, len(keys), COMPARED_AT_A_TIME):
            some_keys = keys[start : start + COMPARED_AT_A_TIME].tolist()
            some = self.store.vectors_of(some_keys, self.dim)
            found.append(some.keys)
            scores.append(some.vectors.astype(np.float32) @ query)
        return best(np.concatenate(found), np.concatenate(scores), k)

    def exact_top(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The k nearest of all stored chunks for each query ``(n, dim)``, ``(n, k)`` keys."""
        keys = np.empty((len(queries), 0), np.int64)
        scores = np.empty((len(queries), 0), np.float32)
        for some in self.store.vectors(0, self.dim):
            keys = np.hstack([keys, np.tile(some.keys, (len(queries), 1))])
            scores = np.hstack([scores, queries @ some.vectors.astype(np.float32).T])
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            keys = np.take_along_axis(keys, order, 1)
            scores = np.take_along_axis(scores, order, 1)
        return keys

    @property
    def dim(self) -> int:
        return int(self.parts[0].index.d)


def best(keys: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Scored:
    order = np.lexsort((keys, -scores))[:k]
    return Scored(keys[order], scores[order])


def open_view(store: Store, folder: Path, dim: int, *, made_anew: bool = False) -> View:
    """The view of what is committed now; a snapshot that is missing or damaged is made anew, once.

    Without a sound snapshot the vectors are compared from memory.
    """
    record = store.snapshot()
    if record is None:
        return view_without_snapshot(store, dim)
    try:
        index = read_snapshot(record, folder, dim)
        part = Part(SnapshotKind(record.kind), index, walk_of(index))
        return view_of(store, record, part, dim)
    except IndexFolderError as error:
        newer = store.snapshot()
        if newer != record:  # another process replaced the file between our two looks
            return open_view(store, folder, dim, made_anew=made_anew)
        note(f"{error}; making it anew from documents.db")
    if made_anew or not rebuild(folder):
        return view_without_snapshot(store, dim)
    return open_view(store, folder, dim, made_anew=True)


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
    return View(store, 0, (Part(SnapshotKind.EXACT, index),), np.empty(0, np.int64), last)


def view_of(store: Store, record: SnapshotRecord, snapshot: Part, dim: int) -> View:
    view = View(store, record.number, (snapshot,), np.empty(0, np.int64), record.last_chunk)
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
    parts = (*view.parts, Part(SnapshotKind.EXACT, fresh)) if fresh.ntotal else view.parts
    deleted = store.tombstones()
    return View(store, view.snapshot, parts, deleted[deleted <= last], last)
