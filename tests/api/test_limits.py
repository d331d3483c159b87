"""Every limit, and what is answered beyond it."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Keys, Service, serving

SEARCH = "/v1/indexes/pets/search"


@pytest.fixture(scope="module")
def service(pets: Path, keys: Keys) -> Iterator[Service]:
    limits: dict[str, Any] = {
        "max_body": 4096, "max_k": 5, "max_query": 100, "max_queries": 2, "max_documents": 3,
        "max_document": 50, "max_filter_depth": 2, "max_texts": 2, "deadline": 1.0,
    }  # fmt: skip
    with serving(pets, headers=keys.header("admin"), keys=keys.setting, **limits) as running:
        yield running


FIELD = {"field": "n", "value": 1}
BEYOND: list[tuple[str, object, int, str]] = [
    (SEARCH, {"query": "x", "k": 6}, 422, "the most is 5"),
    (SEARCH, {"query": "x" * 101}, 422, "the most is 100"),
    (SEARCH, {"query": "x", "filter": {"not": {"not": FIELD}}}, 422, "2 levels"),
    (f"{SEARCH}/batch", {"queries": [{"query": "x"}] * 3}, 413, "the most is 2"),
    ("/v1/indexes/pets/recommend", {"like": ["e"], "k": 6}, 422, "the most is 5"),
    ("/v1/indexes/pets/documents", {"documents": [{}] * 4}, 413, "the most is 3"),
    ("/v1/indexes/pets/documents/delete", {"ids": ["x"] * 4}, 413, "the most is 3"),
    ("/v1/embeddings", {"input": ["x"] * 3}, 413, "the most is 2"),
    ("/v1/embeddings", {"input": "x" * 51}, 422, "50"),
    (SEARCH, {"query": "x", "include": ["y" * 5000]}, 413, "more than 4,096 bytes"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), BEYOND)
def test_beyond_a_limit(
    path: str, body: object, status: int, message: str, service: Service
) -> None:
    answer = service.call("POST", path, body)
    assert answer.status == status, answer
    assert message in answer.json()["error"]["message"]


def test_within_the_limits(service: Service) -> None:
    body = {"query": "x" * 100, "k": 5, "filter": {"not": FIELD}}
    assert service.call("POST", SEARCH, body).status == 200


def test_a_large_document_fails_alone(service: Service) -> None:
    documents = [{"id": "big", "text": "x" * 51}, {"id": "fits", "text": "y" * 50}]
    answer = service.call("POST", "/v1/indexes/pets/documents", {"documents": documents})
    assert [each["status"] for each in answer.json()["results"]] == ["failed", "added"]


def raw(service: Service, *parts: bytes, pause: float = 0.0) -> bytes:
    with socket.create_connection((service.host, service.port), timeout=10) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        received = b""
        while part := connection.recv(65536):
            received += part
            if b"\r\n\r\n" in received and b"}}" in received:
                break
        return received


def head(keys: Keys, *lines: str) -> bytes:
    first = [f"POST {SEARCH} HTTP/1.1", "Host: x", f"Authorization: Bearer {keys.read}"]
    return "\r\n".join([*first, "Content-Type: application/json", *lines, "", ""]).encode()


def test_a_body_without_a_length_is_counted(service: Service, keys: Keys) -> None:
    chunk = b"1000\r\n" + b" " * 4096 + b"\r\n"
    answer = raw(service, head(keys, "Transfer-Encoding: chunked"), chunk, chunk)
    assert b"413" in answer.splitlines()[0]


def test_a_slow_body_is_not_waited_for(service: Service, keys: Keys) -> None:
    began = time.monotonic()
    answer = raw(service, head(keys, "Content-Length: 20"), b'{"query"')
    assert b"408" in answer.splitlines()[0]
    assert time.monotonic() - began > 0.9


def test_too_many_at_once_are_told_to_wait(pets: Path) -> None:
    """A queue of 2: some are answered, some are refused at once, and it recovers."""
    with serving(pets, queue=2, deadline=20) as service:
        statuses: Counter[int] = Counter()
        retry: list[str | None] = []

        def ask() -> None:
            for _ in range(20):
                answer = service.call("POST", SEARCH, {"query": "cat " * 200, "k": 3})
                statuses[answer.status] += 1
                if answer.status == 429:
                    retry.append(answer.headers["Retry-After"])

        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses.keys() == {200, 429}
        assert set(retry) == {"1"}
        assert service.call("POST", SEARCH, {"query": "cat"}).status == 200
        many = service.call("POST", f"{SEARCH}/batch", {"queries": [{"query": "x"}] * 9}).json()
        assert all("hits" in result for result in many["results"])


def test_a_request_has_its_deadline(pets: Path) -> None:
    with serving(pets, deadline=0.0001) as service:
        statuses = {service.get(f"{SEARCH}?q={'cat+' * 300}")[0] for _ in range(10)}
        assert 503 in statuses
        assert statuses <= {200, 503}
