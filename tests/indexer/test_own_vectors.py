"""Documents that bring their vectors: stored, found, exported and embedded anew."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trimseek
from tests.api.serving import make_keys, serving
from tests.conftest import Run, write_jsonl
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.errors import CorpusError, QueryError
from trimseek.indexer.care import find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.reembed import reembed
from trimseek.indexer.store import Store
from trimseek.indexer.writer import IndexWriter

DIM = 32


def unit(seed: int) -> list[float]:
    vector = np.random.default_rng(seed).standard_normal(DIM)
    return [float(x) for x in vector / np.linalg.norm(vector)]


def rows() -> list[dict[str, Any]]:
    own = [{"id": f"own{i}", "text": f"words {i}", "vector": unit(i), "n": i} for i in range(5)]
    plain = [{"id": f"plain{i}", "text": f"shell {i}", "n": i} for i in range(5)]
    return [*own, *plain, {"id": "bare", "vector": unit(9)}]


def vectors_of(folder: Path) -> dict[str, np.ndarray]:
    store = Store(folder)
    try:
        found = {}
        for part in store.all_documents(100):
            for key, document in part:
                chunks = store.chunks_of([key])[key]
                stored = store.vectors_of([chunk.key for chunk in chunks], DIM)
                found[document.id] = stored.vectors.astype(np.float32)
        return found
    finally:
        store.close()


def check(folder: Path, encoder: Path) -> None:
    """Own vectors are stored, the others are the encoder's."""
    stored = vectors_of(folder)
    for i in range(5):
        np.testing.assert_allclose(stored[f"own{i}"], [unit(i)], atol=1e-3)
    texts = DocumentEncoder(encoder).encode([f"shell {i}" for i in range(5)]).vectors
    for i in range(5):
        np.testing.assert_allclose(stored[f"plain{i}"], texts[i : i + 1], atol=1e-3)
    np.testing.assert_allclose(stored["bare"], [unit(9)], atol=1e-3)
    assert find_damage(folder, deep=True) == []


