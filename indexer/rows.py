"""What is read from documents.db."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Vectors(NamedTuple):
    """Chunk keys ``(n,) int64`` and their vectors ``(n, dim) float16``."""

    keys: NDArray[np.int64]
    vectors: NDArray[np.float16]


class ChunkVectors(NamedTuple):
    """As ``Vectors``, with the key of each chunk's document ``(n,) int64``."""

    keys: NDArray[np.int64]
    vectors: NDArray[np.float16]
    documents: NDArray[np.int64]


class SnapshotRecord(NamedTuple):
    """A snapshot: number, kind, checksum, and the chunks it was made of.

    ``words``: checksum of the file of words beside it; "" where there is none.
    """

    number: int
    kind: str
    sha256: str
    last_chunk: int
    chunks: int
    words: str = ""


class ChunkPlace(NamedTuple):
    """A chunk's key, and which characters of its document's text it is."""

    key: int
    start: int
    end: int


class StoredChunk(NamedTuple):
    """A chunk, and its document without the text around it; ``metadata`` is JSON text."""

    key: int
    document: int
    id: str
    title: str
    metadata: str
    start: int
    end: int
    passage: str


class Counts(NamedTuple):
    """How many documents and chunks there are."""

    documents: int
    chunks: int
