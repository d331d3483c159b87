"""What pruning and storing in fewer bits cost without any training, on judged collections.

python -m eval.shrinking COLLECTION [COLLECTION ...]

Rows go into eval/results/shrinking.json as soon as a collection is done; those of other collections
stay. Each collection is compressed on its own documents, unlabelled; documents and queries both go
through the small encoder, and are compared with float32's.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from encoders.catalog import read_encoder
from encoders.quantize import Precision, Quantization
from encoders.shrink.recipe import Recipe
from eval.collection import read_collection
from eval.compress import Budget, Compressor
from eval.output import CollectionRow, replace_rows
from eval.report import NOTHING, Cells
from eval.significance import Interval

BASE = "minilm"
RESULTS = Path(__file__).parent / "results" / "shrinking.json"
RECIPES = {
    "75 % of heads and neurons": Recipe(keep=0.75),
    "50 % of heads and neurons": Recipe(keep=0.5),
    "all of them, int4 token table": Recipe(quantization=Quantization(table=Precision.INT4)),
}


@dataclass(frozen=True)
class Shrinking(CollectionRow):
    """One recipe on one collection; ``loss`` of nDCG@10 is relative to float32's ``exact``."""

    recipe: str
    shape: str
    graph_bytes: int
    exact: float
    loss: float
    interval: Interval


def measure_shrinking(name: str) -> Iterator[Shrinking]:
    """Every recipe on one collection; the matrices are int8."""
    base, _ = read_encoder(BASE)
    trial = read_collection(name)
    with tempfile.TemporaryDirectory(prefix="trimseek-shrinking-") as folder:
        documents = list(trial.documents.values())
        compressor = Compressor(base, trial, documents, [], Budget(), Path(folder))
        for title, recipe in RECIPES.items():
            tried = compressor.attempt(recipe, f"{trial.name}: {title}").tried
            exact = float(compressor.exact.mean())
            yield Shrinking(
                trial.name, title, tried.shape, tried.graph_bytes, exact, tried.loss, tried.interval
            )


def read_shrinking() -> list[Shrinking]:
    return TypeAdapter(list[Shrinking]).validate_json(RESULTS.read_text("utf-8"))


def shrinking_cells(found: Sequence[Shrinking]) -> Cells:
    """A row for each recipe, a column for each collection, and the mean."""
    collections = list(dict.fromkeys(each.collection for each in found))
    rows = []
    for recipe in dict.fromkeys(each.recipe for each in found):
        own = {each.collection: each for each in found if each.recipe == recipe}
        kept = [1 - own[name].loss for name in collections if name in own]
        cells = [f"{1 - own[name].loss:.1%}" if name in own else NOTHING for name in collections]
        size = max(each.graph_bytes for each in own.values())
        mean = f"{sum(kept) / len(kept):.1%}"
        rows.append([recipe, f"{size / 1e6:.1f}", *cells, mean])
    title = "nDCG@10 kept of float32's, without training"
    return Cells(title, ["recipe", "MB", *collections, "mean"], rows)


def main(names: Sequence[str]) -> None:
    for name in names:
        replace_rows(RESULTS, read_shrinking(), list(measure_shrinking(name)))


if __name__ == "__main__":
    main(sys.argv[1:])
