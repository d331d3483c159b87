"""Values of metadata fields among some documents."""

import math
from collections.abc import Sequence

from trimseek.indexer.filters import Field, Scalar, Sql, values_of
from trimseek.indexer.store import Store
from trimseek.indexer.word_store import marks

MOST_VALUES = 100
LARGEST_EXACT = 2**53  # up to which a float is one whole number
IS_SCALAR = "each.type NOT IN ('object', 'array', 'null')"


def facet_counts(
    store: Store, field: Field, documents: Sequence[int], most: int | None = MOST_VALUES
) -> list[tuple[str | int | float | bool, int]]:
    """The values of a field and how many of the documents have each, the most frequent first.

    At most so many values, all for None; of equal counts the smaller value first.
    """
    condition = Sql(f"documents.key IN ({marks(documents)})", tuple(documents))
    return facet_totals(store, field, condition, most)


def facet_totals(
    store: Store, field: Field, condition: Sql | None, most: int | None = MOST_VALUES
) -> list[tuple[str | int | float | bool, int]]:
    """As ``facet_counts``, of the documents that a condition lets through, or of all."""
    values = values_of(field)
    where = f"AND {condition.text}" if condition else ""
    rows = store.rows(
        f"SELECT each.type, each.value, count(DISTINCT documents.key) FROM documents,"
        f" {values.tables} WHERE {values.guard} AND {IS_SCALAR} {where}"
        " GROUP BY CASE each.type WHEN 'real' THEN 'integer' ELSE each.type END, each.value"
        " ORDER BY 3 DESC, 2 LIMIT ?",
        (
            *values.parameters,
            *(condition.parameters if condition else ()),
            -1 if most is None else most,
        ),
    )
    return [
        (as_python(kind, value), count)
        for kind, value, count in rows
        if value not in (math.inf, -math.inf)  # numbers that an earlier trimseek let in
    ]


def field_values(store: Store, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
    """The first value of a field of each document that has one."""
    source = values_of(field)
    rows = store.rows(
        f"SELECT documents.key, each.type, each.value FROM documents, {source.tables}"
        f" WHERE {source.guard} AND {IS_SCALAR} AND documents.key IN ({marks(documents)})",
        (*source.parameters, *documents),
    )
    values: dict[int, Scalar] = {}
    for document, kind, value in rows:
        values.setdefault(document, as_python(kind, value))
    return values


def as_python(kind: str, value: str | int | float) -> str | int | float | bool:
    """A value as JSON has it: SQLite gives 1 and 0 for true and false; 2020.0 is 2020."""
    if kind in ("true", "false"):
        return kind == "true"
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_EXACT:
        return int(value)
    return value
