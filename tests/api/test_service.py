"""The service as users meet it: a real process on a real port."""

import http.client
import json
import os
import signal
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import DOCUMENTS, Service, serving
from tests.conftest import Run, ingest, write_jsonl


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("api")
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS), folder / "pets", minilm)
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS[:1]), folder / "other", minilm)
    with serving(folder / "pets", folder / "other") as running:
        yield running


def test_search_by_post_and_get_agree(service: Service) -> None:
    status, posted = service.post("/v1/indexes/pets/search", {"query": "a sleepy cat", "k": 2})
    assert status == 200
    _, got = service.get("/v1/indexes/pets/search?q=a+sleepy+cat&k=2")
    timing = posted.pop("timing_ms")
    assert timing["encode"] > 0
    assert timing["search"] > 0
    assert timing["total"] == pytest.approx(timing["encode"] + timing["search"])
    assert got.pop("timing_ms").keys() == timing.keys()
    assert got == posted
    assert posted["index"] == "pets"
    assert not posted["truncated"]
    assert len(posted["hits"]) == 2
    best = posted["hits"][0]
    assert best["id"] == "e"
    assert best["passage"] == {"text": "the kitten sleeps", "start": 0, "end": 17}
    assert best["metadata"] == {"tags": ["x", "y"]}


def test_k_defaults_to_ten_and_may_exceed_the_index(service: Service) -> None:
    assert len(service.post("/v1/indexes/pets/search", {"query": "x"})[1]["hits"]) == 3
    assert len(service.get("/v1/indexes/pets/search?q=x&k=1000")[1]["hits"]) == 3


def test_a_long_query_is_truncated_and_said_so(service: Service) -> None:
    status, answer = service.post("/v1/indexes/pets/search", {"query": "cat " * 500})
    assert (status, answer["truncated"], answer["query_tokens"]) == (200, True, 256)


def test_documents(service: Service) -> None:
    status, answer = service.get("/v1/indexes/pets/documents/a/b")
    assert status == 200
    assert answer == {
        "index": "pets",
        "id": "a/b",
        "title": "Path",
        "text": "an id with a slash",
        "metadata": {"n": 1},
    }
    assert service.get("/v1/indexes/pets/documents/c%20d")[1]["id"] == "c d"


def test_list_health_and_documentation(service: Service) -> None:
    status, answer = service.get("/v1/indexes")
    assert status == 200
    assert [(each["name"], each["documents"]) for each in answer["indexes"]] == [
        ("pets", 3),
        ("other", 1),
    ]
    assert service.get("/healthz") == (200, {"status": "alive"})
    assert service.get("/readyz") == (200, {"status": "ready"})
    assert "/v1/indexes/{index}/search" in service.get("/openapi.json")[1]["paths"]


