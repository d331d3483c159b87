"""Conditions on documents: what a filter is, and the parameterized SQL that it becomes.

A field is a path into the metadata, ("author", "name"), or ("_id",) or ("_title",). A list has
each of its elements as a value, and a path leads through the objects of a list. Values are compared
with values of their own kind only: a number is never smaller than a text. ``!=`` holds where no
value is equal, also where there is no field; ``exists`` where there is a value other than null.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from trimseek.errors import QueryError
from trimseek.indexer.metadata import LARGEST_INTEGER, LEAST_INTEGER

Scalar = str | int | float | bool | None
Field = tuple[str, ...]

MOST_DEPTH = 32
MOST_CONDITIONS = 256
MOST_VALUES = 10_000  # of all conditions together
COLUMNS = {"_id": "id", "_title": "title"}
SURROGATES = range(0xD800, 0xE000)


class Takes(Enum):
    """How many values an operator takes."""

    NOTHING = "no value"
    ONE = "one value"
    LIST = "a list of values"


class Sql(NamedTuple):
    """An expression over a row of ``documents``, and what its question marks stand for."""

    text: str
    parameters: tuple[Scalar, ...] = ()


class Values(NamedTuple):
    """Where a field's values come from: what follows FROM documents, and what must hold.

    The rows of ``each`` are of json_each: ``each.type`` and ``each.value``.
    """

    tables: str
    guard: str
    parameters: tuple[Scalar, ...]


class Operator(Enum):
    """What a condition asks of a field: the one table of operators.

    ``sign``: as ``--where`` and HTTP write it. ``check``: refuses a value that cannot be compared.
    ``test``: whether a row (type, value), as SQLite's json_each gives it, passes. ``negated``: the
    condition holds where no value passes.
    """

    EQUAL = ("=", Takes.ONE, lambda *_: None, lambda values: equality_test(values))
    UNEQUAL = ("!=", Takes.ONE, lambda *_: None, lambda values: equality_test(values), True)
    LESS = ("<", Takes.ONE, lambda *at: check_ordered(*at), lambda v: order_test("<", v))
    AT_MOST = ("<=", Takes.ONE, lambda *at: check_ordered(*at), lambda v: order_test("<=", v))
    MORE = (">", Takes.ONE, lambda *at: check_ordered(*at), lambda v: order_test(">", v))
    AT_LEAST = (">=", Takes.ONE, lambda *at: check_ordered(*at), lambda v: order_test(">=", v))
    IN = ("in", Takes.LIST, lambda *_: None, lambda values: equality_test(values))
    EXISTS = ("exists", Takes.NOTHING, lambda *_: None, lambda _: Sql("type != 'null'"))
    PREFIX = ("prefix", Takes.ONE, lambda *at: check_prefix(*at), lambda v: prefix_test(str(v[0])))

    def __init__(
        self,
        sign: str,
        takes: Takes,
        check: Callable[[Scalar, str, str], None],
        test: Callable[[Sequence[Scalar]], Sql],
        negated: bool = False,
    ) -> None:
        self.sign, self.takes, self.check, self.test = sign, takes, check, test
        self.negated = negated

    def __reduce_ex__(self, _: Any) -> tuple[Any, ...]:
        """By its name: between the processes of a cluster, as functions cannot go there."""
        return getattr, (type(self), self.name)


OPERATORS = {operator.sign: operator for operator in Operator}


@dataclass(frozen=True)
class Condition:
    """``values``: one, for ``in`` any number, for ``exists`` none."""

    field: Field
    operator: Operator
    values: tuple[Scalar, ...] = ()


@dataclass(frozen=True)
class And:
    """Lets through what every part does; everything where there is none."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Or:
    """Lets through what some part does; nothing where there is none."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True)
class Not:
    """Lets through what the part does not."""

    part: "Filter"


Filter = Condition | And | Or | Not


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
    values = sum(len(part.values) for part in conditions)
    if values > MOST_VALUES:
        raise QueryError(f"the filter has {values:,} values; the most is {MOST_VALUES:,}")
    for part in conditions:
        check_condition(part)


def depth_of(condition: Filter) -> int:
    """Levels of a filter; 1 of a single condition."""
    if isinstance(condition, Not):
        return 1 + depth_of(condition.part)
    if isinstance(condition, And | Or):
        return 1 + max(map(depth_of, condition.parts), default=0)
    return 1


def conditions_of(condition: Filter, depth: int = 0) -> Iterator[Condition]:
    """Every condition of a filter; QueryError where it is too deep."""
    if depth > MOST_DEPTH:
        raise QueryError(f"the filter is more than {MOST_DEPTH} levels deep")
    if isinstance(condition, Condition):
        yield condition
        return
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    for part in parts:
        yield from conditions_of(part, depth + 1)


def check_condition(condition: Condition) -> None:
    """QueryError for a field or values that the operator cannot take."""
    name, operator, values = field_name(condition.field), condition.operator, condition.values
    check_path(condition.field)
    if operator.takes is Takes.NOTHING and values:
        raise QueryError(f"{name} {operator.sign}: takes no value")
    if operator.takes is Takes.ONE and len(values) != 1:
        raise QueryError(f"{name} {operator.sign}: takes one value, not {len(values)}")
    for value in values:
        check_value(value, name, operator)


def check_path(field: Field) -> None:
    """QueryError for a field that no document can have."""
    for part in field:
        if not part or not part.isprintable() or '"' in part or "\\" in part:
            raise QueryError(f"cannot filter by a field called {part!a}")
    if not field:
        raise QueryError("a condition needs a field")
    if field[0] in COLUMNS and len(field) > 1:
        raise QueryError(f"{field_name(field)}: {field[0]} has no fields of its own")


def check_value(value: Scalar, name: str, operator: Operator) -> None:
    """QueryError for a value that SQLite cannot compare, or that makes no sense here."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise QueryError(f"{name}: a value is not Unicode text") from None
    else:
        operator.check(value, name, operator.sign)
    if isinstance(value, float) and not abs(value) <= sys.float_info.max:
        raise QueryError(f"{name}: {value} is not a number to compare with")
    if isinstance(value, int) and not LEAST_INTEGER <= value <= LARGEST_INTEGER:
        raise QueryError(f"{name}: a whole number beyond 64 bits")


