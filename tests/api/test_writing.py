"""Documents, indexes, tasks and embeddings over HTTP."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import DOCUMENTS, Keys, Service, eventually, serving
from tests.conftest import ingest, write_jsonl


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("writing")
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS), folder / "pets", "minilm-int8")
    with serving(
        folder / "pets", headers=keys.header("admin"), keys=keys.setting, data=folder / "data"
    ) as running:
        yield running


@pytest.fixture
def index(service: Service) -> Iterator[str]:
    """A fresh, empty one."""
    name = f"i{time.monotonic_ns()}"
    made = service.call("PUT", f"/v1/indexes/{name}", {"facets": ["year"]})
    assert made.status == 201
    yield f"/v1/indexes/{name}"
    service.call("DELETE", f"/v1/indexes/{name}")


def put(service: Service, index: str, *documents: Any) -> list[Any]:
    answer = service.call("POST", f"{index}/documents", {"documents": list(documents)})
    assert answer.status == 200, answer
    results: list[Any] = answer.json()["results"]
    return results


def ids(service: Service, index: str, query: str, **options: Any) -> list[str]:
    answer = service.call("POST", f"{index}/search", {"query": query, **options})
    assert answer.status == 200, answer
    return [hit["id"] for hit in answer.json()["hits"]]


def test_one_that_is_wrong_fails_alone(service: Service, index: str) -> None:
    results = put(
        service,
        index,
        {"id": "cat", "text": "a cat sleeps", "metadata": {"year": 2020}},
        {"id": "empty", "text": " "},
        {"id": "cat", "text": "again"},
        {"id": 7, "text": "x"},
        {"text": "no id"},
        {"id": "nul", "text": "a\0b"},
        {"id": "surrogate", "text": "\ud800"},
        {"id": "more", "text": "x", "colour": "red"},
        "nonsense",
        {"id": "dog", "title": "Dog", "text": "a dog barks"},
    )
    assert [each["status"] for each in results] == ["added", *["failed"] * 8, "added"]
    assert all(each["error"] for each in results[1:-1])
    assert "documents[3].id" in results[3]["error"]
    assert ids(service, index, "kitten asleep")[0] == "cat"


def test_doing_it_again_changes_nothing(service: Service, index: str) -> None:
    document = {
        "id": "a/ü b",
        "title": "T",
        "text": "a text",
        "metadata": {"year": 1, "x": {"y": []}},
    }
    assert [put(service, index, document)[0]["status"] for _ in range(2)] == ["added", "unchanged"]
    assert put(service, index, document | {"text": "other"})[0]["status"] == "updated"
    url = f"{index}/documents/a/%C3%BC%20b"
    assert service.call("GET", url).json()["text"] == "other"
    patched = service.call("PATCH", url, {"metadata": {"year": None, "z": True}}).json()
    assert patched["metadata"] == {"x": {"y": []}, "z": True}
    assert service.call("PATCH", url, {"metadata": {"z": True}}).json() == patched
    assert service.call("DELETE", url).json()["deleted"] == 1
    assert service.call("DELETE", url).json()["deleted"] == 0
    assert service.call("GET", url).status == 404
    assert service.call("PATCH", url, {"metadata": {}}).status == 404
    assert ids(service, index, "text") == []


def test_delete_by_filter_and_ids(service: Service, index: str) -> None:
    put(
        service,
        index,
        *({"id": f"d{i}", "text": f"number {i}", "metadata": {"year": i}} for i in range(9)),
    )
    found = service.call(
        "POST",
        f"{index}/facets",
        {"fields": ["year"], "filter": {"field": "year", "op": "<", "value": 3}},
    )
    assert found.json()["facets"] == {"year": [{"value": i, "documents": 1} for i in range(3)]}
    where = {"field": "year", "op": ">=", "value": 5}
    assert (
        service.call("POST", f"{index}/documents/delete", {"filter": where}).json()["deleted"] == 4
    )
    assert (
        service.call("POST", f"{index}/documents/delete", {"ids": ["d0", "gone"]}).json()["deleted"]
        == 1
    )
    assert sorted(ids(service, index, "number")) == ["d1", "d2", "d3", "d4"]
    wrong: Any
    for wrong in ({}, {"ids": ["a"], "filter": where}, {"ids": []}, {"filter": {"field": "year"}}):
        assert service.call("POST", f"{index}/documents/delete", wrong).status == 422


def test_fields_and_batches(service: Service, index: str) -> None:
    put(service, index, {"id": "a", "text": "a cat", "metadata": {"year": 1, "big": "x" * 99}})
    answer = service.call(
        "POST",
        f"{index}/search/batch",
        {
            "queries": [
                {"query": "cat", "include": ["year"]},
                {"query": " "},
                {"query": "cat", "k": 0},
                {"query": "cat", "exclude": ["big", "year"], "mode": "lexical"},
                7,
            ]
        },
    )
    first, blank, wrong, last, number = answer.json()["results"]
    assert first["hits"][0]["metadata"] == {"year": 1}
    assert last["hits"][0]["metadata"] == {}
    assert [each["error"]["type"] for each in (blank, wrong, number)] == ["invalid_request"] * 3


def test_an_index_of_two_encoders(service: Service) -> None:
    url = "/v1/indexes/pair"
    assert service.call("PUT", url, {"encoder": "balanced"}).status == 201
    assert service.call("PUT", url, {"encoder": "minilm-int8+minilm-swift"}).status == 200
    assert service.call("PUT", url, {"encoder": "best"}).status == 409
    described = service.call("GET", url).json()
    assert (described["encoder"], described["query_encoder"]) == ("minilm-int8", "minilm-swift")
    assert service.call("DELETE", url).status == 200


def test_indexes_are_made_and_dropped(service: Service) -> None:
    url = "/v1/indexes/new.one"
    assert service.call("PUT", url, {"encoder": "minilm-swift", "kind": "hnsw"}).status == 201
    assert service.call("PUT", url, {"encoder": "minilm-swift"}).status == 200
    assert service.call("PUT", url, {"encoder": "minilm"}).status == 409
    names = [each["name"] for each in service.call("GET", "/v1/indexes").json()["indexes"]]
    assert names == ["pets", "new.one"]
    assert service.call("PUT", url, {"encoder": "minilm-swift", "query_prompt": ""}).status == 200
    other = service.call("PUT", url, {"encoder": "minilm-swift", "query_prompt": "find: "})
    assert (other.status, other.json()["error"]["type"]) == (409, "conflict")
    assert ids(service, url, "anything") == []
    put(service, url, {"id": "x", "text": "something"})
    assert ids(service, url, "anything") == ["x"]
    described = service.call("GET", url).json()
    assert (described["documents"], described["encoder"]) == (1, "minilm-swift")
    assert "minilm-float32" in described["encoders"]
    assert service.call("DELETE", url).json() == {"dropped": "new.one"}
    assert service.call("DELETE", url).status == 404
    assert service.call("GET", url).status == 404
    assert service.call("DELETE", "/v1/indexes/pets").status == 409
    for name in ("..", "a%2Fb", "-x", "x" * 65, "%00", ".hidden"):
        assert service.call("PUT", f"/v1/indexes/{name}", {}).status in (404, 405, 422), name
    for encoder in ("/etc", "../pets", "someone/model", "bert"):
        assert service.call("PUT", "/v1/indexes/y", {"encoder": encoder}).status == 422
    for encoder in ("minilm+", "minilm+/etc", "minilm+minilm+minilm", "+minilm", "fast+minilm"):
        assert service.call("PUT", "/v1/indexes/y", {"encoder": encoder}).status == 422
    for prompt in ("query_prompt", "document_prompt"):  # no room for a text beside it
        refused = service.call("PUT", "/v1/indexes/y", {prompt: "a b " * 1000})
        assert (refused.status, "leaves no room" in refused.json()["error"]["message"]) == (
            422,
            True,
        )
    assert service.call("GET", "/v1/indexes/y").status == 404


def test_deleting_what_no_document_has_says_so(service: Service, index: str) -> None:
    put(service, index, {"id": "a", "text": "a cat", "metadata": {"year": 2020}})
    filter_ = {"field": "yeer", "op": "=", "value": 2020}
    answer = service.call("POST", f"{index}/documents/delete", {"filter": filter_}).json()
    assert answer["deleted"] == 0
    assert answer["warnings"] == ["no document has the field 'yeer'; did you mean 'year'?"]


def test_one_of_many_creations_wins_and_nothing_is_lost(service: Service) -> None:
    def create_and_put(number: int) -> int:
        status = service.call("PUT", "/v1/indexes/same", {}).status
        documents = [{"id": f"{number}-{i}", "text": f"a cat {i}"} for i in range(6)]
        assert put(service, "/v1/indexes/same", *documents)
        return status

    with ThreadPoolExecutor(8) as clients:
        statuses = list(clients.map(create_and_put, range(8)))
    assert sorted(statuses) == [200] * 7 + [201]
    assert service.call("GET", "/v1/indexes/same").json()["documents"] == 48
    service.call("DELETE", "/v1/indexes/same")


def test_dropped_indexes_are_closed(service: Service) -> None:
    def make_write_search_drop(name: str) -> None:
        url = f"/v1/indexes/{name}"
        service.call("PUT", url, {})
        put(service, url, {"id": "a", "text": "a cat"})
        assert ids(service, url, "cat") == ["a"]
        assert service.call("DELETE", url).status == 200

    def open_files() -> list[str]:
        files = []
        for descriptor in Path(f"/proc/{service.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                files.append(str(descriptor.readlink()))
        return files

    for i in range(6):
        make_write_search_drop(f"drop{i}")
    # one that a search still held when its index was dropped is closed when the search ends
    until = time.monotonic() + 30
    while still_open := [file for file in open_files() if "/drop" in file]:
        assert time.monotonic() < until, still_open
        time.sleep(0.05)


def test_reembedding_by_another_encoder_is_another_task(service: Service, index: str) -> None:
    put(service, index, *({"id": f"d{i}", "text": f"a cat {i}"} for i in range(40)))
    asked = ["minilm-swift", "minilm-float32", "minilm-swift", "minilm-float32"]
    tasks = [
        service.call("POST", f"{index}/tasks", {"kind": "reembed", "encoder": name}).json()
        for name in asked
    ]
    assert [task["encoder"] for task in tasks] == asked
    assert len({task["id"] for task in tasks}) >= 2
    for task in tasks:
        ended = eventually(service, task["id"])
        assert ended["state"] == "done", ended
    assert service.call("GET", index).json()["encoder"] in asked


def test_tasks(service: Service, index: str) -> None:
    put(service, index, *({"id": f"d{i}", "text": f"a cat number {i}"} for i in range(30)))
    for kind in ("snapshot", "compact"):
        started = service.call("POST", f"{index}/tasks", {"kind": kind})
        assert started.status == 202
        assert eventually(service, started.json()["id"])["state"] == "done"
    assert service.call("GET", index).json()["generation"] >= 2
    body = {"kind": "reembed", "encoder": "minilm-swift"}
    done = eventually(service, service.call("POST", f"{index}/tasks", body).json()["id"])
    assert (done["state"], done["done"], done["total"]) == ("done", 30, 30)
    assert service.call("GET", index).json()["encoder"] == "minilm-swift"
    assert len(ids(service, index, "cat")) == 10
    put(service, index, {"id": "new", "text": "a violin concerto"})
    assert ids(service, index, "music for violin", k=1) == ["new"]
    assert service.call("GET", "/v1/tasks/t999").status == 404
    assert len(service.call("GET", "/v1/tasks").json()["tasks"]) >= 3
    for wrong in (
        {"kind": "reembed"},
        {"kind": "snapshot", "encoder": "minilm"},
        {"kind": "magic"},
    ):
        assert service.call("POST", f"{index}/tasks", wrong).status == 422


def test_full_against_compressed(service: Service) -> None:
    url = "/v1/indexes/pets/compare"
    body = {"query": "cat", "k": 3, "encoders": ["minilm-float32", "minilm-dash"]}
    answer = service.call("POST", url, body).json()
    assert [each["encoder"] for each in answer["results"]] == body["encoders"]
    assert answer["shared"] == 3
    default = service.call("POST", url, {"query": "cat"}).json()
    assert [each["encoder"] for each in default["results"]] == ["minilm-float32", "minilm-int8"]
    for pair in (["minilm-float32"], ["minilm-float32", "/etc/passwd"]):
        assert service.call("POST", url, {"query": "cat", "encoders": pair}).status == 422


def test_an_acknowledged_write_survives_a_kill(
    tmp_path: Path, tiny_encoder: Path, keys: Keys
) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    url = "/v1/indexes/pets"
    for round_ in range(2):
        with serving(tmp_path / "pets", headers=keys.header("write"), keys=keys.setting) as service:
            for i in range(10):
                put(service, url, {"id": f"k{round_}-{i}", "text": f"text {i}"})
            os.kill(service.process.pid, signal.SIGKILL)
    with serving(tmp_path / "pets", headers=keys.header("write"), keys=keys.setting) as service:
        for round_ in range(2):
            for i in range(10):
                assert service.call("GET", f"{url}/documents/k{round_}-{i}").status == 200


def test_several_workers_write_one_index(tmp_path: Path, tiny_encoder: Path, keys: Keys) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    with serving(
        tmp_path / "pets", "--workers", 2, headers=keys.header("write"), keys=keys.setting
    ) as service:
        for i in range(20):
            assert (
                put(service, "/v1/indexes/pets", {"id": f"w{i}", "text": f"n {i}"})[0]["status"]
                == "added"
            )
            assert service.call("GET", f"/v1/indexes/pets/documents/w{i}").status == 200
        assert service.call("GET", "/v1/indexes/pets").json()["documents"] == 23
        service.process.terminate()
        assert service.process.wait(20) == 0
