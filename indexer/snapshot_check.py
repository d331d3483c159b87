"""Whether a FAISS index from a file is one of ours, and every number in it leads inside it.

FAISS and our walk of its graphs follow what the file says: an index that somebody else has made
must not lead them out of their memory.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import SnapshotRecord

CODE_SIZE = {
    faiss.ScalarQuantizer.QT_fp16: 2,
    faiss.ScalarQuantizer.QT_8bit: 1,
}  # bytes a dimension
# What says how codes are laid out and read in an index for fast scans.
FAST_SCAN = (
    *("bbs", "M", "M2", "ksub", "nbits", "implem", "skip", "by_residual", "code_size"),
    *("qbs", "qbs2", "use_precomputed_table", "max_codes", "parallel_mode"),
)
NO_MAP = faiss.DirectMap.NoMap  # type: ignore[attr-defined]
QUANTIZERS = {
    SnapshotKind.EXACT: faiss.ScalarQuantizer.QT_fp16,
    SnapshotKind.SQ8: faiss.ScalarQuantizer.QT_8bit,
    SnapshotKind.HNSW: faiss.ScalarQuantizer.QT_8bit,
}


def check_index(index: Any, record: SnapshotRecord, dim: int) -> None:
    """IndexFolderError unless it is of the recorded kind and size, and sound."""
    if index.d != dim or index.ntotal != record.chunks:
        raise IndexFolderError(
            f"{index.ntotal} vectors of {index.d} dimensions, {record.chunks} of {dim} are recorded"
        )
    kind = SnapshotKind(record.kind)
    if index.metric_type != faiss.METRIC_INNER_PRODUCT or not index.is_trained:
        raise IndexFolderError("its vectors are not compared by the inner product")
    if kind is SnapshotKind.IVF:
        check_lists(index, record.last_chunk)
        return
    if type(index) is not faiss.IndexIDMap:
        raise IndexFolderError(f"a {type(index).__name__} is no index of kind {kind.value}")
    check_keys(view_of(index.id_map), index.ntotal, record.last_chunk)
    inner: Any = faiss.downcast_index(index.index)
    if kind is SnapshotKind.HNSW:
        if type(inner) is not faiss.IndexHNSWSQ:
            raise IndexFolderError(f"a {type(inner).__name__} is no graph of 8-bit vectors")
        check_codes(faiss.downcast_index(inner.storage), kind, index)
        check_graph(inner)
    else:
        check_codes(inner, kind, index)
    same = inner.ntotal == index.ntotal and inner.d == dim and inner.is_trained
    if not same or inner.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise IndexFolderError("its parts are of different sizes")


def check_keys(keys: NDArray[np.int64], count: int, last: int) -> None:
    """IndexFolderError unless there are so many chunk keys, from 1 to the last, each once."""
    sound = len(keys) == count and (count == 0 or (keys.min() > 0 and keys.max() <= last))
    if not sound or len(np.unique(keys)) != count:
        raise IndexFolderError("its chunk keys are not those that are recorded")


def check_codes(storage: Any, kind: SnapshotKind, index: Any) -> None:
    """IndexFolderError unless the vectors are stored as the kind says, all of them."""
    if type(storage) is not faiss.IndexScalarQuantizer or storage.sq.qtype != QUANTIZERS[kind]:
        raise IndexFolderError(f"its vectors are not stored as {kind.value} stores them")
    size = index.d * CODE_SIZE[storage.sq.qtype]
    trained = 2 * index.d if storage.sq.qtype == faiss.ScalarQuantizer.QT_8bit else 0
    sound = storage.d == storage.sq.d == index.d and storage.ntotal == index.ntotal
    sound = sound and storage.code_size == storage.sq.code_size == size
    sound = sound and storage.codes.size() == size * index.ntotal
    sound = sound and storage.metric_type == faiss.METRIC_INNER_PRODUCT and storage.is_trained
    if not sound or storage.sq.trained.size() != trained:
        raise IndexFolderError("its vectors are not of the recorded size")
    if trained and not np.isfinite(faiss.vector_to_array(storage.sq.trained)).all():
        raise IndexFolderError("the ranges of its vectors are not finite")


def check_graph(inner: Any) -> None:
    """IndexFolderError if following the graph would read outside its arrays.

    A node of so many levels has neighbours on each of them, which must be on that level themselves.
    """
    count, graph = inner.ntotal, inner.hnsw
    offsets, neighbors = view_of(graph.offsets), view_of(graph.neighbors)
    depth = faiss.vector_to_array(graph.levels)  # how many levels each node is in
    begins = faiss.vector_to_array(graph.cum_nneighbor_per_level)  # in a node's neighbours
    if count == 0:
        return
    sound = len(offsets) == count + 1 and len(depth) == count and len(begins) > 1
    sound = sound and begins[0] == 0 and bool((np.diff(begins) >= 0).all())
    sound = sound and 0 <= graph.entry_point < count and offsets[0] == 0
    sound = sound and offsets[-1] == len(neighbors)
    sound = sound and 0 <= graph.max_level < len(begins) - 1
    sound = sound and depth.min() >= 1 and depth.max() < len(begins)
    sound = sound and depth[graph.entry_point] == graph.max_level + 1 >= depth.max()
    sound = sound and bool((np.diff(offsets.astype(np.int64)) == begins[depth]).all())
    if not sound or (len(neighbors) and neighbors.max() >= count):
        raise IndexFolderError("its graph leads out of it")
    for level in range(1, int(depth.max())):
        nodes = np.flatnonzero(depth > level)
        places = np.arange(begins[level], begins[level + 1])
        of_level = neighbors[offsets[nodes].astype(np.int64)[:, None] + places]
        if (depth[of_level[of_level >= 0]] <= level).any():
            raise IndexFolderError("its graph leads out of it")


def check_lists(index: Any, last: int) -> None:
    """IndexFolderError unless it is inverted lists of 4-bit product codes, all of them inside."""
    if type(index) is not faiss.IndexIVFPQFastScan:
        raise IndexFolderError(f"a {type(index).__name__} is no index of kind ivf")
    quantizer: Any = faiss.downcast_index(index.quantizer)
    pq: Any = index.pq
    lists: Any = index.invlists
    sound = type(quantizer) in (faiss.IndexFlatIP, faiss.IndexFlat) and quantizer.is_trained
    sound = sound and quantizer.d == index.d and quantizer.ntotal == index.nlist == lists.nlist
    sound = sound and pq.d == index.d and pq.nbits == 4 and pq.M * pq.dsub == index.d
    sound = sound and pq.centroids.size() == index.d * pq.ksub and index.M == pq.M
    if not sound or index.nlist < 1:
        raise IndexFolderError("its lists and codes do not fit together")
    fresh = faiss.index_factory(index.d, f"IVF1,PQ{pq.M}x4fs", faiss.METRIC_INNER_PRODUCT)
    if any(getattr(index, name) != getattr(fresh, name) for name in FAST_SCAN):
        raise IndexFolderError("its codes are not laid out as FAISS's own are")
    blocks: Any = faiss.downcast_InvertedLists(lists)
    if type(blocks).__name__ != "BlockInvertedLists" or blocks.n_per_block != index.bbs:
        raise IndexFolderError("its lists are not blocks of codes")
    if blocks.block_size != index.bbs * index.M2 // 2 or index.direct_map.type != NO_MAP:
        raise IndexFolderError("its lists are not blocks of codes")
    keys = list_keys(lists)
    check_keys(keys, index.ntotal, last)


def list_keys(lists: Any) -> NDArray[np.int64]:
    """The chunk keys of all inverted lists."""
    parts = [
        faiss.rev_swig_ptr(lists.get_ids(i), lists.list_size(i)).copy()
        for i in range(lists.nlist)
        if lists.list_size(i)
    ]
    return np.concatenate([np.empty(0, np.int64), *parts])


def view_of(vector: Any) -> NDArray[Any]:
    """A vector of FAISS's as an array, without a copy of it."""
    array: NDArray[Any] = faiss.rev_swig_ptr(vector.data(), vector.size())
    return array
