"""The quality that is expected of each encoder on each collection, and whether it still holds.

python -m eval.ledger [FOLDER ...]      check, encoding what is not cached
python -m eval.ledger --write           take over what eval/results/results.json says

A collection whose documents are others than those measured is not compared.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter

from encoders.cached import text_hash
from encoders.quantize import Precision, Quantization
from encoders.runtime import needs_reduced_range
from eval.bench import bench
from eval.collection import TestCollection, read_collection
from eval.grid import plan
from eval.results import BenchReport, from_json
from indexer.corpus import SAMPLE

FOLDER = Path(__file__).parent / "results"
LEDGER = FOLDER / "ledger.json"
# float32 differs in the last bits between CPUs, which seldom swaps two hits; int8 vectors depend
# on the runtime and on the CPU's path, and move nDCG@10 by up to 0.003 and MRR@10 by up to 0.008
# (seen between such runs).
TOLERANCE = {"float32": 0.001, "int8": 0.01}
# The ledger's int8 has 8 bits. Where the CPU leaves 7, measures move further (seen: by 0.012).
SEVEN_BITS_TOLERANCE = 0.02


@dataclass(frozen=True)
class Entry:
    """Means of the measures; each must come out within ``tolerance`` of them."""

    collection: str
    text_hash: str
    encoder: str
    measures: dict[str, float]
    tolerance: float


class Deviation(NamedTuple):
    """A measure that came out otherwise."""

    entry: Entry
    measure: str
    found: float

    def __str__(self) -> str:
        expected = self.entry.measures[self.measure]
        return (
            f"{self.entry.collection}, {self.entry.encoder}: {self.measure} is {self.found:.4f}, "
            f"expected {expected:.4f} within {tolerance(self.entry)}"
        )


def read_ledger() -> list[Entry]:
    return TypeAdapter(list[Entry]).validate_json(LEDGER.read_text("utf-8"))


def entries(report: BenchReport) -> list[Entry]:
    """What a report says of our encoders, as the ledger keeps it."""
    hashes = {each.name: each.text_hash for each in report.collections}
    return [
        Entry(
            collection=row.collection,
            text_hash=hashes[row.collection],
            encoder=row.encoders,
            measures={name: round(value, 5) for name, value in row.quality.measures.items()},
            tolerance=TOLERANCE[row.precision],
        )
        for row in report.rows
        if row.quality and not row.peer and row.index == "exact"
    ]


def deviations(entry: Entry, collection: TestCollection) -> list[Deviation]:
    """Measure anew what the entry says; empty if it holds."""
    grid = plan(
        [entry.encoder], reference=entry.encoder, measures=list(entry.measures), timing=False
    )
    (row,) = bench([collection], grid).rows
    found = row.quality.measures if row.quality else {}
    return [
        Deviation(entry, name, found[name])
        for name, expected in entry.measures.items()
        if abs(found[name] - expected) > tolerance(entry)
    ]


def tolerance(entry: Entry) -> float:
    """How far a measure may be from the entry's on this CPU."""
    in_int8 = entry.encoder.endswith(f"-{Precision.INT8.value}")
    seven_bits = in_int8 and needs_reduced_range(Quantization())
    return max(entry.tolerance, SEVEN_BITS_TOLERANCE) if seven_bits else entry.tolerance


def is_same(entry: Entry, collection: TestCollection) -> bool:
    """Whether the entry was measured on these documents."""
    return entry.text_hash == text_hash(list(collection.documents.values()))


def main(words: Sequence[str]) -> int:
    if words == ["--write"]:
        rows = [asdict(entry) for entry in entries(from_json(FOLDER / "results.json"))]
        LEDGER.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
        return 0
    found: list[Deviation] = []
    for name in [SAMPLE, *words]:
        collection = read_collection(name)
        for entry in read_ledger():
            if entry.collection == collection.name:
                same = is_same(entry, collection)
                found += deviations(entry, collection) if same else []
                print(
                    f"{entry.collection}, {entry.encoder}: {'checked' if same else 'other texts'}"
                )
    for deviation in found:
        print(deviation)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
