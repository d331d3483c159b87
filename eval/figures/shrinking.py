"""What each technique of compression costs and brings without any training, on judged collections.

python -m trimseek.eval.figures shrinking COLLECTION [COLLECTION ...] [--only TEXT ...]

Rows go into results/shrinking.json as soon as a collection is done; rows of other collections, and
those of recipes whose name has none of the texts behind --only, stay.
Each collection is compressed on its own documents, unlabelled. Documents and queries both go
through the small encoder. Losses are relative to float32.
"""

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from trimseek.compression.budget import Budget
from trimseek.compression.candidates import Compressor
from trimseek.compression.judge import Judge
from trimseek.compression.techniques import PRUNING, SPARSITY, STORAGE, VOCABULARY
from trimseek.compression.trial import Trial, whole
from trimseek.encoders.catalog import read_encoder
from trimseek.encoders.shrink.recipe import Recipe
from trimseek.errors import ConfigError
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
RECIPES = PRUNING | STORAGE | VOCABULARY | SPARSITY


@dataclass(frozen=True)
class Shrinking(CollectionRow):
    """One recipe on one collection.

    ``exact``: nDCG@10 of float32; ``loss``: relative to it, with its 95 % interval. ``speedup``: of
    a query, times float32's.
    """

    recipe: str
    shape: str
    graph_bytes: int
    speedup: float
    exact: float
    loss: float
    interval: Interval


def measure_shrinking(name: str, recipes: Mapping[str, Recipe] = RECIPES) -> Iterator[Shrinking]:
    """Every recipe on one collection; the matrices are int8."""
    base, _ = read_encoder(BASE)
    collection = read_collection(name)
    judged = whole(collection)
    with tempfile.TemporaryDirectory(prefix="trimseek-shrinking-") as folder:
        documents = list(collection.documents.values())
        trial = Trial(collection.name, judged, judged)
        compressor = Compressor(base, trial, documents, [], Budget(), Path(folder))
        exact = float(Judge(judged, compressor.reference, None).judged.exact.mean())
        for title, recipe in recipes.items():
            measurement = compressor.attempt(recipe, f"{collection.name}: {title}").measurement
            yield Shrinking(
                collection.name,
                title,
                measurement.shape,
                measurement.graph_bytes,
                measurement.speedup,
                exact,
                measurement.loss,
                measurement.interval,
            )
        compressor.state.remove()


def read_shrinking() -> list[Shrinking]:
    """The committed rows."""
    return read_figures(SHRINKING, list[Shrinking])


def shrinking_cells(rows: Sequence[Shrinking]) -> Cells:
    """A row for each recipe; for each collection what is kept, and half of its interval."""
    collections = collections_of(rows)
    lines = []
    for recipe, measured in by_collection(rows, lambda row: row.recipe).items():
        largest = max(row.graph_bytes for row in measured.values())
        speedup = f"{median(row.speedup for row in measured.values()):.1f}x"
        cells = collection_cells(measured, collections, kept)
        mean = f"{fmean(1 - row.loss for row in measured.values()):.1%}"
        lines.append([recipe, f"{largest / 1e6:.1f}", speedup, *cells, mean])
    title = "nDCG@10 kept of float32's, without training; a query's speed, times float32's"
    return Cells(title, ["recipe", "MB", "speed", *collections, "mean"], lines)


def kept(row: Shrinking) -> str:
    """``98.6% ±0.9``: of float32's nDCG@10, and half of the 95 % interval."""
    low, high = row.interval
    return f"{1 - row.loss:.1%} ±{50 * (high - low):.1f}"


def main(arguments: Sequence[str]) -> None:
    """Measure the collections named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("collections", nargs="+", metavar="COLLECTION")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT")
    chosen = parser.parse_args(arguments)
    recipes = {
        name: recipe
        for name, recipe in RECIPES.items()
        if any(text in name for text in chosen.only)
    }
    if not recipes:
        raise ConfigError(f"--only {' '.join(chosen.only)}: no recipe has that in its name")

    def measure(name: str) -> list[Shrinking]:
        measured = {row.recipe: row for row in measure_shrinking(name, recipes)}
        collection = next(iter(measured.values())).collection
        known = {row.recipe: row for row in read_shrinking() if row.collection == collection}
        rows = known | measured
        return [rows[recipe] for recipe in RECIPES if recipe in rows]

    measure_again(SHRINKING, Shrinking, chosen.collections, measure)
