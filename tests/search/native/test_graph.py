"""The compiled walk of a graph finds what FAISS's own finds."""

from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import Vectors
from trimseek.indexer.sketches import Sketches, sketch_bytes, sketch_model, sketch_rows
from trimseek.indexer.snapshot import KINDS, fill
from trimseek.indexer.snapshot_check import check_graph, view_of
from trimseek.search.native import graph as graph_module
from trimseek.search.native import library
from trimseek.search.native.graph import Graph, graph_of

pytestmark = pytest.mark.skipif(library.functions() is None, reason="was not compiled")
COUNT = 3000
FIRST_KEY, STEP = 7, 3  # keys are not positions


def clustered(count: int, dim: int, seed: int) -> NDArray[np.float32]:
    chosen = np.random.default_rng(seed)
    centres = chosen.standard_normal((20, dim))
    found = centres[chosen.integers(0, 20, count)] + 0.5 * chosen.standard_normal((count, dim))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def faiss_graph(vectors: NDArray[np.float32]) -> Any:
    index = KINDS[SnapshotKind.HNSW].make(vectors.shape[1], vectors, len(vectors))
    keys = FIRST_KEY + STEP * np.arange(len(vectors), dtype=np.int64)
    fill(index, [Vectors(keys, vectors.astype(np.float16))])
    return index


def searched(index: Any) -> Graph:
    found = graph_of(index, view_of(index.id_map))
    assert found is not None
    return found


@pytest.mark.parametrize("dim", [384, 50, 7])
@pytest.mark.parametrize("effort", [1, 40, 160])
def test_the_same_as_faiss(dim: int, effort: int) -> None:
    index = faiss_graph(clustered(COUNT, dim, 1))
    ours = searched(index)
    shared = []
    for query in clustered(50, dim, 2):
        parameters = KINDS[SnapshotKind.HNSW].parameters(effort, None)
        scores, keys = index.search(query[None], effort, params=parameters)
        found, values = ours.search(query, effort)
        assert len(set(found.tolist())) == len(found) == effort
        assert (np.diff(values) <= 0).all()
        shared.append(len(set(keys[0]) & set(found)) / effort)
        both = {key: score for key, score in zip(keys[0], scores[0], strict=True) if key in found}
        own = dict(zip(found, values, strict=True))
        np.testing.assert_allclose([own[key] for key in both], list(both.values()), atol=2e-3)
    assert np.mean(shared) > 0.98


@pytest.mark.parametrize("dim", [384, 100])
@pytest.mark.parametrize("scale", [1.0, 12.0])
def test_sketches_leave_out_what_is_far(dim: int, scale: float) -> None:
    """``scale``: of a few dimensions, by which such vectors differ above all."""
    chosen = clustered(COUNT, dim, 1)
    chosen[:, :3] *= scale
    vectors = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    index = faiss_graph(vectors)
    model = sketch_model(vectors)
    keys = view_of(index.id_map)
    sketched = graph_of(index, keys, Sketches(model, sketch_rows(vectors, model)))
    plain = graph_of(index, keys)
    assert sketched is not None
    assert plain is not None
    shared = []
    for query in vectors[:50] + 0.02 * clustered(50, dim, 2):
        expected = dict(zip(*plain.search(query, 40), strict=True))
        found = dict(zip(*sketched.search(query, 40), strict=True))
        shared.append(len(set(list(expected)[:10]) & set(found)) / 10)
        for key in set(expected) & set(found):
            assert found[key] == expected[key]  # by the same codes
    assert np.mean(shared) > 0.98


def test_wrong_sketches_only_mislead() -> None:
    vectors = clustered(COUNT, 64, 1)
    index = faiss_graph(vectors)
    model = sketch_model(vectors)
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, sketch_bytes(64)), np.uint8)
    graph = graph_of(index, view_of(index.id_map), Sketches(model, noise))
    assert graph is not None
    found, scores = graph.search(vectors[0], 40)
    assert len(set(found.tolist())) == 40
    assert np.isfinite(scores).all()


def test_all_there_are_when_there_are_few() -> None:
    vectors = clustered(5, 384, 3)
    index = faiss_graph(np.concatenate([vectors] * 2))
    found, _ = searched(index).search(vectors[0], 160)
    assert sorted(found) == [FIRST_KEY + STEP * i for i in range(10)]


def test_a_query_of_zeros_finds_something() -> None:
    found, values = searched(faiss_graph(clustered(100, 384, 4))).search(
        np.zeros(384, np.float32), 10
    )
    assert len(found) == 10
    assert (values == 0).all()


def test_a_graph_that_leads_out_of_it_is_refused() -> None:
    index = faiss_graph(clustered(200, 384, 5))
    inner: Any = faiss.downcast_index(index.index)
    neighbours = view_of(inner.hnsw.neighbors)
    neighbours[10] = 200
    with pytest.raises(IndexFolderError, match="graph leads out of it"):
        check_graph(inner)
    neighbours[10] = 3
    check_graph(inner)
    inner.hnsw.entry_point = 200
    with pytest.raises(IndexFolderError, match="graph leads out of it"):
        check_graph(inner)


def test_a_neighbour_on_a_level_that_it_does_not_have_is_refused() -> None:
    index = faiss_graph(clustered(400, 384, 5))
    inner: Any = faiss.downcast_index(index.index)
    check_graph(inner)
    depth = faiss.vector_to_array(inner.hnsw.levels)
    begins = faiss.vector_to_array(inner.hnsw.cum_nneighbor_per_level)
    offsets = view_of(inner.hnsw.offsets)
    high, low = int(np.flatnonzero(depth > 1)[0]), int(np.flatnonzero(depth == 1)[0])
    view_of(inner.hnsw.neighbors)[int(offsets[high]) + int(begins[1])] = low
    with pytest.raises(IndexFolderError, match="graph leads out of it"):
        check_graph(inner)


def test_what_it_does_not_know_is_left_to_faiss(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(100, 384, 6)
    other = KINDS[SnapshotKind.SQ8].make(384, vectors, 100)
    assert graph_of(other, view_of(other.id_map)) is None
    index = faiss_graph(vectors)
    keys = view_of(index.id_map)
    assert graph_of(index, keys) is not None
    assert graph_of(index, keys[::-1]) is None  # its nodes are in another order
    monkeypatch.setattr(graph_module, "functions", lambda: None)
    assert graph_of(index, view_of(index.id_map)) is None
