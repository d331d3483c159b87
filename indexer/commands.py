"""``trimseek index`` and ``trimseek info``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from encoders import DEFAULT_ENCODER, DocumentEncoder, find_encoder
from encoders.catalog import absolute_name
from indexer.card import CARD, read_card
from indexer.chunks import DEFAULT_OVERLAP
from indexer.corpus import open_corpus
from indexer.documents import Fields
from indexer.filters import check_path, parse_field
from indexer.folder import check_space
from indexer.ingest import Ingest
from indexer.snapshot import SnapshotKind
from indexer.summary import summarize
from trimseek.console import note, print_json
from trimseek.options import AsJson, Folder, IdField, TextField, TitleField

app = typer.Typer()


@app.command()
def index(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A .jsonl, .csv, .tsv or .parquet file, a BEIR folder, a folder of .txt and .md "
            "files, hub:owner/name, sample:python, or - for JSON Lines from standard input."
        ),
    ],
    into: Annotated[Path, typer.Option(help="The index folder; made if it is missing.")],
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Document encoder: minilm, a model folder or a hub id, with -int8 or -float32 "
            f"behind it. Default: the index's own, or {DEFAULT_ENCODER}."
        ),
    ] = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    split: Annotated[str, typer.Option(help="Split of a hub data set.")] = "train",
    sync: Annotated[
        bool, typer.Option("--sync", help="Remove documents that the corpus no longer has.")
    ] = False,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out documents without any text.")
    ] = False,
    overlap: Annotated[
        int,
        typer.Option(min=0, max=128, help="Tokens that neighbouring chunks of a document share."),
    ] = DEFAULT_OVERLAP,
    facet: Annotated[
        list[str] | None,
        typer.Option(
            help="A metadata field (author.name) whose filters are to be fast. Repeatable."
        ),
    ] = None,
    kind: Annotated[
        SnapshotKind | None,
        typer.Option(help="How vectors are searched. Default: the index's own, or by size."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed a corpus into an index folder; run it again to update."""
    source = open_corpus(corpus, Fields(id_field, title_field, text_field), split)
    card = read_card(into) if (into / CARD).is_file() else None
    default = card.encoder if card else DEFAULT_ENCODER
    name = absolute_name(default if encoder is None else encoder)
    document_encoder = DocumentEncoder(find_encoder(name))
    if card is not None:
        check_space(card, document_encoder.card.space, into, name)
    report = Ingest(
        source,
        into,
        document_encoder,
        encoder_name=name,
        sync=sync,
        skip_empty=skip_empty,
        overlap=overlap,
        facets=checked_facets(facet or []),
        kind=kind,
    ).run()
    if as_json:
        print_json(asdict(report))
        return
    rate = (report.added + report.updated) / report.seconds
    skipped = f"{report.skipped} skipped, " if report.skipped else ""
    note(
        f"{into}: {report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{skipped}{report.removed} removed in {report.seconds:.1f} s ({rate:.0f} documents/s)"
    )


def checked_facets(names: list[str]) -> list[str]:
    """QueryError for a name that no filter could have."""
    for name in names:
        check_path(parse_field(name))
    return names


@app.command()
def info(
    folder: Folder,
    as_json: AsJson = False,
) -> None:
    """Say what an index holds and which encoder made it."""
    summary = summarize(folder)
    if as_json:
        print_json(asdict(summary))
        return
    snapshot = "none yet" if summary.snapshot is None else f"{summary.snapshot} of the chunks"
    if summary.kind is not None:
        snapshot += f", {summary.kind}"
    for label, value in (
        ("documents", f"{summary.documents:,}"),
        ("chunks", f"{summary.chunks:,}"),
        ("encoder", summary.encoder),
        ("space", f"{summary.space} ({summary.dim} dimensions)"),
        ("snapshot", snapshot),
        ("facets", ", ".join(summary.facets) or "-"),
        ("on disk", f"{summary.bytes / 1e6:.1f} MB"),
    ):
        typer.echo(f"{label:<11}{value}")
