"""Filters: against a plain Python reading of the same conditions, and against hostile input."""

import json
import operator as operators
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ingest, write_jsonl
from trimseek.errors import QueryError
from trimseek.indexer.filters import (
    MOST_CONDITIONS,
    MOST_DEPTH,
    OPERATORS,
    And,
    Condition,
    Filter,
    Not,
    Operator,
    Or,
    Scalar,
    from_json,
    next_text,
    to_sql,
)
from trimseek.indexer.store import Store
from trimseek.indexer.where import parse_where
from trimseek.indexer.writer import IndexWriter

METADATA: list[dict[str, Any]] = [
    {"year": 2020, "lang": "en", "tags": ["news", "blog"], "draft": True},
    {"year": 2021, "lang": "de", "tags": [], "draft": False},
    {"year": 2021.5, "lang": "EN", "tags": "news", "draft": None},
    {"year": "2021", "lang": "", "author": {"name": "Ada", "born": 1815}},
    {"lang": "en-GB", "author": {"name": ["Ada", "Bob"]}, "a.b": 1, "a": {"b": 2}},
    {"year": -1, "lang": 'e"n', "tags": [1, "1", True, None, 1.5], "author": {}},
    {"year": [2019, 2022], "lang": "zz\U0010ffff", "path": "docs/a.md", "drop": "table"},
    {"path": "docs2/b.md", "x y": "; DROP TABLE documents; --", "é": "ü"},
    {},
]
FACETS = ("year", "lang", "author.name", "tags")
FIELDS = [("year",), ("lang",), ("tags",), ("draft",), ("author", "name"), ("author",)]
FIELDS += [("a.b",), ("a", "b"), ("path",), ("x y",), ("é",), ("nothing",), ("_id",), ("_title",)]
VALUES: list[Scalar] = [2020, 2021, 2021.5, -1, 1, 1.5, True, False, None, "en", "news", "1"]
VALUES += ["Ada", "", "2021", "docs/", 'e"n', "zz", "; DROP TABLE documents; --", "d3", "T1", 2**62]
ORDERED = (Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST)


