"""What pairs of encoders find, by meaning and by both, and how fast each of the two is.

python -m trimseek.eval.figures pairs COLLECTION [COLLECTION ...]

A pair embeds documents with one encoder and queries with another. Rows go into results/pairs.json
as soon as a collection is done, and pairs.svg is drawn anew; rows of other collections stay.
Quality is relative to float32 for both, of vectors and of hybrid search each; speed to int8.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, geometric_mean, median
from typing import Any

from trimseek.compression.latency import query_milliseconds
from trimseek.compression.report import kept
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.encoders.pairs import Pair, split_pair
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.pareto import Panel, Point, as_svg, draw_panels
from trimseek.eval.bench.report import Cells, hardware_line
from trimseek.eval.figures.files import (
    RESULTS,
    CollectionRow,
    by_collection,
    collection_cells,
    collections_of,
    measure_again,
    read_figures,
)
from trimseek.eval.figures.modes import MEASURE, make_index, ndcg_values
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.eval.quality.significance import Interval, Values, loss, loss_interval
from trimseek.search import Searcher
from trimseek.search.options import Mode, Options

PAIRS = RESULTS / "pairs.json"
PICTURE = RESULTS / "pairs.svg"
REFERENCE = "minilm-float32"
FULL = "minilm-int8"
MEASURED = (
    REFERENCE,
    FULL,
    "minilm-int8+minilm-swift",
    "minilm-int8+minilm-dash",
    "minilm-brief+minilm-int8",
    "minilm-brief+minilm-swift",
    "minilm-swift",
)
TIMED_DOCUMENTS = 300
TIMED_ROUNDS = 3


@dataclass(frozen=True)
class PairQuality(CollectionRow):
    """One pair on one collection.

    ``dense``, ``hybrid``: nDCG@10 of exact search; ``dense_loss``, ``hybrid_loss``: relative to
    float32's in the same mode, with paired bootstrap 95 % intervals. ``query_ms``: p50 of encoding
    one query; ``document_ms``: of one document in bulk, both by all threads of ``cpu``.
    """

    pair: str
    dense: float
    dense_loss: float
    dense_interval: Interval
    hybrid: float
    hybrid_loss: float
    hybrid_interval: Interval
    query_ms: float
    document_ms: float
    cpu: str


def measure_pairs(name: str) -> Iterator[PairQuality]:
    """Every pair on one collection."""
    collection = read_collection(name)
    pairs = {name: split_pair(name) for name in MEASURED}
    found = measure_quality(collection, pairs)
    folders = {each: find_encoder(each) for pair in pairs.values() for each in pair}
    queries = list(collection.queries.values())
    names = list(dict.fromkeys(pair.queries for pair in pairs.values()))
    times = query_milliseconds([folders[each] for each in names], queries)
    query_ms = dict(zip(names, times, strict=True))
    names = list(dict.fromkeys(pair.documents for pair in pairs.values()))
    documents = list(collection.documents.values())
    sample = documents[:: max(1, len(documents) // TIMED_DOCUMENTS)][:TIMED_DOCUMENTS]
    times = document_milliseconds([folders[each] for each in names], sample)
    document_ms = dict(zip(names, times, strict=True))
    hardware = hardware_line(describe_machine(None, {}))
    dense, hybrid = found[REFERENCE]
    for title, pair in pairs.items():
        own_dense, own_hybrid = found[title]
        yield PairQuality(
            collection.name,
            title,
            float(own_dense.mean()),
            loss(dense, own_dense),
            loss_interval(dense, own_dense),
            float(own_hybrid.mean()),
            loss(hybrid, own_hybrid),
            loss_interval(hybrid, own_hybrid),
            query_ms[pair.queries],
            document_ms[pair.documents],
            hardware,
        )


def measure_quality(
    collection: TestCollection, pairs: dict[str, Pair]
) -> dict[str, tuple[Values, Values]]:
    """nDCG@10 of each query by vectors and by both, of each pair."""
    found: dict[str, tuple[Values, Values]] = {}
    for documents in dict.fromkeys(pair.documents for pair in pairs.values()):
        with tempfile.TemporaryDirectory(prefix="trimseek-pairs-") as folder:
            index = Path(folder) / "index"
            make_index(collection, index, documents)
            for title, pair in pairs.items():
                if pair.documents != documents:
                    continue
                with Searcher(index, pair.queries) as searcher:
                    dense, hybrid = (
                        ndcg_values(searcher, collection, f"{title}, {mode.value}", Options(mode))
                        for mode in (Mode.DENSE, Mode.HYBRID)
                    )
                found[title] = dense, hybrid
    return found


def document_milliseconds(folders: Sequence[Path], texts: Sequence[str]) -> list[float]:
    """Of one of many texts, by each encoder; in turns, so that a slow moment hits all."""
    encoders = [DocumentEncoder(folder) for folder in folders]
    times: list[list[float]] = [[] for _ in encoders]
    for _ in range(TIMED_ROUNDS):
        for encoder, seconds in zip(encoders, times, strict=True):
            began = time.perf_counter()
            encoder.encode(texts)
            seconds.append(time.perf_counter() - began)
    return [1000 * median(seconds) / len(texts) for seconds in times]


def read_pairs() -> list[PairQuality]:
    """The committed rows."""
    return read_figures(PAIRS, list[PairQuality])


def pairs_tables(rows: Sequence[PairQuality]) -> list[Cells]:
    """What to choose by, and what is kept of float32 on each collection."""
    return [
        choice_table(rows),
        kept_table(rows, f"{MEASURE} of vectors", dense_kept),
        kept_table(rows, f"{MEASURE} of hybrid search", hybrid_kept),
    ]


def choice_table(rows: Sequence[PairQuality]) -> Cells:
    """A row for each pair: means over the collections, and speeds as multiples of int8's."""
    headings = (
        *("documents + queries", "vectors", "worst", "hybrid", "worst "),
        *("query ms", "speed", "document ms", "speed "),
    )
    lines = []
    measured = by_collection(rows, lambda row: row.pair)
    full = measured[FULL]
    for pair, by_name in measured.items():
        own = list(by_name.values())
        dense = share_kept(*mean_loss([(row.dense_loss, row.dense_interval) for row in own]))
        hybrid = share_kept(*mean_loss([(row.hybrid_loss, row.hybrid_interval) for row in own]))
        query = geometric_mean(full[row.collection].query_ms / row.query_ms for row in own)
        document = geometric_mean(full[row.collection].document_ms / row.document_ms for row in own)
        lines.append(
            (
                pair,
                *(dense, f"{1 - max(row.dense_loss for row in own):.1%}"),
                *(hybrid, f"{1 - max(row.hybrid_loss for row in own):.1%}"),
                f"{geometric_mean(row.query_ms for row in own):.2f}",
                f"{query:.1f}x",
                f"{geometric_mean(row.document_ms for row in own):.2f}",
                f"{document:.1f}x",
            )
        )
    title = f"what is kept of float32's {MEASURE}, and speed beside {FULL}"
    return Cells(title, headings, lines)


