"""Finds the documents of a query with the compiled code beside this file, in one call.

It reads both lists of a hybrid search, walks the graph, scores again by the stored vectors, sums
and sorts; Python's lock is released meanwhile.
"""

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.compiled import address
from trimseek.indexer.rows import ChunkVectors
from trimseek.search.native.graph import Graph
from trimseek.search.native.library import FOUND, Part, Query, functions
from trimseek.search.native.postings import PreparedWords


class Depth(NamedTuple):
    """How deep a list is read: see ``Query`` in retrieve.h."""

    effort: int
    refine: int
    least: int
    block: int
    block_growth: int


class Parts:
    """Chunks, one part behind another in the order of their keys.

    ``counted``: of each part, which of its chunks count, ``(n,) bool``; None where all do. A part
    without a graph is compared as a whole.
    """

    def __init__(
        self,
        chunks: Sequence[ChunkVectors],
        graphs: Sequence[Graph | None],
        counted: Sequence[NDArray[np.bool_] | None],
    ) -> None:
        self._kept = (chunks, graphs, counted)
        self.dim = chunks[0].vectors.shape[1]
        self.structures = (Part * len(chunks))(
            *(
                Part(
                    len(part.keys),
                    len(part.keys) if flags is None else int(flags.sum()),
                    *(address(array) for array in (part.keys, part.documents, part.vectors)),
                    None if flags is None else address(flags),
                    None if graph is None else ctypes.addressof(graph.structure),
                )
                for part, graph, flags in zip(chunks, graphs, counted, strict=True)
            )
        )

    def query(self, vector: NDArray[np.float32], depth: Depth) -> Query:
        """A query by a vector ``(dim,)``, which the caller keeps."""
        return Query(
            parts=len(self.structures),
            dim=self.dim,
            **depth._asdict(),
            part=ctypes.addressof(self.structures),
            vector=address(vector),
        )


def nearest_chunks(
    parts: Parts, vector: NDArray[np.float32], k: int, depth: Depth
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Keys and scores of the k nearest chunks, nearest first; of equal ones the older first."""
    library = functions()
    assert library is not None  # noqa: S101 - Parts are made where there is compiled code
    keys, scores = np.empty(k, np.int64), np.empty(k, np.float32)
    query = parts.query(vector, depth)
    count = library.retrieve_chunks(ctypes.byref(query), k, address(keys), address(scores))
    return keys[: checked(count)], scores[:count]


def best_documents(
    parts: Parts,
    vector: NDArray[np.float32],
    wanted: int,
    depth: Depth,
    words: PreparedWords | None,
    weight: float | None,
) -> NDArray[np.void]:
    """The best documents, best first, rows of ``FOUND``.

    ``weight``: of the vector beside the words; None for a search by the vector alone. ``words``:
    None where no words tell documents from one another.
    """
    library = functions()
    assert library is not None  # noqa: S101 - Parts are made where there is compiled code
    query = parts.query(vector, depth)
    if weight is not None:
        query.hybrid, query.weight = 1, weight
        query.words = None if words is None else ctypes.addressof(words.structure)
    found = np.empty(wanted, FOUND)
    count = library.retrieve(ctypes.byref(query), wanted, address(found))
    return found[: checked(count)]


def checked(count: int) -> int:
    """What compiled code returns; MemoryError for -1."""
    if count < 0:
        raise MemoryError("no memory to search")
    return count
