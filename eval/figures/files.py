"""The files of ``results``: measurements, as JSON."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from trimseek.atomic import write_text
from trimseek.eval.bench.report import EMPTY_CELL

RESULTS = Path(__file__).resolve().parent / "results"

T = TypeVar("T")


@dataclass(frozen=True)
class CollectionRow:
    """A measurement on one test collection."""

    collection: str


Row = TypeVar("Row", bound=CollectionRow)


def read_figures(path: Path, kind: type[T]) -> T:
    """The dataclass, or list of dataclasses, that a file holds; pydantic's ValidationError."""
    return parse_figures(path.read_bytes(), kind)


def parse_figures(text: bytes, kind: type[T]) -> T:
    """As ``read_figures``, of JSON text."""
    return TypeAdapter(kind).validate_json(text)


def write_figures(path: Path, figures: Any) -> None:
    """Write a dataclass as JSON."""
    write_text(path, json.dumps(asdict(figures), indent=1) + "\n")


def write_rows(path: Path, rows: Iterable[Any]) -> None:
    """Write dataclasses as a JSON list."""
    write_text(path, json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def measure_again(
    path: Path, kind: type[Row], names: Sequence[str], measure: Callable[[str], Iterable[Row]]
) -> None:
    """Measure collections, and put the rows of each into the file as soon as they are there.

    They replace the collection's former rows; rows of other collections stay.
    """
    for name in names:
        measured = list(measure(name))
        known: list[Row] = read_figures(path, list[kind])  # type: ignore[valid-type]
        collections = {row.collection for row in measured}
        others = [row for row in known if row.collection not in collections]
        write_rows(path, (*others, *measured))


def collections_of(rows: Iterable[CollectionRow]) -> list[str]:
    """The collections' names, in the order in which they first occur."""
    return list(dict.fromkeys(row.collection for row in rows))


def by_collection(rows: Iterable[Row], label: Callable[[Row], str]) -> dict[str, dict[str, Row]]:
    """``[label][collection]`` -> row, labels in the order in which they first occur."""
    table: dict[str, dict[str, Row]] = {}
    for row in rows:
        table.setdefault(label(row), {})[row.collection] = row
    return table


def collection_cells(
    rows: Mapping[str, Row], collections: Sequence[str], cell: Callable[[Row], str]
) -> list[str]:
    """A table's cells, one for each collection; ``rows`` by collection, which may lack one."""
    return [cell(rows[name]) if name in rows else EMPTY_CELL for name in collections]


def today() -> str:
    """The date in UTC, as 2027-01-31."""
    return datetime.now(UTC).date().isoformat()
