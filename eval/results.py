"""Benchmark results as JSON files."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.bench import (
    FORMAT_VERSION,
    BenchReport,
    CollectionReport,
    Machine,
    Percentiles,
    Row,
)
from trimseek.errors import CorpusError
from trimseek.formats import read_versioned


def to_json(report: BenchReport) -> dict[str, Any]:
    return asdict(report)


def from_json(path: Path) -> BenchReport:
    """Read what ``trimseek bench --json`` printed; CorpusError."""
    fields = read_versioned(path, FORMAT_VERSION, CorpusError)
    try:
        fields["machine"] = Machine(**fields["machine"])
        fields["collections"] = tuple(
            CollectionReport(**(each | {"rows": tuple(map(read_row, each["rows"]))}))
            for each in fields["collections"]
        )
        return BenchReport(**fields)
    except (KeyError, TypeError) as error:
        raise CorpusError(f"{path}: not a benchmark's results: {error}") from error


def read_row(fields: dict[str, Any]) -> Row:
    search = fields["search"] and Percentiles(**fields["search"])
    return Row(**(fields | {"encode": Percentiles(**fields["encode"]), "search": search}))
