"""``trimseek bench``, and its ``compare``, ``load`` and ``profile``."""

import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.atomic import make_folder
from trimseek.console import note, print_json, print_table
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.recommender.events import is_event_log, read_events
from trimseek.errors import ConfigError
from trimseek.eval.bench import load, output, report
from trimseek.eval.bench.compare import change_cells, compare_reports, unmatched
from trimseek.eval.bench.encode_profile import profile_cells, profile_encoder
from trimseek.eval.bench.evaluate import evaluate
from trimseek.eval.bench.grid import DEFAULT_BATCHES, DEFAULT_CLIENTS, DEFAULT_ENCODERS
from trimseek.eval.bench.recommendation import report as recommendation_report
from trimseek.eval.bench.recommendation.run import bench_recommenders
from trimseek.eval.bench.recommendation.systems import PEERS as RECOMMENDER_PEERS
from trimseek.eval.bench.results import read_results, to_json
from trimseek.eval.bench.workers.backends import PEERS
from trimseek.eval.quality.collection import read_collection
from trimseek.eval.quality.measures import DEFAULT_MEASURES
from trimseek.eval.quality.retrieval import EXACT
from trimseek.options import AsJson
from trimseek.settings import load_settings

app = typer.Typer()
Split = Annotated[str, typer.Option(help="Which qrels: qrels/SPLIT.tsv.")]
Queries = Annotated[
    Path | None, typer.Option(help="Queries (JSON Lines or text) for a corpus without judgments.")
]


@app.command()
def bench(
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COLLECTION...",
            help="BEIR folders, hub:owner/name, sample:python, or a corpus without judgments; or "
            "an event log, for recommenders.",
        ),
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            help="An encoder, or DOCUMENT+QUERY for two of one space; bm25 for words alone; again "
            "for more. Default: minilm at both precisions."
        ),
    ] = None,
    index: Annotated[
        list[str] | None,
        typer.Option(
            help="exact; hnsw (ours), hnswlib or usearch; or a FAISS description; parameters "
            "behind a colon (hnsw:effort=96, hnswlib:M=32,ef=64, HNSW32,SQ8:efSearch=64); again "
            "for more."
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
    split: Split = "test",
    queries: Queries = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What to compare with, in the same run: {', '.join(PEERS)}, or all. "
            "Needs the environment that `make peers` makes. "
            f"On an event log: {', '.join(RECOMMENDER_PEERS)}, or all."
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
        typer.Option(
            "-o",
            "--into",
            help="Write results.json, report.md, report.html and pictures here.",
        ),
    ] = None,
    runs: Annotated[
        bool, typer.Option("--runs", help="With --into: TREC run files, too, in its runs/.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval quality and latency, encoder beside encoder."""
    if not collections:
        raise ConfigError("no collection given; try: trimseek bench sample:python")
    if is_event_log(Path(collections[0])):
        bench_events(collections, encoder or [], peer or [], into, timing=timing, as_json=as_json)
        return
    if runs and into is None:
        raise ConfigError("--runs needs --into FOLDER, which the run files go to")
    measured = evaluate(
        collections,
        encoder or DEFAULT_ENCODERS,
        indexes=index or (EXACT,),
        reference=reference,
        measures=measure or DEFAULT_MEASURES,
        split=split,
        queries=queries,
        timing=timing,
        peers=peer or (),
        batches=batch or DEFAULT_BATCHES,
        clients=clients or DEFAULT_CLIENTS,
        cached=cached,
        runs=make_folder(into / output.RUNS) if into and runs else None,
        command=shlex.join(["trimseek", *sys.argv[1:]]),
        unfinished=make_folder(into) / output.UNFINISHED if into else None,
    )
    if into is not None:
        output.write_report(measured, into)
        note(f"{into}: {output.RESULTS}, report.md, report.html and the picture are written")
    if as_json:
        print_json(to_json(measured))
        return
    for table in report.tables(measured):
        print_table(report.terminal_table(table))
    for line in [*report.caveats(measured), report.setting_line(measured)]:
        note(line)


def bench_events(
    collections: list[str],
    encoders: list[str],
    peers: list[str],
    into: Path | None,
    *,
    timing: bool,
    as_json: bool,
) -> None:
    """Measure recommenders on an event log; ConfigError for more than one."""
    if len(collections) > 1:
        raise ConfigError(f"{collections[0]}: an event log is measured alone; give no other beside")
    measured = bench_recommenders(
        read_events(Path(collections[0])),
        encoders,
        peers=peers,
        timing=timing,
        command=shlex.join(["trimseek", *sys.argv[1:]]),
    )
    if into is not None:
        recommendation_report.write_report(measured, into)
        note(f"{into}: {output.RESULTS}, report.md and the picture are written")
    if as_json:
        print_json(asdict(measured))
        return
    for table in recommendation_report.tables(measured):
        print_table(report.terminal_table(table))
    note(recommendation_report.setting_line(measured))


@app.command("bench profile")
def profile(
    collections: Annotated[
        list[str], typer.Argument(metavar="COLLECTION...", help="As bench takes them.")
    ],
    encoder: Annotated[list[str] | None, typer.Option(help="An encoder; again for more.")] = None,
    split: Split = "test",
    queries: Queries = None,
    as_json: AsJson = False,
) -> None:
    """Say where the time of encoding goes: tokenization, Python, each part of the runtime."""
    threads = load_settings().threads
    profiles = [
        profile
        for collection in [read_collection(name, split, queries) for name in collections]
        for name in encoder or DEFAULT_ENCODERS
        for profile in profile_encoder(name, find_encoder(name), collection, threads)
    ]
    if as_json:
        print_json([asdict(profile) for profile in profiles])
        return
    print_table(report.terminal_table(profile_cells(profiles)))


@app.command("bench load")
def load_service(
    url: Annotated[
        str, typer.Argument(help="A service, http://HOST:PORT, or one index: .../v1/indexes/NAME.")
    ],
    collections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COLLECTION...]", help="Whose queries are sent. Default: sample:python."
        ),
    ] = None,
    split: Split = "test",
    queries: Queries = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(
            help="Requests a second; again for more. Default: the highest that keeps the bound."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long each rate is held.")] = load.SECONDS,
    p99: Annotated[float, typer.Option("--p99", help="The bound on p99, in ms.")] = load.P99_BOUND,
    as_json: AsJson = False,
) -> None:
    """Load a running service with requests at a fixed rate, and measure their latency."""
    texts = load.query_texts(collections or [], split, queries)
    measured = load.on_a_loop(
        load.load_test(url, texts, rate or [], seconds=seconds, p99_bound=p99)
    )
    if as_json:
        print_json(asdict(measured))
        return
    print_table(report.terminal_table(load.load_cells(measured)))
    note(load.verdict(measured))


@app.command("bench compare")
def compare(
    before: Annotated[Path, typer.Argument(help="results.json of one run.")],
    after: Annotated[Path, typer.Argument(help="results.json of another.")],
    as_json: AsJson = False,
) -> None:
    """Say what changed between two benchmarks, and whether it is more than noise."""
    first, second = read_results(before), read_results(after)
    changes = list(compare_reports(first, second))
    if as_json:
        print_json([asdict(change) for change in changes])
        return
    print_table(report.terminal_table(change_cells(str(before), str(after), changes)))
    for line in unmatched(first, second):
        note(line)
