"""The short way of a search gives what the general way gives, to the last digit."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from tests.conftest import ingest, write_jsonl
from trimseek.encoders import DocumentEncoder
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import open_for_changes
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search import pieces as search_pieces
from trimseek.search.content import search_content
from trimseek.search.options import Mode, Options
from trimseek.search.plain import PlainQuery, plain_answers

WORDS = "shell split list files number words qed x7 the of".split()
QUERIES = ["split the shell words", "qed", "x7 list of files", "the of", "nothing known here"]
STRANGE = {"n": 2**62, "deep": [[[1]]], "text": 'quotes " and \\ and \x7f and é\u2028'}


def documents(count: int, seed: int = 0) -> list[dict[str, Any]]:
    chosen = random.Random(seed)
    return [
        {
            "_id": f"d{seed}-{i}",
            "title": " ".join(chosen.choices(WORDS, k=chosen.randrange(3))),
            "text": " ".join(chosen.choices(WORDS, k=chosen.choice((3, 12, 300)))),
            "text2": 'a "quote"\n',
            "year": 2000 + i % 20,
        }
        for i in range(count)
    ]


@pytest.fixture(params=["exact", "hnsw"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, tiny_encoder: Path) -> Path:
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(300))
    ingest(corpus, tmp_path / "index", tiny_encoder, kind=SnapshotKind(request.param))
    return tmp_path / "index"


def plain(searcher: Searcher, queries: list[PlainQuery]) -> list[Any]:
    answers = plain_answers(searcher, queries)
    assert answers is not None
    return [json.loads(f"{{{answer.json}") for answer in answers]


def general(searcher: Searcher, query: PlainQuery) -> Any:
    options = Options(
        mode=query.mode,
        offset=query.offset,
        weight=query.weight,
        title_weight=query.title_weight,
        effort=query.effort,
    )
    results = searcher.search(query.query, query.k, options)
    return json.loads(to_json(search_content(results)))


def asked() -> list[PlainQuery]:
    return [
        PlainQuery(query, k, mode, offset, weight, title_weight, effort)
        for query in QUERIES
        for mode in (Mode.DENSE, Mode.HYBRID)
        for k, offset, weight, title_weight, effort in (
            *((10, 0, 0.85, 1.0, None), (3, 7, 0.5, 0.0, 20)),
            *((50, 120, 1.0, 3.0, None), (100, 250, 0.0, 1.0, 5)),
        )
    ]


def test_the_same_as_the_general_way(folder: Path, tiny_encoder: Path) -> None:
    with Searcher(folder) as searcher:
        check(searcher)
        with IndexWriter(folder, DocumentEncoder(tiny_encoder)) as writer:
            writer.put([Document(f"new{i}", "", f"shell words {i}", STRANGE) for i in range(3)])
            writer.delete([f"d0-{i}" for i in range(0, 300, 7)])
            writer.put([Document("d0-1", "split", "another text", {"year": 1})])
        check(searcher)
        with open_for_changes(folder) as (_, store), store.transaction():
            old = json.dumps({"n": 2**70, "infinite": float("inf")})  # of an earlier trimseek
            store._db.execute("UPDATE documents SET metadata = ? WHERE key % 3 = 0", (old,))
        check(searcher)


def check(searcher: Searcher) -> None:
    queries = asked()
    for query, found in zip(queries, plain(searcher, queries), strict=True):
        expected = general(searcher, query)
        found.pop("timing_ms")
        expected.pop("timing_ms")
        assert found == expected, query
        assert list(found) == list(expected)


def test_what_is_committed_is_seen(folder: Path, tiny_encoder: Path) -> None:
    query = PlainQuery("split the shell words", 1, Mode.DENSE)
    with Searcher(folder) as searcher:
        first = plain(searcher, [query])[0]["hits"][0]
        with IndexWriter(folder, DocumentEncoder(tiny_encoder)) as writer:
            writer.put([Document(first["id"], first["title"], first["passage"]["text"], {"a": 1})])
        assert plain(searcher, [query])[0]["hits"][0]["metadata"] == {"a": 1}


def test_pieces_are_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_pieces, "MOST_CHARACTERS", 10_000)
    with Searcher(folder) as searcher:
        for query in asked():
            plain(searcher, [query])
        pieces = searcher.read(lambda now: now.pieces)
        held = sum(len(piece.head) + len(piece.tail) for piece in pieces._known.values())
        assert 0 < held < 10_000 + 100 * search_pieces.LONGEST_PIECE


@pytest.mark.parametrize("kind", [SnapshotKind.SQ8, SnapshotKind.IVF])
def test_other_kinds_go_the_general_way(
    kind: SnapshotKind, tmp_path: Path, tiny_encoder: Path
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(1100))
    ingest(corpus, tmp_path / "index", tiny_encoder, kind=kind)
    with Searcher(tmp_path / "index") as searcher:
        assert plain_answers(searcher, [PlainQuery("qed")]) is None
        assert searcher.search("qed").hits