def kept_table(
    rows: Sequence[PairQuality], title: str, cell: Callable[[PairQuality], str]
) -> Cells:
    """A row for each pair, a column for each collection."""
    collections = collections_of(rows)
    lines = [
        [pair, *collection_cells(measured, collections, cell)]
        for pair, measured in by_collection(rows, lambda row: row.pair).items()
        if pair != REFERENCE
    ]
    return Cells(f"kept of float32's {title}", ["documents + queries", *collections], lines)


def mean_loss(losses: Sequence[tuple[float, Interval]]) -> tuple[float, Interval]:
    """The mean of several collections' losses, and its 95 % interval from theirs.

    Collections are independent, so that the squares of their half widths add up.
    """
    mean = fmean(value for value, _ in losses)
    half = sum(((interval.high - interval.low) / 2) ** 2 for _, interval in losses) ** 0.5
    half /= len(losses)
    return mean, Interval(mean - half, mean + half)


def dense_kept(row: PairQuality) -> str:
    """``98.1% (96.9-99.2)``."""
    return share_kept(row.dense_loss, row.dense_interval)


def hybrid_kept(row: PairQuality) -> str:
    """As ``dense_kept``, of hybrid search."""
    return share_kept(row.hybrid_loss, row.hybrid_interval)


def share_kept(lost: float, interval: Interval) -> str:
    """What is not lost, with its interval."""
    low, high = kept(interval)
    return f"{1 - lost:.1%} ({low:.1f}-{high:.1f})"


def draw_pairs(rows: Sequence[PairQuality]) -> Any:
    """A matplotlib figure: what is kept against the time of a query, and of a document."""
    panels = []
    for title, cost in (("one query", "query_ms"), ("one document", "document_ms")):
        points = []
        for pair, measured in by_collection(rows, lambda row: row.pair).items():
            own = list(measured.values())
            lost, interval = mean_loss([(row.dense_loss, row.dense_interval) for row in own])
            latency = geometric_mean(getattr(row, cost) for row in own)
            quality = 100 * (1 - lost)
            points.append(Point(pair, latency, quality, peer=False, interval=kept(interval)))
        axis = f"% of float32's {MEASURE}, vectors"
        panels.append(Panel(title, axis, points, "encoding"))
    return draw_panels(panels, f"Pairs of encoders, {len(collections_of(rows))} collections")


def main(names: Sequence[str]) -> None:
    """Measure the collections named on the command line."""
    measure_again(PAIRS, PairQuality, names, measure_pairs)
    PICTURE.write_text(as_svg(draw_pairs(read_pairs())), "utf-8")
