"""``trimseek search``."""

import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from search.hits import Hit, Results
from search.searcher import Searcher
from trimseek.console import note, print_json, stdout

app = typer.Typer()
PASSAGE_SHOWN = 300  # characters
INDENT = 7  # as wide as a score


@app.command()
def search(
    folder: Annotated[Path, typer.Argument(help="The index folder.")],
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    query_encoder: Annotated[
        str | None,
        typer.Option(help="Encoder of the query, of the index's space. Default: the index's own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Search an index and print the passages that match."""
    searcher = Searcher(folder, query_encoder)
    results = searcher.search(query, k)
    searcher.close()
    if results.truncated:
        limit = searcher.encoder.card.max_tokens
        note(f"the query is longer than {limit} tokens; what comes after was left out")
    if as_json:
        print_json(as_dict(results))
        return
    for hit in results.hits:
        print_hit(hit)
    timing = results.timing_ms
    note(f"{timing.total:.1f} ms (encode {timing.encode:.1f}, search {timing.search:.1f})")


def as_dict(results: Results) -> dict[str, Any]:
    return results._asdict() | {
        "hits": [hit._asdict() | {"passage": hit.passage._asdict()} for hit in results.hits],
        "timing_ms": results.timing_ms._asdict(),
    }


def print_hit(hit: Hit) -> None:
    passage = printable(" ".join(hit.passage.text.split()))
    if len(passage) > PASSAGE_SHOWN:
        passage = passage[:PASSAGE_SHOWN].rsplit(" ", 1)[0] + " ..."
    title = f"  {escape(printable(hit.title))}" if hit.title else ""
    name = escape(printable(hit.id))
    stdout.print(f"[green]{hit.score:.3f}[/green]  [bold]{name}[/bold]{title}")
    stdout.print(
        textwrap.indent(textwrap.fill(passage, stdout.width - INDENT), " " * INDENT), markup=False
    )


def printable(text: str) -> str:
    """A text that cannot command the terminal: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
