"""While typing and mistyping: a last word that is only begun, and what a query may have meant."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Run, as_format, ingest, write_jsonl
from trimseek import create_index
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search import suggestions as module
from trimseek.search.options import Mode, Options

TEXTS = {
    "receive": "The committee will receive the letters. Receiving takes time.",
    "running": "Running shoes for a marathon in Zürich",
    "runner": "A runner rests",
    "library": "Opening hours of the library and its catalogue",
    "cats": "Cats sleep",
    "german": "Die Straßenbahn fährt zum Bahnhof",
    "russian": "Библиотека открыта до вечера",
    "greek": "Η βιβλιοθήκη είναι ανοιχτή",
    "code": "Call getUserName of the node.js module, or TrieMap",
    "chinese": "图书馆今天开放",
    "retrieval": "information retrieval for everybody",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    path = tmp_path_factory.mktemp("suggestions")
    rows = [{"_id": id_, "text": text} for id_, text in TEXTS.items()]
    index = create_index(path / "index", rows, encoder=tiny_encoder, language="english")
    index.close()
    return path / "index"


@pytest.fixture(scope="module")
def searcher(folder: Path) -> Iterator[Searcher]:
    opened = Searcher(folder)
    yield opened
    opened.close()


def suggested(searcher: Searcher, query: str, mode: Mode = Mode.LEXICAL) -> str | None:
    return searcher.search(query, 3, Options(mode=mode, suggest=True)).suggestion


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("to recieve letters", "to receive letters"),
        ("recieveing a letter", "receiving a letter"),
        ("RECIEVE", "receive"),
        ("marahton, zurick!", "marathon, Zürich!"),
        ("libary catalouge", "library catalogue"),
        ("brary", None),
        ("ilbrary", "library"),
        ("kibrary", "library"),
        ("informationretrieval", "information retrieval"),
        ("strassenbahnn", "Straßenbahn"),
        ("библеотека", "библиотека"),
        ("βιβλιοθηκι", "βιβλιοθήκη"),
        ("getUserNmae", "getUserName"),
        ("node.js libary", "node.js library"),
        ("cat", None),  # a word that is there
        ("kats", "cats"),
        ("dog", None),  # too short
        ("12345 x7y8", None),
        ("图书", None),
        ("图馆", None),
        ("entirelyunrelated", None),
        ("!?", None),
        ("library", None),
    ],
)
def test_words_that_no_document_has_are_suggested_as_documents_write_them(
    searcher: Searcher, query: str, meant: str | None
) -> None:
    found = suggested(searcher, query)
    assert (found or "").casefold() == (meant or "").casefold()
    assert found != query


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ("q" * 100_000, None),
        ("qwert " * 16_000, None),
        ("libary " + "word " * 19_000, "library " + "word " * 19_000),
    ],
)
def test_of_long_queries_only_the_beginning_is_looked_at(
    query: str, meant: str | None, searcher: Searcher
) -> None:
    """They took minutes, when every word was compared with all others."""
    options = Options(mode=Mode.LEXICAL, suggest=True, prefix=True, highlight=True)
    assert searcher.search(query, 3, options).suggestion == meant


def test_a_suggestion_is_written_as_it_is_in_texts(searcher: Searcher) -> None:
    assert suggested(searcher, "zurick") == "Zürich"
    assert suggested(searcher, "recieve") == "receive"
    assert suggested(searcher, "recieve", Mode.HYBRID) == "receive"
    assert searcher.search("recieve").suggestion is None  # where none is asked for


def test_large_vocabularies_are_searched_by_their_first_letters(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SCANNED", 0)
    assert suggested(searcher, "ilbrary") == "library"
    assert suggested(searcher, "libary") == "library"
    assert suggested(searcher, "kibrary") is None


def test_deleted_documents_suggest_nothing(tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [{"_id": id_, "text": text} for id_, text in TEXTS.items()]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", tiny_encoder)
    with Searcher(tmp_path / "index") as searcher:
        assert suggested(searcher, "libary") == "library"
        with IndexWriter(tmp_path / "index") as writer:
            writer.delete(["library"])
        assert suggested(searcher, "libary") is None


def test_an_index_without_words_suggests_nothing(tmp_path: Path, folder: Path) -> None:
    folder = Path(shutil.copytree(folder, tmp_path / "old"))
    as_format(3, folder)
    with Searcher(folder) as searcher:
        assert suggested(searcher, "libary", Mode.DENSE) is None


def begun(searcher: Searcher, query: str) -> list[str]:
    options = Options(mode=Mode.LEXICAL, prefix=True)
    return [hit.id for hit in searcher.search(query, 10, options).hits]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("lib", {"library"}),
        ("run", {"running", "runner"}),
        ("runni", {"running"}),
        ("receivin", {"receive"}),
        ("opening hours of the lib", {"library", "receive", "code"}),
        ("lib ", set()),  # a whole word
        ("lib,", set()),
        ("getus", {"code"}),
        ("getUserN", {"code"}),
        ("node.j", {"code"}),
        ("zür", {"running"}),
        ("zur", {"running"}),
        ("библ", {"russian"}),
        ("图", {"chinese"}),
        ("图书", {"chinese"}),
        ("qqq", set()),
    ],
)
def test_the_last_word_is_only_begun(searcher: Searcher, query: str, ids: set[str]) -> None:
    assert set(begun(searcher, query)) == ids


def test_the_whole_word_counts_more_than_one_that_begins_so(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [{"_id": f"long{i}", "text": "catalogue of things"} for i in range(5)]
    rows += [{"_id": "short", "text": "cat and things that are here"}]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", tiny_encoder)
    with Searcher(tmp_path / "index") as searcher:
        found = begun(searcher, "cat")
    assert found[0] == "short"
    assert len(found) == 6


def test_of_many_words_that_begin_so_the_most_frequent_count(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [{"_id": f"d{i}", "text": f"prea{i:03d}x"} for i in range(300)]
    rows += [{"_id": f"z{i}", "text": "prezzz"} for i in range(3)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", tiny_encoder)
    options = Options(mode=Mode.LEXICAL, prefix=True)
    with Searcher(tmp_path / "index") as searcher:
        found = {hit.id for hit in searcher.search("pre", 300, options).hits}
    assert {"z0", "z1", "z2"} <= found


def test_marks_are_on_begun_words(searcher: Searcher) -> None:
    options = Options(mode=Mode.LEXICAL, prefix=True, highlight=True)
    (hit,) = searcher.search("lib", 3, options).hits
    marked = [hit.passage.text[each.start : each.end] for each in hit.highlights]
    assert marked == ["library"]


def test_marks_are_on_words_that_tell(tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [{"_id": f"d{i}", "text": f"the list of a thing{i}"} for i in range(10)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", tiny_encoder)
    marks = []
    with Searcher(tmp_path / "index") as searcher:
        for query in ("the list of a thing3", "the list"):
            hit = searcher.search(query, 1, Options(mode=Mode.LEXICAL, highlight=True)).hits[0]
            marks.append([hit.passage.text[each.start : each.end] for each in hit.highlights])
    assert marks == [["thing3"], ["the", "list"]]


def test_the_command_line_asks_what_was_meant(folder: Path, run: Run) -> None:
    done = run("search", folder, "libary", "--mode", "lexical")
    assert "did you mean: library" in done.stderr
    typed = run("search", folder, "libr", "--prefix", "--mode", "lexical", "--json")
    assert '"id": "library"' in typed.stdout
    assert '"suggestion": null' in typed.stdout
