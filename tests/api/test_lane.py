"""The short way over HTTP: answers as the framework's, in order, admitted and limited."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Keys, Service, serving
from trimseek.api.lane import LARGEST_BODY, LONGEST_QUERY, plain_query
from trimseek.api.schemas import SearchRequest
from trimseek.api.settings import ServiceSettings
from trimseek.settings import make_settings

SEARCH = "/v1/indexes/pets/search"
OTHER_WAY = {"highlight": False}  # an option that the lane leaves to the framework
BODIES: list[tuple[dict[str, Any], int]] = [
    ({"query": "purring"}, 200),
    ({"query": "a kitten", "k": 1, "mode": "dense", "offset": 1}, 200),
    ({"query": "a path", "weight": 0.5, "title_weight": 3, "effort": 7}, 200),
    ({"query": "é\u2028\U0001f680"}, 200),
    ({"query": "x" * LONGEST_QUERY}, 200),
    ({"query": "x" * (LONGEST_QUERY + 1)}, 200),
    ({"query": "cat", "mode": "lexical"}, 200),
    ({"query": "cat", "k": 0}, 422),
    ({"query": " "}, 422),
    ({"query": "a\0b"}, 422),
    ({"query": "cat", "more": 1}, 422),
    ({"query": "cat", "weight": 2}, 422),
]


@pytest.fixture(scope="module")
def service(pets: Path) -> Iterator[Service]:
    with serving(pets) as running:
        yield running


@pytest.mark.parametrize(("body", "status"), BODIES)
def test_the_answer_is_the_frameworks(body: dict[str, Any], status: int, service: Service) -> None:
    ours = service.call("POST", SEARCH, body)
    other = service.call("POST", SEARCH, body | OTHER_WAY)
    assert ours.status == other.status == status
    ours_json, other_json = ours.json(), other.json()
    for answer in (ours_json, other_json):
        answer.pop("timing_ms", None)
    assert ours_json == other_json
    names = [sorted(name.lower() for name in answer.headers) for answer in (ours, other)]
    assert names[0] == names[1]


def test_what_is_plain() -> None:
    settings = make_settings(ServiceSettings, max_query=20, max_k=5)

    def is_plain(**body: Any) -> bool:
        SearchRequest.model_validate(body)
        return plain_query(json.dumps(body).encode(), settings) is not None

    assert is_plain(query="cat")
    assert is_plain(query="cat", k=5, mode="dense", offset=3, weight=1, title_weight=2, effort=9)
    assert not is_plain(query="cat", k=6)
    assert not is_plain(query="c" * 21)
    assert not is_plain(query="cat", mode="lexical")
    for name, value in (("facets", []), ("highlight", True), ("fusion", "ranks"), ("prefix", True)):
        assert not is_plain(query="cat", **{name: value})


def test_it_is_counted_and_named(service: Service) -> None:
    answer = service.call("POST", SEARCH, {"query": "cat"}, {"X-Request-ID": "mine-1"})
    assert answer.headers["X-Request-ID"] == "mine-1"
    before = searches(service)
    for _ in range(5):
        service.call("POST", SEARCH, {"query": "cat"})
    assert searches(service) == before + 5


def searches(service: Service) -> float:
    text = service.call("GET", "/metrics").content.decode()
    line = next(
        line
        for line in text.splitlines()
        if line.startswith("trimseek_requests_total") and "/search" in line and '"200"' in line
    )
    return float(line.split()[-1])


def request(body: bytes, *headers: str) -> bytes:
    head = [f"POST {SEARCH} HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    head += [f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def answers(service: Service, *parts: bytes, count: int) -> list[tuple[int, Any]]:
    """What comes back on one connection for some bytes, sent one part after another."""
    with socket.create_connection((service.host, service.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(0.02)
        stream = connection.makefile("rb")
        found = []
        for _ in range(count):
            status = int(stream.readline().split()[1])
            length = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            found.append((status, json.loads(stream.read(length))))
        return found


def query(number: int, **options: Any) -> bytes:
    return json.dumps({"query": "cat", "k": 1, "offset": number, **options}).encode()


def test_a_body_in_parts(service: Service) -> None:
    whole = request(query(0))
    expected = answers(service, whole, count=1)[0][1]["hits"]
    for cut in (10, len(whole) - 20, len(whole) - 1):
        found = answers(service, whole[:cut], whole[cut:], count=1)
        assert found[0][1]["hits"] == expected


def test_what_is_sent_at_once_is_answered_in_order(service: Service) -> None:
    """Plain ones and others, without waiting for an answer."""
    bodies = [query(i % 3, **(OTHER_WAY if i % 4 == 3 else {})) for i in range(40)]
    expected = [answers(service, request(body), count=1)[0][1]["hits"] for body in bodies[:12]]
    found = answers(service, b"".join(map(request, bodies)), count=40)
    assert [status for status, _ in found] == [200] * 40
    assert [answer["hits"] for _, answer in found[:12]] == expected


def test_a_connection_that_is_to_end(service: Service) -> None:
    with socket.create_connection((service.host, service.port), timeout=20) as connection:
        connection.sendall(request(query(0), "Connection: close"))
        content = b""
        while part := connection.recv(65536):
            content += part
    assert content.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in content


def test_one_that_leaves_at_once_harms_nobody(service: Service) -> None:
    for _ in range(50):
        with socket.create_connection((service.host, service.port), timeout=20) as connection:
            connection.sendall(request(query(0)))
    assert service.call("POST", SEARCH, {"query": "cat"}).status == 200
    text = service.call("GET", "/metrics").content.decode()
    assert "\ntrimseek_queue 0.0\n" in text


def test_a_large_body_is_the_frameworks(service: Service) -> None:
    body = json.dumps({"query": "cat"}).encode() + b" " * LARGEST_BODY
    assert service.call("POST", SEARCH, body).status == 200


def test_keys_and_rates_hold(pets: Path, keys: Keys) -> None:
    with serving(pets, keys=keys.setting, rate_limit=3) as service:
        body = {"query": "cat"}
        assert service.call("POST", SEARCH, body).status == 401
        assert service.call("POST", SEARCH, body, {"X-API-Key": "wrong"}).status == 401
        statuses = [
            service.call("POST", SEARCH, body, keys.header("read")).status for _ in range(8)
        ]
        assert statuses[:3] == [200] * 3
        assert 429 in statuses
        refused = service.call("POST", SEARCH, body)
        assert refused.headers["WWW-Authenticate"]
        assert refused.json()["error"]["type"] == "unauthorized"


def test_too_many_at_once_are_refused(pets: Path) -> None:
    with serving(pets, queue=2, workers=1) as service:
        statuses: list[int] = []

        def ask() -> None:
            for _ in range(30):
                statuses.append(service.call("POST", SEARCH, {"query": "cat"}).status)

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) <= {200, 429}
        assert 200 in statuses
        assert service.call("POST", SEARCH, {"query": "cat"}).status == 200


def test_an_index_that_is_dropped_is_gone(tmp_path: Path, keys: Keys) -> None:
    with serving("--data", tmp_path / "data", keys=keys.setting) as service:
        admin = keys.header("admin")
        created = service.call("PUT", "/v1/indexes/new", {"encoder": "minilm-swift"}, headers=admin)
        assert created.status == 201
        row = {"documents": [{"id": "a", "text": "a cat sleeps"}]}
        assert service.call("POST", "/v1/indexes/new/documents", row, admin).status == 200
        path = "/v1/indexes/new/search"
        for _ in range(4):  # in each process
            hits = service.call("POST", path, {"query": "cat"}, admin).json()["hits"]
            assert [hit["id"] for hit in hits] == ["a"]
        assert service.call("DELETE", "/v1/indexes/new", headers=admin).status == 200
        for _ in range(4):
            assert service.call("POST", path, {"query": "cat"}, admin).status == 404
