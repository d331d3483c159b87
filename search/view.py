"""The vectors of an index at one moment: its snapshot, what was added since, what was deleted.

A view never changes, as FAISS is not safe for a search during an addition; ``refreshed`` gives
the next one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import ChunkVectors, SnapshotRecord, Vectors
from trimseek.indexer.snapshot import (
    KINDS,
    fill,
    new_index,
    read_snapshot,
    stored_keys,
    vectors_path,
)
from trimseek.indexer.store import Store
from trimseek.indexer.vectors_file import VectorsFile, read_vectors
from trimseek.search.native.graph import Graph, graph_of
from trimseek.search.native.library import functions
from trimseek.search.native.retrieval import Depth, Parts, nearest_chunks

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
    """A FAISS index under chunk keys, and the stored vectors of the same chunks.

    ``graph``: of an HNSW index, as compiled code walks it.
    """

    kind: SnapshotKind
    index: Any
    chunks: ChunkVectors
    graph: Graph | None = None


@dataclass(frozen=True)
class Counted:
    """Which chunks of each part count, ``(n,) bool``, None where all do; and how many.

    ``compiled``: the parts as compiled code searches them; None where FAISS must.
    """

    parts: tuple[Part, ...]
    flags: tuple[NDArray[np.bool_] | None, ...]
    count: int
    compiled: Parts | None

    @classmethod
    def of(cls, parts: tuple[Part, ...], flags: Sequence[NDArray[np.bool_] | None]) -> "Counted":
        """Of a view's parts."""
        count = sum(
            len(part.chunks.keys) if some is None else int(np.count_nonzero(some))
            for part, some in zip(parts, flags, strict=True)
        )
        supported = functions() is not None and all(
            part.graph is not None or part.kind is SnapshotKind.EXACT for part in parts
        )
        compiled = None
        if supported:
            graphs = [part.graph for part in parts]
            compiled = Parts([part.chunks for part in parts], graphs, flags)
        return cls(parts, tuple(flags), count, compiled)

    def keys(self) -> NDArray[np.int64]:
        """Of the chunks that count, ascending."""
        return np.concatenate(
            [
                part.chunks.keys if some is None else part.chunks.keys[some]
                for part, some in zip(self.parts, self.flags, strict=True)
            ]
        )


