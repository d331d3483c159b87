"""Commands that look after an index: verify, compact, reembed, export, backup, restore."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from trimseek.console import note, print_json, say
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.encoders.pairs import encoder_pair
from trimseek.errors import ConfigError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.care import compact_index, find_damage
from trimseek.indexer.export import export_index
from trimseek.indexer.reembed import reembed
from trimseek.options import AsJson, Dim, DocumentPrompt, Folder, Language, QueryPrompt

app = typer.Typer()


@app.command()
def verify(
    folder: Folder,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Also every page and word, and some documents embedded once more."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check that an index is whole: checksums, counts, vectors, words and snapshot in step."""
    damage = find_damage(folder, deep=deep)
    if as_json:
        print_json({"whole": not damage, "damage": damage})
    for problem in [] if as_json else damage:
        say(problem)
    if damage:
        raise typer.Exit(1)
    note(f"{folder}: whole")


@app.command()
def compact(folder: Folder, language: Language = None, as_json: AsJson = False) -> None:
    """Give back the room of what was deleted, and make words and snapshot anew."""
    before, after = compact_index(folder, language)
    if as_json:
        print_json({"bytes_before": before, "bytes": after})
        return
    note(f"{folder}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")


@app.command("reembed")
def reembed_index(
    folder: Folder,
    encoder: Annotated[str, typer.Option(help="The new encoders, as trimseek index.")],
    dim: Dim = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    as_json: AsJson = False,
) -> None:
    """Embed an index anew with another encoder, while the old one goes on serving."""
    pair = encoder_pair(encoder, dim)
    report = reembed(
        folder,
        DocumentEncoder(find_encoder(pair.documents), prompt=document_prompt),
        pair.documents,
        query_encoder=pair.queries,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
    )
    if as_json:
        print_json(asdict(report))
        return
    note(f"{folder}: {report.added} embedded by {pair.documents} in {report.seconds:.1f} s")


@app.command()
def export(
    folder: Folder,
    into: Annotated[Path, typer.Option("-o", "--into", help="A new .jsonl or .parquet file.")],
    vectors: Annotated[
        bool, typer.Option("--vectors", help="With the passages and their vectors.")
    ] = False,
    passages: Annotated[
        bool,
        typer.Option(
            "--passages",
            help="A row for each passage, with its vector, as vector databases read it.",
        ),
    ] = False,
) -> None:
    """Write every document to a JSON Lines or Parquet file, as trimseek index reads it."""
    count = export_index(folder, into, vectors=vectors, passages=passages)
    rows = "passages" if passages else "documents"
    note(f"{into}: {count:,} {rows}, {into.stat().st_size / 1e6:.1f} MB")


@app.command()
def backup(
    folder: Folder,
    into: Annotated[Path, typer.Option("-o", "--into", help="The file to write.")],
) -> None:
    """Copy an index into one file, while it may be written to."""
    write_backup(folder, into)
    note(f"{into}: {into.stat().st_size / 1e6:.1f} MB")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What trimseek backup wrote.")],
    into: Annotated[Path, typer.Option("-o", "--into", help="The index folder to make.")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace an index that is there.")] = False,
) -> None:
    """Make an index folder from a backup, which is verified first."""
    if into.exists() and not yes:
        raise ConfigError(f"{into}: exists already; say --yes to replace it")
    restore_backup(file, into)
    note(f"{into}: restored from {file}")
