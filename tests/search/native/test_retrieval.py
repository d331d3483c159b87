"""Compiled retrieval against numpy's and FAISS's: the same documents, ranks and scores."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ingest, write_jsonl
from trimseek.encoders import DocumentEncoder
from trimseek.indexer.documents import Document
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.where import parse_where
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search.hits import Hit
from trimseek.search.native import library
from trimseek.search.options import Mode, Options

pytestmark = pytest.mark.skipif(library.functions() is None, reason="was not compiled")
WORDS = [f"word{i}" for i in range(40)]
FILTERS = (None, "year < 2003", "year != 2000", "year = 1900")


def documents(count: int) -> list[dict[str, Any]]:
    chosen = random.Random(5)
    return [
        {
            "_id": f"d{i}",
            "title": chosen.choice(WORDS),
            "text": " ".join(chosen.choices(WORDS, k=chosen.choice((4, 30, 400)))),
            "year": 2000 + i % 20,
        }
        for i in range(count)
    ]


@pytest.fixture(params=[SnapshotKind.EXACT, SnapshotKind.HNSW])
def folder(request: pytest.FixtureRequest, tmp_path: Path, tiny_encoder: Path) -> Path:
    """A snapshot, chunks that came after it, and chunks that were deleted from both."""
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(400))
    ingest(corpus, tmp_path / "index", tiny_encoder, kind=request.param)
    with IndexWriter(tmp_path / "index", DocumentEncoder(tiny_encoder)) as writer:
        fresh = [Document(f"new{i}", WORDS[i % 40], " ".join(WORDS[: i % 9])) for i in range(60)]
        writer.put(fresh)
        writer.delete([f"d{i}" for i in range(0, 400, 9)] + ["new3"])
        writer.put([Document(f"d{i}", "", "word1 word2 again", {"year": 2001}) for i in (1, 2)])
    return tmp_path / "index"


def without_compiled_code(patch: pytest.MonkeyPatch) -> None:
    for module in ("view", "words", "native.graph"):
        patch.setattr(f"trimseek.search.{module}.functions", lambda: None)


def every_search(folder: Path) -> list[list[Hit]]:
    found = []
    with Searcher(folder) as searcher:
        for query in ("word1 word2 word3", "word7", "unknown words", " ".join(WORDS)):
            for mode in Mode:
                for where in FILTERS:
                    for k, offset in ((10, 0), (100, 80), (400, 0)):
                        options = Options(
                            mode=mode,
                            offset=offset,
                            where=parse_where(where) if where else None,
                            effort=2000,  # walks of both kinds then find everything
                        )
                        found.append(searcher.search(query, k, options).hits)
    return found


def test_the_same_as_without_compiled_code(folder: Path) -> None:
    compiled = every_search(folder)
    with pytest.MonkeyPatch.context() as patch:
        without_compiled_code(patch)
        plain = every_search(folder)
    for ours, expected in zip(compiled, plain, strict=True):
        assert len(ours) == len(expected)
        np.testing.assert_allclose(
            [hit.score for hit in ours], [hit.score for hit in expected], atol=2e-6
        )
        known = {hit.id: hit for hit in expected}
        for hit in ours:  # equal scores may stand in another order
            other = known.get(hit.id)
            if other is None:
                assert abs(hit.score - expected[-1].score) < 2e-6
                continue
            assert hit.sources.keys() == other.sources.keys()
            for name, source in hit.sources.items():
                assert source.score == pytest.approx(other.sources[name].score, rel=1e-5)


def test_equal_texts_come_in_the_order_in_which_they_were_stored(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    rows = [{"_id": f"d{i}", "text": "the same words"} for i in range(300)]
    for kind in (SnapshotKind.EXACT, SnapshotKind.HNSW):
        folder = tmp_path / kind.value
        ingest(write_jsonl(tmp_path / "c.jsonl", rows), folder, tiny_encoder, kind=kind)
        with Searcher(folder) as searcher:
            for mode in Mode:
                hits = searcher.search("the same words", 40, Options(mode=mode, effort=300)).hits
                assert [hit.id for hit in hits] == [f"d{i}" for i in range(40)]