@dataclass(frozen=True)
class View:
    """``deleted``: keys to leave out, ascending."""

    snapshot: int
    parts: tuple[Part, ...]
    deleted: NDArray[np.int64]
    last_chunk: int

    @property
    def kind(self) -> SnapshotKind:
        """Of the snapshot; what came since is always compared as a whole."""
        return self.parts[0].kind

    @property
    def dim(self) -> int:
        """Size of a vector."""
        return int(self.parts[0].index.d)

    @cached_property
    def live(self) -> Counted:
        """Which chunks are not deleted."""
        flags = []
        for part in self.parts:
            gone = np.isin(part.chunks.keys, self.deleted, assume_unique=True)
            flags.append(~gone if gone.any() else None)
        return Counted.of(self.parts, flags)

    def counted(self, keys: NDArray[np.int64]) -> Counted:
        """Which chunks are among some, ascending."""
        flags = []
        for part in self.parts:
            inside = np.isin(part.chunks.keys, keys, assume_unique=True)
            flags.append(inside)
        return Counted.of(self.parts, flags)

    def depth(self, effort: int | None) -> Depth:
        """How deep compiled code searches; ``effort``: None for the kind's default."""
        kind = KINDS[self.kind]
        return Depth(effort or kind.effort or 1, kind.refine, kind.least, BLOCK, BLOCK_GROWTH)

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        *,
        effort: int | None = None,
        counted: Counted | None = None,
    ) -> Scored:
        """The k nearest chunks of a query ``(dim,)``; fewer only if there are fewer.

        The k nearest are the beginning of the 2 k nearest: an approximate index, which finds others
        when more are wanted, is asked for ``BLOCK``, then for ``BLOCK_GROWTH`` times as many, and
        what is new is put behind. ``effort``: see ``indexer.snapshot``. ``counted``: the only
        chunks that count; None for all that are not deleted.
        """
        counting = counted or self.live
        if counting.compiled is not None:
            return Scored(*nearest_chunks(counting.compiled, query, k, self.depth(effort)))
        if KINDS[self.kind].refine == 1:
            return self._nearest(query, k, effort, counting)
        block, nearest = BLOCK, self._nearest(query, BLOCK, effort, counting)
        while block < k and len(nearest.keys) == block:
            block *= BLOCK_GROWTH
            more = self._nearest(query, block, effort, counting)
            new = ~np.isin(more.keys, nearest.keys, assume_unique=True)
            nearest = Scored(
                np.concatenate([nearest.keys, more.keys[new]])[:block],
                np.concatenate([nearest.scores, more.scores[new]])[:block],
            )
        return Scored(nearest.keys[:k], nearest.scores[:k])

    def _nearest(
        self, query: NDArray[np.float32], k: int, effort: int | None, counted: Counted
    ) -> Scored:
        """As ``search``, but for its beginning.

        A few chunks are compared one by one; so are all where an index does not give k.
        """
        if counted.count <= FEW:
            return self.compare(query, k, counted.keys())
        # One query is one thread's work: a second one only fights onnxruntime's for the CPU
        # (measured on 2 cores: 5.7 ms a search instead of 1.6). The setting is the thread's own.
        faiss.omp_set_num_threads(1)
        parts = [
            self._search_part(part, query, k, effort, flags)
            for part, flags in zip(self.parts, counted.flags, strict=True)
        ]
        keys = np.concatenate([np.empty(0, np.int64), *(scored.keys for scored in parts)])
        scores = np.concatenate([np.empty(0, np.float32), *(scored.scores for scored in parts)])
        if len(keys) < min(k, counted.count):
            return self.compare(query, k, counted.keys())
        return best(keys, scores, k)

    @property
    def count(self) -> int:
        """How many chunks there are to find."""
        return self.live.count

    def _search_part(
        self,
        part: Part,
        query: NDArray[np.float32],
        k: int,
        effort: int | None,
        flags: NDArray[np.bool_] | None,
    ) -> Scored:
        total = part.index.ntotal
        live = total if flags is None else int(np.count_nonzero(flags))
        if not live:
            return Scored(np.empty(0, np.int64), np.empty(0, np.float32))
        kind = KINDS[part.kind]
        effort = effort or kind.effort
        wanted = min(kind.candidates(k, effort), total)
        if effort:  # of what is met, only a share counts
            effort = int(effort * (total / live))
        selector = None if flags is None else selector_of(part.chunks.keys[flags])
        while True:
            bound = min(max(effort, wanted), total) if effort else None
            parameters = kind.parameters(bound, selector)
            scored = searched(part.index, query, wanted, parameters, ties=kind.refine == 1)
            if not effort or len(scored.keys) >= min(k, live) or effort >= total:
                break
            effort *= WIDER
        return scored if kind.refine == 1 else self.compare(query, wanted, scored.keys)

    def compare(self, query: NDArray[np.float32], k: int, keys: NDArray[np.int64]) -> Scored:
        """The k nearest among chunks, by the vectors that are stored."""
        keys_found, scores = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for start in range(0, len(keys), COMPARED_AT_A_TIME):
            some = self.vectors_of(keys[start : start + COMPARED_AT_A_TIME])
            keys_found.append(some.keys)
            # summed row by row: equal vectors have equal scores, which a matrix product does not
            # promise, and ties are then in the order of keys
            scores.append((some.vectors.astype(np.float32) * query).sum(axis=1))
        return best(np.concatenate(keys_found), np.concatenate(scores), k)

    def vectors_of(self, keys: NDArray[np.int64]) -> ChunkVectors:
        """The stored vectors of those chunks that the view has, part by part."""
        found = []
        for part in self.parts:
            chunks = part.chunks
            rows = np.searchsorted(chunks.keys, keys)
            rows = rows[rows < len(chunks.keys)]
            rows = rows[np.isin(chunks.keys[rows], keys)]
            found.append([chunks.keys[rows], chunks.vectors[rows], chunks.documents[rows]])
        return ChunkVectors(*(np.concatenate(columns) for columns in zip(*found, strict=True)))

    def documents_of(self, keys: NDArray[np.int64]) -> list[int]:
        """The document of each of some chunks of the view."""
        known = self.vectors_of(keys)
        documents = dict(zip(known.keys.tolist(), known.documents.tolist(), strict=True))
        return [documents[key] for key in keys.tolist()]

    def exact_top(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """The k nearest of all stored chunks for each query ``(n, dim)``, ``(n, k)`` keys."""
        keys = np.empty((len(queries), 0), np.int64)
        scores = np.empty((len(queries), 0), np.float32)
        live = self.live.keys()
        for start in range(0, len(live), COMPARED_AT_A_TIME):
            some = self.vectors_of(live[start : start + COMPARED_AT_A_TIME])
            keys = np.hstack([keys, np.tile(some.keys, (len(queries), 1))])
            scores = np.hstack([scores, queries @ some.vectors.astype(np.float32).T])
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            keys = np.take_along_axis(keys, order, 1)
            scores = np.take_along_axis(scores, order, 1)
        return keys


def selector_of(keys: NDArray[np.int64]) -> Any:
    """FAISS's word for the chunks that count, ascending."""
    members = np.zeros(int(keys[-1]) // 8 + 1, np.uint8)
    np.bitwise_or.at(members, keys // 8, np.uint8(1) << (keys % 8).astype(np.uint8))
    return faiss.IDSelectorBitmap(members)  # type: ignore[call-arg, arg-type]


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
    kind = SnapshotKind(record.kind)
    chunks, sketches = file_of_vectors(store, record, index, folder, dim)
    part = Part(kind, index, chunks, graph_of(index, chunks.keys, sketches))
    view = View(record.number, (part,), np.empty(0, np.int64), record.last_chunk)
    view = with_changes(view, store, dim)
    if view.count != store.counts().chunks:  # somebody else has deleted, and noted it nowhere
        gone = np.setdiff1d(view.live.keys(), store.chunk_keys(), assume_unique=True)
        view = replace(view, deleted=np.union1d(view.deleted, gone))
    return view


def file_of_vectors(
    store: Store, record: SnapshotRecord, index: Any, folder: Path, dim: int
) -> VectorsFile:
    """The stored vectors of a snapshot's chunks, mapped, or read where there is no file of them.

    IndexFolderError where they are not those of the snapshot.
    """
    held = np.sort(stored_keys(index))
    sha256 = store.vectors_file(record.number)
    if not sha256:  # an earlier trimseek made it
        stored = all_chunks(store.chunk_vectors(0, dim, record.last_chunk), dim)
        return VectorsFile(filled(held, stored, dim), None)
    path = vectors_path(folder, record.number)
    file = read_vectors(record, sha256, path, dim)
    if not np.array_equal(file.chunks.keys, held):
        raise IndexFolderError(f"{path}: damaged: its chunks are not those of the snapshot")
    return file


def filled(keys: NDArray[np.int64], stored: ChunkVectors, dim: int) -> ChunkVectors:
    """The vectors of some chunks, ascending; zeros of those that are not stored any more."""
    vectors = np.zeros((len(keys), dim), np.float16)
    documents = np.zeros(len(keys), np.int64)
    places = np.searchsorted(keys, stored.keys)
    inside = places < len(keys)
    inside[inside] = keys[places[inside]] == stored.keys[inside]
    vectors[places[inside]] = stored.vectors[inside]
    documents[places[inside]] = stored.documents[inside]
    return ChunkVectors(keys, vectors, documents)


def all_chunks(batches: Iterable[ChunkVectors], dim: int) -> ChunkVectors:
    """Batches behind one another."""
    empty = ChunkVectors(
        np.empty(0, np.int64), np.empty((0, dim), np.float16), np.empty(0, np.int64)
    )
    return ChunkVectors(*map(np.concatenate, zip(empty, *batches, strict=True)))


def view_without_snapshot(store: Store, dim: int) -> View:
    """All stored vectors in memory, compared one by one."""
    part = exact_part(all_chunks(store.chunk_vectors(0, dim), dim), dim)
    last = int(part.chunks.keys[-1]) if len(part.chunks.keys) else 0
    return View(0, (part,), np.empty(0, np.int64), last)


def exact_part(chunks: ChunkVectors, dim: int) -> Part:
    """Chunks that are compared as a whole."""
    index = new_index(dim)
    fill(index, [Vectors(chunks.keys, chunks.vectors)] if len(chunks.keys) else [])
    return Part(SnapshotKind.EXACT, index, chunks)


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
    fresh = exact_part(all_chunks(store.chunk_vectors(view.last_chunk, dim), dim), dim)
    last = int(fresh.chunks.keys[-1]) if len(fresh.chunks.keys) else view.last_chunk
    parts = (*view.parts, fresh) if len(fresh.chunks.keys) else view.parts
    deleted = store.tombstones()
    return View(view.snapshot, parts, deleted[deleted <= last], last)