@pytest.fixture(scope="module", params=[(), FACETS], ids=["plain", "faceted"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("filters")
    rows = [
        {"_id": f"d{i}", "title": f"T{i % 2}", "text": "words", **metadata}
        for i, metadata in enumerate(METADATA)
    ]
    ingest(write_jsonl(folder / "c.jsonl", rows[:5]), folder / "i", tiny_encoder)
    opened = Store(folder / "i", writable=True)
    with opened.transaction():  # some are stored before, some after
        for field in request.param:
            opened.add_facet(field)
    opened.close()
    ingest(write_jsonl(folder / "c.jsonl", rows), folder / "i", tiny_encoder)
    opened = Store(folder / "i")
    yield opened
    opened.close()


def values_of(number: int, field: tuple[str, ...]) -> list[Scalar]:
    if field == ("_id",):
        return [f"d{number}"]
    if field == ("_title",):
        return [f"T{number % 2}"]
    found: Any = METADATA[number]
    for name in field:
        if not isinstance(found, dict) or name not in found:
            return []
        found = found[name]
    return [] if isinstance(found, dict) else found if isinstance(found, list) else [found]


def is_number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(a: Scalar, b: Scalar) -> bool:
    return (type(a) is type(b) or (is_number(a) and is_number(b))) and a == b


def holds(condition: Filter, number: int) -> bool:
    """The meaning of a filter, as the documentation has it."""
    if isinstance(condition, And):
        return all(holds(part, number) for part in condition.parts)
    if isinstance(condition, Or):
        return any(holds(part, number) for part in condition.parts)
    if isinstance(condition, Not):
        return not holds(condition.part, number)
    values, operator = values_of(number, condition.field), condition.operator
    if operator is Operator.EXISTS:
        found: Any = METADATA[number]
        if condition.field[0] in ("_id", "_title"):
            return True
        for name in condition.field:
            found = found.get(name) if isinstance(found, dict) else None
        return found is not None
    if operator in (Operator.EQUAL, Operator.IN):
        return any(same(a, b) for a in values for b in condition.values)
    if operator is Operator.UNEQUAL:
        return not any(same(a, condition.values[0]) for a in values)
    wanted: Any = condition.values[0]
    if operator is Operator.PREFIX:
        return any(isinstance(a, str) and a.startswith(str(wanted)) for a in values)
    kind = str if isinstance(wanted, str) else (int, float)
    comparable: list[Any] = [
        each for each in values if isinstance(each, kind) and not isinstance(each, bool)
    ]
    compare = {"<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge}
    return any(compare[operator.sign](each, wanted) for each in comparable)


def conditions() -> st.SearchStrategy[Filter]:
    fields, values = st.sampled_from(FIELDS), st.sampled_from(VALUES)
    equal = st.sampled_from([Operator.EQUAL, Operator.UNEQUAL])
    comparable = values.filter(lambda value: isinstance(value, str) or is_number(value))
    leaf = st.one_of(
        st.builds(lambda f, o, v: Condition(f, o, (v,)), fields, equal, values),
        st.builds(
            lambda f, o, v: Condition(f, o, (v,)), fields, st.sampled_from(ORDERED), comparable
        ),
        st.builds(lambda f, v: Condition(f, Operator.IN, tuple(v)), fields, st.lists(values)),
        st.builds(lambda f: Condition(f, Operator.EXISTS), fields),
        st.builds(
            lambda f, v: Condition(f, Operator.PREFIX, (v,)),
            fields,
            st.sampled_from(["", "d", "docs/", "en", "zz", "zz\U0010ffff", "2"]),
        ),
    )
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(lambda parts: And(tuple(parts)), st.lists(inner, max_size=3)),
            st.builds(lambda parts: Or(tuple(parts)), st.lists(inner, max_size=3)),
            st.builds(Not, inner),
        ),
        max_leaves=6,
    )


@settings(max_examples=400, deadline=None)
@given(condition=conditions())
def test_a_filter_means_what_is_documented(condition: Filter, store: Store) -> None:
    expected = [f"d{i}" for i in range(len(METADATA)) if holds(condition, i)]
    sql = to_sql(condition, store.facets())
    assert store.ids_where(sql) == expected
    assert len(store.matching(sql)) == len(expected)


@settings(max_examples=200, deadline=None)
@given(condition=conditions())
def test_json_is_another_way_to_write_it(condition: Filter) -> None:
    assert from_json(json.loads(json.dumps(as_json(condition)))) == condition


def as_json(condition: Filter) -> dict[str, Any]:
    if isinstance(condition, And | Or):
        parts = [as_json(part) for part in condition.parts]
        return {"and" if isinstance(condition, And) else "or": parts}
    if isinstance(condition, Not):
        return {"not": as_json(condition.part)}
    written: dict[str, Any] = {"field": list(condition.field), "op": condition.operator.sign}
    if condition.operator is Operator.IN:
        written["value"] = list(condition.values)
    elif condition.operator is not Operator.EXISTS:
        written["value"] = condition.values[0]
    return written


def one(field: str, operator: str, *values: Scalar) -> Condition:
    return Condition(tuple(field.split(".")), OPERATORS[operator], values)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('year >= 2020 and lang = "en"', And((one("year", ">=", 2020), one("lang", "=", "en")))),
        (
            "a=1 or b=2 and not c=3",
            Or((one("a", "=", 1), And((one("b", "=", 2), Not(one("c", "=", 3)))))),
        ),
        (
            "(a = 1 OR b <> -2.5e3) AND c == true",
            And((Or((one("a", "=", 1), one("b", "!=", -2500.0))), one("c", "=", True))),
        ),
        ("tags in ('x', \"y\", 3, null)", one("tags", "in", "x", "y", 3, None)),
        ("tags in []", one("tags", "in")),
        ("author.name exists", one("author.name", "exists")),
        ('"a.b" < 5', Condition(("a.b",), Operator.LESS, (5,))),
        (r'path prefix "a\"b\\c"', one("path", "prefix", 'a"b\\c')),
        ("  größe>1  ", one("größe", ">", 1)),
        ("not not a exists", Not(Not(one("a", "exists")))),
    ],
)
def test_where(text: str, expected: Filter) -> None:
    assert parse_where(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "character 1: expected a field, but it ends there"),
        ("year", "character 5: expected a comparison"),
        ("year >=", "character 8: expected a value"),
        ("year >= 2020 lang = 1", "character 14: expected and, or, or the end, found 'lang'"),
        ("year = english", "character 8: expected a value"),
        ("(year = 1", "character 10: expected ), but it ends there"),
        ("year in 1", "character 9: expected a list"),
        ("year in (1 2)", "character 12: expected a comma"),
        ("year = 1 ; drop", "character 10: cannot read ';'"),
        ('lang = "open', "character 8: cannot read '\"'"),
        ("year < true", "takes a number or a text, not True"),
        ("lang prefix 3", "takes a text, not 3"),
        ("year = " + "9" * 30, "beyond 64 bits"),
        ("year = 1e999", "inf is not a number"),
        ("(" * 200 + "a=1" + ")" * 200, f"more than {MOST_DEPTH} levels"),
        (" or ".join(["a=1"] * 300), f"the most is {MOST_CONDITIONS}"),
        ("x" * 30_000, "the most is 20,000"),
    ],
)
def test_mistakes_say_where(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=re.escape(message)) as raised:
        to_sql(parse_where(text))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (7, "a filter must be an object, not int"),
        ({}, 'a filter needs "field" and "op"'),
        ({"and": [], "or": []}, "a filter needs"),
        ({"and": {"field": "a"}}, '"and" takes a list'),
        ({"field": "a"}, 'a =: needs a "value"'),
        ({"field": 3, "value": 1}, '"field" must be a text'),
        ({"field": "a", "op": "like", "value": 1}, '"op" must be one of'),
        ({"field": "a", "op": "in", "value": "abc"}, "takes a list of values"),
        ({"field": "a", "op": "exists", "value": 1}, "takes no value"),
        ({"field": "a", "value": {"b": 1}}, "must be a text, a number or a boolean"),
        ({"field": "a", "value": 1, "sql": "1"}, "a condition has no 'sql'"),
        ({"field": "a", "value": float("nan")}, "nan is not a number"),
        ({"field": "a", "value": 2**70}, "beyond 64 bits"),
        ({"field": "a", "value": "\ud800"}, "not Unicode text"),
        ({"field": "", "value": 1}, "cannot filter by a field called ''"),
        ({"field": [], "value": 1}, "a condition needs a field"),
        ({"field": "_id.x", "value": 1}, "_id has no fields of its own"),
        ({"field": "a", "op": "in", "value": [1] * 20_000}, "the most is 10,000"),
    ],
)
def test_json_mistakes(content: object, message: str) -> None:
    with pytest.raises(QueryError, match=re.escape(message)):
        to_sql(from_json(content))


