"""Graphs that compiled code builds: sound, as good as FAISS's own, the same from any threads."""

from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.search.native.test_graph import clustered
from trimseek.errors import IndexFolderError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.native import graph_builder, library
from trimseek.indexer.native.graph_builder import build_graph, can_build
from trimseek.indexer.rows import Vectors
from trimseek.indexer.snapshot import KINDS, fill
from trimseek.indexer.snapshot_check import check_graph, view_of
from trimseek.settings import load_settings

pytestmark = pytest.mark.skipif(library.functions() is None, reason="was not compiled")
DIM = 48


def empty(vectors: NDArray[np.float32]) -> Any:
    return KINDS[SnapshotKind.HNSW].make(vectors.shape[1], vectors, len(vectors))


def batches(vectors: NDArray[np.float32]) -> list[Vectors]:
    keys = 5 + 2 * np.arange(len(vectors), dtype=np.int64)
    parts = np.array_split(np.arange(len(vectors)), 3)
    return [Vectors(keys[part], vectors[part].astype(np.float16)) for part in parts if len(part)]


def built(vectors: NDArray[np.float32]) -> Any:
    index = empty(vectors)
    assert can_build(index)
    build_graph(index, batches(vectors))
    return index


def recall(index: Any, vectors: NDArray[np.float32], queries: NDArray[np.float32]) -> float:
    parameters = KINDS[SnapshotKind.HNSW].parameters(40, None)
    _, keys = index.search(queries, 10, params=parameters)
    best = 5 + 2 * np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(keys, best, strict=True)]))


def codes_of(index: Any) -> NDArray[np.uint8]:
    inner: Any = faiss.downcast_index(index.index)
    storage: Any = faiss.downcast_index(inner.storage)
    return view_of(storage.codes)


def test_as_good_as_faiss() -> None:
    vectors, queries = clustered(4000, DIM, 1), clustered(200, DIM, 2)
    ours, theirs = built(vectors), empty(vectors)
    for keys, stored in batches(vectors):
        theirs.add_with_ids(stored.astype(np.float32), keys)
    assert ours.ntotal == theirs.ntotal == 4000
    assert recall(ours, vectors, queries) > recall(theirs, vectors, queries) - 0.01
    for index in (ours, theirs):
        check_graph(faiss.downcast_index(index.index))
    np.testing.assert_array_equal(codes_of(ours), codes_of(theirs))


@pytest.mark.parametrize("count", [1, 2, 3, 17, 70, 500])
def test_of_any_size(count: int) -> None:
    vectors = clustered(count, DIM, 3)
    index = built(vectors)
    check_graph(faiss.downcast_index(index.index))
    parameters = KINDS[SnapshotKind.HNSW].parameters(count, None)
    _, keys = index.search(vectors[:1], count, params=parameters)
    assert len(set(keys[0].tolist())) == count  # every node is reached


def test_the_same_from_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(1500, DIM, 4)
    neighbors = []
    for threads in (1, 2, 5):
        settings = load_settings().model_copy(update={"threads": threads})
        monkeypatch.setattr(graph_builder, "load_settings", lambda s=settings: s)
        index = built(vectors)
        inner: Any = faiss.downcast_index(index.index)
        neighbors.append(view_of(inner.hnsw.neighbors).copy())
    np.testing.assert_array_equal(neighbors[0], neighbors[1])
    np.testing.assert_array_equal(neighbors[0], neighbors[2])


def test_vectors_that_are_all_the_same_and_zeros() -> None:
    vectors = np.zeros((740, DIM), np.float32)
    vectors[40:] = DIM**-0.5
    index = built(vectors)
    check_graph(faiss.downcast_index(index.index))
    parameters = KINDS[SnapshotKind.HNSW].parameters(740, None)
    scores, keys = index.search(vectors[-1:], 740, params=parameters)
    assert scores[0, :700].min() > 0.9
    assert len(set(keys[0].tolist())) == 740  # a walk comes to all of them


def test_nothing_at_all() -> None:
    index = empty(clustered(10, DIM, 5))
    build_graph(index, [])
    assert index.ntotal == 0


def test_without_compiled_code_faiss_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_builder, "functions", lambda: None)
    vectors = clustered(100, DIM, 6)
    index = empty(vectors)
    assert not can_build(index)
    assert fill(index, batches(vectors)) == 5 + 2 * 99
    assert index.ntotal == 100


def test_a_vector_that_is_not_finite() -> None:
    vectors = clustered(30, DIM, 7)
    index = empty(vectors)
    vectors[20, 3] = np.inf
    with pytest.raises(IndexFolderError, match="not finite"):
        fill(index, batches(vectors))
