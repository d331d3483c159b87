"""Snapshots: a FAISS index of the stored vectors on disk, a cache that can be made anew.

| kind | what it is | bytes a vector of 384 dimensions | finds |
|---|---|---|---|
| exact | every vector is compared, in float16: the stored values | 776 | everything |
| sq8 | every vector is compared, in 8 bits a dimension | 392 | nearly everything |
| hnsw | a graph of neighbours over 8-bit vectors (Malkov & Yashunin 2018) | 660 | by effort |
| ivf | inverted lists of 4-bit product codes, fast scan (Andre et al. 2017) | 80 | by effort |
| auto | exact, hnsw or ivf by size | | |

All but exact give more candidates than are wanted, which ``search`` scores again with the stored
float16 vectors. ``effort`` is efSearch of hnsw (how many candidates its walk keeps) and nprobe of
ivf (how many lists are read).

``exact`` keeps the values that documents.db has at half the memory of float32 and, measured on
10,000 and 300,000 vectors of 384 dimensions, at 4.5 times the speed of FAISS's flat float32 index
for one query (0.27 against 1.22 ms, 10 against 46 ms).
"""

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.rows import SnapshotRecord, Vectors
from indexer.store import Store
from trimseek.atomic import atomic_file, sha256_of
from trimseek.errors import IndexFolderError, StorageError
from trimseek.settings import load_settings

# A reader searches this many rows, or this share, beside the snapshot before it is worth a new one.
STALE_ROWS = 2000
STALE_SHARE = 0.05
LOOP_LIMIT = 2**20
TABLES = 2**28  # bytes that FAISS may count beside what is in a file: ivf's tables
KIND = "kind"  # the setting
LINKS = 32  # of a node of the graph
CONSTRUCTION_EFFORT = 200
TRAINED_ON = 100_000  # vectors
CODE_DIMENSIONS = (3, 4, 2)  # in a 4-bit product code: the first that divides a vector
LISTS = 1.5  # times the root of how many vectors there are
VECTORS_PER_LIST = 64  # that k-means is given for each inverted list, 39 being FAISS's least
# From so many chunks on, auto is another kind: where a search takes longer than the next kind's.
HNSW_FROM = 30_000
IVF_FROM = 2_000_000


class SnapshotKind(str, Enum):
    """FAISS structures that a snapshot can be, and ``auto``, which picks one by size."""

    AUTO = "auto"
    EXACT = "exact"
    SQ8 = "sq8"
    HNSW = "hnsw"
    IVF = "ivf"


class Tuning(NamedTuple):
    """How a kind is searched by default.

    ``effort``: None where there is none. ``refine``: candidates scored again for each hit wanted,
    and ``least`` of them.
    """

    effort: int | None
    refine: int
    least: int


# Recall@10 of 300,000 sentences of MiniLM's space: hnsw 0.966, 0.982, 0.988, 0.990 at an effort of
# 64, 96, 128, 160 (built with half the construction effort 0.982 at 128); ivf 0.961, 0.975 at 128,
# 192 of 821 lists, 100 candidates compared (codes of 4 dimensions need 256 candidates for as much;
# RaBitQ finds as much and is ten times slower).
TUNING = {
    SnapshotKind.EXACT: Tuning(None, 1, 0),
    SnapshotKind.SQ8: Tuning(None, 2, 20),
    SnapshotKind.HNSW: Tuning(160, 2, 20),
    SnapshotKind.IVF: Tuning(192, 10, 100),
}


def kind_for(kind: SnapshotKind, chunks: int, dim: int) -> SnapshotKind:
    """The kind itself, or what auto stands for at that size."""
    if kind is SnapshotKind.IVF and not can_be_ivf(chunks, dim):
        return SnapshotKind.EXACT
    if kind is not SnapshotKind.AUTO:
        return kind
    if chunks >= IVF_FROM and can_be_ivf(chunks, dim):
        return SnapshotKind.IVF
    return SnapshotKind.HNSW if chunks >= HNSW_FROM else SnapshotKind.EXACT


def can_be_ivf(chunks: int, dim: int) -> bool:
    """Whether there are enough vectors for lists, and codes fit the dimensions."""
    return chunks >= 16 * VECTORS_PER_LIST and codes_for(dim) > 0


def codes_for(dim: int) -> int:
    """How many 4-bit codes a vector has; 0 where none divide it."""
    return next((dim // each for each in CODE_DIMENSIONS if dim % each == 0), 0)


def new_index(dim: int) -> Any:
    """An empty exact FAISS index of float16 vectors under the inner product, with own ids."""
    storage = faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    return faiss.IndexIDMap(storage)


def trained_index(kind: SnapshotKind, dim: int, sample: NDArray[np.float32], chunks: int) -> Any:
    """An empty index of a kind for so many chunks, trained on a sample ``(n, dim)``."""
    index: Any
    inner, eight_bits = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit
    if kind is SnapshotKind.SQ8:
        index = faiss.IndexScalarQuantizer(dim, eight_bits, inner)
    elif kind is SnapshotKind.HNSW:
        index = faiss.IndexHNSWSQ(dim, eight_bits, LINKS, inner)  # type: ignore[arg-type]
        index.hnsw.efConstruction = CONSTRUCTION_EFFORT
    elif kind is SnapshotKind.IVF:
        lists = max(1, min(int(LISTS * chunks**0.5), len(sample) // VECTORS_PER_LIST))
        index = faiss.index_factory(dim, f"IVF{lists},PQ{codes_for(dim)}x4fs", inner)
    else:
        return new_index(dim)
    index.train(sample)
    return index if kind is SnapshotKind.IVF else faiss.IndexIDMap(index)


def fill(index: Any, batches: Iterable[Vectors]) -> int:
    """Add vectors under their chunk keys; the last key, or 0."""
    last = 0
    for keys, vectors in batches:
        index.add_with_ids(vectors.astype(np.float32), keys)
        last = int(keys[-1])
    return last


def search_parameters(kind: SnapshotKind, effort: int | None, selector: Any) -> Any:
    """What FAISS is told besides the query."""
    # faiss itself adds the keyword arguments, in Python
    if kind is SnapshotKind.HNSW:
        return faiss.SearchParametersHNSW(sel=selector, efSearch=effort)  # type: ignore[attr-defined]
    if kind is SnapshotKind.IVF:
        return faiss.SearchParametersIVF(sel=selector, nprobe=effort)  # type: ignore[call-arg]
    return faiss.SearchParameters(sel=selector) if selector else None  # type: ignore[call-arg]


def snapshot_path(folder: Path, number: int) -> Path:
    return folder / f"snapshot-{number}.faiss"


def build_snapshot(store: Store, folder: Path, dim: int) -> SnapshotRecord:
    """Write a snapshot of every stored chunk and make it the one in use.

    Others may write meanwhile: what they add is not in it, what they delete stays masked.
    """
    with store.reading() as frozen:
        masked, count = frozen.tombstones(), frozen.counts().chunks
        kind = wanted_kind(frozen, count, dim)
        faiss.omp_set_num_threads(load_settings().threads)
        index = trained_index(kind, dim, frozen.sample(TRAINED_ON, dim), count)
        last = fill(index, frozen.vectors(0, dim))
    with store.transaction():
        old = store.snapshot()
        number = old.number + 1 if old else 1
        path = snapshot_path(folder, number)
        with atomic_file(path) as temporary:
            try:
                faiss.write_index(index, str(temporary))
            except RuntimeError as error:  # FAISS's word for a failed write
                reason = str(error).rpartition("Error: ")[2]
                raise StorageError(
                    f"{path}: cannot write ({reason}); the documents are stored, run it again"
                ) from error
        record = SnapshotRecord(number, kind.value, sha256_of(path), last, index.ntotal)
        store.set_snapshot(record, masked)
    for other in folder.glob("snapshot-*.faiss"):
        if other != path and other.is_file():
            other.unlink(missing_ok=True)
    return record


def read_snapshot(record: SnapshotRecord, folder: Path, dim: int) -> Any:
    """The FAISS index of a snapshot file; IndexFolderError if it is missing or damaged."""
    path = snapshot_path(folder, record.number)
    if not path.is_file():
        raise IndexFolderError(f"{path}: missing")
    if sha256_of(path) != record.sha256:
        raise IndexFolderError(f"{path}: damaged: its checksum is not the recorded one")
    faiss.set_deserialization_vector_byte_limit(path.stat().st_size + TABLES)
    faiss.set_deserialization_loop_limit(LOOP_LIMIT)
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise IndexFolderError(f"{path}: FAISS cannot read it: {error}") from error
    if index.ntotal != record.chunks or index.d != dim:
        raise IndexFolderError(f"{path}: {index.ntotal} vectors, {record.chunks} are recorded")
    return index


def stored_keys(index: Any) -> NDArray[np.int64]:
    """The chunk keys that a snapshot holds."""
    if isinstance(index, faiss.IndexIDMap):
        return np.asarray(faiss.vector_to_array(index.id_map), np.int64)
    inverted = index.invlists
    parts = [
        faiss.rev_swig_ptr(inverted.get_ids(i), inverted.list_size(i)).copy()
        for i in range(inverted.nlist)
        if inverted.list_size(i)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def wanted_kind(store: Store, chunks: int, dim: int) -> SnapshotKind:
    """The kind that the index's next snapshot is."""
    return kind_for(SnapshotKind(store.setting(KIND, SnapshotKind.AUTO.value)), chunks, dim)


def is_stale(store: Store, dim: int) -> bool:
    """Whether enough has changed since the snapshot for a new one, or it is of another kind."""
    record, chunks = store.snapshot(), store.counts().chunks
    if record is None or record.kind != wanted_kind(store, chunks, dim).value:
        return True
    deleted = len(store.tombstones())
    added = chunks + deleted - record.chunks
    return added + deleted > max(STALE_ROWS, STALE_SHARE * record.chunks)
