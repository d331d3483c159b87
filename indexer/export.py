"""Every document of an index in a file that ``trimseek index`` reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimseek.atomic import atomic_file
from trimseek.console import progress
from trimseek.errors import ConfigError, MissingExtraError
from trimseek.indexer.folder import open_index
from trimseek.indexer.store import Store

AT_A_TIME = 1024
RESERVED = ("_id", "title", "text", "passages")


def export_index(folder: Path, path: Path, *, vectors: bool = False) -> int:
    """Write JSON Lines or Parquet, by the file's ending; how many documents.

    Metadata are fields of their own in JSON Lines, and one JSON text in Parquet. ``vectors``:
    with ``passages``, a list of start, end (characters of the text) and vector (float32 numbers).
    """
    if path.exists():
        raise ConfigError(f"{path}: exists already; name a file that does not")
    if path.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(f"{path}: name a .jsonl or a .parquet file")
    write = write_jsonl if path.suffix == ".jsonl" else write_parquet
    with (
        open_index(folder) as (card, store),
        store.reading() as frozen,
        atomic_file(path) as temporary,
    ):
        rows = export_rows(frozen, card.dim, vectors=vectors)
        return write(rows, temporary, frozen.counts().documents)


def export_rows(store: Store, dim: int, *, vectors: bool) -> Iterator[dict[str, Any]]:
    """A row for each document, as ``trimseek index`` reads it."""
    for part in store.all_documents(AT_A_TIME):
        places = store.chunks_of([key for key, _ in part]) if vectors else {}
        for key, document in part:
            row: dict[str, Any] = {
                "_id": document.id,
                "title": document.title,
                "text": document.text,
                "metadata": document.metadata,
            }
            if vectors:
                chunks = places.get(key, [])
                stored = store.vectors_of([place.key for place in chunks], dim).vectors
                row["passages"] = [
                    {"start": place.start, "end": place.end, "vector": vector.tolist()}
                    for place, vector in zip(chunks, stored, strict=True)
                ]
            yield row


def write_jsonl(rows: Iterator[dict[str, Any]], path: Path, total: int) -> int:
    """Write rows as JSON Lines; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file, progress("exporting", total) as ticker:
        for row in rows:
            metadata = row.pop("metadata")
            for name, value in metadata.items():
                row[f"metadata.{name}" if name in RESERVED else name] = value
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
            ticker.advance(1)
    return count


def write_parquet(rows: Iterator[dict[str, Any]], path: Path, total: int) -> int:
    """Write rows as Parquet; how many. MissingExtraError without pyarrow."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("a Parquet file", "parquet") from None
    count, writer = 0, None
    try:
        with progress("exporting", total) as ticker:
            while part := [row for row, _ in zip(rows, range(AT_A_TIME), strict=False)]:
                for row in part:
                    row["metadata"] = json.dumps(row["metadata"], ensure_ascii=False)
                table = pa.Table.from_pylist(part, schema=writer and writer.schema)
                if writer is None:
                    writer = pq.ParquetWriter(path, table.schema)
                writer.write_table(table)
                count += len(part)
                ticker.advance(len(part))
    finally:
        if writer is not None:
            writer.close()
    return count
