"""``trimseek bench`` and ``trimseek bench compare``."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from encoders.catalog import find_encoder
from encoders.unlabelled import read_unlabelled
from eval import load, output, report
from eval.bench import bench as run_bench
from eval.collection import read_collection
from eval.compare import cells, unmatched
from eval.compare import compare as compare_reports
from eval.encode_profile import profile_cells, profile_encoder
from eval.encoder_compare import compare_encoders, comparison_cells
from eval.grid import DEFAULT_BATCHES, DEFAULT_CLIENTS, DEFAULT_ENCODERS, plan
from eval.known_items import known_items
from eval.measures import DEFAULT_MEASURES
from eval.results import from_json, to_json
from eval.retrieval import EXACT
from eval.workers.backends import PEERS
from trimseek.atomic import make_folder
from trimseek.console import note, print_json, print_table
from trimseek.errors import ConfigError
from trimseek.options import AsJson
from trimseek.settings import load_settings

app = typer.Typer()


@app.command()
def bench(
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLLECTION...",
            help="BEIR folders, hub:owner/name, sample:python, or a corpus without judgments.",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="An encoder, or DOCUMENT+QUERY for two of one space; again for more. "
            "Default: minilm at both precisions."
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            help="exact, or a FAISS description, search parameters behind a colon "
            "(HNSW32,SQ8:efSearch=64); again for more."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="What losses and agreement are relative to. Default: float32 of the same base."
        ),
    ] = None,
    measure: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Again for more; the first is the main one. Default: {' '.join(DEFAULT_MEASURES)}"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which qrels: qrels/SPLIT.tsv.")] = "test",
    queries: Annotated[
        Path | None,
        typer.Option(help="Queries (JSON Lines or text) for a corpus without judgments."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What to compare with, in the same run: {', '.join(PEERS)}, or all. "
            "Needs the environment that `make peers` makes."
        ),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Queries encoded at once, too; again for more.")
    ] = None,
    clients: Annotated[
        list[int] | None, typer.Option(help="Clients at once, too; again for more.")
    ] = None,
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="Measure speed, or quality alone.")
    ] = True,
    cached: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep embeddings for the next run, and use them."),
    ] = True,
    into: Annotated[
        Path | None,
        typer.Option(help="Write results.json, report.md, report.html and pareto.png/.svg here."),
    ] = None,
    runs: Annotated[
        bool, typer.Option("--runs", help="With --into: TREC run files, too, in its runs/.")
    ] = False,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Instead, say where the time of encoding goes."),
    ] = False,
    http: Annotated[
        str | None,
        typer.Option(
            help="Instead, load a running service: http://HOST:PORT or .../v1/indexes/NAME."
        ),
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="With --http: requests a second; again for more. Default: found out."),
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="With --http: how long each rate is held.")
    ] = load.SECONDS,
    p99: Annotated[
        float, typer.Option("--p99", help="With --http: the bound on p99, in ms.")
    ] = load.P99_BOUND,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval quality and latency, encoder beside encoder."""
    if http is not None:
        load_service(http, collections or [], split, queries, rate or [], seconds, p99, as_json)
        return
    if not collections:
        raise ConfigError("no collection given; try: trimseek bench sample:python")
    if profile:
        show_profile(collections, split, queries, encoder or DEFAULT_ENCODERS, as_json)
        return
    if runs and into is None:
        raise ConfigError("--runs needs --into FOLDER, which the run files go to")
    read = [read_collection(name, split, queries) for name in collections]
    if twice := {each.name for each in read if [other.name for other in read].count(each.name) > 1}:
        raise ConfigError(f"two collections are called {min(twice)}; rename one's folder")
    grid = plan(
        encoder or DEFAULT_ENCODERS,
        indexes=index or (EXACT,),
        reference=reference,
        measures=measure or DEFAULT_MEASURES,
        peers=peer or (),
        batches=batch or DEFAULT_BATCHES,
        clients=clients or DEFAULT_CLIENTS,
        timing=timing,
        cached=cached,
        runs=make_folder(into / output.RUNS) if into and runs else None,
    )
    unfinished = make_folder(into) / output.UNFINISHED if into else None
    found = run_bench(read, grid, shlex.join(["trimseek", *sys.argv[1:]]), unfinished)
    if into is not None:
        output.write_report(found, into)
        note(f"{into}: {output.RESULTS}, report.md, report.html and the picture are written")
    if as_json:
        print_json(to_json(found))
        return
    for table in report.tables(found):
        print_table(report.terminal_table(table))
    for line in [*report.caveats(found), report.setting(found)]:
        note(line)


def show_profile(
    collections: list[str],
    split: str,
    queries: Path | None,
    encoders: Sequence[str],
    as_json: bool,
) -> None:
    """``trimseek bench --profile``."""
    threads = load_settings().threads
    read = [read_collection(name, split, queries) for name in collections]
    found = [
        each
        for collection in read
        for encoder in encoders
        for each in profile_encoder(encoder, find_encoder(encoder), collection, threads)
    ]
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print_table(report.terminal_table(profile_cells(found)))


def load_service(
    url: str,
    collections: list[str],
    split: str,
    queries: Path | None,
    rates: list[float],
    seconds: float,
    p99: float,
    as_json: bool,
) -> None:
    """``trimseek bench --http``."""
    texts = load.query_texts(collections, split, queries)
    found = load.on_a_loop(load.load_test(url, texts, rates, seconds=seconds, p99_bound=p99))
    if as_json:
        print_json(asdict(found))
        return
    print_table(report.terminal_table(load.cells(found)))
    note(load.verdict(found))


@app.command("bench compare")
def compare(
    before: Annotated[Path, typer.Argument(help="results.json of one run.")],
    after: Annotated[Path, typer.Argument(help="results.json of another.")],
    as_json: AsJson = False,
) -> None:
    """Say what changed between two benchmarks, and whether it is more than noise."""
    first, second = from_json(before), from_json(after)
    changes = list(compare_reports(first, second))
    if as_json:
        print_json([asdict(each) for each in changes])
        return
    print_table(report.terminal_table(cells(str(before), str(after), changes)))
    for line in unmatched(first, second):
        note(line)


@app.command("encoder compare")
def compare_two_encoders(
    first: Annotated[str, typer.Argument(help="An encoder: what the second is compared with.")],
    second: Annotated[str, typer.Argument(help="Another one of the same space.")],
    texts: Annotated[
        Path, typer.Option(help="Documents, unlabelled: JSON Lines or one text a line.")
    ],
    as_json: AsJson = False,
) -> None:
    """Compare two encoders of one space: size, speed, and how far they agree."""
    documents = [f"{each.title} {each.text}".strip() for each in read_unlabelled(texts)]
    collection = known_items(documents, str(texts))
    found = compare_encoders(find_encoder(first), find_encoder(second), collection)
    if as_json:
        print_json(asdict(found))
        return
    print_table(report.terminal_table(comparison_cells(found)))
