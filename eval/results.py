"""Benchmark results as JSON files."""

import json
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


def to_json(report: BenchReport) -> dict[str, Any]:
    return asdict(report)


def from_json(path: Path) -> BenchReport:
    """Read what ``trimseek bench --json`` printed; CorpusError."""
    try:
        fields = json.loads(path.read_text("utf-8"))
        if fields["format_version"] != FORMAT_VERSION:
            raise CorpusError(f"{path}: format version {fields['format_version']}")
        fields["machine"] = Machine(**fields["machine"])
        fields["collections"] = tuple(
            CollectionReport(**(each | {"rows": tuple(map(read_row, each["rows"]))}))
            for each in fields["collections"]
        )
        return BenchReport(**fields)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: not a benchmark's results: {error}") from error


def read_row(fields: dict[str, Any]) -> Row:
    search = fields["search"] and Percentiles(**fields["search"])
    return Row(**(fields | {"encode": Percentiles(**fields["encode"]), "search": search}))
