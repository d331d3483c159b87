"""The graph of an HNSW snapshot, as the compiled code beside this file walks it.

It finds what FAISS finds with the same effort (the papers' ef), in a fraction of the time: most
neighbours are left out by a sketch of one cache line, the others are compared in the 8 bits that
they are stored in, and what is compared is prefetched.
"""

import ctypes
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.compiled import address
from trimseek.indexer.native.graph_builder import code_steps, sketch_table
from trimseek.indexer.native.library import SketchTable
from trimseek.indexer.sketches import Sketches
from trimseek.indexer.snapshot_check import view_of
from trimseek.search.native.library import HnswGraph, functions


class Graph:
    """``index``: FAISS's IndexIDMap of an IndexHNSWSQ of 8 bits under the inner product.

    It was checked (``indexer.snapshot_check``). ``sketches``: of its vectors, in their order.
    ``structure``: of it, valid as long as this is. Safe to use from several threads.
    """

    def __init__(self, index: Any, sketches: Sketches | None = None) -> None:
        self._kept = index, sketches  # they own the arrays
        inner: Any = faiss.downcast_index(index.index)
        graph = inner.hnsw
        storage: Any = faiss.downcast_index(inner.storage)
        self.keys = view_of(index.id_map)
        self._lowest, self._step = code_steps(storage)
        self._levels = faiss.vector_to_array(graph.cum_nneighbor_per_level)
        self.structure = HnswGraph(
            *(inner.ntotal, inner.d, graph.entry_point, graph.max_level),
            *(address(view_of(storage.codes)), address(self._lowest), address(self._step)),
            *(address(view_of(graph.neighbors)), address(view_of(graph.offsets))),
            address(self._levels),
            SketchTable() if sketches is None else sketch_table(sketches),
        )

    def search(
        self, query: NDArray[np.float32], effort: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Keys and scores of at most ``effort`` chunks, best first, of a query ``(dim,)``."""
        library = functions()
        assert library is not None  # noqa: S101 - graph_of has looked
        nodes, scores = np.empty(effort, np.int32), np.empty(effort, np.float32)
        count = library.hnsw_search(
            ctypes.byref(self.structure), address(query), effort, address(nodes), address(scores)
        )
        if count < 0:
            raise MemoryError("no memory to search the graph of neighbours")
        return self.keys[nodes[:count]], scores[:count]


def graph_of(index: Any, keys: NDArray[np.int64], sketches: Sketches | None = None) -> Graph | None:
    """The graph of a snapshot, whose nodes are chunks of these keys.

    None where it has none, its nodes are in another order, or there is no compiled code.
    """
    if functions() is None or not isinstance(index, faiss.IndexIDMap):
        return None
    inner: Any = faiss.downcast_index(index.index)
    if not isinstance(inner, faiss.IndexHNSWSQ) or not inner.ntotal:
        return None
    storage: Any = faiss.downcast_index(inner.storage)
    supported = storage.sq.qtype == faiss.ScalarQuantizer.QT_8bit
    supported = supported and inner.metric_type == faiss.METRIC_INNER_PRODUCT
    in_order = np.array_equal(view_of(index.id_map), keys)
    return Graph(index, sketches) if supported and in_order else None
