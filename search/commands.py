"""``trimseek search``, ``trimseek recommend`` and ``trimseek tune``."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.text import Text

from encoders.unlabelled import read_unlabelled
from indexer.filters import parse_field
from indexer.where import parse_where
from search.hits import Hit, Results
from search.options import Mode, Options
from search.recommend import Examples, history_weights
from search.recommend import recommend as find_alike
from search.searcher import Searcher
from search.tune import tune as find_effort
from trimseek.console import note, print_json, stdout
from trimseek.options import AsJson, Folder

app = typer.Typer()
PASSAGE_SHOWN = 300  # characters
WORDS_BEFORE = 8  # the first mark, where a snippet does not begin with the passage
INDENT = 7  # as wide as a score
MARK = "bold yellow"

Count = Annotated[int, typer.Option("-k", help="How many hits.")]
QueryEncoderName = Annotated[
    str | None,
    typer.Option(help="Encoder of the query, of the index's space. Default: the index's own."),
]
Where = Annotated[
    str | None,
    typer.Option(help="""Only documents with such metadata: 'year >= 2020 and lang = "en"'."""),
]
Offset = Annotated[int, typer.Option(help="Hits to leave out: those of the pages before.")]
Effort = Annotated[
    int | None, typer.Option(help="Of an hnsw or ivf index: more finds more and takes longer.")
]
GroupBy = Annotated[
    str | None, typer.Option(help="A metadata field; only the best hit of each value.")
]
Diversity = Annotated[
    float, typer.Option(help="0 to 1: how much hits should differ from one another.")
]


@app.command()
def search(
    folder: Folder,
    query: Annotated[str, typer.Argument(help="What to look for.")],
    k: Count = 10,
    query_encoder: QueryEncoderName = None,
    mode: Annotated[
        Mode, typer.Option(help="By meaning, by words (BM25), or by both.")
    ] = Mode.DENSE,
    where: Where = None,
    facet: Annotated[
        list[str] | None,
        typer.Option(help="Count the best documents' values of a metadata field. Repeatable."),
    ] = None,
    group_by: GroupBy = None,
    offset: Offset = 0,
    min_score: Annotated[float | None, typer.Option(help="The least score of a hit.")] = None,
    diversity: Diversity = 0.0,
    effort: Effort = None,
    as_json: AsJson = False,
) -> None:
    """Search an index and print the passages that match."""
    options = Options(
        mode=mode,
        offset=offset,
        where=None if where is None else parse_where(where),
        effort=effort,
        min_score=min_score,
        group_by=parse_field(group_by) if group_by else None,
        diversity=diversity,
        highlight=True,
        facets=tuple(map(parse_field, facet or ())),
    )
    searcher = Searcher(folder, query_encoder)
    results = searcher.search(query, k, options)
    searcher.close()
    if results.truncated:
        limit = searcher.encoder.card.max_tokens
        note(f"the query is longer than {limit} tokens; what comes after was left out")
    if as_json:
        print_json(as_dict(results))
        return
    for hit in results.hits:
        print_hit(hit)
    for field, values in results.facets.items():
        shown = ", ".join(f"{printable(str(each.value))} {each.documents}" for each in values)
        stdout.print(Text(f"{field}: {shown or '-'}"))
    timing = results.timing_ms
    note(f"{timing.total:.1f} ms (encode {timing.encode:.1f}, search {timing.search:.1f})")


@app.command()
def recommend(
    folder: Folder,
    like: Annotated[
        list[str], typer.Option(help="Id of a document that is liked; repeatable, the latest last.")
    ],
    unlike: Annotated[
        list[str] | None, typer.Option(help="Id of one that is not. Repeatable.")
    ] = None,
    half_life: Annotated[
        float | None,
        typer.Option(help="Liked documents back in the history that count half as much."),
    ] = None,
    k: Count = 10,
    where: Where = None,
    group_by: GroupBy = None,
    offset: Offset = 0,
    diversity: Diversity = 0.0,
    effort: Effort = None,
    as_json: AsJson = False,
) -> None:
    """Find documents like some of the index and unlike others."""
    options = Options(
        offset=offset,
        where=None if where is None else parse_where(where),
        effort=effort,
        group_by=parse_field(group_by) if group_by else None,
        diversity=diversity,
    )
    weights = None if half_life is None else history_weights(len(like), half_life)
    searcher = Searcher(folder)
    hits = find_alike(searcher, Examples(tuple(like), tuple(unlike or ()), weights), k, options)
    searcher.close()
    if as_json:
        print_json([hit_dict(hit) for hit in hits])
        return
    for hit in hits:
        print_hit(hit)


@app.command()
def tune(
    folder: Folder,
    recall: Annotated[
        float, typer.Option(help="The share of exact search's 10 best that must be found.")
    ] = 0.99,
    queries: Annotated[
        Path | None, typer.Option(help="What users ask: JSON Lines or one query a line.")
    ] = None,
    query_encoder: QueryEncoderName = None,
    as_json: AsJson = False,
) -> None:
    """Find and keep the least effort of an hnsw or ivf index that finds enough."""
    texts = [each.text for each in read_unlabelled(queries)] if queries else []
    searcher = Searcher(folder, query_encoder)
    try:
        found = find_effort(searcher, recall, texts)
    finally:
        searcher.close()
    if as_json:
        print_json(asdict(found))
        return
    for each in found.tried:
        typer.echo(f"effort {each.effort:<5} recall@10 {each.recall:.4f}  {each.p50_ms:.2f} ms")
    note(
        f"{folder}: effort {found.chosen.effort} for {found.encoder} ({found.kind}, "
        f"{found.queries} queries)"
    )


def as_dict(results: Results) -> dict[str, Any]:
    return results._asdict() | {
        "hits": [hit_dict(hit) for hit in results.hits],
        "timing_ms": results.timing_ms._asdict(),
        "facets": {
            field: [each._asdict() for each in values] for field, values in results.facets.items()
        },
    }


def hit_dict(hit: Hit) -> dict[str, Any]:
    return hit._asdict() | {
        "passage": hit.passage._asdict(),
        "sources": {name: source._asdict() for name, source in hit.sources.items()},
        "highlights": [each._asdict() for each in hit.highlights],
    }


def print_hit(hit: Hit) -> None:
    title = f"  {escape(printable(hit.title))}" if hit.title else ""
    name = escape(printable(hit.id))
    stdout.print(f"[green]{hit.score:.3f}[/green]  [bold]{name}[/bold]{title}")
    for line in snippet(hit).wrap(stdout, max(1, stdout.width - INDENT)):
        stdout.print(Text(" " * INDENT) + line)


def snippet(hit: Hit) -> Text:
    """Part of the passage, its white space folded, with the query's words marked.

    Its beginning, unless all those words come later.
    """
    passage = hit.passage.text
    words = list(re.finditer(r"\S+", passage))
    marks = hit.highlights
    begin = 0
    if marks and marks[0].start > PASSAGE_SHOWN:
        begin = max(0, sum(word.end() <= marks[0].start for word in words) - WORDS_BEFORE)
    shown = Text("... " if begin else "")
    for word in words[begin:]:
        if len(shown) + len(word[0]) > PASSAGE_SHOWN and len(shown):
            shown.append("...")
            break
        for character, place in zip(word[0], range(word.start(), word.end()), strict=True):
            marked = any(start <= place < end for start, end in marks)
            shown.append(printable(character), style=MARK if marked else None)
        shown.append(" ")
    shown.rstrip()
    return shown


def printable(text: str) -> str:
    """A text that cannot command the terminal: control characters are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
