"""The ways to store one encoder's numbers, each beside float32 on unlabelled text."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from trimseek.compression.encoder_compare import EncoderComparison, compare_with
from trimseek.compression.techniques import SPARSITY, STORAGE, VOCABULARY
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.recipe import Recipe, Shrinker, Shrunk
from trimseek.eval.bench.report import Cells
from trimseek.eval.quality.collection import TestCollection

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
CHOICES = STORAGE | VOCABULARY | SPARSITY
CALIBRATION_DOCUMENTS, CALIBRATION_QUERIES = 256, 2048


def stored(
    checkpoint: Checkpoint, collection: TestCollection, recipes: Mapping[str, Recipe] = CHOICES
) -> Iterator[tuple[str, Shrunk]]:
    """The encoder in each way of storing it, by its name; calibrated on documents and queries."""
    documents, queries = list(collection.documents.values()), list(collection.queries.values())
    calibration = [*documents[:CALIBRATION_DOCUMENTS], *queries[:CALIBRATION_QUERIES]]
    texts = tokenizer_of(checkpoint).encode(calibration)
    shrinker = Shrinker(checkpoint, [text.ids for text in texts], documents)
    for name, recipe in recipes.items():
        yield name, shrinker.shrink(recipe)


def compare_storage(
    checkpoint: Checkpoint, choices: Mapping[str, Shrunk], collection: TestCollection
) -> dict[str, EncoderComparison]:
    """Each choice compared with float32, by name, on the graphs that would run."""
    with tempfile.TemporaryDirectory(prefix="trimseek-storage-") as folder:
        paths = [Path(folder) / str(number) for number in range(1 + len(choices))]
        write_encoder(checkpoint, paths[0], FLOAT32)
        for path, shrunk in zip(paths[1:], choices.values(), strict=True):
            write_encoder(shrunk.checkpoint, path, shrunk.quantization)
        comparisons = compare_with(paths[0], paths[1:], collection)
    return dict(zip(choices, comparisons, strict=True))


def storage_cells(name: str, comparisons: Mapping[str, EncoderComparison]) -> Cells:
    """A row for each choice, float32's first."""
    first = next(iter(comparisons.values())).first
    headings = (
        *("stored as", "MB", "query ms", "query speed", "documents/s"),
        *("cosine", "overlap@10", "RBO"),
    )
    rows = [
        (
            *("float32", f"{first.graph_bytes / 1e6:.1f}", f"{first.query_ms:.2f}", "1"),
            *(f"{first.documents_per_second:.0f}", "1", "1", "1"),
        )
    ]
    rows += [
        (
            choice,
            f"{comparison.second.graph_bytes / 1e6:.1f}",
            f"{comparison.second.query_ms:.2f}",
            f"{first.query_ms / comparison.second.query_ms:.2f}x",
            f"{comparison.second.documents_per_second:.0f}",
            f"{comparison.cosine:.4f}",
            f"{comparison.overlap:.3f}",
            f"{comparison.rbo:.3f}",
        )
        for choice, comparison in comparisons.items()
    ]
    return Cells(f"{name}, in each way of storing it", headings, rows)
