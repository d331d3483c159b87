"""What may be stored can be answered: one rule at every door, and old indexes are served."""

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import trimseek
from tests.api.serving import serving
from tests.conftest import Run, ingest, write_jsonl
from tests.indexer.test_ingest import rows
from trimseek.errors import CorpusError, IndexFolderError
from trimseek.ids import LONGEST_ID
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.metadata import MOST_BYTES, MOST_DEPTH


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


DEEP = {"v": {"w": nested(300)}}
REFUSED_IDS = [
    *("a\nb", "abc\n", "\tx", "a\x1b[31m", "a\x7f", "a\u2028b", "a\x85b", " ", ""),
    "x" * (LONGEST_ID + 1),
]
REFUSED_METADATA = [
    ({"v": nested(MOST_DEPTH)}, "more than 32 levels"),
    (DEEP, "more than 32 levels"),
    ({"v": 10**400}, "beyond 64 bits"),
    ({"v": 2**63}, "beyond 64 bits"),
    ({"v": [1, -(2**63) - 1]}, "beyond 64 bits"),
    ({"v": "x" * MOST_BYTES}, "1,048,5"),
    ({"v": "a\0b"}, "NUL"),
]


@pytest.fixture
def index(tmp_path: Path, tiny_encoder: Path) -> trimseek.Index:
    return trimseek.create_index(tmp_path / "i", [{"id": "a", "text": "x"}], encoder=tiny_encoder)


@pytest.mark.parametrize("id_", REFUSED_IDS, ids=ascii)
def test_ids(id_: str, index: trimseek.Index, tmp_path: Path, run: Run) -> None:
    with pytest.raises(CorpusError, match="document 1.*id"):
        index.add([{"id": id_, "text": "text"}])
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"_id": id_, "text": "text"}])
    for words in (("index", corpus, "--into", "new"), ("add", "i", corpus)):
        done = run(*words)
        assert done.returncode == 2
        assert "c.jsonl:1: " in done.stderr
    assert len(index) == 1


@pytest.mark.parametrize(("metadata", "message"), REFUSED_METADATA)
def test_metadata(
    metadata: dict[str, Any], message: str, index: trimseek.Index, tmp_path: Path, run: Run
) -> None:
    with pytest.raises(CorpusError, match=message):
        index.add([{"id": "b", "text": "text"} | metadata])
    with pytest.raises(CorpusError, match=message):
        index.patch("a", metadata)
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"_id": "b", "text": "text"} | metadata])
    done = run("index", corpus, "--into", "new")
    assert done.returncode == 2
    assert message in done.stderr
    assert "c.jsonl:1: " in done.stderr
    assert len(index) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks(value: float, index: trimseek.Index) -> None:
    with pytest.raises(CorpusError, match="metadata field 'v'"):
        index.add([{"id": "b", "text": "text", "v": {"w": [value]}}])


def test_over_http(index: trimseek.Index) -> None:
    keys = trimseek.api.keys.new_key("w", trimseek.api.keys.Role.WRITE)
    header = {"Authorization": f"Bearer {keys[0]}"}
    with serving(index.folder, headers=header, keys=keys[1].line()) as service:
        documents = f"/v1/indexes/{index.folder.name}/documents"
        wrong: list[dict[str, Any]] = [{"id": id_, "text": "text"} for id_ in REFUSED_IDS]
        wrong += [
            {"id": "b", "text": "t", "metadata": value}
            for value, _ in REFUSED_METADATA
            if value != DEEP
        ]
        # this deep, no part of the request can be read
        deep = {"documents": [{"id": "b", "text": "t", "metadata": DEEP}]}
        assert service.call("POST", documents, deep).status == 422
        right = {"id": "x" * LONGEST_ID, "text": "t", "metadata": {"v": nested(MOST_DEPTH - 1)}}
        body = {"documents": [*wrong, right]}
        results = service.call("POST", documents, body).json()["results"]
        assert [result["status"] for result in results] == ["failed"] * len(wrong) + ["added"]
        for result, entry in zip(results, wrong, strict=False):
            place = f"documents[{wrong.index(entry)}]"
            assert place in result["error"] or "documents." in result["error"], result
        for metadata, _ in REFUSED_METADATA:
            patched = service.call("PATCH", f"{documents}/a", {"metadata": metadata})
            assert patched.status == 422, patched
        # an id's last character is not lost on the way
        assert service.call("DELETE", f"{documents}/a%0A").status == 422
        assert service.call("GET", f"{documents}/a").status == 200
        found = service.call("POST", f"/v1/indexes/{index.folder.name}/search", {"query": "t"})
        assert {hit["id"] for hit in found.json()["hits"]} == {"a", "x" * LONGEST_ID}