MISTAKES: list[tuple[str, str, bytes | None, int, str, str]] = [
    ("GET", "/v1/indexes/none/search?q=x", None, 404, "unknown_index", "there are: pets, other"),
    ("GET", "/v1/indexes/none/documents/e", None, 404, "unknown_index", "no index 'none'"),
    ("GET", "/v1/indexes/pets/documents/zz", None, 404, "unknown_document", "no document 'zz'"),
    ("GET", "/v1/indexes/pets/search", None, 422, "invalid_request", "query.q: Field required"),
    ("GET", "/v1/indexes/pets/search?q=", None, 422, "invalid_request", "the query is empty"),
    ("GET", "/v1/indexes/pets/search?q=%20", None, 422, "invalid_request", "the query is empty"),
    ("GET", "/v1/indexes/pets/search?q=%00", None, 422, "invalid_request", "NUL"),
    ("GET", "/v1/indexes/pets/search?q=x&k=0", None, 422, "invalid_request", "query.k"),
    ("GET", "/v1/indexes/pets/search?q=x&k=-1", None, 422, "invalid_request", "query.k"),
    ("GET", "/v1/indexes/pets/search?q=x&k=1001", None, 422, "invalid_request", "query.k"),
    ("GET", "/v1/indexes/pets/search?q=x&k=1e99", None, 422, "invalid_request", "query.k"),
    ("POST", "/v1/indexes/pets/search", b"{", 422, "invalid_request", "JSON"),
    ("POST", "/v1/indexes/pets/search", b"\xff", 400, "bad_request", "parsing"),
    ("POST", "/v1/indexes/pets/search", b"[]", 422, "invalid_request", "body"),
    ("POST", "/v1/indexes/pets/search", b"{}", 422, "invalid_request", "the query is empty"),
    ("POST", "/v1/indexes/pets/search", b'{"query": 7}', 422, "invalid_request", "body.query"),
    (
        "POST",
        "/v1/indexes/pets/search",
        b'{"query": "x", "n": 1}',
        422,
        "invalid_request",
        "body.n",
    ),
    ("POST", "/v1/indexes/pets/search", b'{"query": " "}', 422, "invalid_request", "empty"),
    ("POST", "/v1/indexes/pets/search", b'{"query": "\\ud800"}', 422, "invalid_request", ""),
    ("POST", "/v1/indexes/pets/search", b'{"query":"x","k":0}', 422, "invalid_request", "body.k"),
    ("POST", "/v1/indexes/pets/search", b'{"query":"x","k":1e9}', 422, "invalid_request", "body.k"),
    ("GET", "/nothing", None, 404, "not_found", "Not Found"),
    ("DELETE", "/v1/indexes", None, 405, "method_not_allowed", "Method Not Allowed"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "kind", "message"), MISTAKES)
def test_mistakes_have_one_shape(
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    kind: str,
    message: str,
    service: Service,
) -> None:
    found, answer = service.send(method, path, body)
    assert found == status
    assert answer.keys() == {"error"}
    assert answer["error"].keys() == {"type", "message"}
    assert answer["error"]["type"] == kind
    assert message in answer["error"]["message"]


def test_many_clients_get_what_one_gets(service: Service) -> None:
    queries = ["a cat", "slash", "a place between words", "kitten", "path"] * 4
    alone = [service.get(f"/v1/indexes/pets/search?q={urllib.parse.quote(q)}") for q in queries]
    together: list[Any] = [None] * len(queries)

    def ask(i: int) -> None:
        path = f"/v1/indexes/pets/search?q={urllib.parse.quote(queries[i])}"
        together[i] = service.get(path)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(queries))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (status, expected), (found_status, found) in zip(alone, together, strict=True):
        assert (status, found_status) == (200, 200)
        # int8 scales what is encoded together by one number, so that scores differ a little
        assert found["hits"][0]["id"] == expected["hits"][0]["id"]
        for one, other in zip(found["hits"], expected["hits"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=0.08)


def test_documents_added_meanwhile_are_found(tmp_path: Path, minilm: Path) -> None:
    folder = tmp_path / "live"
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), folder, minilm)
    with serving(folder) as service:
        before = service.get("/v1/indexes/live/search?q=violin+concerto&k=1")[1]["hits"][0]["id"]
        new = {"_id": "music", "text": "a concerto for violin and orchestra"}
        ingest(write_jsonl(tmp_path / "c.jsonl", [new]), folder, minilm)
        after = service.get("/v1/indexes/live/search?q=violin+concerto&k=1")[1]["hits"][0]["id"]
    assert before != "music"
    assert after == "music"


def test_sigterm_finishes_what_was_accepted(tmp_path: Path, minilm: Path) -> None:
    folder = tmp_path / "pets"
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), folder, minilm)
    with serving(folder) as service:
        connection = http.client.HTTPConnection(service.host, service.port, timeout=10)
        body = json.dumps({"query": "cat"}).encode()
        connection.putrequest("POST", "/v1/indexes/pets/search")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders(body[:5])
        assert connection.sock.recv(1024).startswith(b"HTTP/1.1 100 ")  # the body is waited for
        os.kill(service.process.pid, signal.SIGTERM)
        with pytest.raises((ConnectionRefusedError, ConnectionResetError)):
            while True:
                socket.create_connection((service.host, service.port), timeout=10).close()
        connection.send(body[5:])
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["hits"][0]["id"] == "e"
        connection.close()
        assert service.process.wait(20) == 0


