"""Filters that cannot match say so; filters, facets and groups agree about values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import as_format, ingest, write_jsonl
from trimseek.indexer.store import Store
from trimseek.search.index import Index

ROWS: list[dict[str, Any]] = [
    {
        "id": "1",
        "year": 2020,
        "tags": ["a", "b"],
        "authors": [{"name": "Kim", "born": 1980}, {"name": "Lee", "of": {"city": "Oslo"}}],
        "big": 2**63 - 1,
        "mixed": 1,
        "nothing": None,
    },
    {
        "id": "2",
        "year": 2020.0,
        "authors": {"name": "Kim"},
        "a.b": 5,
        "mixed": True,
        "date": "2024",
    },
    {"id": "3", "year": "2020", "authors": [], "big": -(2**63), "mixed": "1", "draft": False},
    {"id": "4", "authors": [[{"name": "Nested"}], "Kim"], "big": 2**53 + 1, "a": {"b": 6}},
]


@pytest.fixture(params=[(), ("authors.name", "authors.of.city", "year", "a.b", "mixed", "big")])
def index(request: pytest.FixtureRequest, tmp_path: Path, tiny_encoder: Path) -> Index:
    """With and without indexed facets: the answers are the same."""
    rows = [row | {"text": f"report {row['id']}"} for row in ROWS]
    ingest(
        write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder, facets=request.param
    )
    return Index(tmp_path / "i")


def found(index: Index, where: Any) -> list[str]:
    return sorted(hit.id for hit in index.search("report", where=where).hits)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ('authors.name = "Kim"', ["1", "2"]),
        ('authors.name in ("Lee", "Nested")', ["1"]),
        ('authors.name != "Kim"', ["3", "4"]),
        ("authors.born >= 1980", ["1"]),
        ('authors.of.city prefix "Os"', ["1"]),
        ("authors.of.city exists", ["1"]),
        ("authors.of exists", ["1"]),
        ("authors.name exists", ["1", "2"]),
        ('authors = "Kim"', ["4"]),
        ("authors exists", ["1", "2", "3", "4"]),
        ("year = 2020", ["1", "2"]),
        ("year = 2020.0", ["1", "2"]),
        ("mixed = 1", ["1"]),
        ("mixed = true", ["2"]),
        ('"a.b" = 5', ["2"]),
        ("a.b = 6", ["4"]),
        ("a.b = 5", []),
        ('"a.b" = 6', []),
        (f"big = {2**63 - 1}", ["1"]),
        (f"big = {-(2**63)}", ["3"]),
        (f"big = {2**53 + 1}", ["4"]),
        (f"big = {2**53}", []),
        ("nothing = null", ["1"]),
        ("authors.of.city = null", []),
    ],
)
def test_values_that_filters_reach(where: str, ids: list[str], index: Index) -> None:
    assert found(index, where) == ids


def test_facets_and_groups_agree_with_filters(index: Index) -> None:
    facets = index.search("report", facets=["year", "mixed", "authors.name"]).facets
    assert {name: [tuple(value) for value in values] for name, values in facets.items()} == {
        "year": [(2020, 2), ("2020", 1)],
        "mixed": [(True, 1), (1, 1), ("1", 1)],
        "authors.name": [("Kim", 2), ("Lee", 1)],
    }
    for field, values in facets.items():
        for value in values:
            where = {"field": field, "op": "=", "value": value.value}
            assert len(found(index, where)) == value.documents
    assert sorted(len(found_groups(index, field)) for field in ("year", "mixed")) == [3, 4]


def found_groups(index: Index, field: str) -> list[str]:
    return [hit.id for hit in index.search("report", group_by=field).hits]


@pytest.mark.parametrize(
    ("where", "warnings"),
    [
        ("yeer > 3", ["no document has the field 'yeer'; did you mean 'year'?"]),
        ("not yeer > 3", ["no document has the field 'yeer'; did you mean 'year'?"]),
        ("qqq = 1 or year = 2020", ["no document has the field 'qqq'"]),
        ("qqq exists", ["no document has the field 'qqq'"]),
        ("authors.age = 1", ["no document has the field 'authors.age'"]),
        (
            'big >= "x"',
            [
                "no document has text in the field 'big': it holds numbers; write numbers without "
                "quotes"
            ],
        ),
        (
            "date > 2020",
            ["no document has numbers in the field 'date': it holds text; write texts in quotes"],
        ),
        ("draft = 1", ["no document has numbers in the field 'draft': it holds true or false"]),
        (
            "authors.of = 1",
            ["no document has numbers in the field 'authors.of': it holds no values of its own"],
        ),
        ("_id = 1", ["_id is a text, never numbers"]),
        ("nothing = 1", ["no document has the field 'nothing'"]),
        ('year in (1, "x")', []),
        ("year = 1999", []),
        ("year > 1 and mixed = true", []),
        ('_title = "x"', []),
        ("nothing = null", []),
    ],
)
def test_what_no_document_has_is_said(where: str, warnings: list[str], index: Index) -> None:
    assert list(index.search("report", where=where).warnings) == warnings
    assert list(index.warnings(where)) == warnings


def test_fields_that_are_counted_or_grouped_by(index: Index) -> None:
    results = index.search("report", facets=["yeer"], group_by="tag")
    assert list(results.warnings) == [
        "no document has the field 'yeer'; did you mean 'year'?",
        "no document has the field 'tag'; did you mean 'tags'?",
    ]
    assert index.search("report", facets=["year"], group_by="tags").warnings == ()


def test_a_warning_goes_when_a_document_comes(index: Index) -> None:
    where = 'draft = "x"'
    assert len(index.search("report", where=where).warnings) == 1
    index.add([{"id": "5", "text": "report", "draft": "x"}])
    assert index.search("report", where=where).warnings == ()
    assert found(index, where) == ["5"]
    index.patch("5", {"authors": [{"name": "New"}]})
    assert found(index, 'authors.name = "New"') == ["5"]
    index.delete("5")
    assert found(index, 'authors.name = "New"') == []


@pytest.mark.usefixtures("index")
def test_warnings_on_the_command_line(run: Callable[..., Any]) -> None:
    done = run("search", "i", "report", "--where", "yeer > 3")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no document has the field 'yeer'; did you mean 'year'?" in done.stderr
    done = run("delete", "i", "--where", "yeer > 3", "--yes")
    assert "no document has the field 'yeer'" in done.stderr


def test_an_index_of_format_2_follows_lists_once_it_was_written_to(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [row | {"text": f"report {row['id']}"} for row in ROWS]
    facets = ["authors.name", "year"]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder, facets=facets)
    as_format(2, tmp_path / "i")
    index = Index(tmp_path / "i")
    assert found(index, 'authors.name = "Lee"') == ["1"]
    with Store(tmp_path / "i") as store:
        assert store.facets() == {"year"}
    index.add([{"id": "5", "text": "report", "authors": [{"name": "Lee"}]}])
    assert found(index, 'authors.name = "Lee"') == ["1", "5"]
    with Store(tmp_path / "i") as store:
        assert store.facets() == set(facets)
        assert store.check(deep=True) == []
