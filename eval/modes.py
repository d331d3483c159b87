"""By meaning, by words, or by both: what each mode of search finds on judged collections.

python -m eval.modes COLLECTION [COLLECTION ...]

Rows go into eval/results/modes.json as soon as a collection is done; those of other collections
stay. Each collection becomes an index whose documents have one passage each, cut where the encoder
stops reading, as in ``trimseek bench``; their vectors come from its cache where they are there.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from encoders import DEFAULT_ENCODER, DocumentEncoder, find_encoder
from encoders.cached import embed_with
from eval.collection import TestCollection, read_collection
from eval.measures import Run, measure_run, parse_measure
from eval.output import CollectionRow, replace_rows
from eval.report import Cells
from eval.significance import Interval, Values, loss, loss_interval
from indexer.card import IndexCard
from indexer.chunks import Chunk
from indexer.documents import Document
from indexer.folder import create_files
from search import Searcher
from search.options import Mode, Options
from trimseek.console import progress

RESULTS = Path(__file__).parent / "results" / "modes.json"
MEASURE = parse_measure("nDCG@10")


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
    with tempfile.TemporaryDirectory(prefix="trimseek-modes-") as folder:
        make_index(collection, Path(folder))
        searcher = Searcher(Path(folder))
        try:
            values = {mode: quality(searcher, collection, mode) for mode in Mode}
        finally:
            searcher.close()
    dense = values[Mode.DENSE]
    for mode, own in values.items():
        low, high = loss_interval(dense, own)
        yield ModeQuality(
            collection.name,
            mode.value,
            float(own.mean()),
            -loss(dense, own),
            Interval(-high, -low),
        )


def make_index(collection: TestCollection, folder: Path) -> None:
    encoder = DocumentEncoder(find_encoder(DEFAULT_ENCODER))
    texts = list(collection.documents.values())
    vectors = embed_with(encoder, texts, f"{collection.name}: documents")
    card = IndexCard(encoder.card.space, encoder.dim, DEFAULT_ENCODER, overlap=0)
    store = create_files(folder, card)
    try:
        with store.transaction():
            rows = zip(collection.documents.items(), vectors, strict=True)
            for (id_, text), vector in rows:
                chunk = Chunk(0, len(text), text)
                store.upsert(Document(id_, "", text), [chunk], vector[None])
    finally:
        store.close()


def quality(searcher: Searcher, collection: TestCollection, mode: Mode) -> Values:
    """nDCG@10 of each query. A query that is called like a document never finds that document."""
    run: dict[str, dict[str, float]] = {}
    options = Options(mode=mode)
    with progress(f"{collection.name}: {mode.value}", len(collection.queries)) as ticker:
        for id_, query in collection.queries.items():
            hits = searcher.search(query, MEASURE.depth + 1, options).hits
            run[id_] = {hit.id: hit.score for hit in hits if hit.id != id_}
            ticker.advance(1)
    found: Run = run
    values = measure_run(collection.qrels, found, [MEASURE])[str(MEASURE)]
    return np.array([values[query] for query in collection.queries])


def read_modes() -> list[ModeQuality]:
    return TypeAdapter(list[ModeQuality]).validate_json(RESULTS.read_text("utf-8"))


def modes_cells(found: Sequence[ModeQuality]) -> Cells:
    """A row for each mode, a column for each collection, and the mean."""
    collections = list(dict.fromkeys(each.collection for each in found))
    rows = []
    for mode in dict.fromkeys(each.mode for each in found):
        own = {each.collection: each for each in found if each.mode == mode}
        cells = [mode]
        for name in collections:
            each = own[name]
            gain = "" if mode == Mode.DENSE.value else f" ({each.gain:+.1%})"
            cells.append(f"{each.value:.4f}{gain}")
        rows.append([*cells, f"{np.mean([each.value for each in own.values()]):.4f}"])
    return Cells(f"{MEASURE} by mode", ["mode", *collections, "mean"], rows)


def main(names: Sequence[str]) -> None:
    for name in names:
        replace_rows(RESULTS, read_modes(), list(measure_modes(name)))


if __name__ == "__main__":
    main(sys.argv[1:])
