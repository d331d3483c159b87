"""vectors-<n>.bin beside a snapshot: the stored vectors of its chunks, mapped by those who search.

A search reads the vectors of some dozens of chunks, and which documents they are of, out of memory
that all processes share, in place of rows of the database; the walk of a graph reads their
sketches, too.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import sha256_of, sync_file
from trimseek.checked import CheckedFile
from trimseek.errors import IndexFolderError
from trimseek.indexer.mapped import mapped
from trimseek.indexer.rows import ChunkVectors, SnapshotRecord
from trimseek.indexer.sketches import (
    ROUNDS,
    Sketches,
    SketchModel,
    sample_of,
    sketch_bytes,
    sketch_model,
    sketch_rows,
    slices,
)

MAGIC = b"trimvec2"
ALIGNMENT = 64  # bytes
HEAD = 64  # bytes: the magic; count of chunks, size of a vector, whether sketched: 8 bytes each
LARGEST_EXPONENT = 0x7C00  # of a float16 that is not finite
LARGEST_NUMBER = 65_504.0  # of what sketches share, as of a float16


class VectorsFile(NamedTuple):
    """What is in the file; ``sketches``: None where there are none."""

    chunks: ChunkVectors
    sketches: Sketches | None


def write_vectors(
    batches: Iterable[ChunkVectors], dim: int, path: Path, *, sketched: bool = False
) -> str:
    """Write the file, which is on the disk then; its sha256.

    The head, vectors ``(n, dim) float16``, keys and documents ``(n,) int64``, and where it is
    ``sketched`` mean, flips and spread ``((1 + ROUNDS) * dim + 1,) float32`` and the sketches, each
    beginning at a multiple of 64 bytes.
    """
    keys, documents = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with path.open("wb") as file:
        file.write(bytes(HEAD))
        for batch in batches:
            file.write(np.asarray(batch.vectors, "<f2").tobytes())
            keys.append(batch.keys)
            documents.append(batch.documents)
        for column in (keys, documents):
            align(file)
            file.write(np.concatenate(column).astype("<i8").tobytes())
        count = sum(map(len, keys))
        sketched = sketched and count > 0
        if sketched:
            align(file)
            file.flush()
            stored = np.memmap(path, "<f2", "r", HEAD, (count, dim))
            write_sketches(np.asarray(stored), file)
        file.seek(0)
        file.write(head_of(count, dim, sketched=sketched))
    sync_file(path)
    return sha256_of(path)


def write_sketches(stored: NDArray[np.float16], file: BinaryIO) -> None:
    """Write the sketches of vectors ``(n, dim)``."""
    model = sketch_model(stored[sample_of(len(stored))].astype(np.float32))
    numbers = np.concatenate([model.mean, model.flips.ravel(), [model.spread]])
    file.write(numbers.astype("<f4").tobytes())
    align(file)
    for some in slices(len(stored)):
        file.write(sketch_rows(stored[some].astype(np.float32), model).tobytes())


def align(file: BinaryIO) -> None:
    """Go on at a multiple of ``ALIGNMENT``."""
    file.write(bytes(-file.tell() % ALIGNMENT))


def head_of(count: int, dim: int, *, sketched: bool) -> bytes:
    """The beginning of a file, without what fills it up."""
    return MAGIC + b"".join(number.to_bytes(8, "little") for number in (count, dim, int(sketched)))


def read_vectors(
    record: SnapshotRecord, sha256: str, path: Path, dim: int, *, anew: bool = False
) -> VectorsFile:
    """What is in the file, mapped; IndexFolderError if it is missing or damaged.

    ``anew``: its content is checked though it was checked before (``trimseek.checked``).
    """
    checked = CheckedFile(path, sha256, anew=anew)
    content = mapped(checked)
    try:
        file = parts_of(content, record.chunks, dim)
        if checked.known:
            return file
        check(file, record)
    except ValueError as error:
        raise IndexFolderError(f"{path}: damaged: {error}") from error
    checked.note()
    return file


def parts_of(content: NDArray[np.uint8], count: int, dim: int) -> VectorsFile:
    """The arrays in a file's bytes; ValueError where it is not of so many vectors of that size."""
    keys = padded(HEAD + count * dim * 2)
    documents = padded(keys + count * 8)
    shared = padded(documents + count * 8)
    numbers_end = shared + ((1 + ROUNDS) * dim + 1) * 4
    rows = padded(numbers_end)
    head = content[: len(head_of(0, 0, sketched=False))].tobytes()
    sketched = head == head_of(count, dim, sketched=True)
    size = rows + count * sketch_bytes(dim) if sketched else documents + count * 8
    if (not sketched and head != head_of(count, dim, sketched=False)) or len(content) != size:
        raise ValueError(f"it is not of {count} vectors of {dim} dimensions")
    chunks = ChunkVectors(
        content[keys : keys + count * 8].view("<i8"),
        content[HEAD : HEAD + count * dim * 2].view("<f2").reshape(count, dim),
        content[documents : documents + count * 8].view("<i8"),
    )
    if not sketched:
        return VectorsFile(chunks, None)
    numbers = content[shared:numbers_end].view("<f4")
    flips = numbers[dim:-1].reshape(ROUNDS, dim)
    model = SketchModel(numbers[:dim], flips, float(numbers[-1]))
    return VectorsFile(chunks, Sketches(model, content[rows:].reshape(count, -1)))


def check(file: VectorsFile, record: SnapshotRecord) -> None:
    """ValueError unless keys ascend to the recorded last one, and all numbers are finite.

    Those of sketches may be anything: a walk that they mislead finds less.
    """
    keys = file.chunks.keys
    if len(keys) and (
        keys[0] < 1 or keys[-1] > record.last_chunk or np.diff(keys).min(initial=1) < 1
    ):
        raise ValueError("its keys are not in order")
    exponents = file.chunks.vectors.view("<u2") & LARGEST_EXPONENT
    if (exponents == LARGEST_EXPONENT).any():
        raise ValueError("a vector is not finite")
    if file.sketches is not None:
        for numbers in file.sketches.model:
            if not (np.abs(numbers) <= LARGEST_NUMBER).all():
                raise ValueError("what its sketches share is not finite")


def padded(size: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT
