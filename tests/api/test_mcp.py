"""``trimseek mcp``, by the protocol's own client over standard input and output."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

import trimseek
from tests.api.serving import DOCUMENTS
from tests.conftest import Run

Work = Callable[[Client], Awaitable[Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    path = tmp_path_factory.mktemp("mcp")
    rows: list[dict[str, object]] = [
        *DOCUMENTS,
        {"id": "long", "text": "word " * 10_000, "kind": "long"},
    ]
    trimseek.create_index(path / "pets", rows, encoder=tiny_encoder).close()
    trimseek.create_index(path / "other", DOCUMENTS, encoder=tiny_encoder).close()
    return path


def done(work: Work, *words: object) -> Any:
    """What some work gives that a client does with a server of these words."""
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "trimseek", "mcp", *map(str, words)]
    )

    async def connected() -> Any:
        async with Client(stdio_client(command)) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(connected(), 120))


async def called(client: Client, tool: str, **arguments: Any) -> Any:
    result = await client.call_tool(tool, arguments)
    text = "".join(getattr(part, "text", "") for part in result.content)
    if result.is_error:
        raise ValueError(text)
    content = result.structured_content
    assert content is not None
    return content.get("result", content)


def test_an_agent_recommends_what_follows(walker: Path, tmp_path: Path, folder: Path) -> None:
    rows = [{"id": f"item {i}", "text": f"thing {i}", "group": i // 15} for i in range(180)]
    trimseek.create_index(tmp_path / "shop", rows, encoder=walker).close()

    async def work(client: Client) -> None:
        history = ["item 31", "gone", "item 33"]
        found = await called(client, "recommend_next", index="shop", history=history, k=4)
        assert (found["basis"], found["unknown"], len(found["hits"])) == ("history", 1, 4)
        assert {hit["metadata"]["group"] for hit in found["hits"]} == {2}
        popular = await called(
            client, "recommend_next", index="shop", history=[], where="group = 4"
        )
        assert popular["basis"] == "popularity"
        assert {hit["metadata"]["group"] for hit in popular["hits"]} == {4}
        with pytest.raises(ValueError, match="reads texts, not histories"):
            await called(client, "recommend_next", index="pets", history=history)

    done(work, tmp_path / "shop", folder / "pets")


def test_an_agent_searches_and_reads(folder: Path) -> None:
    async def work(client: Client) -> None:
        tools = (await client.list_tools()).tools
        assert {tool.name for tool in tools} == {
            "list_indexes", "search", "get_document", "list_documents", "count_documents",
            "facet_values", "similar_documents", "recommend_next",
        }  # fmt: skip
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
        assert all(tool.description for tool in tools)
        (listed,) = await called(client, "list_indexes")
        assert listed["index"] == "pets"
        assert listed["documents"] == len(DOCUMENTS) + 1
        assert listed["fields"]["kind"] == "text"
        first = DOCUMENTS[0]
        found = await called(client, "search", query=str(first["text"]), k=3)
        assert found["hits"][0]["id"] == first["_id"]
        assert len(found["hits"]) == 3
        filtered = await called(client, "search", query="word", where='kind = "long"', k=3)
        assert [hit["id"] for hit in filtered["hits"]] == ["long"]
        part = await called(client, "get_document", id="long")
        rest = await called(client, "get_document", id="long", start=part["next"])
        assert len(part["text"]) == 20_000
        assert rest["text"].startswith("word ")
        page = await called(client, "list_documents", limit=2)
        following = await called(client, "list_documents", limit=100, cursor=page["cursor"])
        ids = [document["id"] for document in page["documents"] + following["documents"]]
        assert ids == [*(document["_id"] for document in DOCUMENTS), "long"]
        counted = await called(client, "count_documents", where='kind = "long"')
        assert counted["documents"] == 1
        values = await called(client, "facet_values", field="kind")
        assert {"value": "long", "documents": 1} in values["kind"]
        alike = await called(client, "similar_documents", ids=[first["_id"]], k=2)
        assert len(alike["hits"]) == 2

    done(work, folder / "pets")


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {"query": " "}, "the query is empty"),
        ("search", {"query": "x", "k": 51}, "k is 51; it must be from 1 to 50"),
        ("search", {"query": "x", "where": "kind ="}, "filter, character 7: expected a value"),
        ("search", {"query": "x", "rerank": True}, "this server does not rerank"),
        ("search", {"query": "x", "index": "none"}, "no index 'none'; there are: pets"),
        ("get_document", {"id": "none"}, "has no document 'none'"),
        ("get_document", {"id": "long", "start": -1}, "start is -1"),
        ("list_documents", {"cursor": "x"}, "the cursor is none that was given here"),
        ("facet_values", {"field": "a..b"}, "cannot filter by a field called ''"),
    ],
)
def test_mistakes_are_told(
    tool: str, arguments: dict[str, Any], message: str, folder: Path
) -> None:
    async def work(client: Client) -> str:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
            await called(client, tool, **arguments)
        return str(caught.value)

    assert message in done(work, folder / "pets")


def test_several_indexes_and_reranking(folder: Path, tiny_cross_encoder: Path) -> None:
    async def work(client: Client) -> None:
        with pytest.raises(ValueError, match="say which index; there are: pets, other"):
            await called(client, "search", query="cat")
        plain = await called(client, "search", query="cat", index="other")
        other = await called(client, "search", query="cat", index="other", rerank=True)
        assert plain["hits"]
        assert all(0 < hit["score"] < 1 for hit in other["hits"])

    done(work, folder / "pets", folder / "other", "--rerank", tiny_cross_encoder)


def test_what_cannot_be_opened(run: Run, tmp_path: Path) -> None:
    ended = run("mcp", tmp_path / "none")
    assert ended.returncode != 0
    assert "no such folder" in ended.stderr
    assert json.dumps(ended.stdout) == '""'
