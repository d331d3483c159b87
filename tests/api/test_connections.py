"""Connections: what strangers send, or do not send, harms nobody."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import DOCUMENTS, Keys, Service, serving
from tests.conftest import ingest, write_jsonl
from trimseek.api.connections import LARGEST_HEAD, MOST_HEADERS
from trimseek.memory import resident_bytes

SEARCH = "/v1/indexes/pets/search"
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def service(pets: Path, keys: Keys) -> Iterator[Service]:
    with serving(
        pets, headers=keys.header("admin"), keys=keys.setting, deadline=1.0, log="json"
    ) as running:
        yield running


def connected(service: Service) -> socket.socket:
    return socket.create_connection((service.host, service.port), timeout=20)


def received(connection: socket.socket) -> bytes:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def error_of(answer: bytes) -> dict[str, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"x-content-type-options: nosniff" in head.lower()
    error: dict[str, str] = json.loads(body)["error"]
    return error


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X: " + b"x" * LARGEST_HEAD + b"\r\n\r\n",
        GET + b"".join(b"X%d: y\r\n" % i for i in range(MOST_HEADERS)) + b"\r\n",
        b"GET /" + b"x" * LARGEST_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"X: " + b"x" * 2**21,
    ],
    ids=["one header", "many headers", "address", "no end"],
)
def test_a_large_head_is_refused(head: bytes, service: Service) -> None:
    with connected(service) as connection:
        try:
            connection.sendall(head)
        except ConnectionError:
            return  # refused and closed while it was sent
        answer = received(connection)
    if answer:
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert "more than" in error_of(answer)["message"]


def test_a_usual_head_is_not(service: Service) -> None:
    headers = {f"X-{i}": "y" * 200 for i in range(90)}
    assert service.call("GET", "/healthz", headers=headers).status == 200


def test_an_endless_header_is_not_kept(service: Service) -> None:
    before = resident_bytes(service.process.pid)
    with connected(service) as connection:
        connection.sendall(GET + b"X: ")
        try:
            for _ in range(60):
                connection.sendall(b"x" * 2**20)
        except ConnectionError:
            pass
    assert service.call("GET", "/healthz").status == 200
    assert resident_bytes(service.process.pid) - before < 20e6


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", GET])
def test_a_connection_without_a_whole_head_is_closed(sent: bytes, service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        answer = received(connection)
    if sent.strip():
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert error_of(answer)["type"] == "request_timeout"
    else:
        assert answer == b""


def test_blank_lines_do_not_keep_a_connection(service: Service) -> None:
    with connected(service) as connection, pytest.raises(ConnectionError):
        connection.sendall(GET + b"\r\n")
        for _ in range(200):
            connection.sendall(b"\r\n")
            time.sleep(0.05)


def test_what_is_no_http_is_said_in_json(service: Service) -> None:
    with connected(service) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert error_of(answer)["type"] == "bad_request"


def test_requests_one_after_another_on_a_connection(service: Service) -> None:
    client = http.client.HTTPConnection(service.host, service.port, timeout=10)
    for _ in range(5):
        client.request("GET", "/healthz")
        assert client.getresponse().read() == b'{"status":"alive"}'
    client.close()
    with connected(service) as connection:
        connection.sendall((GET + b"\r\n") * 20)
        answers = b""
        while answers.count(b"alive") < 20:
            answers += connection.recv(65536)
    assert answers.count(b"HTTP/1.1 200") == 20


def test_idle_connections_make_room(pets: Path, tmp_path: Path) -> None:
    """With 128 descriptors, 400 connections that send nothing keep nobody out."""
    from tests.trimseek.test_names import COMMAND

    limited = tmp_path / "limited"
    limited.write_text(f'#!/bin/sh\nulimit -n 128\nexec "{COMMAND}" "$@"\n')
    limited.chmod(limited.stat().st_mode | stat.S_IXUSR)
    with serving(pets, command=limited, deadline=60) as service:
        held = [connected(service) for _ in range(400)]
        for _ in range(20):
            assert service.call("POST", SEARCH, {"query": "cat"}).status == 200
        for connection in held:
            connection.close()


def test_a_slash_at_the_end_leads_nowhere_else(service: Service) -> None:
    headers = {**service.headers, "Host": "evil.example"}
    answer = service.call("GET", "/v1/indexes/", headers=headers)
    assert answer.status == 200
    assert "Location" not in answer.headers
    assert service.call("GET", "/nowhere/", headers=headers).status == 404
    assert service.call("GET", "/", headers=headers).status == 200
    moved = service.call("GET", "/docs/", headers=headers)
    assert (moved.status, moved.headers["Location"]) == (308, "../docs")


@pytest.fixture
def several(tmp_path: Path, tiny_encoder: Path, keys: Keys) -> Iterator[tuple[Service, Path]]:
    """A service with two indexes in its data folder."""
    data = tmp_path / "data"
    corpus = write_jsonl(tmp_path / "c.jsonl", DOCUMENTS)
    for name in ("good", "bad"):
        ingest(corpus, data / name, tiny_encoder)
    with serving(
        "--data", data, headers=keys.header("admin"), keys=keys.setting, deadline=2.0
    ) as running:
        yield running, data


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("damage", ["card", "database", "no card fields"])
def test_a_damaged_index_harms_itself_alone(
    damage: str, opened: bool, several: tuple[Service, Path]
) -> None:
    service, data = several
    if opened:
        assert service.call("GET", "/v1/indexes").status == 200
    if damage == "database":
        (data / "bad" / "documents.db").write_bytes(b"x" * 5000)
        (data / "bad" / "documents.db-wal").unlink(missing_ok=True)
    else:
        (data / "bad" / "index.json").write_text("{" if damage == "card" else "{}")
    listed = service.call("GET", "/v1/indexes").json()
    assert [index["name"] for index in listed["indexes"]] == ["good"]
    assert list(listed["damaged"]) == ["bad"]
    assert str(data) not in json.dumps(listed)
    for path in ("/metrics", "/readyz"):
        assert service.call("GET", path).status == 200, path
    body = {"input": "x", "role": "document"}
    assert service.call("POST", "/v1/embeddings", body).status == 200
    assert service.call("POST", "/v1/indexes/good/search", {"query": "x"}).status == 200
    assert service.call("DELETE", "/v1/indexes/bad").status == 200
    assert service.call("GET", "/v1/indexes").json()["damaged"] == {}
    assert not (data / "bad").exists()


def hostile_filter(conditions: int = 256) -> dict[str, Any]:
    """As much work as the limits let through: many fields, many values, no match."""
    values = [f"value {i}" for i in range(39)]
    return {"or": [{"field": f"f{i}.g", "op": "in", "value": values} for i in range(conditions)]}


def test_a_hostile_filter_ends_at_its_deadline_and_others_are_answered(
    tmp_path: Path, tiny_encoder: Path, keys: Keys
) -> None:
    rows = [{"_id": f"d{i}", "text": "a cat", "f1": {"g": i}, "n": i} for i in range(3000)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "many", tiny_encoder)
    ingest(write_jsonl(tmp_path / "d.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    statuses: list[int] = []
    over = threading.Event()
    with serving(
        tmp_path / "many", tmp_path / "pets", keys=keys.setting, headers=keys.header("write"),
        deadline=1.0,
    ) as service:  # fmt: skip

        def attack(path: str, body: dict[str, Any]) -> None:
            while not over.is_set():
                statuses.append(service.call("POST", path, body).status)

        bodies = [
            ("/v1/indexes/many/search", {"query": "cat", "filter": hostile_filter()}),
            ("/v1/indexes/many/facets", {"fields": ["n"], "filter": hostile_filter()}),
            ("/v1/indexes/many/documents/delete", {"filter": hostile_filter()}),
        ]
        threads = [threading.Thread(target=attack, args=bodies[i % len(bodies)]) for i in range(9)]
        for thread in threads:
            thread.start()
        for _ in range(30):
            assert service.call("POST", SEARCH, {"query": "cat"}).status == 200
            assert service.call("GET", "/v1/indexes/pets/documents/e").status == 200
        change = {"metadata": {"seen": True}}
        assert service.call("PATCH", "/v1/indexes/pets/documents/e", change).status == 200
        over.set()
        for thread in threads:
            thread.join()
        os.kill(service.process.pid, signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert set(statuses) <= {200, 429, 503}
    db = sqlite3.connect(tmp_path / "many" / "documents.db")
    assert db.execute("SELECT count(*) FROM documents").fetchone() == (3000,)
    db.close()
