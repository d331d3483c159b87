"""Every document of an index in a file that ``trimseek index`` reads."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trimseek.atomic import atomic_file
from trimseek.console import progress
from trimseek.errors import ConfigError, MissingExtraError
from trimseek.indexer.folder import open_index
from trimseek.indexer.store import Store

AT_A_TIME = 1024
RESERVED = ("_id", "title", "text", "passages", "vector")
PASSAGE_RESERVED = ("id", "document", "start", "end", "title", "text", "vector")


def export_index(folder: Path, path: Path, *, vectors: bool = False, passages: bool = False) -> int:
    """Write JSON Lines or Parquet, by the file's ending; how many rows.

    Metadata are fields of their own in JSON Lines, and one JSON text in Parquet. ``vectors``:
    with ``passages``, a list of start, end (characters of the text) and vector (float32 numbers).
    A document that brought its own vector has it in ``vector``. ``passages``: a row for each
    passage instead, with its ``vector``, in Parquet a list of a fixed size, as vector databases
    read it; its ``id`` is the document's with the passage's number behind.
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already; name a file that does not")
    if path.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"{path}: name a .jsonl or a .parquet file")
    with (
        open_index(folder) as (card, store),
        store.reading() as frozen,
        atomic_file(path) as temporary,
    ):
        counts = frozen.counts()
        if passages:
            rows, total = passage_rows(frozen, card.dim), counts.chunks
            reserved: Sequence[str] = PASSAGE_RESERVED
        else:
            rows, total = document_rows(frozen, card.dim, vectors=vectors), counts.documents
            reserved = RESERVED
        if path.suffix == ".jsonl":
            return write_jsonl(rows, temporary, total, reserved)
        dim = card.dim if passages else None
        return write_parquet(rows, temporary, total, dim, vectors=vectors)


def document_rows(store: Store, dim: int, *, vectors: bool) -> Iterator[dict[str, Any]]:
    """A row for each document, as ``trimseek index`` reads it."""
    for part in store.all_documents(AT_A_TIME):
        places = store.chunks_of([key for key, _ in part]) if vectors else {}
        for key, stored in part:
            document = store.with_own_vector(key, stored)
            row: dict[str, Any] = {
                "_id": document.id,
                "title": document.title,
                "text": document.text,
                "metadata": document.metadata,
            }
            if document.vector is not None:
                row["vector"] = list(document.vector)
            if vectors:
                chunks = places.get(key, [])
                found = store.vectors_of([place.key for place in chunks], dim).vectors
                row["passages"] = [
                    {"start": place.start, "end": place.end, "vector": vector.tolist()}
                    for place, vector in zip(chunks, found, strict=True)
                ]
            yield row


def passage_rows(store: Store, dim: int) -> Iterator[dict[str, Any]]:
    """A row for each passage, in the order of documents."""
    for part in store.all_documents(AT_A_TIME):
        places = store.chunks_of([key for key, _ in part])
        for key, document in part:
            chunks = places.get(key, [])
            found = store.vectors_of([place.key for place in chunks], dim).vectors
            for number, (place, vector) in enumerate(zip(chunks, found, strict=True)):
                yield {
                    "id": f"{document.id}#{number}",
                    "document": document.id,
                    "start": place.start,
                    "end": place.end,
                    "title": document.title,
                    "text": document.text[place.start : place.end],
                    "metadata": document.metadata,
                    "vector": vector.tolist(),
                }


def write_jsonl(
    rows: Iterator[dict[str, Any]], path: Path, total: int, reserved: Sequence[str]
) -> int:
    """Write rows as JSON Lines; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file, progress("exporting", total) as ticker:
        for row in rows:
            metadata = row.pop("metadata")
            for name, value in metadata.items():
                row[f"metadata.{name}" if name in reserved else name] = value
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
            ticker.advance(1)
    return count


def write_parquet(
    rows: Iterator[dict[str, Any]], path: Path, total: int, dim: int | None, *, vectors: bool
) -> int:
    """Write rows as Parquet; how many. MissingExtraError without pyarrow.

    ``dim``: of rows of passages; None where they are of documents. ``vectors``: these have them.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("a Parquet file", "parquet") from None
    count, schema = 0, parquet_schema(pa, dim, vectors=vectors)
    with pq.ParquetWriter(path, schema) as writer, progress("exporting", total) as ticker:
        while part := [row for row, _ in zip(rows, range(AT_A_TIME), strict=False)]:
            for row in part:
                row["metadata"] = json.dumps(row["metadata"], ensure_ascii=False)
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
            count += len(part)
            ticker.advance(len(part))
    return count


def parquet_schema(pa: Any, dim: int | None, *, vectors: bool) -> Any:
    """The columns of ``passage_rows`` of vectors of that size, or of ``document_rows``."""
    numbers = pa.list_(pa.float32())
    if dim is not None:
        texts, places = ["id", "document"], [("start", pa.int64()), ("end", pa.int64())]
        rest = [("title", pa.string()), ("text", pa.string()), ("metadata", pa.string())]
        vector = ("vector", pa.list_(pa.float32(), dim))
        return pa.schema([*((name, pa.string()) for name in texts), *places, *rest, vector])
    columns = [(name, pa.string()) for name in ("_id", "title", "text", "metadata")]
    columns.append(("vector", numbers))
    if vectors:
        passage = [("start", pa.int64()), ("end", pa.int64()), ("vector", numbers)]
        columns.append(("passages", pa.list_(pa.struct(passage))))
    return pa.schema(columns)