def check_ordered(value: Scalar, name: str, sign: str) -> None:
    """Numbers and texts have an order; null and booleans have none."""
    if value is None or isinstance(value, bool):
        raise QueryError(f"{name} {sign}: takes a number or a text, not {value!r}")


def check_prefix(value: Scalar, name: str, sign: str) -> None:
    """Only a text has a beginning."""
    raise QueryError(f"{name} {sign}: takes a text, not {value!r}")


def to_sql(condition: Filter, faceted: frozenset[str] = frozenset()) -> Sql:
    """The filter over ``documents``; values of ``faceted`` fields are looked up in ``facets``.

    QueryError as ``check_filter``.
    """
    check_filter(condition)
    return compiled(condition, faceted)


def compiled(condition: Filter, faceted: frozenset[str]) -> Sql:
    """The SQL of a filter that was checked."""
    if isinstance(condition, Condition):
        return condition_sql(condition, faceted)
    if isinstance(condition, Not):
        inner = compiled(condition.part, faceted)
        return Sql(f"NOT ({inner.text})", inner.parameters)
    word, neutral = (" AND ", "1") if isinstance(condition, And) else (" OR ", "0")
    return joined([compiled(part, faceted) for part in condition.parts], word, neutral)


def joined(parts: Sequence[Sql], word: str, neutral: str) -> Sql:
    """Expressions joined by a word; ``neutral`` where there is none."""
    if not parts:
        return Sql(neutral)
    text = word.join(f"({part.text})" for part in parts)
    return Sql(text, tuple(value for part in parts for value in part.parameters))


def condition_sql(condition: Condition, faceted: frozenset[str]) -> Sql:
    """The SQL of one condition."""
    if condition.operator.negated:
        passing = passing_sql(condition, faceted)
        return Sql(f"NOT ({passing.text})", passing.parameters)
    return passing_sql(condition, faceted)


def passing_sql(condition: Condition, faceted: frozenset[str]) -> Sql:
    """Whether a value of the field passes the operator's test."""
    field, operator = condition.field, condition.operator
    if field[0] in COLUMNS:
        return column_sql(COLUMNS[field[0]], condition)
    if operator is Operator.EXISTS:
        return existence_sql(field)
    test = operator.test(condition.values)
    if is_faceted(field, faceted):
        return Sql(
            f"documents.key IN (SELECT document FROM facets WHERE field = ? AND ({test.text}))",
            (field_name(field), *test.parameters),
        )
    values = values_of(field)
    rows = f"SELECT each.type AS type, each.value AS value FROM {values.tables}"
    return Sql(
        f"EXISTS (SELECT 1 FROM ({rows} WHERE {values.guard}) WHERE {test.text})",
        (*values.parameters, *test.parameters),
    )


def is_faceted(field: Field, faceted: frozenset[str]) -> bool:
    """Whether a field's values are indexed; "a.b" as one name is not the path of that name."""
    name = field_name(field)
    return name in faceted and parse_field(name) == field


def existence_sql(field: Field) -> Sql:
    """Whether there is something other than null: an object and an empty list, too, exist."""
    *outer, last = field
    test = "coalesce(json_type({}, ?), 'null') != 'null'"
    if not outer:
        return Sql(test.format("documents.metadata"), (json_path(field),))
    objects = objects_of(tuple(outer))
    return Sql(
        f"EXISTS (SELECT 1 FROM {objects.tables} WHERE {objects.guard} AND "
        f"{test.format('each.value')})",
        (*objects.parameters, json_path((last,))),
    )


