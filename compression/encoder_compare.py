"""Two encoders of one space side by side, on unlabelled text."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimseek.compression.latency import query_milliseconds
from trimseek.encoders.card import EncoderCard, described
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import graph_bytes, open_encoder
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError
from trimseek.eval.bench.report import Cells
from trimseek.eval.quality.agreement import agreement
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.retrieval import EXACT, build_index, rank

DEPTH = 100


@dataclass(frozen=True)
class Side:
    """One encoder. ``documents_per_second`` in bulk; ``query_ms``: p50 of one query."""

    name: str
    shape: str
    storage: str
    graph_bytes: int
    query_ms: float
    documents_per_second: float


@dataclass(frozen=True)
class EncoderComparison:
    """Two encoders, and how far the second agrees with the first.

    ``cosine``, ``query_cosine``: mean cosine between the two vectors of a document, of a query.
    ``overlap``, ``rbo``: agreement of the two encoders' rankings (``eval.quality.agreement``),
    where each encodes documents and queries. ``query_overlap``: the same where the second encodes
    the queries and the first the documents.
    """

    first: Side
    second: Side
    cosine: float
    query_cosine: float
    overlap: float
    rbo: float
    query_overlap: float


class EmbeddedCollection(NamedTuple):
    """A collection's vectors ``(n, dim) float32`` by one encoder."""

    folder: Path
    card: EncoderCard
    documents: FloatArray
    queries: FloatArray
    documents_per_second: float

    def side(self, query_ms: float) -> Side:
        """The encoder's half of a comparison."""
        return Side(
            name=self.card.name,
            shape=described(self.card.layers),
            storage=str(self.card.quantization),
            graph_bytes=graph_bytes(self.folder),
            query_ms=query_ms,
            documents_per_second=self.documents_per_second,
        )


def compare_encoders(first: Path, second: Path, collection: TestCollection) -> EncoderComparison:
    """Compare two encoder folders; EncoderError if they are of different spaces."""
    if open_encoder(first).space != open_encoder(second).space:
        raise EncoderError(f"{first} and {second} are of different spaces; nothing to compare")
    return compare_with(first, [second], collection)[0]


def compare_with(
    first: Path, others: Sequence[Path], collection: TestCollection
) -> list[EncoderComparison]:
    """Compare each of the others with the first, all of one space; timed in turns."""
    base, *embedded = (embed_collection(folder, collection) for folder in (first, *others))
    base_ms, *times = query_milliseconds([first, *others], list(collection.queries.values()))
    base_index = build_index(EXACT, base.documents)
    base_ranking = rank(collection, base_index, base.queries, DEPTH)[0]
    comparisons = []
    for other, ms in zip(embedded, times, strict=True):
        other_index = build_index(EXACT, other.documents)
        ranking = rank(collection, other_index, other.queries, DEPTH)[0]
        mixed_ranking = rank(collection, base_index, other.queries, DEPTH)[0]
        agreed = agreement(base_ranking, ranking)
        comparisons.append(
            EncoderComparison(
                base.side(base_ms),
                other.side(ms),
                cosine=mean_cosine(base.documents, other.documents),
                query_cosine=mean_cosine(base.queries, other.queries),
                overlap=agreed.overlap,
                rbo=agreed.rbo,
                query_overlap=agreement(base_ranking, mixed_ranking).overlap,
            )
        )
    return comparisons


def embed_collection(folder: Path, collection: TestCollection) -> EmbeddedCollection:
    """Encode the documents, timed, and the queries."""
    encoder = DocumentEncoder(folder)
    began = time.perf_counter()
    documents = encoder.encode(list(collection.documents.values())).vectors
    rate = len(collection.documents) / (time.perf_counter() - began)
    queries = QueryEncoder(folder).encode(list(collection.queries.values())).vectors
    return EmbeddedCollection(folder, encoder.card, documents, queries, rate)


def mean_cosine(first: FloatArray, second: FloatArray) -> float:
    """Mean over rows of the cosine between two arrays ``(n, dim)``."""
    products = (first * second).sum(1)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float((products / lengths).mean())


def comparison_cells(comparison: EncoderComparison) -> Cells:
    """A column for each of the two encoders."""
    first, second = comparison.first, comparison.second
    rows = [
        ("heads/neurons", first.shape, second.shape),
        ("stored as", first.storage, second.storage),
        ("model MB", f"{first.graph_bytes / 1e6:.1f}", f"{second.graph_bytes / 1e6:.1f}"),
        ("one query, ms", f"{first.query_ms:.2f}", f"{second.query_ms:.2f}"),
        ("speed of a query", "1", f"{first.query_ms / second.query_ms:.2f}x"),
        (
            "documents a second",
            f"{first.documents_per_second:.0f}",
            f"{second.documents_per_second:.0f}",
        ),
        ("cosine of documents", "1", f"{comparison.cosine:.4f}"),
        ("cosine of queries", "1", f"{comparison.query_cosine:.4f}"),
        ("overlap@10", "1", f"{comparison.overlap:.3f}"),
        ("RBO", "1", f"{comparison.rbo:.3f}"),
        (
            "overlap@10, its queries on the first's documents",
            "1",
            f"{comparison.query_overlap:.3f}",
        ),
    ]
    return Cells("how far two encoders agree", ("", first.name, second.name), rows)
