"""The ledger: the quality expected of the default encoders, and whether it holds.

python -m trimseek.eval.figures ledger [COLLECTION ...]  check, encoding what is not cached
python -m trimseek.eval.figures ledger --write           make the ledger from results/results.json

A collection whose documents have changed since it was measured is not checked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from trimseek.encoders.cached import text_hash
from trimseek.eval.bench.grid import DEFAULT_ENCODERS, plan
from trimseek.eval.bench.results import BenchReport, read_results
from trimseek.eval.bench.run import run_bench
from trimseek.eval.figures.files import RESULTS, read_figures, write_rows
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.indexer.corpus import SAMPLE

LEDGER = RESULTS / "ledger.json"
# Between CPUs float32 differs in the last bits, which seldom swaps two hits. int8 vectors depend on
# the runtime and on the CPU's instructions, and the mean of few questions moves most: on the
# sample's 161 recall@10 moves by 0.021 (three questions) between AVX2 and AVX512-VNNI, on 300 or
# more nDCG@10 by up to 0.003.
TOLERANCE = {"float32": 0.001, "int8": 0.02}
FEW_QUESTIONS = 200
FEW_TOLERANCE = {"float32": 0.001, "int8": 0.035}


@dataclass(frozen=True)
class LedgerEntry:
    """Means of measures, to be met within ``tolerance``; ``text_hash``: of the documents."""

    collection: str
    text_hash: str
    encoder: str
    measures: dict[str, float]
    tolerance: float


class Deviation(NamedTuple):
    """A measure outside of the tolerance; ``value`` is what was measured now."""

    entry: LedgerEntry
    measure: str
    value: float

    def __str__(self) -> str:
        expected = self.entry.measures[self.measure]
        return (
            f"{self.entry.collection}, {self.entry.encoder}: {self.measure} is {self.value:.4f}, "
            f"expected {expected:.4f} within {self.entry.tolerance}"
        )


def read_ledger() -> list[LedgerEntry]:
    """The committed entries."""
    return read_figures(LEDGER, list[LedgerEntry])


def entries(report: BenchReport) -> list[LedgerEntry]:
    """Entries for the default encoders under exact search in a report."""
    hashes = {collection.name: collection.text_hash for collection in report.collections}
    return [
        LedgerEntry(
            collection=row.collection,
            text_hash=hashes[row.collection],
            encoder=row.encoders,
            measures={name: round(value, 5) for name, value in row.quality.measures.items()},
            tolerance=tolerance(row.precision, len(row.quality.per_query)),
        )
        for row in report.rows
        if row.quality and row.encoders in DEFAULT_ENCODERS and row.index == "exact"
    ]


def tolerance(precision: str, questions: int) -> float:
    """How far a mean over ``questions`` may lie from the ledger's on another CPU."""
    return (FEW_TOLERANCE if questions < FEW_QUESTIONS else TOLERANCE)[precision]


def deviations(entry: LedgerEntry, collection: TestCollection) -> list[Deviation]:
    """Measure the entry's encoder again; empty if every measure is within the tolerance."""
    grid = plan(
        [entry.encoder], reference=entry.encoder, measures=list(entry.measures), timing=False
    )
    (row,) = run_bench([collection], grid).rows
    measures = row.quality.measures if row.quality else {}
    return [
        Deviation(entry, name, measures[name])
        for name, expected in entry.measures.items()
        if abs(measures[name] - expected) > entry.tolerance
    ]


def is_same(entry: LedgerEntry, collection: TestCollection) -> bool:
    """Whether the entry was measured on these documents."""
    return entry.text_hash == text_hash(list(collection.documents.values()))


def main(arguments: Sequence[str]) -> int:
    """Write the ledger, or check collections; returns 1 if a measure deviates."""
    if arguments == ["--write"]:
        write_rows(LEDGER, entries(read_results(RESULTS / "results.json")))
        return 0
    deviating: list[Deviation] = []
    for name in [SAMPLE, *arguments]:
        collection = read_collection(name)
        for entry in read_ledger():
            if entry.collection == collection.name:
                same = is_same(entry, collection)
                deviating += deviations(entry, collection) if same else []
                print(
                    f"{entry.collection}, {entry.encoder}: {'checked' if same else 'other texts'}"
                )
    for deviation in deviating:
        print(deviation)
    return 1 if deviating else 0
