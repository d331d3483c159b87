"""The client against a real service, and against one that refuses at first."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.api.serving import Keys, serving
from trimseek.api.client import AsyncClient, Client
from trimseek.api.schemas import ErrorAnswer, SearchAnswer
from trimseek.errors import ServiceError


@pytest.fixture(scope="module")
def url(pets: Path, keys: Keys, tiny_cross_encoder: Path) -> Iterator[str]:
    settings = {"data": pets.parent / "data", "reranker": tiny_cross_encoder}
    with serving(pets, headers=keys.header("read"), keys=keys.setting, **settings) as service:
        yield service.url


def test_everything_that_can_be_asked(url: str, keys: Keys) -> None:
    with Client(url, keys.admin) as client:
        assert len(client.search("pets", "a cat", k=2).hits) == 2
        answered, refused = client.search_many("pets", [{"query": "cat"}, {"query": ""}]).results
        assert isinstance(answered, SearchAnswer)
        assert answered.index == "pets"
        assert isinstance(refused, ErrorAnswer)
        assert refused.error.type == "invalid_request"
        assert client.put("pets", [{"id": "ü/x", "text": "new"}]).results[0].status == "added"
        assert client.document("pets", "ü/x").text == "new"
        assert client.patch("pets", "ü/x", {"n": 2}).metadata == {"n": 2}
        first, gone = client.documents("pets", ["ü/x", "gone"]).documents
        assert first is not None
        assert (first.id, gone) == ("ü/x", None)
        page = client.page("pets", limit=1)
        assert page.cursor is not None
        rest = client.page("pets", cursor=page.cursor)
        count = client.count("pets").documents
        assert len(page.documents) + len(rest.documents) == count
        assert client.count("pets", filter={"field": "n", "value": 99}).documents == 0
        assert len(client.rerank("cat", ["a dog", "a cat"], top_n=1).results) == 1
        hits = client.search("pets", "a cat", k=2, rerank=True, vector=None).hits
        assert "rerank" in hits[0].sources
        assert client.facets("pets", ["n"]).facets["n"][0].value in (1, 2)
        assert client.recommend("pets", ["e"], unlike=["a/b"]).hits
        assert client.delete("pets", ids=["ü/x"]).deleted == 1
        assert client.delete("pets", filter={"field": "n", "value": 9}).deleted == 0
        assert [each.name for each in client.indexes().indexes] == ["pets"]
        assert client.index("pets").dim > 0
        task = client.start("pets", "snapshot")
        assert client.task(task.id).kind.value == "snapshot"
        assert len(client.embed(["x", "y"]).data) == 2
        with pytest.raises(ServiceError, match="404 unknown_document"):
            client.document("pets", "gone")
    with Client(url) as client, pytest.raises(ServiceError, match="401 unauthorized"):
        client.indexes()
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServiceError, match="no answer"):
        client.indexes()


def test_awaited(url: str, keys: Keys) -> None:
    async def ask() -> list[str]:
        async with AsyncClient(url, keys.read) as client:
            answers = await asyncio.gather(*(client.search("pets", "cat", k=1) for _ in range(9)))
            return [answer.hits[0].id for answer in answers]

    assert len(set(asyncio.run(ask()))) == 1


class Refusing(BaseHTTPRequestHandler):
    """Answers 429, then 503, then what is asked."""

    asked = 0

    def do_GET(self) -> None:
        Refusing.asked += 1
        status = {1: 429, 2: 503}.get(Refusing.asked, 200)
        content = b'{"indexes": []}' if status == 200 else b"{}"
        self.send_response(status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def test_what_is_refused_is_asked_again() -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with Client(url) as client:
        assert client.indexes().indexes == []
    assert Refusing.asked == 3
    Refusing.asked = 0
    with Client(url, retries=1) as client, pytest.raises(ServiceError, match="503"):
        client.indexes()
    server.shutdown()
    server.server_close()
