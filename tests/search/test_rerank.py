"""Reranking: the best documents in a cross-encoder's order, page by page, in every mode."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Run, ingest, write_jsonl
from trimseek import create_index, open_index
from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder, probabilities
from trimseek.errors import EncoderError, QueryError
from trimseek.search import Searcher
from trimseek.search.hits import Hit
from trimseek.search.options import Fusion, Mode, Options

WORDS = "shell split words list files number of the and".split()
QUERY = "split the shell"


def documents(count: int) -> list[dict[str, Any]]:
    chosen = np.random.default_rng(7)
    return [
        {
            "_id": f"d{i}",
            "title": str(chosen.choice(WORDS)),
            "text": " ".join(chosen.choice(WORDS, chosen.integers(3, 150))),
            "kind": f"k{i % 5}",
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    path = tmp_path_factory.mktemp("rerank")
    ingest(write_jsonl(path / "c.jsonl", documents(120)), path / "index", tiny_encoder)
    return path / "index"


@pytest.fixture(scope="module")
def searcher(folder: Path) -> Iterator[Searcher]:
    opened = Searcher(folder)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def scorer(tiny_cross_encoder: Path) -> CrossEncoder:
    return load_cross_encoder(tiny_cross_encoder)


def found(searcher: Searcher, k: int, **options: Any) -> list[Hit]:
    return searcher.search(QUERY, k, Options(**options)).hits


@pytest.mark.parametrize("fusion", Fusion)
@pytest.mark.parametrize("mode", Mode)
def test_the_best_are_put_in_the_cross_encoders_order(
    mode: Mode, fusion: Fusion, searcher: Searcher, scorer: CrossEncoder
) -> None:
    plain = found(searcher, 30, mode=mode, fusion=fusion)
    hits = found(searcher, 30, mode=mode, fusion=fusion, scorer=scorer, rerank_depth=30)
    assert {hit.id for hit in hits} == {hit.id for hit in plain}
    texts = {hit.id: f"{hit.title} {hit.passage.text}" for hit in plain}
    scores = scorer.scores(QUERY, list(texts.values())).scores
    expected = dict(zip(texts, scores.tolist(), strict=True))
    assert [hit.id for hit in hits] == sorted(texts, key=lambda id_: -expected[id_])
    for rank, hit in enumerate(hits, 1):
        assert hit.sources["rerank"] == (rank, expected[hit.id])
        assert hit.score == probabilities(np.array([expected[hit.id]], np.float32))[0]
        assert hit.sources.keys() > {"rerank"}
    passages = {hit.id: hit.passage for hit in plain}
    assert {hit.id: hit.passage for hit in hits} == passages


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"diversity": 0.4},
        {"group_by": ("kind",)},
        {"min_score": 0.4},
        {"mode": Mode.LEXICAL},
        {"mode": Mode.DENSE},
        {"facets": (("kind",),)},
    ],
)
def test_pages_are_one_list(
    options: dict[str, Any], searcher: Searcher, scorer: CrossEncoder
) -> None:
    chosen = Options(scorer=scorer, rerank_depth=40, **options)
    whole = searcher.search(QUERY, 100, chosen)
    pages = []
    for offset in range(0, 100, 7):
        pages += searcher.search(QUERY, 7, replace(chosen, offset=offset)).hits
    assert pages == whole.hits
    assert len(whole.hits) <= 40
    assert whole.warnings == ("only the 40 best documents were reranked",)
    assert searcher.search(QUERY, 40, chosen).warnings == ()
    if "facets" in options:
        assert sum(value.documents for value in whole.facets["kind"]) == 100


def test_how_long_it_took(searcher: Searcher, scorer: CrossEncoder) -> None:
    timing = searcher.search(QUERY, 10, Options(scorer=scorer)).timing_ms
    assert timing.rerank > 0
    assert timing.total == pytest.approx(timing.encode + timing.search + timing.rerank)


def test_python(tmp_path: Path, tiny_encoder: Path, tiny_cross_encoder: Path) -> None:
    rows = documents(20)
    with create_index(tmp_path / "index", rows, encoder=tiny_encoder) as index:
        named = index.search(QUERY, 5, rerank=tiny_cross_encoder)
        given = index.search(QUERY, 5, rerank=load_cross_encoder(tiny_cross_encoder))
        assert named.hits == given.hits
        assert [hit.id for hit in named.hits] != [hit.id for hit in index.search(QUERY, 5).hits]
        (batch,) = index.search_batch([QUERY], 5, rerank=tiny_cross_encoder, rerank_depth=3)
        assert len(batch.hits) == 3
        with pytest.raises(QueryError, match="rerank_depth is 0; it must be from 1 to 1000"):
            index.search(QUERY, rerank=tiny_cross_encoder, rerank_depth=0)
        with pytest.raises(EncoderError, match="reranking takes a cross-encoder"):
            index.search(QUERY, rerank=tiny_encoder)
        with pytest.raises(EncoderError, match="a cross-encoder, which scores pairs"):
            open_index(tmp_path / "index", query_encoder=tiny_cross_encoder)
    with pytest.raises(EncoderError, match="a cross-encoder, which scores pairs"):
        create_index(tmp_path / "other", rows, encoder=tiny_cross_encoder)
    assert not (tmp_path / "other").exists()


def test_the_command_line(
    folder: Path, run: Run, tiny_encoder: Path, tiny_cross_encoder: Path
) -> None:
    done = run("search", folder, QUERY, "--rerank", tiny_cross_encoder, "--rerank-depth", 20)
    assert done.returncode == 0, done.stderr
    assert ", rerank " in done.stderr
    wrong = run("search", folder, QUERY, "--rerank", tiny_encoder)
    assert wrong.returncode != 0
    assert "reranking takes a cross-encoder" in wrong.stderr
    deep = run("search", folder, QUERY, "--rerank", tiny_cross_encoder, "--rerank-depth", 2000)
    assert "rerank_depth is 2000; it must be from 1 to 1000" in deep.stderr
