"""Two encoders of one space side by side, on unlabelled text."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.card import described
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


def compare_encoders(first: Path, second: Path, collection: TestCollection) -> Comparison:
    """EncoderError if the two are of different spaces."""
    cards = [open_encoder(each) for each in (first, second)]
    if cards[0].space != cards[1].space:
        raise EncoderError(f"{first} and {second} are of different spaces; nothing to compare")
    documents, queries, rates = [], [], []
    for folder in (first, second):
        encoder = DocumentEncoder(folder)
        began = time.perf_counter()
        documents.append(encoder.encode(list(collection.documents.values())).vectors)
        rates.append(len(collection.documents) / (time.perf_counter() - began))
        queries.append(QueryEncoder(folder).encode(list(collection.queries.values())).vectors)
    indexes = [build_index(EXACT, vectors) for vectors in documents]
    theirs, ours, mixed = (
        rank(collection, indexes[i], queries[j], DEPTH)[0] for i, j in ((0, 0), (1, 1), (0, 1))
    )
    times = query_milliseconds([first, second], collection)
    found = agreement(theirs, ours)
    sides = [
        Side(
            name=card.name,
            shape=described(card.layers),
            storage=str(card.quantization),
            graph_bytes=(folder / GRAPH).stat().st_size,
            query_ms=ms,
            documents_per_second=rate,
        )
        for card, folder, ms, rate in zip(cards, (first, second), times, rates, strict=True)
    ]
    return Comparison(
        sides[0],
        sides[1],
        cosine=mean_cosine(*documents),
        query_cosine=mean_cosine(*queries),
        overlap=found.overlap,
        rbo=found.rbo,
        query_overlap=agreement(theirs, mixed).overlap,
    )


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
