"""Two encoders of one space side by side, on unlabelled text."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from encoders.card import EncoderCard, described
from encoders.encoder import DocumentEncoder, QueryEncoder
from encoders.folder import GRAPH, open_encoder
from encoders.weights import FloatArray
from eval.agreement import agreement
from eval.collection import TestCollection
from eval.latency import query_milliseconds
from eval.report import Cells
from eval.retrieval import EXACT, build_index, rank
from trimseek.errors import EncoderError

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
class Comparison:
    """Both, and how far the second agrees with the first.

    ``cosine``: mean over documents of their two vectors. ``overlap``, ``rbo``: of the rankings of
    each one's documents for each one's queries (``eval.agreement``); ``query_overlap``: when only
    the queries are the second's.
    """

    first: Side
    second: Side
    cosine: float
    query_cosine: float
    overlap: float
    rbo: float
    query_overlap: float


class Embedded(NamedTuple):
    """A collection as one encoder sees it; vectors ``(n, dim) float32``."""

    folder: Path
    card: EncoderCard
    documents: FloatArray
    queries: FloatArray
    documents_per_second: float

    def side(self, query_ms: float) -> Side:
        return Side(
            name=self.card.name,
            shape=described(self.card.layers),
            storage=str(self.card.quantization),
            graph_bytes=(self.folder / GRAPH).stat().st_size,
            query_ms=query_ms,
            documents_per_second=self.documents_per_second,
        )


def compare_encoders(first: Path, second: Path, collection: TestCollection) -> Comparison:
    """EncoderError if the two are of different spaces."""
    if open_encoder(first).space != open_encoder(second).space:
        raise EncoderError(f"{first} and {second} are of different spaces; nothing to compare")
    return compare_with(first, [second], collection)[0]


def compare_with(
    first: Path, others: Sequence[Path], collection: TestCollection
) -> list[Comparison]:
    """Each of the others with the first, all of one space; timed in turns with one another."""
    theirs, *ours = (embed_collection(each, collection) for each in (first, *others))
    first_ms, *times = query_milliseconds([first, *others], collection)
    index = build_index(EXACT, theirs.documents)
    ranking = rank(collection, index, theirs.queries, DEPTH)[0]
    comparisons = []
    for each, ms in zip(ours, times, strict=True):
        own = rank(collection, build_index(EXACT, each.documents), each.queries, DEPTH)[0]
        mixed = rank(collection, index, each.queries, DEPTH)[0]
        found = agreement(ranking, own)
        comparisons.append(
            Comparison(
                theirs.side(first_ms),
                each.side(ms),
                cosine=mean_cosine(theirs.documents, each.documents),
                query_cosine=mean_cosine(theirs.queries, each.queries),
                overlap=found.overlap,
                rbo=found.rbo,
                query_overlap=agreement(ranking, mixed).overlap,
            )
        )
    return comparisons


def embed_collection(folder: Path, collection: TestCollection) -> Embedded:
    encoder = DocumentEncoder(folder)
    began = time.perf_counter()
    documents = encoder.encode(list(collection.documents.values())).vectors
    rate = len(collection.documents) / (time.perf_counter() - began)
    queries = QueryEncoder(folder).encode(list(collection.queries.values())).vectors
    return Embedded(folder, encoder.card, documents, queries, rate)


def mean_cosine(ours: FloatArray, theirs: FloatArray) -> float:
    products = (ours * theirs).sum(1)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((products / lengths).mean())


def comparison_cells(found: Comparison) -> Cells:
    """Both sides as columns."""
    first, second = found.first, found.second
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
        ("cosine of documents", "1", f"{found.cosine:.4f}"),
        ("cosine of queries", "1", f"{found.query_cosine:.4f}"),
        ("overlap@10", "1", f"{found.overlap:.3f}"),
        ("RBO", "1", f"{found.rbo:.3f}"),
        ("overlap@10, its queries on the first's documents", "1", f"{found.query_overlap:.3f}"),
    ]
    return Cells("how far two encoders agree", ("", first.name, second.name), rows)
