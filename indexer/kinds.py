"""The kinds of FAISS structure that a snapshot can be; ``indexer.snapshot`` says what each is."""

from enum import Enum


class SnapshotKind(str, Enum):
    """FAISS structures that a snapshot can be, and ``auto``, which picks one by size."""

    AUTO = "auto"
    EXACT = "exact"
    SQ8 = "sq8"
    HNSW = "hnsw"
    IVF = "ivf"