def test_a_port_in_use_is_one_line(tmp_path: Path, run: Run, tiny_encoder: Path) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "index", tiny_encoder)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("serve", "index", "--port", port)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere: no such folder"),
        (("index", "sub/index"), "are both called 'index'; rename one"),
        (("index", "--port", "99999"), "--port=99999: input should be less than or equal to 65535"),
        (("index", "--host", "no.such.host.invalid"), "cannot listen on"),
    ],
)
def test_mistakes_at_the_start(
    words: tuple[str, ...], message: str, tmp_path: Path, run_process: Run, tiny_encoder: Path
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", DOCUMENTS)
    for folder in ("index", "sub/index"):
        ingest(corpus, tmp_path / folder, tiny_encoder)
    if "--port" not in words:  # the usual one may be another's on this machine
        words = (*words, "--port", "0")
    done = run_process("serve", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_no_document_has_is_said(service: Service) -> None:
    url = "/v1/indexes/pets"
    tag = {"field": "tag", "op": "=", "value": "x"}
    number = {"field": "tags", "op": ">", "value": 3}
    unknown = "no document has the field 'tag'; did you mean 'tags'?"
    other = "no document has numbers in the field 'tags': it holds text; write texts in quotes"
    body = {"query": "kitten", "filter": {"or": [tag, number]}}
    assert service.post(f"{url}/search", body)[1]["warnings"] == [unknown, other]
    results = service.post(f"{url}/search/batch", {"queries": [body]})[1]["results"]
    assert results[0]["warnings"] == [unknown, other]
    found = service.post(f"{url}/recommend", {"like": ["e"], "filter": tag})[1]
    assert found["warnings"] == [unknown]
    found = service.post(f"{url}/facets", {"fields": ["tags", "tag"], "filter": number})[1]
    assert found["warnings"] == [other, unknown]


def test_searches_take_the_options_of_the_command_line(service: Service) -> None:
    url = "/v1/indexes/pets/search"
    body = {"query": "kitten id", "mode": "hybrid", "highlight": True, "facets": ["tags"]}
    status, found = service.post(url, body)
    assert status == 200
    assert found["facets"] == {
        "tags": [{"value": "x", "documents": 1}, {"value": "y", "documents": 1}]
    }
    kitten = next(hit for hit in found["hits"] if hit["id"] == "e")
    assert set(kitten["sources"]) == {"dense", "lexical"}
    (mark,) = kitten["highlights"]
    assert kitten["passage"]["text"][mark["start"] : mark["end"]] == "kitten"
    tagged = {"field": "tags", "op": "=", "value": "x"}
    status, found = service.post(url, {"query": "id", "filter": tagged})
    assert [hit["id"] for hit in found["hits"]] == ["e"]
    assert found["warnings"] == []
    status, found = service.post(url, {"query": "id", "filter": {"not": tagged}, "offset": 1})
    assert len(found["hits"]) == 1
    for wrong in (
        {"filter": {"field": "tags"}},
        {"filter": 3},
        {"filter": {"field": "a'b\"", "value": 1}},
        {"mode": "magic"},
        {"offset": -1},
        {"diversity": 2},
        {"group_by": "a..b"},
    ):
        status, found = service.post(url, {"query": "id"} | wrong)
        assert status == 422, wrong
        assert found["error"]["type"] == "invalid_request"


def test_recommendations(service: Service) -> None:
    url = "/v1/indexes/pets/recommend"
    status, found = service.post(url, {"like": ["a/b"], "unlike": ["e"], "k": 5})
    assert status == 200
    assert [hit["id"] for hit in found["hits"]] == ["c d"]
    assert service.post(url, {"like": ["gone"]})[0] == 404
    assert service.post(url, {"like": []})[0] == 422
    assert service.post(url, {"like": ["e"], "weights": [0]})[0] == 422
