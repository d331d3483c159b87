"""Graphs of neighbours to compare: ours as `trimseek index` makes it, and other libraries'."""

from pathlib import Path

import numpy as np
import pytest

from tests.eval.quality.test_retrieval import collection, unit_vectors
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError
from trimseek.eval.quality.graphs import open_graph, read_kind
from trimseek.eval.quality.retrieval import BuiltIndex, Graphs, check_kinds, rank

COUNT, DIM = 2000, 32


def recall(built: BuiltIndex, vectors: FloatArray, queries: FloatArray) -> float:
    found, _ = rank(collection(COUNT, [str(i) for i in range(len(queries))]), built, queries, 10)
    best = np.argsort(-(queries @ vectors.T), axis=1)[:, :10]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, best, strict=True)]))


def searches_find_more_with_more_effort(kinds: list[str], folder: Path) -> None:
    vectors, queries = unit_vectors(COUNT, DIM), unit_vectors(50, DIM)
    graphs = Graphs(folder)
    built = [graphs.index("minilm", kind, vectors) for kind in kinds]
    assert len(list(folder.iterdir())) == 1  # one graph for all searches
    recalls = [recall(one, vectors, queries) for one in built]
    assert recalls[0] < recalls[1]
    assert recalls[1] > 0.97
    assert built[0].bytes_per_document > DIM
    path = folder / "file.json"
    built[1].write(path)
    scores, rows = open_graph(str(path)).search(queries[:1], 10)
    assert rows.shape == scores.shape == (1, 10)
    np.testing.assert_allclose(scores[0], vectors[rows[0]] @ queries[0], atol=2e-3)


def test_ours(tmp_path: Path) -> None:
    searches_find_more_with_more_effort(["hnsw:effort=12", "hnsw"], tmp_path)


@pytest.mark.peers
@pytest.mark.parametrize(
    "kinds",
    [
        ["hnswlib:ef=10,M=8", "hnswlib:M=8,ef=400"],
        [
            "usearch:expansion_search=10,connectivity=8",
            "usearch:connectivity=8,expansion_search=400",
        ],
    ],
)
def test_those_of_others(kinds: list[str], tmp_path: Path) -> None:
    searches_find_more_with_more_effort(kinds, tmp_path)


def test_another_owner_has_a_graph_of_its_own(tmp_path: Path) -> None:
    graphs = Graphs(tmp_path)
    graphs.index("minilm", "hnsw", unit_vectors(200))
    graphs.index("mpnet", "hnsw", unit_vectors(200))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "kind", ["hnsw:ef=3", "hnsw:effort=0", "hnsw:effort", "hnsw:effort=-1", "hnsw:effort=1e3"]
)
def test_wrong_parameters_are_found_before_anything_is_encoded(kind: str) -> None:
    with pytest.raises(ConfigError, match="hnsw has effort=160"):
        check_kinds([kind], 16)


def test_a_library_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hnswlib", None)
    with pytest.raises(ConfigError, match="pip install hnswlib"):
        check_kinds(["hnswlib:ef=20"], 16)
    assert read_kind("hnswlib:ef=20").search == {"ef": 20}  # as a report of it must be
