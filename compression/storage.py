"""The ways to store one encoder's numbers, each beside float32 on unlabelled text."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from trimseek.compression.encoder_compare import EncoderComparison, compare_with
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.sensitivity import sensitivities
from trimseek.eval.bench.report import Cells
from trimseek.eval.quality.collection import TestCollection

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
KEPT_IN_FLOAT = (2, 4)  # matrices that int8 hurts most
PROBED = 512  # documents that the sensitivities to int8 are measured on


def storage_choices(checkpoint: Checkpoint, collection: TestCollection) -> dict[str, Quantization]:
    """Quantizations by name; which matrices stay float32 is measured on the documents."""
    int8 = Quantization()
    tokenizer = tokenizer_of(checkpoint)
    texts = tokenizer.encode(list(collection.documents.values())[:PROBED])
    worst = list(sensitivities(checkpoint, [text.ids for text in texts], int8))
    return {
        "int8": int8,
        "int8 asymmetric": replace(int8, symmetric=False),
        "int8 per tensor": replace(int8, per_channel=False),
        **{
            f"int8, {count} in float32": replace(int8, kept=tuple(sorted(worst[:count])))
            for count in KEPT_IN_FLOAT
        },
        "int8, int4 table": replace(int8, table=Precision.INT4),
        "int4, int8 table": replace(int8, matrices=Precision.INT4),
        "int4": Quantization.everywhere(Precision.INT4),
    }


def compare_storage(
    checkpoint: Checkpoint, choices: Mapping[str, Quantization], collection: TestCollection
) -> dict[str, EncoderComparison]:
    """Each choice compared with float32, by name, on the graphs that would run."""
    with tempfile.TemporaryDirectory(prefix="trimseek-storage-") as folder:
        paths = []
        for number, quantization in enumerate((FLOAT32, *choices.values())):
            paths.append(Path(folder) / str(number))
            write_encoder(checkpoint, paths[-1], quantization)
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
