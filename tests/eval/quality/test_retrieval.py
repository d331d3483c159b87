from pathlib import Path

import numpy as np
import pytest

from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.retrieval import EXACT, as_run, build_index, check_kinds, rank, write_run


def unit_vectors(n: int, dim: int = 16) -> FloatArray:
    vectors: FloatArray = np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def collection(documents: int, queries: list[str]) -> TestCollection:
    return TestCollection(
        "c", {f"d{i}": "" for i in range(documents)}, dict.fromkeys(queries, ""), {}
    )


def test_exact_ranks_as_numpy_does() -> None:
    vectors, queries = unit_vectors(50), unit_vectors(5)
    ranking, scores = rank(collection(50, list("abcde")), build_index(EXACT, vectors), queries, 10)
    products = queries @ vectors.astype(np.float16).astype(np.float32).T
    np.testing.assert_array_equal(ranking, np.argsort(-products, axis=1)[:, :10])
    np.testing.assert_allclose(scores, -np.sort(-products, axis=1)[:, :10], atol=1e-6)


@pytest.mark.parametrize("kind", ["HNSW32,SQ8:efSearch=64", "IVF4,Flat:nprobe=4", "SQ8", "Flat"])
def test_faiss_descriptions(kind: str) -> None:
    vectors = unit_vectors(400)
    check_kinds([kind], 16)
    built = build_index(kind, vectors)
    ranking, _ = rank(collection(400, ["q"]), built, vectors[7:8], 3)
    assert ranking[0, 0] == 7
    assert built.bytes_per_document > 0


def test_quantization_makes_an_index_smaller() -> None:
    vectors = unit_vectors(400)
    sizes = [build_index(kind, vectors).bytes_per_document for kind in ("Flat", "SQ8")]
    assert sizes[0] == pytest.approx(16 * 4, abs=3)
    assert sizes[1] == pytest.approx(16, abs=3)


@pytest.mark.parametrize("kind", ["", "exactly", "IVF-1,Flat", "; rm", "HNSW1", "HNSW9999999"])
def test_unknown_kinds_are_found_before_anything_is_encoded(kind: str) -> None:
    with pytest.raises(ConfigError, match="neither exact nor hnsw nor a FAISS description"):
        check_kinds([kind], 16)


def test_too_few_vectors_to_train_on() -> None:
    with pytest.raises(ConfigError, match=r"IVF4096,Flat: FAISS cannot make it of 30 vectors"):
        build_index("IVF4096,Flat", unit_vectors(30))


@pytest.mark.parametrize("kind", ["SQ8:efSearch=3", "IVF4,Flat:nprobe=0", "IDMap,Flat", "NSG32"])
def test_descriptions_that_faiss_takes_and_cannot_use(kind: str) -> None:
    with pytest.raises(ConfigError, match="FAISS cannot make it"):
        build_index(kind, unit_vectors(30))


def test_a_query_never_finds_the_document_of_its_own_name() -> None:
    vectors = unit_vectors(20)
    ranking, _ = rank(collection(20, ["d3", "q"]), build_index(EXACT, vectors), vectors[[3, 3]], 5)
    assert 3 not in ranking[0]
    assert ranking[1, 0] == 3
    assert ranking[0].tolist() == [*ranking[1, 1:].tolist(), ranking[0, 4]]
    assert (ranking >= 0).all()


def test_fewer_documents_than_hits() -> None:
    vectors = unit_vectors(3)
    small = collection(3, ["d0", "q"])
    ranking, scores = rank(small, build_index(EXACT, vectors), vectors[[0, 0]], 100)
    run = as_run(small, ranking, scores)
    assert set(run["d0"]) == {"d1", "d2"}
    assert set(run["q"]) == {"d0", "d1", "d2"}


def test_run_files_are_trecs(tmp_path: Path) -> None:
    write_run({"q 1": {"d a": 0.5, "b": 0.25}}, tmp_path / "r.trec", "tag")
    assert (tmp_path / "r.trec").read_text().splitlines() == [
        "q_1 Q0 d_a 1 0.500000 tag",
        "q_1 Q0 b 2 0.250000 tag",
    ]
