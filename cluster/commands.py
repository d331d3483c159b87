"""``trimseek cluster build`` and ``trimseek cluster serve``."""

import json
import signal
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Annotated, Any

import typer

from trimseek.api.commands import Config, settings_of
from trimseek.console import note, print_json
from trimseek.encoders import DEFAULT_ENCODER
from trimseek.errors import ConfigError
from trimseek.indexer.chunks import DEFAULT_OVERLAP
from trimseek.indexer.kinds import SnapshotKind
from trimseek.options import (
    AsJson,
    DocumentPrompt,
    FacetFields,
    IdField,
    Language,
    Overlap,
    QueryPrompt,
    SkipBad,
    SkipEmpty,
    TextColumns,
    TextField,
    TitleField,
)

app = typer.Typer()

Address = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster (RAY_ADDRESS): auto, or host:port. Default: one on this machine, for as "
        "long as the command runs."
    ),
]


@app.command("cluster build")
def build(
    corpora: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS...",
            help="Files and folders as of `trimseek index`, folders of several files, patterns "
            "(data/*.jsonl), or URIs of these (s3://bucket/corpus).",
        ),
    ],
    into: Annotated[
        str, typer.Option("-o", "--into", help="Where the index is to be: a folder, or a URI.")
    ],
    shards: Annotated[int, typer.Option(min=1, max=4096, help="How many.")] = 1,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Document encoder, which every machine can find. Default: the index's own, or "
            f"{DEFAULT_ENCODER}."
        ),
    ] = None,
    encoders: Annotated[
        int | None,
        typer.Option(min=1, help="So many encode at once. Default: as many as fit the CPUs."),
    ] = None,
    cpus: Annotated[int, typer.Option(min=1, help="CPUs of each encoder.")] = 1,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    text_columns: TextColumns = False,
    skip_bad: SkipBad = False,
    skip_empty: SkipEmpty = False,
    overlap: Overlap = DEFAULT_OVERLAP,
    facet: FacetFields = None,
    kind: Annotated[
        SnapshotKind, typer.Option(help="How vectors are searched. Default: by a shard's size.")
    ] = SnapshotKind.AUTO,
    language: Language = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Build an index of several shards from a corpus; run it again to update, or to go on."""
    from trimseek.cluster.build import Build, Workers
    from trimseek.cluster.planning import planned
    from trimseek.cluster.ray_cluster import ray_cluster
    from trimseek.indexer.documents import Fields, ReadOptions

    options = ReadOptions(Fields(id_field, title_field, text_field), text_columns, skip_bad)
    plan = planned(
        corpora,
        into,
        shards,
        options,
        skip_empty=skip_empty,
        encoder=encoder,
        prompts=(query_prompt, document_prompt),
        overlap=overlap,
        facets=facet or [],
        kind=kind,
        language=language,
    )
    with ray_cluster(address) as ray:
        fitting = max(1, int(ray.cluster_resources().get("CPU", 1)) // cpus)
        report = Build(plan, Workers(encoders or fitting, cpus)).run()
    if as_json:
        print_json(asdict(report))
        return
    rate = report.documents / max(report.seconds, 1e-9)
    note(
        f"{into}: {report.documents:,} documents in {shards} shards, {report.embedded:,} of them "
        f"embedded now, {report.skipped:,} skipped, {report.bad:,} parts bad, in "
        f"{report.seconds:.1f} s ({rate:.0f} documents/s); generation {report.generation}"
    )


@app.command("cluster serve")
def serve(
    uri: Annotated[str, typer.Argument(help="Where the index is: --into of `cluster build`.")],
    name: Annotated[
        str | None, typer.Option(help="Of the index. Default: the last part of the URI.")
    ] = None,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port.")] = None,
    query_encoder: Annotated[
        str | None,
        typer.Option(help="Encoder of queries, or fast, balanced or best; else the index's."),
    ] = None,
    reranker: Annotated[
        str | None, typer.Option(help="Cross-encoder of searches that ask for it.")
    ] = None,
    keys_file: Annotated[
        Path | None, typer.Option(help="API keys, a line each (`trimseek key`).")
    ] = None,
    shard_seconds: Annotated[
        float,
        typer.Option(min=0.05, help="Seconds that a shard may take, then it counts as missing."),
    ] = 3.0,
    every: Annotated[
        float, typer.Option(min=0.1, help="Seconds between two looks for a new manifest.")
    ] = 5.0,
    shard_options: Annotated[
        str,
        typer.Option(
            help='Of Ray Serve, as JSON: {"num_replicas": 2, "max_replicas_per_node": 1}.'
        ),
    ] = "{}",
    front_options: Annotated[
        str,
        typer.Option(
            help='Of Ray Serve, as JSON: {"autoscaling_config": {"min_replicas": 2, '
            '"max_replicas": 8}}.'
        ),
    ] = "{}",
    address: Address = None,
) -> None:
    """Serve an index of several shards over HTTP, and take up what is built anew."""
    from trimseek.cluster.ray_cluster import ray_cluster
    from trimseek.cluster.serve import ServedCluster, ServeOptions

    given = {
        "host": host,
        "port": port,
        "query_encoder": query_encoder,
        "reranker": reranker,
        "keys_file": keys_file,
    }
    settings = settings_of(config, given)
    options = ServeOptions(
        name or Path(uri.rstrip("/")).name,
        settings.model_dump(),
        shard_seconds,
        every,
        json_options("--shard-options", shard_options),
        json_options("--front-options", front_options),
    )
    stop = Event()
    with ray_cluster(address):
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray has set its own
            signal.signal(number, lambda *_: stop.set())
        cluster = ServedCluster(uri, options)
        cluster.start(settings.host, settings.port)
        note(f"serving {options.name} at http://{settings.host}:{settings.port}")
        cluster.watch(stop)
        cluster.stop()


def json_options(flag: str, text: str) -> dict[str, Any]:
    """An object of JSON; ConfigError."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f'{flag}: must be an object, as {{"num_replicas": 2}}')
    return value
