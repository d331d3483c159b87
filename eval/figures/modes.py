"""nDCG@10 of the search modes on judged collections: by meaning, by words, by both.

python -m trimseek.eval.figures modes COLLECTION [COLLECTION ...]

Rows go into results/modes.json as soon as a collection is done; rows of other collections stay.
Each collection becomes an index with one passage for each document, cut where the encoder stops
reading, as in ``trimseek bench``. Vectors come from its cache where they are there.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from trimseek.console import progress
from trimseek.encoders import DEFAULT_ENCODER, DocumentEncoder, find_encoder
from trimseek.encoders.cached import embed_with
from trimseek.eval.bench.report import Cells
from trimseek.eval.figures.files import (
    RESULTS,
    CollectionRow,
    by_collection,
    collection_cells,
    collections_of,
    measure_again,
    read_figures,
)
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.eval.quality.measures import measure_run, parse_measure
from trimseek.eval.quality.significance import Interval, Values, loss, loss_interval
from trimseek.eval.quality.words import store_passages
from trimseek.indexer.card import IndexCard
from trimseek.search import Searcher
from trimseek.search.options import Fusion, Mode, Options

MODES = RESULTS / "modes.json"
MEASURE = parse_measure("nDCG@10")
MODES_MEASURED = {mode.value: Options(mode=mode) for mode in Mode} | {
    "hybrid by ranks": Options(fusion=Fusion.RANKS)
}


@dataclass(frozen=True)
class ModeQuality(CollectionRow):
    """nDCG@10 of one mode; ``gain``: relative to dense, with its paired bootstrap 95 % interval."""

    mode: str
    value: float
    gain: float
    interval: Interval


def measure_modes(name: str) -> Iterator[ModeQuality]:
    """Every mode on one collection, by the default encoder."""
    collection = read_collection(name)
    with tempfile.TemporaryDirectory(prefix="trimseek-modes-") as name:
        folder = Path(name) / "index"
        make_index(collection, folder, DEFAULT_ENCODER)
        with Searcher(folder) as searcher:
            values = {
                name: ndcg_values(searcher, collection, name, options)
                for name, options in MODES_MEASURED.items()
            }
    dense = values[Mode.DENSE.value]
    for mode, of_mode in values.items():
        low, high = loss_interval(dense, of_mode)
        yield ModeQuality(
            collection.name,
            mode,
            float(of_mode.mean()),
            -loss(dense, of_mode),
            Interval(-high, -low),
        )


def make_index(collection: TestCollection, folder: Path, name: str) -> None:
    """An index of the collection by an encoder, with one passage for each document."""
    encoder = DocumentEncoder(find_encoder(name))
    texts = list(collection.documents.values())
    vectors = embed_with(encoder, texts, f"{collection.name}: documents")
    card = IndexCard(encoder.card.space, encoder.dim, name, overlap=0)
    store_passages(folder, card, collection.documents, vectors)


def ndcg_values(
    searcher: Searcher, collection: TestCollection, label: str, options: Options
) -> Values:
    """nDCG@10 of each query. A query that has a document's id never finds that document."""
    run: dict[str, dict[str, float]] = {}
    with progress(f"{collection.name}: {label}", len(collection.queries)) as ticker:
        for id_, query in collection.queries.items():
            hits = searcher.search(query, MEASURE.depth + 1, options).hits
            run[id_] = {hit.id: hit.score for hit in hits if hit.id != id_}
            ticker.advance(1)
    values = measure_run(collection.qrels, run, [MEASURE])[str(MEASURE)]
    return np.array([values[query] for query in collection.queries])


def read_modes() -> list[ModeQuality]:
    """The committed rows."""
    return read_figures(MODES, list[ModeQuality])


def modes_cells(rows: Sequence[ModeQuality]) -> Cells:
    """A row for each mode, a column for each collection, and the mean."""
    collections = collections_of(rows)
    lines = []
    for mode, measured in by_collection(rows, lambda row: row.mode).items():
        cells = collection_cells(measured, collections, value_and_gain)
        mean = fmean(row.value for row in measured.values())
        lines.append([mode, *cells, f"{mean:.4f}"])
    return Cells(f"{MEASURE} by mode", ["mode", *collections, "mean"], lines)


def value_and_gain(row: ModeQuality) -> str:
    """``0.7073 (+9.2%)``; the value alone for dense, which the others are relative to."""
    gain = "" if row.mode == Mode.DENSE.value else f" ({row.gain:+.1%})"
    return f"{row.value:.4f}{gain}"


def main(names: Sequence[str]) -> None:
    """Measure the collections named on the command line."""
    measure_again(MODES, ModeQuality, names, measure_modes)