def test_deep_json_is_refused() -> None:
    content: Any = {"field": "a", "value": 1}
    for _ in range(200):
        content = {"not": content}
    with pytest.raises(QueryError, match=f"more than {MOST_DEPTH} levels"):
        from_json(content)


INJECTIONS = [
    "'",
    "''",
    '"',
    "`",
    ";",
    "--",
    "/*",
    "*/",
    "\\",
    "%",
    "_",
    "?",
    "?1",
    ":a",
    "@a",
    "$a",
    "$",
    "$.year",
    '$."year"',
    "$[0]",
    "#",
    "' OR '1'='1",
    '" OR ""="',
    "1 OR 1=1",
    "1; DROP TABLE documents",
    "'; DROP TABLE documents; --",
    '"; DROP TABLE documents; --',
    "x') OR 1=1 --",
    'x") OR 1=1 --',
    "x' UNION SELECT sqlite_version() --",
    "year) OR (1=1",
    "NULL",
    "null",
    "documents.key",
    "rowid",
    "(SELECT 1)",
    "load_extension('x')",
    "randomblob(1000000000)",
    "\x00",
    "\n",
    "\r\n",
    "\t",
    "\x1b[31m",
    "\u202e",
    "\ufdd0",
    "\U0010ffff",
    "NEAR(a b)",
    "a AND b",
    "a OR b",
    "NOT a",
    "title : a",
    "{title text} : a",
    "a*",
    "^a",
    "-a",
    "+a",
    "(((((",
    ")))))",
    "words",
    "a\" OR rank MATCH 'bm25(10.0)",
    "COLUMN",
    "*",
]


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_hostile_values_match_literally(text: str, store: Store) -> None:
    for operator in (Operator.EQUAL, Operator.PREFIX, Operator.AT_LEAST):
        for field in (("lang",), ("tags",), ("_id",), ("x y",)):
            condition = Condition(field, operator, (text,))
            expected = [f"d{i}" for i in range(len(METADATA)) if holds(condition, i)]
            assert store.ids_where(to_sql(condition, store.facets())) == expected


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_hostile_field_names_fail_clearly_or_match_nothing(text: str, store: Store) -> None:
    for field in ((text,), ("author", text)):
        for operator, values in ((Operator.EQUAL, ("x",)), (Operator.EXISTS, ())):
            try:
                sql = to_sql(Condition(field, operator, values), store.facets())
            except QueryError as error:
                assert "cannot filter by a field called" in str(error)  # noqa: PT017
            else:
                assert store.ids_where(sql) == []


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
def test_hostile_ids_and_texts_are_stored_and_found(
    text: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    if "\0" in text or not text.strip():
        pytest.skip("refused before it is stored: see test_readers")
    id_ = "".join(letter for letter in text if letter.isprintable()) or "x"
    row = {"_id": id_, "title": text, "text": text, "meta": text, text: "named"}
    ingest(
        write_jsonl(tmp_path / "c.jsonl", [row, {"_id": "other", "text": "o"}]),
        tmp_path / "i",
        tiny_encoder,
    )
    writer = IndexWriter(tmp_path / "i")
    assert writer.delete_where(Condition(("meta",), Operator.EQUAL, (text,))) == 1
    assert writer.delete([id_]) == 0
    writer.close()
    with sqlite3.connect(tmp_path / "i" / "documents.db") as db:
        assert db.execute("SELECT id FROM documents").fetchall() == [("other",)]
    db.close()


@pytest.mark.parametrize(
    ("prefix", "after"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("", None),
    ],
)
def test_what_comes_after_a_prefix(prefix: str, after: str | None) -> None:
    assert next_text(prefix) == after
