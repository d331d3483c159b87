"""What clients send beside the documented: options in a URL, HEAD, bodies without a type."""

import gzip
import json
import socket
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.serving import Keys, Service, serving
from tests.conftest import ingest, write_jsonl

DOCUMENTS = [
    {"_id": f"d{i}", "text": f"kitten number {i}", "year": 2000 + i, "kind": "ab"[i % 2]}
    for i in range(8)
]
SEARCH = "/v1/indexes/pets/search"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("requests")
    corpus = write_jsonl(folder / "c.jsonl", DOCUMENTS)
    ingest(corpus, folder / "pets", tiny_encoder, facets=["kind"])
    with serving(folder / "pets") as running:
        yield running


def without_timing(answer: Any) -> Any:
    return {name: value for name, value in answer.items() if name != "timing_ms"}


@pytest.mark.parametrize(
    "options",
    [
        {"k": 3},
        {"mode": "lexical", "k": 2, "offset": 1},
        {"mode": "hybrid", "highlight": True, "min_score": 0.001},
        {"filter": {"field": "year", "op": ">=", "value": 2004}},
        {"group_by": "kind", "diversity": 0.5},
        {"facets": ["kind", "year"], "include": ["kind", "year"], "exclude": ["year"]},
    ],
    ids=str,
)
def test_a_urls_options_are_those_of_a_body(options: dict[str, Any], service: Service) -> None:
    texts = options | ({"filter": json.dumps(options["filter"])} if "filter" in options else {})
    texts = {name: str(value) if value is True else value for name, value in texts.items()}
    query = urllib.parse.urlencode({"q": "kitten 5 C++", **texts}, doseq=True)
    answer = service.call("GET", f"{SEARCH}?{query}")
    assert answer.status == 200, answer
    posted = service.call("POST", SEARCH, {"query": "kitten 5 C++", **options})
    assert without_timing(answer.json()) == without_timing(posted.json())
    assert answer.json()["hits"]


def test_a_filter_in_a_url_is_written_as_for_where(service: Service) -> None:
    for written in ('year >= 2004 and kind = "a"', ' {"and": [{"field": "year", "op": ">=", '
                    '"value": 2004}, {"field": "kind", "value": "a"}]}'):  # fmt: skip
        query = urllib.parse.urlencode({"q": "kitten", "filter": written})
        hits = service.call("GET", f"{SEARCH}?{query}").json()["hits"]
        assert {hit["id"] for hit in hits} == {"d4", "d6"}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("q=x&bogus=1", "bogus"),
        ("q=x&q=y", "q"),
        ("q=x&k=1&k=2", "k"),
        ("q=x&k=many", "k"),
        ("q=x&k=0", "k"),
        ("q=x&mode=best", "mode"),
        ("q=x&filter=x", "filter"),
        ("q=x&filter={", "filter"),
        ("q=x&highlight=perhaps", "highlight"),
        ("k=3", "q"),
        ("query=x", "q"),
        ("q=C%2B%2B&mode=lexical&filter=x&bogus=1", "bogus"),
    ],
)
def test_a_wrong_url_is_422_and_says_where(query: str, said: str, service: Service) -> None:
    answer = service.call("GET", f"{SEARCH}?{query}")
    assert answer.status == 422
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/", "/page.js", "/v1/indexes", "/openapi.json"]
)
def test_head_is_get_without_the_body(path: str, service: Service) -> None:
    got = service.call("GET", path)
    asked = service.call("HEAD", path)
    assert (asked.status, asked.content) == (got.status, b"")
    assert asked.headers["Content-Type"] == got.headers["Content-Type"]
    if path != "/metrics":
        assert asked.headers["Content-Length"] == got.headers["Content-Length"]


def test_nothing_follows_a_heads_answer(service: Service) -> None:
    """A second request on the same connection is answered as such."""
    with socket.create_connection((service.host, service.port), timeout=10) as connection:
        one = f"/v1/indexes HTTP/1.1\r\nHost: {service.host}\r\n".encode()
        connection.sendall(b"HEAD " + one + b"\r\nGET " + one + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    first, second = (part for part in received.split(b"HTTP/1.1 ") if part)
    assert first.partition(b"\r\n\r\n")[2] == b""
    assert json.loads(second.partition(b"\r\n\r\n")[2])["indexes"]


def test_the_methods_of_a_path(service: Service) -> None:
    for path, methods in (("/healthz", {"GET", "HEAD"}), (SEARCH, {"GET", "HEAD", "POST"})):
        answer = service.call("DELETE", path)
        assert answer.status == 405
        assert set(answer.headers["Allow"].split(", ")) == methods
    assert service.call("HEAD", "/v1/embeddings").status == 405
    assert service.call("HEAD", "/nowhere").status == 404


BODY = b'{"query": "kitten", "k": 2}'


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/octet-stream",
        "",
    ],
)
def test_a_body_whose_type_is_not_told_is_json(kind: str, service: Service) -> None:
    answer = service.call("POST", SEARCH, BODY, {"Content-Type": kind})
    assert (answer.status, len(answer.json()["hits"])) == (200, 2)
    embedded = service.call("POST", "/v1/embeddings", b'{"input": "x"}', {"Content-Type": kind})
    assert embedded.status == 200