def test_from_the_command_line_and_exported_again(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", rows())
    done = run("index", corpus, "--into", "index", "--encoder", tiny_encoder)
    assert done.returncode == 0, done.stderr
    assert "vector from 'vector'" in done.stderr
    check(tmp_path / "index", tiny_encoder)
    again = run("index", corpus, "--into", "index", "--encoder", tiny_encoder)
    assert "11 unchanged" in again.stderr
    for ending in ("jsonl", "parquet"):
        assert run("export", "index", "-o", f"out.{ending}").returncode == 0
        into = f"from-{ending}"
        read = run("index", f"out.{ending}", "--into", into, "--encoder", tiny_encoder)
        assert read.returncode == 0, read.stderr
        check(tmp_path / into, tiny_encoder)
    assert run("get", "from-jsonl", "own1", "--json").stdout.count("vector") == 0


def test_from_python_replaced_and_patched(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = tmp_path / "index"
    with trimseek.create_index(folder, rows(), encoder=tiny_encoder) as index:
        check(folder, tiny_encoder)
        assert index.add(rows()).unchanged == 11
        index.patch("own1", {"n": 100})
        check(folder, tiny_encoder)
        assert index.add([{"id": "own1", "text": "words 1", "n": 100, "vector": unit(1)}])[2] == 1
        # another vector, then none: the encoder's
        index.add([{"id": "own1", "text": "words 1", "vector": unit(50)}])
        np.testing.assert_allclose(vectors_of(folder)["own1"], [unit(50)], atol=1e-3)
        assert index.add([{"id": "own1", "text": "words 1"}]).updated == 1
    expected = DocumentEncoder(tiny_encoder).encode(["words 1"]).vectors
    np.testing.assert_allclose(vectors_of(folder)["own1"], expected, atol=1e-3)
    assert find_damage(folder, deep=True) == []


def test_they_are_found(tmp_path: Path, tiny_encoder: Path) -> None:
    query = QueryEncoder(tiny_encoder).encode(["split the list"]).vectors[0]
    extra = {"id": "near", "text": "shell " * 500, "vector": query.tolist()}
    with trimseek.create_index(tmp_path / "i", [*rows(), extra], encoder=tiny_encoder) as index:
        hits = index.search("split the list", 20, mode="dense").hits
        words = index.search("words", 20, mode="lexical").hits
    assert hits[0].id == "near"
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert hits[0].passage.text == extra["text"]
    assert {hit.id for hit in hits} == {row["id"] for row in [*rows(), extra]}
    assert {hit.id for hit in words} == {f"own{i}" for i in range(5)}


def test_what_is_not_of_unit_length_is_scaled_and_said(
    tmp_path: Path, tiny_encoder: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [{"id": f"own{i}", "text": "x", "vector": [3 * x for x in unit(i)]} for i in range(2)]
    corpus = write_jsonl(tmp_path / "c.jsonl", long)
    done = run("index", corpus, "--into", "index", "--encoder", tiny_encoder)
    said = "2 documents: their vectors were not of unit length, and were scaled to it"
    assert said in done.stderr
    np.testing.assert_allclose(vectors_of(tmp_path / "index")["own1"], [unit(1)], atol=1e-3)
    with trimseek.create_index(tmp_path / "other", long, encoder=tiny_encoder):
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ([1.0, 2.0], "a vector of 2 numbers; the index has 32"),
        ([*unit(0)[:-1], float("nan")], r"vector\[31\] is nan"),
        ([*unit(0)[:-1], float("inf")], r"vector\[31\] is inf"),
        ([*unit(0)[:-1], 1e6], r"vector\[31\] is 1e\+06"),
        ([0.0] * DIM, "the vector is zero"),
    ],
)
def test_wrong_vectors(
    vector: list[float], message: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    bad = {"id": "bad", "text": "x", "vector": vector}
    with pytest.raises(CorpusError, match=message):
        trimseek.create_index(tmp_path / "i", [*rows(), bad], encoder=tiny_encoder)
    with trimseek.create_index(tmp_path / "j", rows(), encoder=tiny_encoder) as index:
        with pytest.raises(CorpusError, match=message):
            index.add([bad])
        with IndexWriter(index.folder, DocumentEncoder(tiny_encoder)) as writer:
            one = Document("bad", "", "x", vector=tuple(vector))
            results = writer.put_each([one, Document("good", "", "y", vector=tuple(unit(3)))])
        assert [result.status for result in results] == ["failed", "added"]
        assert len(index) == 12


def test_other_fields_called_vector_are_metadata(tmp_path: Path, tiny_encoder: Path) -> None:
    others: list[Any] = ["mosquito", ["a", "b"], [True, False], {"x": 1}, 3, []]
    made = [{"id": f"d{i}", "text": "x", "vector": value} for i, value in enumerate(others)]
    with trimseek.create_index(tmp_path / "i", made, encoder=tiny_encoder) as index:
        assert [index.get(f"d{i}").metadata["vector"] for i in range(len(others))] == others


def test_embedding_anew_goes_by_the_text(
    tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    folder = tmp_path / "i"
    trimseek.create_index(folder, rows()[:-1], encoder=tiny_encoder).close()
    reembed(folder, DocumentEncoder(other_encoder), str(other_encoder))
    expected = DocumentEncoder(other_encoder).encode(["words 1"]).vectors
    np.testing.assert_allclose(vectors_of(folder)["own1"], expected, atol=1e-3)


def test_passages_for_vector_databases(tmp_path: Path, tiny_encoder: Path, run: Run) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    long: dict[str, Any] = {"id": "long", "title": "t", "text": "split the shell " * 60, "n": 1}
    folder = tmp_path / "i"
    trimseek.create_index(folder, [*rows(), long], encoder=tiny_encoder).close()
    stored = vectors_of(folder)
    assert len(stored["long"]) > 2
    assert run("export", folder, "-o", tmp_path / "p.parquet", "--passages").returncode == 0
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.field("vector").type == pa.list_(pa.float32(), DIM)
    read = table.to_pylist()
    assert len(read) == sum(map(len, stored.values()))
    assert len({row["id"] for row in read}) == len(read)
    parts = [row for row in read if row["document"] == "long"]
    np.testing.assert_allclose([row["vector"] for row in parts], stored["long"], atol=1e-6)
    assert all(row["text"] == long["text"][row["start"] : row["end"]] for row in parts)
    assert json.loads(parts[0]["metadata"]) == {"n": 1}
    assert run("export", folder, "-o", tmp_path / "p.jsonl", "--passages").returncode == 0
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [row["id"] for row in read]
    assert lines[-1]["n"] == 1
    # they are a corpus again, of passages with their own vectors
    again = run("index", tmp_path / "p.jsonl", "--into", "again", "--encoder", tiny_encoder)
    assert again.returncode == 0, again.stderr
    found = vectors_of(tmp_path / "again")
    np.testing.assert_allclose(found["long#0"][0], stored["long"][0], atol=1e-3)


def test_a_vector_as_the_query(tmp_path: Path, tiny_encoder: Path) -> None:
    vector = QueryEncoder(tiny_encoder).encode(["shell 3"]).vectors[0]
    with trimseek.create_index(tmp_path / "i", rows(), encoder=tiny_encoder) as index:
        by_text = index.search("shell 3", 5, mode="dense")
        by_vector = index.search(vector=vector, k=5)
        assert [hit.id for hit in by_vector.hits] == [hit.id for hit in by_text.hits]
        assert by_vector.query_tokens == 0
        assert by_vector.warnings == ()
        both = index.search("shell 3", 5, vector=vector.tolist())
        assert both.hits == index.search("shell 3", 5).hits
        scaled = index.search(vector=(2 * vector).tolist(), k=5)
        assert [hit.id for hit in scaled.hits] == [hit.id for hit in by_text.hits]
        assert scaled.warnings == ("the vector was not of unit length, and was scaled to it",)
        pages = [index.search(vector=vector, k=2, offset=i).hits for i in (0, 2, 4)]
        assert [hit for page in pages for hit in page] == index.search(vector=vector, k=6).hits
        for wrong, message in (
            ([1.0], "the query: a vector of 1 numbers; the index has 32"),
            ([float("nan")] * DIM, r"the query: vector\[0\] is nan"),
            ([0.0] * DIM, "the query: the vector is zero"),
        ):
            with pytest.raises(QueryError, match=message):
                index.search(vector=wrong)
        with pytest.raises(QueryError, match="not searched for by words"):
            index.search("x", vector=vector, mode="lexical")
        with pytest.raises(QueryError, match="the query is empty"):
            index.search()


def test_over_http(tmp_path: Path, tiny_encoder: Path) -> None:
    trimseek.create_index(tmp_path / "pets", rows(), encoder=tiny_encoder).close()
    keys = make_keys()
    with serving(data=tmp_path, headers=keys.header("write"), keys=keys.setting) as service:
        new = {"id": "new", "text": "", "vector": unit(77)}
        bad = {"id": "bad", "text": "x", "vector": [1, 2]}
        put = service.call("POST", "/v1/indexes/pets/documents", {"documents": [new, bad]})
        assert put.status == 200, put
        assert [result["status"] for result in put.json()["results"]] == ["added", "failed"]
        assert "a vector of 2 numbers; the index has 32" in put.json()["results"][1]["error"]
        search = "/v1/indexes/pets/search"
        found = service.call("POST", search, {"vector": unit(77), "k": 1}).json()
        assert [hit["id"] for hit in found["hits"]] == ["new"]
        assert found["hits"][0]["score"] == pytest.approx(1, abs=1e-3)
        wrong = service.call("POST", search, {"vector": [1, 2]})
        assert wrong.status == 422
        assert "the query: a vector of 2 numbers" in wrong.json()["error"]["message"]
        assert service.call("POST", search, {}).status == 422
