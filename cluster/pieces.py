"""Pieces: some documents of a corpus with their passages and vectors, on the way to their shards.

A piece is a Parquet file that one encoder writes at a time, with a row group for each shard of
which it has documents. Whoever builds a shard reads its row groups of all pieces.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.cluster.placement import grouped, shard_of_key
from trimseek.cluster.storage import Storage, StoredFile
from trimseek.indexer.chunks import Chunk
from trimseek.indexer.documents import Document, document_metadata
from trimseek.indexer.metadata import stored_metadata

GROUPS = b"trimseek.shards"  # metadata of a piece: the shard of each row group


class PieceDocument(NamedTuple):
    """A document under its key. ``vectors (chunks, dim) float16``: None where they are known.

    Then an earlier build has embedded the same text.
    """

    key: int
    document: Document
    chunks: list[Chunk]
    vectors: NDArray[np.float16] | None


def piece_name(folder: str, file: int, batch: int) -> str:
    """Of a batch of a file of the corpus."""
    return f"{folder}/piece-{file:07d}-{batch:07d}.parquet"


def write_piece(storage: Storage, name: str, documents: Sequence[PieceDocument]) -> StoredFile:
    """Write a piece, wholly or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_shard = grouped(documents, lambda each: shard_of_key(each.key))
    shards = sorted(by_shard)
    schema = pa.schema(
        [
            ("key", pa.int64()),
            ("id", pa.string()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("metadata", pa.string()),
            ("where", pa.string()),
            ("own", pa.bool_()),
            ("starts", pa.list_(pa.int64())),
            ("ends", pa.list_(pa.int64())),
            ("vectors", pa.binary()),
        ],
        metadata={GROUPS: json.dumps(shards).encode()},
    )
    content = io.BytesIO()
    with pq.ParquetWriter(content, schema, compression="zstd") as writer:
        for shard in shards:
            writer.write_table(pa.Table.from_pylist(list(map(as_row, by_shard[shard])), schema))
    return storage.write(name, content.getvalue())


def as_row(each: PieceDocument) -> dict[str, Any]:
    """A document as a row of the file."""
    document = each.document
    return {
        "key": each.key,
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": document_metadata(document),
        "where": document.where,
        "own": document.vector is not None,
        "starts": [chunk.start for chunk in each.chunks],
        "ends": [chunk.end for chunk in each.chunks],
        "vectors": None if each.vectors is None else each.vectors.astype("<f2").tobytes(),
    }


def read_piece(storage: Storage, name: str, shard: int, dim: int) -> Iterator[PieceDocument]:
    """The documents of one shard in a piece, in the order of their keys."""
    import pyarrow.parquet as pq

    with storage.opened(name) as file:
        piece = pq.ParquetFile(file)
        shards = json.loads(piece.schema_arrow.metadata[GROUPS])
        if shard not in shards:
            return
        rows = piece.read_row_group(shards.index(shard)).to_pylist()
    for row in rows:
        vectors = None
        if row["vectors"] is not None:
            vectors = np.frombuffer(row["vectors"], "<f2").reshape(-1, dim)
        own = tuple(vectors[0].tolist()) if row["own"] and vectors is not None else None
        document = Document(
            *(row["id"], row["title"], row["text"], stored_metadata(row["metadata"])),
            *(row["where"], own),
        )
        places = zip(row["starts"], row["ends"], strict=True)
        chunks = [Chunk(start, end, row["text"][start:end]) for start, end in places]
        yield PieceDocument(row["key"], document, chunks, vectors)
