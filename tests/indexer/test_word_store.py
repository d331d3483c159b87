"""The language of an index, by its texts or given, and words that are made anew."""

import json
from pathlib import Path

import pytest

import trimseek
from tests.conftest import Run, ingest, write_jsonl
from trimseek.errors import QueryError
from trimseek.indexer.store import Store
from trimseek.indexer.word_store import SAMPLED
from trimseek.search import Searcher
from trimseek.search.options import Mode, Options

ENGLISH = ["The dogs were running home again.", "Nobody knows where the houses of the city are."]
GERMAN = ["Die Hunde laufen wieder nach Hause.", "Niemand weiß, wo die Häuser der Stadt sind."]


def language(folder: Path) -> str | None:
    with Store(folder) as store:
        assert store.check(deep=True) == []
        return store.analyzer.language


def lexical(folder: Path, query: str) -> set[str]:
    with Searcher(folder) as searcher:
        return {hit.id for hit in searcher.search(query, 50, Options(mode=Mode.LEXICAL)).hits}


@pytest.mark.parametrize(
    ("texts", "expected", "query"), [(ENGLISH, "english", "house"), (GERMAN, "german", "haus")]
)
def test_the_texts_tell_the_language(
    texts: list[str], expected: str, query: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    assert language(tmp_path / "i") == expected
    assert "1" in lexical(tmp_path / "i", query)


def test_a_beginning_in_another_language_is_looked_at_once_more(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    with trimseek.create_index(tmp_path / "i", encoder=tiny_encoder) as index:
        index.add([{"id": "e", "text": ENGLISH[0]}])
        assert language(tmp_path / "i") == "english"
        index.add([{"id": f"g{i}", "text": GERMAN[i % 2]} for i in range(SAMPLED)])
        assert language(tmp_path / "i") == "german"
        assert "g1" in {hit.id for hit in index.search("haus", 300, mode="lexical").hits}
        index.add([{"id": f"e{i}", "text": ENGLISH[i % 2]} for i in range(SAMPLED)])
        assert language(tmp_path / "i") == "german"


def test_a_language_that_is_given_stays(tmp_path: Path, tiny_encoder: Path, run: Run) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "e", "text": ENGLISH[1]}])
    words = ("--into", tmp_path / "i", "--encoder", tiny_encoder)
    assert run("index", corpus, *words, "--language", "none").returncode == 0
    assert language(tmp_path / "i") is None
    assert lexical(tmp_path / "i", "house") == set()
    assert run("index", corpus, "--into", tmp_path / "i").returncode == 0
    assert language(tmp_path / "i") is None
    assert run("index", corpus, "--into", tmp_path / "i", "--language", "auto").returncode == 0
    assert language(tmp_path / "i") == "english"
    assert lexical(tmp_path / "i", "house") == {"e"}
    assert run("compact", tmp_path / "i", "--language", "german").returncode == 0
    assert language(tmp_path / "i") == "german"
    assert json.loads(run("info", tmp_path / "i", "--json").stdout)["language"] == "german"
    assert "language   german" in run("info", tmp_path / "i").stdout
    assert run("reembed", tmp_path / "i", "--encoder", tiny_encoder).returncode == 0
    assert language(tmp_path / "i") == "german"


def test_an_unknown_language(tmp_path: Path, tiny_encoder: Path, run: Run) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": "e", "text": ENGLISH[1]}])
    words = ("--into", tmp_path / "i", "--encoder", tiny_encoder, "--language", "klingon")
    failed = run("index", corpus, *words)
    assert (failed.returncode, failed.stderr.count("\n")) == (2, 1)
    assert "no language 'klingon'; there are: auto, none, arabic" in failed.stderr
    assert not (tmp_path / "i").exists()
    with pytest.raises(QueryError, match="no language 'x'"):
        trimseek.create_index(tmp_path / "i", encoder=tiny_encoder, language="x")
    assert not (tmp_path / "i").exists()
    ingest(corpus, tmp_path / "i", tiny_encoder)
    assert run("compact", tmp_path / "i", "--language", "klingon").returncode == 2


def test_words_of_one_writer_beside_another_that_compacts(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    with (
        trimseek.create_index(tmp_path / "i", encoder=tiny_encoder) as index,
        Searcher(tmp_path / "i") as searcher,
    ):
        for i in range(4):
            index.add([{"id": f"a{i}", "text": f"shell number{i} words"}])
            index.delete([f"a{i - 1}"])
            assert run("compact", tmp_path / "i").returncode == 0
            found = searcher.search("shell words", 9, Options(mode=Mode.LEXICAL)).hits
            assert [hit.id for hit in found] == [f"a{i}"]
            assert searcher.search(f"number{i}", 9, Options(mode=Mode.LEXICAL)).hits
    assert language(tmp_path / "i") in (None, "english")
