"""A server for agents by the Model Context Protocol: indexes to search and read, none to change."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from trimseek import __version__
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.errors import MissingExtraError, QueryError, TrimseekError
from trimseek.indexer.filters import Filter, field_name, parse_field
from trimseek.indexer.where import parse_where
from trimseek.search.content import (
    Content,
    document_content,
    facet_content,
    hit_content,
    recommend_content,
)
from trimseek.search.hits import Results
from trimseek.search.options import Mode, Options
from trimseek.search.recommend import Examples, History, recommend
from trimseek.search.searcher import Searcher

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations
except ImportError as error:
    if (error.name or "").partition(".")[0] != "mcp":
        raise
    raise MissingExtraError("an MCP server", "mcp") from None

MOST_CHARACTERS = 20_000  # of a document that one call gives
MOST_HITS = 50
MOST_LISTED = 100
INSTRUCTIONS = (
    "Documents that can be searched by meaning and by words. Begin with search; a hit has the "
    "passage that answers best, and get_document gives the whole text. Filters are written as "
    "'year >= 2020 and kind = \"article\"'; list_indexes says which metadata fields there are."
)
READ_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)

P = ParamSpec("P")
T = TypeVar("T")


def mcp_server(searchers: Mapping[str, Searcher], scorer: CrossEncoder | None) -> MCPServer[Any]:
    """The server of some open indexes, by name; ``scorer``: what reranks, where it is asked for."""
    server: MCPServer[Any] = MCPServer(
        "trimseek", version=__version__, instructions=INSTRUCTIONS, log_level="ERROR"
    )
    tools = Tools(searchers, scorer)
    for tool in (
        tools.list_indexes,
        tools.search,
        tools.get_document,
        tools.list_documents,
        tools.count_documents,
        tools.facet_values,
        tools.similar_documents,
        tools.recommend_next,
    ):
        server.tool(annotations=READ_ONLY)(told(tool))
    return server


def told(tool: Callable[P, T]) -> Callable[P, T]:
    """The tool, whose mistakes of the caller are told to it in our words."""

    @wraps(tool)
    def telling(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return tool(*arguments, **named)
        except TrimseekError as error:
            raise ToolError(str(error)) from None

    return telling


class Tools:
    """What agents may call; their docstrings are what agents read."""

    def __init__(self, searchers: Mapping[str, Searcher], scorer: CrossEncoder | None) -> None:
        self._searchers, self._scorer = searchers, scorer

    def list_indexes(self) -> list[dict[str, Any]]:
        """Say which indexes there are, how many documents each has, and its metadata fields."""
        return [
            {
                "index": name,
                "documents": searcher.summary().documents,
                "fields": searcher.fields(),
            }
            for name, searcher in self._searchers.items()
        ]

    def search(
        self,
        query: str,
        index: str | None = None,
        k: int = 5,
        offset: int = 0,
        where: str | None = None,
        mode: Mode = Mode.HYBRID,
        rerank: bool = False,
    ) -> dict[str, Any]:
        """Find the documents that answer a query, best first.

        index: which one, if there are several. k: how many, up to 50. offset: those to leave out,
        for the next page. where: only documents with such metadata, as 'year >= 2020'. mode:
        hybrid, dense (by meaning) or lexical (by words). rerank: read the best ones with a
        cross-encoder, where the server has one; slower and mostly better.
        """
        searcher = self._searcher(index)
        check_most("k", k, MOST_HITS)
        if rerank and self._scorer is None:
            raise QueryError("this server does not rerank; it was started without --rerank")
        options = Options(
            mode=mode,
            offset=offset,
            where=as_filter(where),
            suggest=True,
            scorer=self._scorer if rerank else None,
        )
        return search_answer(searcher.search(query, k, options))

    def get_document(
        self,
        id: str,  # noqa: A002 - as elsewhere
        index: str | None = None,
        start: int = 0,
    ) -> dict[str, Any]:
        """Give a document: title, metadata, and up to 20,000 characters of its text.

        start: the character to begin with; "next" in the answer is where the text goes on.
        """
        document = self._searcher(index).document(id)
        if not 0 <= start <= len(document.text):
            raise QueryError(f"start is {start}; the text has {len(document.text)} characters")
        end = start + MOST_CHARACTERS
        following = {"next": end} if end < len(document.text) else {}
        return document_content(document) | {"text": document.text[start:end]} | following

    def list_documents(
        self,
        index: str | None = None,
        where: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> dict[str, Any]:
        """List ids, titles and metadata of documents in the order in which they came.

        where: only documents with such metadata. limit: up to 100. cursor: of the page before.
        """
        check_most("limit", limit, MOST_LISTED)
        page = self._searcher(index).page(as_filter(where), limit, cursor)
        documents = [
            {"id": document.id, "title": document.title, "metadata": dict(document.metadata)}
            for document in page.documents
        ]
        return {"documents": documents, "cursor": page.cursor}

    def count_documents(self, index: str | None = None, where: str | None = None) -> dict[str, Any]:
        """Count the documents, or those with such metadata."""
        searcher, condition = self._searcher(index), as_filter(where)
        counted, warnings = searcher.count(condition), searcher.warnings(condition)
        return {"documents": counted, "warnings": list(warnings)}

    def facet_values(
        self, field: str, index: str | None = None, where: str | None = None
    ) -> dict[str, Any]:
        """Give the values of a metadata field and how many documents have each."""
        searcher, parsed = self._searcher(index), parse_field(field)
        counted = searcher.facets(parsed, as_filter(where))
        return facet_content({field_name(parsed): counted[:MOST_LISTED]})

    def similar_documents(
        self, ids: list[str], index: str | None = None, k: int = 5, where: str | None = None
    ) -> dict[str, Any]:
        """Find the documents most like some others, which are given by their ids."""
        check_most("k", k, MOST_HITS)
        options = Options(where=as_filter(where))
        hits = recommend(self._searcher(index), Examples(tuple(ids)), k, options).hits
        return {"hits": [hit_content(hit) for hit in hits]}

    def recommend_next(
        self,
        history: list[str],
        index: str | None = None,
        k: int = 5,
        where: str | None = None,
        again: bool = False,
    ) -> dict[str, Any]:
        """Recommend the items likeliest to follow those that somebody took, of a shop's index.

        history: ids of items, the latest last; "unknown" in the answer counts those that nothing
        is known of. where: only items with such metadata. again: also those of the history. The
        answer's basis is "popularity" where no item of the history is known.
        """
        check_most("k", k, MOST_HITS)
        asked = History(tuple(history), again=again)
        found = recommend(self._searcher(index), asked, k, Options(where=as_filter(where)))
        return recommend_content(found)

    def _searcher(self, name: str | None) -> Searcher:
        """The index of a name, or the only one; QueryError."""
        names = ", ".join(self._searchers)
        if name is None and len(self._searchers) == 1:
            return next(iter(self._searchers.values()))
        if name is None:
            raise QueryError(f"say which index; there are: {names}")
        if name not in self._searchers:
            raise QueryError(f"no index {name!a:.80}; there are: {names}")
        return self._searchers[name]


def as_filter(where: str | None) -> Filter | None:
    """A filter as text; None where there is none."""
    return parse_where(where) if where and where.strip() else None


def check_most(name: str, value: int, most: int) -> None:
    """QueryError for a number beyond 1 to ``most``."""
    if not 1 <= value <= most:
        raise QueryError(f"{name} is {value}; it must be from 1 to {most}")


def search_answer(results: Results) -> Content:
    """Hits with what an agent reads of them."""
    hits = [
        {
            "id": hit.id,
            "title": hit.title,
            "passage": hit.passage.text,
            "score": round(hit.score, 4),
            "metadata": hit.metadata,
        }
        for hit in results.hits
    ]
    notes = {"warnings": list(results.warnings)} if results.warnings else {}
    meant = {"did_you_mean": results.suggestion} if results.suggestion else {}
    return {"hits": hits, **notes, **meant}