def values_of(field: Field) -> Values:
    """The values of a field: of a list each element, of a path each that it leads to."""
    *outer, last = field
    path = json_path((last,))
    if not outer:
        return Values(
            "json_each(documents.metadata, ?) AS each",
            "json_type(documents.metadata, ?) != 'object'",  # whose members it would give
            (path, path),
        )
    objects = objects_of(tuple(outer), "owner")
    return Values(
        f"{objects.tables}, json_each(CASE owner.type WHEN 'object' THEN owner.value END, ?)"
        " AS each",
        "CASE owner.type WHEN 'object' THEN json_type(owner.value, ?) END != 'object'",
        (*objects.parameters, path, path),
    )


def objects_of(field: Field, name: str = "each") -> Values:
    """The objects at a path, those of lists one by one."""
    whole, tables, parameters = "documents.metadata", [], []
    for level, part in enumerate(field, 1):
        row = name if level == len(field) else f"level{level}"
        tables.append(
            f"json_each(CASE json_type({whole}, ?) WHEN 'array' THEN json_extract({whole}, ?)"
            f" WHEN 'object' THEN '[' || json_extract({whole}, ?) || ']' END) AS {row}"
        )
        parameters += [json_path((part,))] * 3
        whole = f"CASE {row}.type WHEN 'object' THEN {row}.value END"
    return Values(", ".join(tables), f"{name}.type = 'object'", tuple(parameters))


def column_sql(column: str, condition: Condition) -> Sql:
    """``_id`` and ``_title``, which are texts: a value of another kind is never theirs."""
    if condition.operator is Operator.EXISTS:
        return Sql(f"documents.{column} != ''")
    test = condition.operator.test(condition.values)
    text = f"SELECT documents.{column} AS value, 'text' AS type"
    return Sql(f"EXISTS (SELECT 1 FROM ({text}) WHERE {test.text})", test.parameters)


def json_path(field: Field) -> str:
    """SQLite's path; the names were checked."""
    return "$" + "".join(f'."{part}"' for part in field)


def order_test(sign: str, values: Sequence[Scalar]) -> Sql:
    """Values of the same kind that stand on that side of the only value."""
    return Sql(f"{kind_test(values[0])} AND value {sign} ?", (values[0],))


def equality_test(values: Sequence[Scalar]) -> Sql:
    """Values of the same kind that are one of the values."""
    texts = [value for value in values if isinstance(value, str)]
    numbers = [
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    ]
    parts = [
        Sql(f"{kind_test(kind[0])} AND value IN ({', '.join('?' * len(kind))})", tuple(kind))
        for kind in (texts, numbers)
        if kind
    ]
    for constant, word in ((True, "true"), (False, "false"), (None, "null")):
        if any(value is constant for value in values):
            parts.append(Sql(f"type = '{word}'"))
    return joined(parts, " OR ", "0")


def kind_test(value: Scalar) -> str:
    """Whether a row's value is of the same kind as this one."""
    return "type = 'text'" if isinstance(value, str) else "type IN ('integer', 'real')"


def kind_name(value: Scalar) -> str:
    """What values of its kind are called, which alone it can be equal to."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "numbers"


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
    parts = tuple(from_json(item, depth + 1) for item in inner)
    return And(parts) if word == "and" else Or(parts)


def condition_from_json(content: Mapping[str, object]) -> Condition:
    """One condition as HTTP has it; QueryError."""
    if unknown := set(content) - {"field", "op", "value"}:
        raise QueryError(f"a condition has no {sorted(map(str, unknown))[0]!a}")
    name = content["field"]
    if isinstance(name, str):
        field = parse_field(name)
    elif isinstance(name, Sequence) and all(isinstance(part, str) for part in name):
        field = tuple(map(str, name))
    else:
        raise QueryError('"field" must be a text or a list of texts')
    sign = content.get("op", "=")
    operator = OPERATORS.get(sign) if isinstance(sign, str) else None
    if operator is None:
        raise QueryError(f'"op" must be one of {", ".join(OPERATORS)}')
    if operator.takes is Takes.NOTHING:
        if "value" in content:
            raise QueryError(f"{field_name(field)} {operator.sign}: takes no value")
        return Condition(field, operator)
    if "value" not in content:
        raise QueryError(f'{field_name(field)} {operator.sign}: needs a "value"')
    value = content["value"]
    values = value if operator.takes is Takes.LIST else [value]
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise QueryError(f"{field_name(field)} {operator.sign}: takes a list of values")
    for item in values:
        if not isinstance(item, str | int | float | bool | None):
            raise QueryError(f"{field_name(field)}: a value must be a text, a number or a boolean")
    return Condition(field, operator, tuple(values))
