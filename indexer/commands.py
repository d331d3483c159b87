"""``trimseek index``, ``trimseek list`` and ``trimseek info``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.console import note, print_json, say
from trimseek.encoders import DEFAULT_ENCODER, DocumentEncoder, find_encoder
from trimseek.encoders.catalog import find_index_encoder
from trimseek.encoders.pairs import Pair, encoder_pair
from trimseek.errors import ConfigError
from trimseek.indexer.card import is_index, read_card
from trimseek.indexer.chunks import DEFAULT_OVERLAP
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.documents import Fields, ReadOptions
from trimseek.indexer.folder import check_space
from trimseek.indexer.ingest import Ingest
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.prompts import check_given, check_queries, given_prompt
from trimseek.indexer.summary import summarize
from trimseek.options import (
    AsJson,
    Dim,
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


@app.command()
def index(
    corpus: Annotated[
        str,
        typer.Argument(
            help="A .jsonl, .json, .csv, .tsv or .parquet file (also .gz, .bz2, .xz, .zst), a BEIR "
            "folder, a folder of .txt, .md and .html files, hub:owner/name, sample:python, or - "
            "for JSON Lines from standard input."
        ),
    ],
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="The index folder, as --into.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option("-o", "--into", help="The index folder; made if it is missing."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="fast, balanced or best; or a document encoder: minilm, a model folder or a hub "
            "id, with -int8 or -float32 behind it, and with + a query encoder. Default: the "
            f"index's own, or {DEFAULT_ENCODER}."
        ),
    ] = None,
    dim: Dim = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    text_columns: TextColumns = False,
    skip_bad: SkipBad = False,
    split: Annotated[str, typer.Option(help="Split of a hub data set.")] = "train",
    sync: Annotated[
        bool, typer.Option("--sync", help="Remove documents that the corpus no longer has.")
    ] = False,
    skip_empty: SkipEmpty = False,
    overlap: Overlap = DEFAULT_OVERLAP,
    facet: FacetFields = None,
    kind: Annotated[
        SnapshotKind | None,
        typer.Option(help="How vectors are searched. Default: the index's own, or by size."),
    ] = None,
    language: Language = None,
    map_to: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODER",
            help="Embed 2,000 passages with this encoder as well, and map the vectors of a cheaper "
            "one towards its own.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Embed a corpus into an index folder; run it again to update."""
    target = into or folder
    if target is None or (into and folder):
        raise ConfigError(f"where to? trimseek index {corpus or 'CORPUS'} --into DIR")
    fields = Fields(id_field, title_field, text_field)
    source = open_corpus(corpus, ReadOptions(fields, text_columns, skip_bad, split))
    card = read_card(target) if is_index(target) else None
    if card is not None and encoder is None and dim is None:
        pair = Pair(card.encoder, card.query_encoder)
        path = find_index_encoder(card.encoder, target)
    else:
        pair = encoder_pair(encoder or DEFAULT_ENCODER, dim)
        path = find_encoder(pair.documents)
    if card is not None:
        check_queries(card, target, pair)
        check_given(card, target, query_prompt, document_prompt)
        document_prompt = given_prompt(card)
    document_encoder = DocumentEncoder(path, prompt=document_prompt)
    if card is not None:
        check_space(card, document_encoder.card.space, target, pair.documents)
    report = Ingest(
        source,
        target,
        document_encoder,
        encoder_name=pair.documents,
        query_encoder=pair.queries,
        sync=sync,
        skip_empty=skip_empty,
        overlap=overlap,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        facets=facet or [],
        kind=kind,
        language=language,
        map_to=DocumentEncoder(find_encoder(map_to), prompt=document_prompt) if map_to else None,
    ).run()
    if as_json:
        print_json(asdict(report))
        return
    for line in [*source.notices.sentences(), *report.remarks[len(source.notices.remarks) :]]:
        note(line)
    if pair.queries != pair.documents:
        note(f"{target}: documents by {pair.documents}, queries by {pair.queries}")
    if report.vector_map:
        note(f"map to {map_to}: {report.vector_map}")
    rate = (report.added + report.updated) / report.seconds
    skipped = f"{report.skipped} skipped, " if report.skipped else ""
    note(
        f"{target}: {report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
        f"{skipped}{report.removed} removed in {report.seconds:.1f} s ({rate:.0f} documents/s)"
    )


@app.command("list")
def list_indexes(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where to look. Default: here.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """List the indexes in a folder."""
    summaries = [summarize(path) for path in index_folders(folder)]
    if as_json:
        print_json([asdict(summary) for summary in summaries])
        return
    for summary in summaries:
        say(
            f"{summary.name:<24} {summary.documents:>10,} documents  {summary.bytes / 1e6:>8.1f} MB"
            f"  {summary.encoder}"
        )
    if not summaries:
        note(f"{folder}: no index here; make one with: trimseek index CORPUS --into DIR")


def index_folders(folder: Path) -> list[Path]:
    """The indexes directly below a folder, and the folder itself if it is one."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    return [path for path in (folder, *sorted(folder.iterdir())) if is_index(path)]


@app.command()
def info(
    folder: Annotated[Path | None, typer.Argument(metavar="DIR", help="The index folder.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an index holds and which encoder made it."""
    if folder is None:
        names = ", ".join(path.name for path in index_folders(Path())) or "none in this folder"
        raise ConfigError(f"which index? trimseek info DIR; there are: {names}")
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
        ("queries", summary.queries),
        ("space", f"{summary.space} ({summary.dim} dimensions)"),
        ("prompts", summary.prompts),
        ("snapshot", snapshot),
        ("facets", ", ".join(summary.facets) or "-"),
        ("language", summary.language),
        ("on disk", f"{summary.bytes / 1e6:.1f} MB"),
    ):
        say(f"{label:<11}{value}")
