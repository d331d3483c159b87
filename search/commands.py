"""``trimseek search``, ``trimseek recommend`` and ``trimseek tune``."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from trimseek.console import note, print_json, say, stdout
from trimseek.encoders.unlabelled import read_unlabelled
from trimseek.errors import ConfigError
from trimseek.indexer.card import is_index
from trimseek.options import AsJson, Folder, Where
from trimseek.printable import printable
from trimseek.search.content import recommend_content, search_content
from trimseek.search.hits import Hit
from trimseek.search.index import Index, options_of
from trimseek.search.options import DEFAULT_RERANK_DEPTH, DEFAULT_WEIGHT, Fusion, Mode
from trimseek.search.recommend import Basis, asked_of, history_weights
from trimseek.search.recommend import recommend as find_recommended
from trimseek.search.searcher import Searcher
from trimseek.search.tune import tune as find_effort

app = typer.Typer()
PASSAGE_SHOWN = 300  # characters
WORDS_BEFORE = 8  # the first mark, where a snippet does not begin with the passage
INDENT = 7  # as wide as a score
MARK = "bold yellow"

Count = Annotated[int, typer.Option("-k", help="How many hits.")]
QueryEncoderName = Annotated[
    str | None,
    typer.Option(
        help="Encoder of the query, of the index's space; or fast, balanced or best. Default: the "
        "index's own."
    ),
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
    query: Annotated[list[str], typer.Argument(help="What to look for.")],
    k: Count = 10,
    query_encoder: QueryEncoderName = None,
    mode: Annotated[
        Mode, typer.Option(help="By meaning, by words (BM25), or by both.")
    ] = Mode.HYBRID,
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
    weight: Annotated[
        float, typer.Option(help="Of meaning in hybrid mode, from 0 (words alone) to 1.")
    ] = DEFAULT_WEIGHT,
    fusion: Annotated[
        Fusion, typer.Option(help="Of hybrid mode: a weighted sum of scores, or reciprocal ranks.")
    ] = Fusion.SCORES,
    title_weight: Annotated[
        float, typer.Option(help="How often a word of a title counts for BM25.")
    ] = 1.0,
    prefix: Annotated[
        bool, typer.Option("--prefix", help="The last word is only begun: find all that begin so.")
    ] = False,
    rerank: Annotated[
        str | None,
        typer.Option(help="A cross-encoder that puts the best documents into another order."),
    ] = None,
    rerank_depth: Annotated[
        int, typer.Option(help="So many of the best are reranked; no others are found.")
    ] = DEFAULT_RERANK_DEPTH,
    as_json: AsJson = False,
) -> None:
    """Search an index and print the passages that match."""
    if not folder.exists() and is_index(Path(query[-1])):
        raise ConfigError(f"the folder comes first: trimseek search {query[-1]} {str(folder)!r}")
    with Index(folder, query_encoder=query_encoder) as index:
        results = index.search(
            " ".join(query),
            k,
            mode=mode,
            where=where,
            offset=offset,
            group_by=group_by,
            diversity=diversity,
            min_score=min_score,
            highlight=True,
            facets=facet or (),
            effort=effort,
            weight=weight,
            fusion=fusion,
            title_weight=title_weight,
            prefix=prefix,
            suggest=True,
            rerank=rerank,
            rerank_depth=rerank_depth,
        )
        limit = index.searcher.encoder.card.max_tokens
    if results.truncated:
        note(f"the query is longer than {limit} tokens; what comes after was left out")
    for warning in results.warnings:
        note(warning)
    if results.suggestion is not None:
        note(f"did you mean: {results.suggestion}")
    if as_json:
        print_json(search_content(results))
        return
    for hit in results.hits:
        print_hit(hit)
    if not results.hits:
        note("no hits")
    for field, values in results.facets.items():
        counted = ", ".join(f"{value.value} {value.documents}" for value in values)
        say(f"{field}: {counted or '-'}")
    timing = results.timing_ms
    parts = f"encode {timing.encode:.1f}, search {timing.search:.1f}"
    if rerank is not None:
        parts += f", rerank {timing.rerank:.1f}"
    note(f"{timing.total:.1f} ms ({parts})")


@app.command()
def recommend(
    folder: Folder,
    like: Annotated[
        list[str] | None,
        typer.Option(help="Id of a document that is liked; repeatable, the latest last."),
    ] = None,
    unlike: Annotated[
        list[str] | None, typer.Option(help="Id of one that is not. Repeatable.")
    ] = None,
    half_life: Annotated[
        float | None,
        typer.Option(help="Liked documents back in the history that count half as much."),
    ] = None,
    history: Annotated[
        list[str] | None,
        typer.Option(
            help="Id of an item that somebody took, for a recommender's index; repeatable, the "
            "latest last."
        ),
    ] = None,
    seen: Annotated[
        list[str] | None, typer.Option(help="Id of a further item not to recommend. Repeatable.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Recommend also what is in the history.")
    ] = False,
    k: Count = 10,
    where: Where = None,
    group_by: GroupBy = None,
    offset: Offset = 0,
    diversity: Diversity = 0.0,
    effort: Effort = None,
    query_encoder: QueryEncoderName = None,
    as_json: AsJson = False,
) -> None:
    """Find documents like some and unlike others, or the items that follow a history."""
    weights = None if half_life is None else history_weights(len(like or ()), half_life)
    asked = asked_of(like, unlike or (), weights, history, seen or (), again=again)
    options = options_of(
        where=where, offset=offset, group_by=group_by, diversity=diversity, effort=effort
    )
    with Searcher(folder, query_encoder) as searcher:
        found = find_recommended(searcher, asked, k, options)
    if as_json:
        print_json(recommend_content(found))
        return
    for warning in found.warnings:
        note(warning)
    if found.unknown:
        note(f"the recommender does not know {found.unknown} of the {len(history or ())} items")
    if found.basis is Basis.POPULARITY:
        note("no item of the history is known: the most popular items")
    for hit in found.hits:
        print_hit(hit)
    if not found.hits:
        note("no hits")


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
    texts = [line.text for line in read_unlabelled(queries)] if queries else []
    with Searcher(folder, query_encoder) as searcher:
        tuned = find_effort(searcher, recall, texts)
    if as_json:
        print_json(asdict(tuned))
        return
    for trial in tuned.tried:
        say(f"effort {trial.effort:<5} recall@10 {trial.recall:.4f}  {trial.p50_ms:.2f} ms")
    note(
        f"{folder}: effort {tuned.chosen.effort} for {tuned.encoder} ({tuned.kind}, "
        f"{tuned.queries} queries)"
    )


def print_hit(hit: Hit) -> None:
    """Score, id and title, and the passage with the query's words marked."""
    head = Text(f"{hit.score:.3f}", "green")
    head.append("  ").append(printable(hit.id), "bold")
    stdout.print(head.append(f"  {printable(hit.title)}" if hit.title else ""))
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
