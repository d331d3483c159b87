"""Recommendations from histories over HTTP, and by the clients."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

import trimseek
from tests.api.serving import Service, serving

URL = "/v1/indexes/shop/recommend"


@pytest.fixture(scope="module")
def service(walker: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("served")
    rows = [{"id": f"item {i}", "text": f"thing {i}", "group": i // 15} for i in range(180)]
    trimseek.create_index(folder / "shop", rows, encoder=walker).close()
    texts = [{"id": "e", "text": "some text"}]
    trimseek.create_index(folder / "texts", texts).close()
    with serving(folder / "shop", folder / "texts") as running:
        yield running


def test_a_history(service: Service) -> None:
    status, found = service.post(URL, {"history": ["item 31", "gone", "item 33"], "k": 5})
    assert status == 200
    assert (found["basis"], found["unknown"]) == ("history", 1)
    assert len(found["hits"]) == 5
    assert {hit["metadata"]["group"] for hit in found["hits"]} == {2}
    assert not {hit["id"] for hit in found["hits"]} & {"item 31", "item 33"}
    best = found["hits"][0]["id"]
    body = {"history": ["item 31", "item 33"], "k": 5, "seen": [best]}
    assert best not in {hit["id"] for hit in service.post(URL, body)[1]["hits"]}
    again = service.post(URL, {"history": ["item 31", "item 33"], "k": 30, "again": True})[1]
    assert {"item 31", "item 33"} & {hit["id"] for hit in again["hits"]}


def test_popularity_says_so(service: Service) -> None:
    for history, unknown in (([], 0), (["gone"], 1)):
        status, found = service.post(
            URL, {"history": history, "k": 3, "filter": {"field": "group", "value": 4}}
        )
        assert status == 200
        assert (found["basis"], found["unknown"]) == ("popularity", unknown)
        assert {hit["metadata"]["group"] for hit in found["hits"]} == {4}
    status, found = service.post(URL, {"like": ["item 31"], "k": 3})
    assert (status, found["basis"], found["unknown"]) == (200, "examples", 0)


@pytest.mark.parametrize(
    ("url", "body", "message"),
    [
        (URL, {}, "give like or history"),
        (URL, {"like": ["item 1"], "history": ["item 1"]}, "give like or history"),
        (URL, {"history": ["item 1"], "unlike": ["item 2"]}, "unlike and weights go with like"),
        (URL, {"like": ["item 1"], "again": True}, "seen and again go with a history"),
        (URL, {"history": "item 1"}, "history"),
        (URL, {"history": [1]}, "history"),
        (URL, {"history": ["\ud800"]}, "lone surrogate"),
        (URL, {"history": ["item 1"], "seen": ["a\0"]}, "NUL"),
        (URL, {"history": ["item 1"] * 10_001}, "a history of more than 10,000 items"),
        ("/v1/indexes/texts/recommend", {"history": ["e"]}, "reads texts, not histories"),
        ("/v1/indexes/shop/search", {"query": "thing"}, "reads histories of items, not texts"),
    ],
)
def test_what_makes_no_sense(
    url: str, body: dict[str, object], message: str, service: Service
) -> None:
    status, found = service.post(url, body)
    assert status == 422
    assert message in found["error"]["message"]


def test_words_find_items(service: Service) -> None:
    body = {"query": "thing 7", "mode": "lexical"}
    status, found = service.post("/v1/indexes/shop/search", body)
    assert (status, found["hits"][0]["id"]) == (200, "item 7")


def test_the_service_is_ready(service: Service) -> None:
    assert service.get("/readyz")[0] == 200


def test_the_clients(service: Service) -> None:
    with trimseek.Client(service.url) as client:
        found = client.recommend("shop", history=["item 31"], k=4, again=True)
        assert (found.basis, len(found.hits)) == ("history", 4)
        alike = client.recommend("shop", ["item 31"], k=2)
        assert alike.basis == "examples"

    async def ask() -> str:
        async with trimseek.AsyncClient(service.url) as client:
            return (await client.recommend("shop", history=[])).basis

    assert asyncio.run(ask()) == "popularity"
