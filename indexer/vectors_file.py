"""vectors-<n>.bin beside a snapshot: the stored vectors of its chunks, mapped by those who search.

A search reads the vectors of some dozens of chunks, and which documents they are of, out of memory
that all processes share, in place of rows of the database.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import sha256_of, sync_file
from trimseek.errors import IndexFolderError
from trimseek.indexer.mapped import mapped
from trimseek.indexer.rows import ChunkVectors, SnapshotRecord

MAGIC = b"trimvec1"
ALIGNMENT = 64  # bytes
HEAD = 64  # bytes: the magic, the count of chunks and the size of a vector, 8 bytes each
LARGEST_EXPONENT = 0x7C00  # of a float16 that is not finite


def write_vectors(batches: Iterable[ChunkVectors], dim: int, path: Path) -> str:
    """Write the file, which is on the disk then; its sha256.

    The head, vectors ``(n, dim) float16``, keys and documents ``(n,) int64``, each beginning at a
    multiple of 64 bytes.
    """
    keys, documents = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with path.open("wb") as file:
        file.write(bytes(HEAD))
        for batch in batches:
            file.write(np.asarray(batch.vectors, "<f2").tobytes())
            keys.append(batch.keys)
            documents.append(batch.documents)
        for column in (keys, documents):
            file.write(bytes(-file.tell() % ALIGNMENT))
            file.write(np.concatenate(column).astype("<i8").tobytes())
        count = sum(map(len, keys))
        file.seek(0)
        file.write(MAGIC + count.to_bytes(8, "little") + dim.to_bytes(8, "little"))
    sync_file(path)
    return sha256_of(path)


def read_vectors(record: SnapshotRecord, sha256: str, path: Path, dim: int) -> ChunkVectors:
    """What is in the file, mapped; IndexFolderError if it is missing or damaged."""
    content = mapped(path, sha256)
    try:
        return checked(parts_of(content, record.chunks, dim), record)
    except ValueError as error:
        raise IndexFolderError(f"{path}: damaged: {error}") from error


def parts_of(content: NDArray[np.uint8], count: int, dim: int) -> ChunkVectors:
    """The arrays in a file's bytes; ValueError where it is not of so many vectors of that size."""
    head = MAGIC + count.to_bytes(8, "little") + dim.to_bytes(8, "little")
    keys = padded(HEAD + count * dim * 2)
    documents = padded(keys + count * 8)
    if content[: len(head)].tobytes() != head or len(content) != documents + count * 8:
        raise ValueError(f"it is not of {count} vectors of {dim} dimensions")
    return ChunkVectors(
        content[keys : keys + count * 8].view("<i8"),
        content[HEAD : HEAD + count * dim * 2].view("<f2").reshape(count, dim),
        content[documents:].view("<i8"),
    )


def checked(chunks: ChunkVectors, record: SnapshotRecord) -> ChunkVectors:
    """ValueError unless keys ascend to the recorded last one, and all numbers are finite."""
    keys = chunks.keys
    if len(keys) and (
        keys[0] < 1 or keys[-1] > record.last_chunk or np.diff(keys).min(initial=1) < 1
    ):
        raise ValueError("its keys are not in order")
    exponents = chunks.vectors.view("<u2") & LARGEST_EXPONENT
    if (exponents == LARGEST_EXPONENT).any():
        raise ValueError("a vector is not finite")
    return chunks


def padded(size: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT
