"""Documents page by page, counted, and many at once: in Python, on the command line, over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trimseek
from tests.api.serving import Service, serving
from tests.conftest import Run
from trimseek.errors import QueryError
from trimseek.search.index import Index
from trimseek.search.listing import Cursor

ROWS = [{"id": f"d{i}", "title": f"t{i}", "text": f"text {i}", "n": i % 3} for i in range(25)]


@pytest.fixture
def index(tmp_path: Path, tiny_encoder: Path) -> Iterator[Index]:
    with trimseek.create_index(tmp_path / "index", ROWS, encoder=tiny_encoder) as made:
        yield made


def listed(index: Index, **options: Any) -> list[str]:
    ids: list[str] = []
    page = index.page(**options)
    while True:
        ids += [document.id for document in page.documents]
        if page.cursor is None:
            return ids
        page = index.page(**options, cursor=page.cursor)


@pytest.mark.parametrize("limit", [1, 7, 24, 25, 26, 1000])
def test_pages_together_are_every_document(limit: int, index: Index) -> None:
    assert listed(index, limit=limit) == [f"d{i}" for i in range(25)]
    chosen = listed(index, limit=limit, where="n = 1")
    assert chosen == [f"d{i}" for i in range(25) if i % 3 == 1]
    assert listed(index, where={"field": "n", "op": ">", "value": 5}) == []


def test_what_is_written_meanwhile_moves_nothing(index: Index) -> None:
    page = index.page(limit=10)
    index.delete(["d2", "d12"])
    index.add([{"id": "d4", "text": "another text"}, {"id": "d15", "text": "another text"}])
    index.add([{"id": "new", "text": "a new one"}])
    others = listed(index, limit=10)
    seen = [document.id for document in page.documents]
    while page.cursor is not None:
        page = index.page(limit=10, cursor=page.cursor)
        seen += [document.id for document in page.documents]
    assert seen == [f"d{i}" for i in range(25) if i != 12] + ["new"]
    assert "d2" not in others


def test_counts_and_many_at_once(index: Index) -> None:
    assert index.count() == 25
    assert index.count(where="n = 0") == 9
    assert index.count(["d1", "d2", "none"]) == 2
    assert index.count([]) == 0
    found = index.get_many(["d3", "none", "d1", "d3"])
    assert [document and document.id for document in found] == ["d3", None, "d1", "d3"]
    many = index.get_many([f"d{i}" for i in range(25)] * 30)
    assert [document and document.id for document in many[:25]] == [f"d{i}" for i in range(25)]


def test_cursors_of_something_else(index: Index, tmp_path: Path, tiny_encoder: Path) -> None:
    cursor = index.page(limit=5).cursor
    filtered = index.page(limit=5, where="n = 1").cursor
    assert cursor is not None
    with pytest.raises(QueryError, match="the cursor is of another filter"):
        index.page(where="n = 1", cursor=cursor)
    with pytest.raises(QueryError, match="the cursor is of another filter"):
        index.page(where="n = 2", cursor=filtered)
    with trimseek.create_index(tmp_path / "o", ROWS, encoder=tiny_encoder) as other:  # noqa: SIM117
        with pytest.raises(QueryError, match="of another index"):
            other.page(cursor=cursor)
    wrong = (
        "",
        "x",
        "💥",
        cursor[:-3],
        "a" * 5000,
        str(Cursor("i", "", -1)),
        str(Cursor("i", "", 2**63)),
    )
    for text in wrong:
        with pytest.raises(QueryError, match="the cursor is (none that|of another)"):
            index.page(cursor=text)
    for limit in (0, 1001):
        with pytest.raises(QueryError, match=f"limit is {limit}"):
            index.page(limit=limit)


def test_the_command_line(index: Index, run: Run) -> None:
    first = run("documents", index.folder, "-n", 2)
    assert first.stdout == "d0  t0\nd1  t1\n"
    cursor = first.stderr.split("--cursor ")[1].split()[0]
    second = run("documents", index.folder, "-n", 2, "--cursor", cursor, "--json")
    content = json.loads(second.stdout)
    assert [document["id"] for document in content["documents"]] == ["d2", "d3"]
    assert run("count", index.folder).stdout == "25\n"
    unknown = run("count", index.folder, "--where", "m = 1", "--json")
    assert json.loads(unknown.stdout) == {"documents": 0}
    assert "no document has the field 'm'" in unknown.stderr


@pytest.fixture
def service(index: Index) -> Iterator[Service]:
    with serving(index.folder) as running:
        yield running


def test_over_http(service: Service) -> None:
    base = "/v1/indexes/index/documents"
    found, cursor = [], None
    while True:
        answer = service.call("POST", f"{base}/list", {"limit": 10, "cursor": cursor}).json()
        found += [document["id"] for document in answer["documents"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert found == [f"d{i}" for i in range(25)]
    by_url = service.call("GET", f"{base}?limit=2&filter=n+%3D+1").json()
    assert by_url["documents"] == [
        {"id": f"d{i}", "title": f"t{i}", "text": f"text {i}", "metadata": {"n": 1}} for i in (1, 4)
    ]
    wrong = service.call("GET", f"{base}?cursor={by_url['cursor']}")
    assert wrong.status == 422
    assert "the cursor is of another filter" in wrong.json()["error"]["message"]
    several = service.call("POST", f"{base}/get", {"ids": ["d3", "none"]}).json()["documents"]
    assert [document and document["id"] for document in several] == ["d3", None]
    body = {"filter": {"field": "n", "value": 0}}
    assert service.call("POST", f"{base}/count", body).json()["documents"] == 9
    assert service.call("POST", f"{base}/count", {}).json()["documents"] == 25
    assert service.call("GET", f"{base}/d3").json()["title"] == "t3"
