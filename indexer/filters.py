"""Conditions on documents: what a filter is, and the parameterized SQL that it becomes.

A field is a path into the metadata, ("author", "name"), or ("_id",) or ("_title",). A list has
each of its elements as a value. Values are compared with values of their own kind only: a number
is never smaller than a text. ``!=`` holds where no value is equal, also where there is no field;
``exists`` holds where there is a value other than null.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from trimseek.errors import QueryError

Scalar = str | int | float | bool | None
Field = tuple[str, ...]

MOST_DEPTH = 32
MOST_CONDITIONS = 256
MOST_VALUES = 10_000  # of all conditions together
COLUMNS = {"_id": "id", "_title": "title"}
LARGEST_INTEGER = 2**63 - 1  # SQLite's
SURROGATES = range(0xD800, 0xE000)


class Operator(str, Enum):
    """What a condition asks of a field."""

    EQUAL = "="
    UNEQUAL = "!="
    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    IN = "in"
    EXISTS = "exists"
    PREFIX = "prefix"


ORDERED = (Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST)


@dataclass(frozen=True)
class Condition:
    """``values``: one, for ``in`` any number, for ``exists`` none."""

    field: Field
    operator: Operator
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class And:
    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Or:
    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    part: "Filter"


Filter = Condition | And | Or | Not


class Sql(NamedTuple):
    """An expression over a row of ``documents``, and what its question marks stand for."""

    text: str
    parameters: tuple[Scalar, ...] = ()


def field_name(field: Field) -> str:
    """A field as ``--where`` writes it."""
    return ".".join(field)


def parse_field(text: str) -> Field:
    """``author.name`` as a path."""
    return tuple(text.split("."))


def check_filter(condition: Filter) -> None:
    """QueryError for a filter that is too large, or compares what cannot be compared."""
    conditions = list(conditions_of(condition))
    if len(conditions) > MOST_CONDITIONS:
        raise QueryError(
            f"the filter has {len(conditions)} conditions; the most is {MOST_CONDITIONS}"
        )
    values = sum(len(each.values) for each in conditions)
    if values > MOST_VALUES:
        raise QueryError(f"the filter has {values:,} values; the most is {MOST_VALUES:,}")
    for each in conditions:
        check_condition(each)


def depth_of(condition: Filter) -> int:
    """Levels of a filter; 1 of a single condition."""
    if isinstance(condition, Not):
        return 1 + depth_of(condition.part)
    if isinstance(condition, And | Or):
        return 1 + max(map(depth_of, condition.parts), default=0)
    return 1


def conditions_of(condition: Filter, depth: int = 0) -> Iterator[Condition]:
    if depth > MOST_DEPTH:
        raise QueryError(f"the filter is more than {MOST_DEPTH} levels deep")
    if isinstance(condition, Condition):
        yield condition
        return
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    for part in parts:
        yield from conditions_of(part, depth + 1)


def check_condition(condition: Condition) -> None:
    name, operator, values = field_name(condition.field), condition.operator, condition.values
    check_path(condition.field)
    if operator is Operator.EXISTS and values:
        raise QueryError(f"{name} exists: takes no value")
    if operator not in (Operator.EXISTS, Operator.IN) and len(values) != 1:
        raise QueryError(f"{name} {operator.value}: takes one value, not {len(values)}")
    for value in values:
        check_value(value, name, operator)


def check_path(field: Field) -> None:
    for part in field:
        if not part or not part.isprintable() or '"' in part or "\\" in part:
            raise QueryError(f"cannot filter by a field called {part!a}")
    if not field:
        raise QueryError("a condition needs a field")
    if field[0] in COLUMNS and len(field) > 1:
        raise QueryError(f"{field_name(field)}: {field[0]} has no fields of its own")


def check_value(value: Scalar, name: str, operator: Operator) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise QueryError(f"{name}: a value is not Unicode text") from None
    elif operator is Operator.PREFIX:
        raise QueryError(f"{name} prefix: takes a text, not {value!r}")
    elif operator in ORDERED and (value is None or isinstance(value, bool)):
        raise QueryError(f"{name} {operator.value}: takes a number or a text, not {value!r}")
    elif isinstance(value, float) and not abs(value) <= sys.float_info.max:
        raise QueryError(f"{name}: {value} is not a number to compare with")
    elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
        raise QueryError(f"{name}: {value:.3e} is beyond 64 bits")


def to_sql(condition: Filter, faceted: frozenset[str] = frozenset()) -> Sql:
    """The filter over ``documents``; values of ``faceted`` fields are looked up in ``facets``.

    QueryError as ``check_filter``.
    """
    check_filter(condition)
    return compiled(condition, faceted)


def compiled(condition: Filter, faceted: frozenset[str]) -> Sql:
    if isinstance(condition, Condition):
        return condition_sql(condition, faceted)
    if isinstance(condition, Not):
        inner = compiled(condition.part, faceted)
        return Sql(f"NOT ({inner.text})", inner.parameters)
    word, neutral = (" AND ", "1") if isinstance(condition, And) else (" OR ", "0")
    return joined([compiled(part, faceted) for part in condition.parts], word, neutral)


def joined(parts: Sequence[Sql], word: str, neutral: str) -> Sql:
    if not parts:
        return Sql(neutral)
    text = word.join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.parameters))


def condition_sql(condition: Condition, faceted: frozenset[str]) -> Sql:
    field, operator = condition.field, condition.operator
    if operator is Operator.UNEQUAL:
        equal = condition_sql(Condition(field, Operator.EQUAL, condition.values), faceted)
        return Sql(f"NOT ({equal.text})", equal.parameters)
    if field[0] in COLUMNS:
        return column_sql(COLUMNS[field[0]], condition)
    path = json_path(field)
    if operator is Operator.EXISTS:
        return Sql("coalesce(json_type(documents.metadata, ?), 'null') != 'null'", (path,))
    test = value_test(operator, condition.values)
    if field_name(field) in faceted:
        return Sql(
            f"documents.key IN (SELECT document FROM facets WHERE field = ? AND ({test.text}))",
            (field_name(field), *test.parameters),
        )
    return Sql(
        f"EXISTS (SELECT 1 FROM json_each(documents.metadata, ?) WHERE {test.text})"
        " AND json_type(documents.metadata, ?) != 'object'",
        (path, *test.parameters, path),
    )


def column_sql(column: str, condition: Condition) -> Sql:
    """``_id`` and ``_title``, which are texts: a value of another kind is never theirs."""
    if condition.operator is Operator.EXISTS:
        return Sql(f"documents.{column} != ''")
    test = value_test(condition.operator, condition.values)
    text = f"SELECT documents.{column} AS value, 'text' AS type"
    return Sql(f"EXISTS (SELECT 1 FROM ({text}) WHERE {test.text})", test.parameters)


def json_path(field: Field) -> str:
    """SQLite's path; the names were checked."""
    return "$" + "".join(f'."{part}"' for part in field)


