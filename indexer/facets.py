"""Values of metadata fields among some documents."""

import math
from collections.abc import Sequence

from trimseek.indexer.filters import Field, Scalar, Sql, json_path
from trimseek.indexer.store import Store, marks

MOST_VALUES = 100
VALUES = (
    "FROM documents JOIN json_each(documents.metadata, ?) AS each"
    " ON each.type NOT IN ('object', 'array', 'null')"
    " AND json_type(documents.metadata, ?) != 'object'"
)


def facet_counts(
    store: Store, field: Field, documents: Sequence[int]
) -> list[tuple[str | int | float | bool, int]]:
    """The values of a field and how many of the documents have each, the most frequent first.

    At most 100 values; of equal counts the smaller value first.
    """
    return facet_totals(
        store, field, Sql(f"documents.key IN ({marks(documents)})", tuple(documents))
    )


def facet_totals(
    store: Store, field: Field, condition: Sql | None
) -> list[tuple[str | int | float | bool, int]]:
    """As ``facet_counts``, of the documents that a condition lets through, or of all."""
    path = json_path(field)
    where = f"WHERE {condition.text}" if condition else ""
    rows = store.rows(
        f"SELECT each.type, each.value, count(DISTINCT documents.key) {VALUES} {where}"
        " GROUP BY each.type, each.value ORDER BY 3 DESC, 2 LIMIT ?",
        (path, path, *(condition.parameters if condition else ()), MOST_VALUES),
    )
    return [
        (as_python(kind, value), count)
        for kind, value, count in rows
        if value not in (math.inf, -math.inf)  # numbers that an earlier trimseek let in
    ]


def field_values(store: Store, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
    """The first value of a field of each document that has one."""
    path = json_path(field)
    rows = store.rows(
        f"SELECT documents.key, each.type, each.value {VALUES}"
        f" WHERE documents.key IN ({marks(documents)})",
        (path, path, *documents),
    )
    values: dict[int, Scalar] = {}
    for document, kind, value in rows:
        values.setdefault(document, as_python(kind, value))
    return values


def as_python(kind: str, value: str | int | float) -> str | int | float | bool:
    """A value as JSON has it: SQLite gives 1 and 0 for true and false."""
    return kind == "true" if kind in ("true", "false") else value
