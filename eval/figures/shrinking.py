"""What pruning and storing in fewer bits cost without any training, on judged collections.

python -m trimseek.eval.figures shrinking COLLECTION [COLLECTION ...]

Rows go into results/shrinking.json as soon as a collection is done; rows of other collections stay.
Each collection is compressed on its own documents, unlabelled. Documents and queries both go
through the small encoder. Losses are relative to float32.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from trimseek.compression.budget import Budget
from trimseek.compression.candidates import Compressor
from trimseek.compression.judge import Judge
from trimseek.compression.trial import Trial, whole
from trimseek.encoders.catalog import read_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Recipe
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
from trimseek.eval.quality.collection import read_collection
from trimseek.eval.quality.significance import Interval

BASE = "minilm"
SHRINKING = RESULTS / "shrinking.json"
RECIPES = {
    "75 % of heads and neurons": Recipe(keep=0.75),
    "50 % of heads and neurons": Recipe(keep=0.5),
    "all of them, int4 token table": Recipe(quantization=Quantization(table=Precision.INT4)),
}


@dataclass(frozen=True)
class Shrinking(CollectionRow):
    """One recipe on one collection.

    ``exact``: nDCG@10 of float32; ``loss``: relative to it, with its 95 % interval.
    """

    recipe: str
    shape: str
    graph_bytes: int
    exact: float
    loss: float
    interval: Interval


def measure_shrinking(name: str) -> Iterator[Shrinking]:
    """Every recipe on one collection; the matrices are int8."""
    base, _ = read_encoder(BASE)
    collection = read_collection(name)
    judged = whole(collection)
    with tempfile.TemporaryDirectory(prefix="trimseek-shrinking-") as folder:
        documents = list(collection.documents.values())
        trial = Trial(collection.name, judged, judged)
        compressor = Compressor(base, trial, documents, [], Budget(), Path(folder))
        exact = float(Judge(judged, compressor.reference, None).judged.exact.mean())
        for title, recipe in RECIPES.items():
            measurement = compressor.attempt(recipe, f"{collection.name}: {title}").measurement
            yield Shrinking(
                collection.name,
                title,
                measurement.shape,
                measurement.graph_bytes,
                exact,
                measurement.loss,
                measurement.interval,
            )


def read_shrinking() -> list[Shrinking]:
    """The committed rows."""
    return read_figures(SHRINKING, list[Shrinking])


def shrinking_cells(rows: Sequence[Shrinking]) -> Cells:
    """A row for each recipe, a column for each collection, and the mean."""
    collections = collections_of(rows)
    lines = []
    for recipe, measured in by_collection(rows, lambda row: row.recipe).items():
        largest = max(row.graph_bytes for row in measured.values())
        cells = collection_cells(measured, collections, lambda row: f"{1 - row.loss:.1%}")
        mean = f"{fmean(1 - row.loss for row in measured.values()):.1%}"
        lines.append([recipe, f"{largest / 1e6:.1f}", *cells, mean])
    title = "nDCG@10 kept of float32's, without training"
    return Cells(title, ["recipe", "MB", *collections, "mean"], lines)


def main(names: Sequence[str]) -> None:
    """Measure the collections named on the command line."""
    measure_again(SHRINKING, Shrinking, names, measure_shrinking)
