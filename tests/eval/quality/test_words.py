from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ingest, write_jsonl
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.retrieval import BuiltIndex, build_word_index, rank
from trimseek.eval.quality.words import WordIndex, open_word_file
from trimseek.search import Searcher
from trimseek.search.options import Mode, Options

TEXTS = [
    "The kitten sleeps on the sofa, and the kittens play.",
    "An engine of a car needs oil; engines need care.",
    "",
    "The sofa stands beside the engine.",
    "Cars, cars, cars.",
]
QUERIES = {
    "q1": "sleeping kittens",
    "q2": "the car's engine",
    "q3": "nothing whatsoever",
    "3": "sofa",
}


@pytest.fixture
def built(tmp_path: Path) -> BuiltIndex:
    return build_word_index(TEXTS, tmp_path / "words")


def ranking(built: BuiltIndex) -> tuple[list[list[int]], list[list[float]]]:
    collection = TestCollection("c", {str(i): text for i, text in enumerate(TEXTS)}, QUERIES, {})
    rows, scores = rank(collection, built, built.index.queries(list(QUERIES.values())), 3)
    return rows.tolist(), scores.tolist()


def test_it_finds_what_a_search_by_words_finds(
    built: BuiltIndex, tmp_path: Path, tiny_encoder: Path
) -> None:
    documents = [{"_id": str(i), "text": text} for i, text in enumerate(TEXTS) if text]
    ingest(write_jsonl(tmp_path / "c.jsonl", documents), tmp_path / "index", tiny_encoder)
    with Searcher(tmp_path / "index") as searcher:
        for query, rows in zip(QUERIES.values(), ranking(built)[0], strict=True):
            hits = searcher.search(query, 4, Options(mode=Mode.LEXICAL)).hits
            found = [int(hit.id) for hit in hits if not (query == "sofa" and hit.id == "3")]
            assert [row for row in rows if row >= 0] == found[:3]


def test_ranking_and_its_end(built: BuiltIndex) -> None:
    rows, scores = ranking(built)
    assert rows[0] == [0, -1, -1]
    assert set(rows[1]) == {1, 3, 4}
    assert rows[2] == [-1, -1, -1]
    assert rows[3] == [0, -1, -1]  # it has the id of a document, which it never finds
    assert scores[0][0] > 0
    assert built.bytes_per_document > 0


def test_a_file_leads_to_it(built: BuiltIndex, tmp_path: Path) -> None:
    path = tmp_path / f"0{built.suffix}"
    built.write(path)
    opened = open_word_file(str(path))
    assert isinstance(opened, WordIndex)
    queries = list(QUERIES.values())
    for ours, theirs in zip(
        built.index.search(built.index.queries(queries), 3),
        opened.search(opened.queries(queries), 3),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