def test_what_is_not_json_is_refused_by_name(service: Service) -> None:
    packed = gzip.compress(BODY)
    for body, headers, said in (
        (BODY, {"Content-Type": "application/xml"}, "application/xml"),
        (BODY, {"Content-Type": "multipart/form-data; boundary=x"}, "multipart/form-data"),
        (packed, {"Content-Encoding": "gzip"}, "gzip"),
        (packed, {}, "gzip"),
        (b"\x28\xb5\x2f\xfd\x20\x00", {}, "zstd"),
        (BODY, {"Content-Encoding": "br"}, "br"),
    ):
        for path in (SEARCH, "/v1/embeddings"):
            answer = service.call("POST", path, body, headers)
            assert answer.status == 415, headers
            assert answer.json()["error"]["type"] == "unsupported_body"
            assert said in answer.json()["error"]["message"]
    answer = service.call("POST", SEARCH, b"query=kitten", {"Content-Type": ""})
    assert answer.status == 422
    assert "JSON" in answer.json()["error"]["message"]


NULLS: list[tuple[str, dict[str, Any]]] = [
    (SEARCH, {"query": "x", "k": None, "mode": None, "filter": None, "facets": None,
              "include": None, "min_score": None, "group_by": None, "diversity": None}),
    (f"{SEARCH}/batch", {"queries": [{"query": "x", "k": None}]}),
    ("/v1/indexes/pets/recommend", {"like": ["d1"], "unlike": None, "weights": None, "k": None}),
    ("/v1/indexes/pets/facets", {"fields": ["kind"], "filter": None}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), NULLS)
def test_null_counts_as_left_out(path: str, body: dict[str, Any], service: Service) -> None:
    answer = service.call("POST", path, body)
    assert answer.status == 200, answer
    needed = next(iter(body))
    refused = service.call("POST", path, {**body, needed: None})
    assert refused.status == 422
    assert needed in refused.json()["error"]["message"]


HALF = b"\\udad5"  # of a surrogate pair: JSON has it, Unicode text does not
NOT_TEXT: list[tuple[str, bytes]] = [
    (SEARCH, b'{"query": "x%s"}'),
    (SEARCH, b'{"query": "x", "group_by": "x%s"}'),
    (SEARCH, b'{"query": "x", "facets": ["x%s"]}'),
    (SEARCH, b'{"query": "x", "filter": {"field": "kind", "value": "x%s"}}'),
    ("/v1/indexes/pets/facets", b'{"fields": ["x%s"]}'),
    ("/v1/indexes/pets/facets", b'{"fields": ["kind"], "filter": {"field": "x%s", "value": 1}}'),
    ("/v1/indexes/pets/recommend", b'{"like": ["x%s"]}'),
    ("/v1/indexes/pets/compare", b'{"query": "x%s"}'),
    ("/v1/embeddings", b'{"input": "x%s"}'),
]


@pytest.mark.parametrize(("path", "body"), NOT_TEXT)
def test_half_of_a_surrogate_pair_is_refused(path: str, body: bytes, service: Service) -> None:
    answer = service.call("POST", path, body.replace(b"%s", HALF))
    assert answer.status == 422
    assert answer.json()["error"]["type"] == "invalid_request"


def schemes(call: dict[str, Any]) -> list[str]:
    return [name for each in call.get("security", []) for name in each]


def test_openapi_says_what_a_key_is_and_groups_calls(
    service: Service, tmp_path: Path, tiny_encoder: Path, keys: Keys
) -> None:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", tiny_encoder)
    with serving(tmp_path / "pets", keys=keys.setting) as guarded:
        for running, free in ((service, True), (guarded, False)):
            document = running.call("GET", "/openapi.json").json()
            known = document["components"]["securitySchemes"]
            assert {each["type"] for each in known.values()} == {"http", "apiKey"}
            tags = {tag["name"] for tag in document["tags"]}
            for path, calls in document["paths"].items():
                for call in calls.values():
                    assert set(call["tags"]) <= tags
                    assert call["tags"], path
                    if path.startswith("/v1"):
                        assert set(schemes(call)) == set(known), path
            search = document["paths"]["/v1/indexes/{index}/search"]
            assert ({} in search["post"]["security"]) == free
            assert {} not in document["paths"]["/v1/indexes/{index}"]["put"]["security"]
            options = {each["name"]: each["schema"] for each in search["get"]["parameters"]}
            assert {"q", "k", "mode", "filter", "facets"} <= set(options)