def test_what_is_stored_comes_back(index: trimseek.Index) -> None:
    metadata = {
        "large": 2**63 - 1,
        "small": -(2**63),
        "deep": nested(MOST_DEPTH - 1),
        "note": "🙂 \u200d \u2028",
        "float": 1e308,
    }
    index.add([{"id": "id with space/and: é", "text": "text"} | metadata])
    document = index.get("id with space/and: é")
    assert document.metadata == metadata
    assert index.search("text", where=f"large = {2**63 - 1}").hits[0].metadata == metadata
    assert index.count(where=f"small = {-(2**63)}") == 1
    assert index.count(where=f"large = {2**63 - 2}") == 0


@pytest.fixture
def old(tmp_path: Path, tiny_encoder: Path) -> Path:
    """An index with metadata that an earlier trimseek let in, and with damaged metadata."""
    folder = tmp_path / "old"
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(20)), folder, tiny_encoder)
    stored = {
        "d1": json.dumps({"n": 1, "v": nested(300)}),
        "d2": '{"n": 2, "v": 1' + "0" * 400 + "}",
        "d3": '{"n": 3, "v": 18446744073709551615}',
    }
    db = sqlite3.connect(folder / "documents.db")
    for id_, metadata in stored.items():
        db.execute("UPDATE documents SET metadata = ? WHERE id = ?", (metadata, id_))
    db.execute("UPDATE documents SET id = ? WHERE id = 'd5'", ("d5\n",))
    db.commit()
    db.close()
    return folder


def test_old_indexes_are_served(old: Path) -> None:
    with serving(old) as service:
        answer = service.call("POST", "/v1/indexes/old/search", {"query": "shell", "k": 20})
        assert answer.status == 200
        hits = {hit["id"]: hit["metadata"] for hit in answer.json()["hits"]}
        assert len(hits) == 20
        assert hits["d2"] == {"n": 2, "v": "1" + "0" * 400}
        assert hits["d3"] == {"n": 3, "v": "18446744073709551615"}
        assert hits["d1"]["n"] == 1
        facets = service.call("POST", "/v1/indexes/old/facets", {"fields": ["v", "n"]})
        assert facets.status == 200
        json.loads(facets.content, parse_constant=pytest.fail)
        for id_ in ("d1", "d2", "d3"):
            assert service.call("GET", f"/v1/indexes/old/documents/{id_}").status == 200
        where = {"field": "_id", "value": "d5\n"}
        found = service.call("POST", "/v1/indexes/old/search", {"query": "x", "filter": where})
        assert [hit["id"] for hit in found.json()["hits"]] == ["d5\n"]


def test_damaged_metadata_harm_one_hit(old: Path) -> None:
    db = sqlite3.connect(old / "documents.db")
    db.execute("UPDATE documents SET metadata = '{\"n\": 4' WHERE id = 'd4'")
    db.commit()
    db.close()
    with serving(old) as service:
        answer = service.call("POST", "/v1/indexes/old/search", {"query": "shell", "k": 20})
        hits = {hit["id"]: hit["metadata"] for hit in answer.json()["hits"]}
        assert hits["d4"] == {}
        assert hits["d6"] == {"n": 6}
        assert service.call("GET", "/v1/indexes/old/documents/d4").status == 503
        assert service.call("GET", "/v1/indexes/old/documents/d6").status == 200


def test_a_backup_that_breaks_the_rule_is_refused(old: Path, tmp_path: Path) -> None:
    db = sqlite3.connect(old / "documents.db")
    db.execute("UPDATE documents SET metadata = '{}', hash = substr(hash, 1, 16)")
    db.commit()
    db.close()
    write_backup(old, tmp_path / "b")
    with pytest.raises(IndexFolderError, match=r"'d5\\n'.*control character"):
        restore_backup(tmp_path / "b", tmp_path / "new")
    assert not (tmp_path / "new").exists()
