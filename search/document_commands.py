"""Commands for the documents of an index: add, get, delete, patch."""

import json
from typing import Annotated, Any

import typer

from trimseek.console import note, print_json, progress, say_text
from trimseek.errors import ConfigError
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.documents import Fields, ReadOptions
from trimseek.options import (
    AsJson,
    Folder,
    IdField,
    SkipBad,
    TextColumns,
    TextField,
    TitleField,
    Where,
    Yes,
)
from trimseek.search.content import document_content
from trimseek.search.index import Index

app = typer.Typer()
SHOWN = 80  # characters of a text in the place of a title
DocumentId = Annotated[str, typer.Argument(metavar="ID", help="Id of a document.")]


@app.command()
def add(
    folder: Folder,
    corpus: Annotated[str, typer.Argument(help="Documents, as trimseek index takes them.")],
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    text_columns: TextColumns = False,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Add documents to an index, or replace them, while it is searched and served."""
    fields = Fields(id_field, title_field, text_field)
    source = open_corpus(corpus, ReadOptions(fields, text_columns, skip_bad))
    with Index(folder) as index, progress("adding") as ticker:
        counts = index.add(ticker.counted(source.documents()))._asdict()
    if as_json:
        print_json(counts)
        return
    for line in source.notices.sentences():
        note(line)
    note(f"{folder}: " + ", ".join(f"{count} {status}" for status, count in counts.items()))


@app.command()
def get(folder: Folder, id_: DocumentId, as_json: AsJson = False) -> None:
    """Print a document as it was indexed."""
    with Index(folder) as index:
        document = index.get(id_)
    if as_json:
        print_json(document_content(document))
        return
    if document.title:
        say_text(document.title)
    say_text(document.text)
    if document.metadata:
        note(json.dumps(document.metadata, ensure_ascii=False))


@app.command()
def documents(
    folder: Folder,
    where: Where = None,
    limit: Annotated[int, typer.Option("-n", "--limit", help="So many documents at most.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(help="Of the page before, as it was printed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List documents in the order in which they came."""
    with Index(folder) as index:
        page = index.page(where=where, limit=limit, cursor=cursor)
        warnings = index.warnings(where)
    for warning in warnings:
        note(warning)
    if as_json:
        found = [document_content(document) for document in page.documents]
        print_json({"documents": found, "cursor": page.cursor})
        return
    for document in page.documents:
        line = " ".join((document.title or document.text[:SHOWN]).split())
        say_text(f"{document.id}  {line}")
    if page.cursor is not None:
        note(f"more: --cursor {page.cursor}")


@app.command()
def count(folder: Folder, where: Where = None, as_json: AsJson = False) -> None:
    """Count documents."""
    with Index(folder) as index:
        counted = index.count(where=where)
        warnings = index.warnings(where)
    for warning in warnings:
        note(warning)
    if as_json:
        print_json({"documents": counted})
        return
    say_text(str(counted))


@app.command()
def delete(
    folder: Folder,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of documents.")
    ] = None,
    id_: Annotated[
        list[str] | None, typer.Option("--id", help="An id, as an option. Repeatable.")
    ] = None,
    where: Where = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Delete documents by their ids or by a filter."""
    chosen = [*(ids or ()), *(id_ or ())]
    if bool(chosen) == (where is not None):
        raise ConfigError("say which documents: their ids or --where FILTER, one of the two")
    with Index(folder) as index:
        for warning in index.warnings(where):
            note(warning)
        if not yes:
            count = index.count(chosen, where=where)
            raise ConfigError(f"{folder}: that would delete {count} documents; say --yes to do it")
        count = index.delete(chosen or None, where=where)
    if as_json:
        print_json({"deleted": count})
        return
    note(f"{folder}: {count} deleted")


@app.command()
def patch(
    folder: Folder,
    id_: DocumentId,
    changes: Annotated[
        str, typer.Argument(help='New metadata as JSON: {"year": 2021}; null removes a field.')
    ],
    as_json: AsJson = False,
) -> None:
    """Change a document's metadata without embedding it again."""
    with Index(folder) as index:
        document = index.patch(id_, as_object(changes))
    if as_json:
        print_json({"id": document.id, "metadata": dict(document.metadata)})
        return
    note(f"{folder}: {document.id!r} has {json.dumps(document.metadata, ensure_ascii=False)}")


def as_object(text: str) -> dict[str, Any]:
    """A JSON object; ConfigError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the changes are not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError('the changes must be a JSON object such as {"year": 2021}')
    return value
