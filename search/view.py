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

from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import SnapshotRecord
from trimseek.indexer.snapshot import KINDS, fill, new_index, read_snapshot
from trimseek.indexer.store import Store
from trimseek.search.native.walk import Walk, walk_of

# Parts beyond which a view is put together anew.
MOST_PARTS = 8
# Chunks that are compared one by one sooner than picked out of a FAISS index: about 2 ms.
FEW = 1000
COMPARED_AT_A_TIME = 8192
BLOCK, BLOCK_GROWTH = 16, 4  # chunks that an approximate index is asked for
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
        """The k nearest chunks of a query ``(dim,)``; fewer only if there are fewer.

        The k nearest are the beginning of the 2 k nearest: an approximate index, which finds others
        when more are wanted, is asked for ``BLOCK``, then for ``BLOCK_GROWTH`` times as many, and
        what is new is put behind. ``effort``: see ``indexer.snapshot``. ``allowed``: the only
        chunks that count, ascending.
        """
        if KINDS[self.kind].refine == 1:
            return self._nearest(query, k, effort, allowed)
        block, nearest = BLOCK, self._nearest(query, BLOCK, effort, allowed)
        while block < k and len(nearest.keys) == block:
            block *= BLOCK_GROWTH
            more = self._nearest(query, block, effort, allowed)
            new = ~np.isin(more.keys, nearest.keys, assume_unique=True)
            nearest = Scored(
                np.concatenate([nearest.keys, more.keys[new]])[:block],
                np.concatenate([nearest.scores, more.scores[new]])[:block],
            )
        return Scored(nearest.keys[:k], nearest.scores[:k])

    def _nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        effort: int | None,
        allowed: NDArray[np.int64] | None,
    ) -> Scored:
        """As ``search``, but for its beginning.

        A few allowed chunks are compared one by one; so are all where an index does not give k.
        """
        if allowed is not None:
            allowed = allowed[: np.searchsorted(allowed, self.last_chunk, "right")]
            if len(allowed) <= FEW:
                return self.compare(query, k, allowed)
        # One query is one thread's work: a second one only fights onnxruntime's for the CPU
        # (measured on 2 cores: 5.7 ms a search instead of 1.6). The setting is the thread's own.
        faiss.omp_set_num_threads(1)
        parts = [self._search_part(part, query, k, effort, allowed) for part in self.parts]
        keys = np.concatenate([np.empty(0, np.int64), *(scored.keys for scored in parts)])
        scores = np.concatenate([np.empty(0, np.float32), *(scored.scores for scored in parts)])
        if len(keys) < min(k, self.count if allowed is None else len(allowed)):
            return self.compare(query, k, self._stored_keys() if allowed is None else allowed)
        return best(keys, scores, k)

    @property
    def count(self) -> int:
        """How many chunks there are to find."""
        return sum(int(part.index.ntotal) for part in self.parts) - len(self.deleted)

    def _stored_keys(self) -> NDArray[np.int64]:
        keys = self.store.chunk_keys()
        return keys[keys <= self.last_chunk]

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
        kind = KINDS[part.kind]
        effort = effort or kind.effort
        wanted = min(kind.candidates(k, effort), total)
        if allowed is not None and effort:  # of what is met, only a share counts
            effort = int(effort * max(1.0, total / len(allowed)))
        walk = part.walk if allowed is None else None
        selector = None if walk else self._selector(allowed)
        live = total if allowed is not None else total - len(self.deleted)
        while True:
            bound = min(max(effort, wanted), total) if effort else None
            if walk and bound:
                scored = self._undeleted(Scored(*walk.search(query, bound)), wanted)
            else:
                parameters = kind.parameters(bound, selector)
                scored = searched(part.index, query, wanted, parameters, ties=kind.refine == 1)
            enough = len(scored.keys) >= min(k, live)
            if not effort or enough or effort >= total or allowed is not None:
                break
            effort *= WIDER
        return scored if kind.refine == 1 else self.compare(query, wanted, scored.keys)

    def _undeleted(self, scored: Scored, count: int) -> Scored:
        if not len(self.deleted):
            return Scored(scored.keys[:count], scored.scores[:count])
        kept = ~np.isin(scored.keys, self.deleted, assume_unique=True)
        return Scored(scored.keys[kept][:count], scored.scores[kept][:count])

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
        keys_found, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for start in range(0, len(keys), COMPARED_AT_A_TIME):
            some_keys = keys[start : start + COMPARED_AT_A_TIME].tolist()
            stored = self.store.vectors_of(some_keys, self.dim)
            keys_found.append(stored.keys)
            # summed row by row: equal vectors have equal scores, which a matrix product does not
            # promise, and ties are then in the order of keys
            scores.append((stored.vectors.astype(np.float32) * query).sum(axis=1))
        return best(np.concatenate(keys_found), np.concatenate(scores), k)

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
        """Size of a vector."""
        return int(self.parts[0].index.d)


def searched(
    index: Any, query: NDArray[np.float32], count: int, parameters: Any, *, ties: bool
) -> Scored:
    """What FAISS finds; with ``ties`` also all that are as near as the last.

    FAISS chooses among equals by chance.
    """
    asked = count + 1 if ties else count
    while True:
        scores, keys = index.search(query[None], asked, params=parameters)
        scored = Scored(keys[0][keys[0] >= 0], scores[0][keys[0] >= 0])
        all_there = not ties or len(scored.keys) < asked
        if all_there or scored.scores[count - 1] > scored.scores[-1]:
            return scored
        asked *= 2


def best(keys: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> Scored:
    """The k best of chunks; of equal scores the older one."""
    order = np.lexsort((keys, -scores))[:k]
    return Scored(keys[order], scores[order])


def open_view(store: Store, folder: Path, dim: int) -> View:
    """The view of what is committed now; IndexFolderError if the snapshot is missing or damaged."""
    record = store.snapshot()
    if record is None:
        return view_without_snapshot(store, dim)
    index = read_snapshot(record, folder, dim)
    return view_of(store, record, Part(SnapshotKind(record.kind), index, walk_of(index)), dim)


def view_without_snapshot(store: Store, dim: int) -> View:
    """All stored vectors in memory, compared one by one."""
    index = new_index(dim)
    last = fill(index, store.vectors(0, dim))
    return View(store, 0, (Part(SnapshotKind.EXACT, index),), np.empty(0, np.int64), last)


def view_of(store: Store, record: SnapshotRecord, snapshot: Part, dim: int) -> View:
    """The view of a snapshot, and what changed since."""
    view = View(store, record.number, (snapshot,), np.empty(0, np.int64), record.last_chunk)
    return with_changes(view, store, dim)


def refreshed(view: View, store: Store, folder: Path, dim: int) -> View:
    """The view of what is committed now, sharing with the old one what has not changed.

    IndexFolderError as ``open_view``.
    """
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