def value_test(operator: Operator, values: Sequence[Scalar]) -> Sql:
    """Whether a row (type, value), as SQLite's json_each gives it, is one of the values."""
    if operator is Operator.PREFIX:
        return prefix_test(str(values[0]))
    if operator in ORDERED:
        return Sql(f"{kind_test(values[0])} AND value {operator.value} ?", (values[0],))
    texts = [each for each in values if isinstance(each, str)]
    numbers = [
        each for each in values if isinstance(each, int | float) and not isinstance(each, bool)
    ]
    parts = [
        Sql(f"{kind_test(kind[0])} AND value IN ({', '.join('?' * len(kind))})", tuple(kind))
        for kind in (texts, numbers)
        if kind
    ]
    for value, word in ((True, "true"), (False, "false"), (None, "null")):
        if any(each is value for each in values):
            parts.append(Sql(f"type = '{word}'"))
    return joined(parts, " OR ", "0")


def kind_test(value: Scalar) -> str:
    return "type = 'text'" if isinstance(value, str) else "type IN ('integer', 'real')"


def prefix_test(prefix: str) -> Sql:
    """A range, so that an index on values serves it."""
    after = next_text(prefix)
    if after is None:
        return Sql("type = 'text' AND value >= ?", (prefix,))
    return Sql("type = 'text' AND value >= ? AND value < ?", (prefix, after))


def next_text(prefix: str) -> str | None:
    """The smallest text, in the order of code points, beyond all that begin so."""
    shorter = prefix.rstrip(chr(sys.maxunicode))
    if not shorter:
        return None
    code = ord(shorter[-1]) + 1
    return shorter[:-1] + chr(SURROGATES.stop if code in SURROGATES else code)


def from_json(content: object, depth: int = 0) -> Filter:
    """A filter as HTTP has it; QueryError says what is wrong.

    ``{"field": "year", "op": ">=", "value": 2020}``, ``{"and": [...]}``, ``{"or": [...]}``,
    ``{"not": {...}}``. A field is a path with dots, or a list of names where a name has a dot.
    """
    if depth > MOST_DEPTH:
        raise QueryError(f"the filter is more than {MOST_DEPTH} levels deep")
    if not isinstance(content, Mapping):
        raise QueryError(f"a filter must be an object, not {type(content).__name__}")
    if "field" in content:
        return condition_from_json(content)
    if len(content) != 1 or next(iter(content)) not in ("and", "or", "not"):
        raise QueryError('a filter needs "field" and "op", or one of "and", "or", "not"')
    word, inner = next(iter(content.items()))
    if word == "not":
        return Not(from_json(inner, depth + 1))
    if not isinstance(inner, Sequence) or isinstance(inner, str):
        raise QueryError(f'"{word}" takes a list of filters')
    parts = tuple(from_json(each, depth + 1) for each in inner)
    return And(parts) if word == "and" else Or(parts)


def condition_from_json(content: Mapping[str, object]) -> Condition:
    if unknown := set(content) - {"field", "op", "value"}:
        raise QueryError(f"a condition has no {sorted(map(str, unknown))[0]!a}")
    name = content["field"]
    if isinstance(name, str):
        field = parse_field(name)
    elif isinstance(name, Sequence) and all(isinstance(part, str) for part in name):
        field = tuple(map(str, name))
    else:
        raise QueryError('"field" must be a text or a list of texts')
    try:
        operator = Operator(content.get("op", "="))
    except ValueError:
        known = ", ".join(each.value for each in Operator)
        raise QueryError(f'"op" must be one of {known}') from None
    if operator is Operator.EXISTS:
        if "value" in content:
            raise QueryError(f"{field_name(field)} exists: takes no value")
        return Condition(field, operator)
    if "value" not in content:
        raise QueryError(f'{field_name(field)} {operator.value}: needs a "value"')
    value = content["value"]
    values = value if operator is Operator.IN else [value]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise QueryError(f"{field_name(field)} in: takes a list of values")
    for each in values:
        if not isinstance(each, str | int | float | bool | None):
            raise QueryError(f"{field_name(field)}: a value must be a text, a number or a boolean")
    return Condition(field, operator, tuple(values))
