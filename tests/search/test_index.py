"""The Python API of an index."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import trimseek
from tests.conftest import write_jsonl
from trimseek.errors import (
    CorpusError,
    EncoderError,
    IndexFolderError,
    QueryError,
    UnknownDocumentError,
)

DOCUMENTS: list[dict[str, object]] = [
    {"id": "cat", "title": "Cat", "text": "the kitten sleeps in the list", "n": 1},
    {"id": "dog", "text": "a dog with a number of files", "n": 2, "tags": ["x"]},
    {"_id": "fox", "text": "split the shell command", "n": 3},
]


@pytest.fixture
def index(tmp_path: Path, tiny_encoder: Path) -> Iterator[trimseek.Index]:
    with trimseek.create_index(tmp_path / "i", DOCUMENTS, encoder=tiny_encoder) as index:
        yield index


def test_documents_come_back_as_they_were_added(index: trimseek.Index) -> None:
    assert len(index) == 3
    assert "cat" in index
    assert "cow" not in index
    assert [document.id for document in index.documents()] == ["cat", "dog", "fox"]
    assert index.get("cat").title == "Cat"
    assert index.get("dog").metadata == {"n": 2, "tags": ["x"]}
    with pytest.raises(UnknownDocumentError, match="no document 'cow'"):
        index.get("cow")


def test_what_is_added_is_found_at_once(index: trimseek.Index) -> None:
    assert index.search("kitten", mode="lexical").hits[0].id == "cat"
    counts = index.add([{"id": "cow", "text": "kitten kitten"}, DOCUMENTS[0]])
    assert counts == (1, 0, 1)
    hits = index.search("kitten", mode="lexical").hits
    assert {hit.id for hit in hits} == {"cow", "cat"}
    assert index.add(trimseek.Document(f"d{i}", "", f"text {i}") for i in range(3)).added == 3
    assert len(index) == 7


def test_options_are_those_of_a_search(index: trimseek.Index) -> None:
    everything = index.search("list", k=3)
    assert len(everything.hits) == 3
    assert index.search("list", k=1, offset=1).hits[0].id == everything.hits[1].id
    assert [hit.id for hit in index.search("list", where="n >= 3").hits] == ["fox"]
    http = {"field": "n", "op": "<", "value": 2}
    assert [hit.id for hit in index.search("list", where=http).hits] == ["cat"]
    assert index.search("list", facets=["n"]).facets["n"]
    assert index.search("the kitten", mode="hybrid", highlight=True).hits[0].highlights


def test_a_batch_is_each_query_alone(index: trimseek.Index) -> None:
    queries = ["kitten sleeps", "shell command", "files"]
    for mode in ("dense", "lexical", "hybrid"):
        together = index.search_batch(queries, 2, mode=mode)
        alone = [index.search(query, 2, mode=mode) for query in queries]
        for one, other in zip(together, alone, strict=True):
            assert [hit.id for hit in one.hits] == [hit.id for hit in other.hits]
            assert [hit.score for hit in one.hits] == pytest.approx(
                [hit.score for hit in other.hits], abs=1e-5
            )


def test_a_batch_takes_the_options_of_a_search(index: trimseek.Index) -> None:
    (batch,) = index.search_batch(["list"], 2, where="n >= 2", facets=["n"], mode="hybrid")
    single = index.search("list", 2, where="n >= 2", facets=["n"], mode="hybrid")
    assert (batch.hits, batch.facets) == (single.hits, single.facets)
    with pytest.raises(TypeError, match="colour"):
        index.search_batch(["list"], colour="red")  # type: ignore[call-arg]


def test_one_text_is_not_a_list_of_letters(index: trimseek.Index) -> None:
    for call in (
        lambda: index.search_batch("list"),
        lambda: index.search("list", facets="n"),
        lambda: index.recommend("cat"),
    ):
        with pytest.raises(QueryError, match="give a list of texts"):
            call()


def test_documents_are_those_of_the_call(index: trimseek.Index) -> None:
    documents = index.documents()
    index.add([{"id": "later", "text": "a text"}])
    assert [document.id for document in documents] == ["cat", "dog", "fox"]


def test_a_creation_that_fails_leaves_nothing(tmp_path: Path, tiny_encoder: Path) -> None:
    bad: list[dict[str, object]] = [*DOCUMENTS, {"id": "bad"}]
    with pytest.raises(CorpusError):
        trimseek.create_index(tmp_path / "new", bad, encoder=tiny_encoder)
    assert not (tmp_path / "new").exists()
    with trimseek.create_index(tmp_path / "new", DOCUMENTS, encoder=tiny_encoder) as index:
        assert len(index) == 3


def test_a_query_encoder_is_checked_at_opening(index: trimseek.Index, other_encoder: Path) -> None:
    with pytest.raises(IndexFolderError, match="space"):
        trimseek.open_index(index.folder, query_encoder=other_encoder)
    with pytest.raises(EncoderError):
        trimseek.open_index(index.folder, query_encoder="nosuch")


def test_recommend_patch_delete(index: trimseek.Index) -> None:
    assert {hit.id for hit in index.recommend(["cat"], k=5)} == {"dog", "fox"}
    assert index.patch("cat", {"n": None, "seen": True}).metadata == {"seen": True}
    assert index.get("cat").metadata == {"seen": True}
    assert index.count(["cat", "gone"]) == 1
    assert index.delete("cat") == 1
    assert index.delete(where="n > 2") == 1
    assert [document.id for document in index.documents()] == ["dog"]
    with pytest.raises(QueryError, match="ids or where, one of the two"):
        index.delete()


def test_an_index_is_opened_again(index: trimseek.Index, tiny_encoder: Path) -> None:
    folder = index.folder
    with trimseek.open_index(str(folder), query_encoder=tiny_encoder) as other:
        assert other.search("list").hits[0].id == index.search("list").hits[0].id
    index.close()
    assert index.search("list").hits  # it is opened again when it is used
    with pytest.raises(IndexFolderError, match="exists already"):
        trimseek.create_index(folder, encoder=tiny_encoder)
    with pytest.raises(IndexFolderError, match="no such folder"):
        trimseek.open_index(folder / "nowhere")


def test_a_corpus_by_its_name(tmp_path: Path, tiny_encoder: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"_id": "a", "text": "list"}, {"text": "no id"}])
    with trimseek.create_index(tmp_path / "i", corpus, encoder=tiny_encoder) as index:
        assert {document.id for document in index.documents()} == {"a", "2"}


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([{"text": "no id"}], "document 1: no field 'id'"),
        ([{"id": "a", "text": "b"}, 7], "document 2: expected an object with fields, got int"),
        ({"id": "a", "text": "b"}, "give a list of documents"),
        ([{"id": "a", "text": ["b"]}], "document 1: field 'text' must be text, not list"),
        ([{"id": "a", "text": "b"}, {"id": "a", "text": "c"}], "the id 'a' is given twice"),
        ([{"id": "a", "text": " "}], "no text"),
    ],
)
def test_bad_documents_are_named(documents: object, message: str, index: trimseek.Index) -> None:
    with pytest.raises(CorpusError, match=message):
        index.add(documents)  # type: ignore[arg-type]
    assert len(index) == 3


def test_bad_options_are_named(index: trimseek.Index, tmp_path: Path, tiny_encoder: Path) -> None:
    for options, message in (
        ({"mode": "fuzzy"}, "no mode 'fuzzy'; there are dense, lexical, hybrid"),
        ({"where": "n >"}, "filter, character 4"),
        ({"k": 0}, "k is 0"),
    ):
        with pytest.raises(QueryError, match=message):
            index.search("list", **options)
    with pytest.raises(QueryError, match="no kind of index 'flat'"):
        trimseek.create_index(tmp_path / "j", encoder=tiny_encoder, kind="flat")
    assert not (tmp_path / "j").exists()
