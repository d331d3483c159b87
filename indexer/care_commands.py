"""Commands for an index that lives: it is added to, checked, copied."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from encoders import DocumentEncoder, find_encoder
from encoders.catalog import absolute_name
from indexer.backup import restore_backup, write_backup
from indexer.card import read_card
from indexer.care import compact_index, find_damage
from indexer.corpus import open_corpus
from indexer.documents import Fields
from indexer.export import export_index
from indexer.filters import to_sql
from indexer.folder import open_index
from indexer.ingest import batches
from indexer.reembed import reembed
from indexer.where import parse_where
from indexer.writer import IndexWriter
from trimseek.console import note, print_json, progress
from trimseek.errors import ConfigError
from trimseek.options import AsJson, Folder, IdField, TextField, TitleField

app = typer.Typer()
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it nothing is changed.")]


@app.command()
def add(
    folder: Folder,
    corpus: Annotated[str, typer.Argument(help="Documents, as trimseek index takes them.")],
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    as_json: AsJson = False,
) -> None:
    """Add documents to an index, or replace them, while it is searched and served."""
    card = read_card(folder)
    source = open_corpus(corpus, Fields(id_field, title_field, text_field), "train")
    writer = IndexWriter(folder, DocumentEncoder(find_encoder(card.encoder)))
    counts = {"added": 0, "updated": 0, "unchanged": 0}
    try:
        with progress("adding") as ticker:
            for batch in batches(source.documents()):
                for name, count in writer.put(batch)._asdict().items():
                    counts[name] += count
                ticker.advance(len(batch))
        writer.refresh()
    finally:
        writer.close()
    if as_json:
        print_json(counts)
        return
    note(f"{folder}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


@app.command()
def delete(
    folder: Folder,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="Id of a document. Repeatable.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(help="All documents with such metadata: 'year < 2020'.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete documents by their ids or by a filter."""
    if (id_ is None) == (where is None):
        raise ConfigError("say which documents: --id ID or --where FILTER, one of the two")
    condition = None if where is None else parse_where(where)
    if not yes:
        _, store = open_index(folder)
        found = (
            len(store.known(id_ or []))
            if condition is None
            else len(store.ids_where(to_sql(condition, store.facets())))
        )
        store.close()
        raise ConfigError(f"{folder}: that would delete {found} documents; say --yes to do it")
    writer = IndexWriter(folder)
    try:
        count = writer.delete(id_ or []) if condition is None else writer.delete_where(condition)
        writer.refresh()
    finally:
        writer.close()
    if as_json:
        print_json({"deleted": count})
        return
    note(f"{folder}: {count} deleted")


@app.command()
def patch(
    folder: Folder,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of a document.")],
    changes: Annotated[
        str, typer.Argument(help='New metadata as JSON: {"year": 2021}; null takes a field away.')
    ],
    as_json: AsJson = False,
) -> None:
    """Change a document's metadata without embedding it again."""
    writer = IndexWriter(folder)
    try:
        document = writer.patch(id_, as_object(changes))
    finally:
        writer.close()
    if as_json:
        print_json({"id": document.id, "metadata": dict(document.metadata)})
        return
    note(f"{folder}: {document.id!r} has {json.dumps(document.metadata, ensure_ascii=False)}")


def as_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the changes are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError('the changes must be a JSON object such as {"year": 2021}')
    return found


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
        typer.echo(problem)
    if damage:
        raise typer.Exit(1)
    note(f"{folder}: whole")


@app.command()
def compact(folder: Folder, as_json: AsJson = False) -> None:
    """Give back the room of what was deleted, and build the snapshot anew."""
    before, after = compact_index(folder)
    if as_json:
        print_json({"bytes_before": before, "bytes": after})
        return
    note(f"{folder}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")


@app.command("reembed")
def reembed_index(
    folder: Folder,
    encoder: Annotated[str, typer.Option(help="The new document encoder, as trimseek index.")],
    as_json: AsJson = False,
) -> None:
    """Embed an index anew with another encoder, while the old one goes on serving."""
    name = absolute_name(encoder)
    report = reembed(folder, DocumentEncoder(find_encoder(name)), name)
    if as_json:
        print_json(asdict(report))
        return
    note(f"{folder}: {report.added} embedded by {name} in {report.seconds:.1f} s")


@app.command()
def export(
    folder: Folder,
    into: Annotated[Path, typer.Option("-o", "--into", help="A new .jsonl or .parquet file.")],
    vectors: Annotated[
        bool, typer.Option("--vectors", help="With the passages and their vectors.")
    ] = False,
) -> None:
    """Write every document to a JSON Lines or Parquet file, as trimseek index reads it."""
    count = export_index(folder, into, vectors=vectors)
    note(f"{into}: {count:,} documents, {into.stat().st_size / 1e6:.1f} MB")


@app.command()
def snapshot(
    folder: Folder,
    into: Annotated[Path, typer.Option("-o", "--into", help="The file to write.")],
) -> None:
    """Copy an index into one file, while it may be written to."""
    write_backup(folder, into)
    note(f"{into}: {into.stat().st_size / 1e6:.1f} MB")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What trimseek snapshot wrote.")],
    into: Annotated[Path, typer.Option(help="The index folder to make.")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace an index that is there.")] = False,
) -> None:
    """Make an index folder from a snapshot file, which is verified first."""
    if into.exists() and not yes:
        raise ConfigError(f"{into}: exists already; say --yes to replace it")
    restore_backup(file, into)
    note(f"{into}: restored from {file}")
