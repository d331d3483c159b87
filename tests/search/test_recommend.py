"""Recommendations from histories: what follows, seen items left out, popularity as the fallback."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import trimseek
from tests.conftest import Run
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.errors import QueryError
from trimseek.indexer.where import parse_where
from trimseek.search.options import Options
from trimseek.search.recommend import Basis, History, asked_of, recommend
from trimseek.search.searcher import Searcher

ITEMS = 180


def rows() -> list[dict[str, object]]:
    return [{"id": f"item {i}", "text": f"thing {i}", "group": i // 15} for i in range(ITEMS)]


@pytest.fixture(scope="module")
def folder(walker: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "shop"
    trimseek.create_index(folder, rows(), encoder=walker).close()
    return folder


@pytest.fixture(scope="module")
def searcher(folder: Path) -> Iterator[Searcher]:
    with Searcher(folder) as searcher:
        yield searcher


def ids(searcher: Searcher, history: History, k: int = 10, **options: object) -> list[str]:
    found = recommend(searcher, history, k, replace(Options(), **options))  # type: ignore[arg-type]
    return [hit.id for hit in found.hits]


def expected(walker: Path, history: list[str], left_out: list[str]) -> list[str]:
    """The order of all items by numpy."""
    vector = QueryEncoder(walker).encode(["\n".join(history)]).vectors[0]
    names = [str(row["id"]) for row in rows()]
    scores = DocumentEncoder(walker).encode(names).vectors.astype(np.float16) @ vector
    return [names[i] for i in np.argsort(-scores, kind="stable") if names[i] not in left_out]


def test_what_follows_is_what_the_encoder_scores_highest(searcher: Searcher, walker: Path) -> None:
    history = ["item 31", "item 33"]
    found = recommend(searcher, History(tuple(history)), 10)
    assert (found.basis, found.unknown) == (Basis.HISTORY, 0)
    assert [hit.id for hit in found.hits] == expected(walker, history, history)[:10]
    again = ids(searcher, History(tuple(history), again=True), 30)
    assert again == expected(walker, history, [])[:30]
    assert set(again) & set(history)
    seen = again[3]
    assert (
        ids(searcher, History(tuple(history), (seen,)))
        == (expected(walker, history, [*history, seen])[:10])
    )


def test_pages_filters_groups_and_diversity(searcher: Searcher, walker: Path) -> None:
    history = History(("item 31", "item 33"))
    order = expected(walker, list(history.items), list(history.items))
    assert ids(searcher, history, 5, offset=7) == order[7:12]
    where = parse_where("group >= 6")
    assert (
        ids(searcher, history, 9, where=where)
        == ([item for item in order if int(item.split()[1]) >= 90][:9])
    )
    groups = ids(searcher, history, 12, group_by=("group",))
    assert len({int(item.split()[1]) // 15 for item in groups}) == 12
    diverse = ids(searcher, history, 10, diversity=0.7)
    assert diverse != order[:10]
    assert diverse[0] == order[0]


def test_all_that_is_left_is_found(searcher: Searcher) -> None:
    history = tuple(f"item {i}" for i in range(170))
    assert set(ids(searcher, History(history), 100)) == {f"item {i}" for i in range(170, ITEMS)}


def test_unknown_items_are_counted_and_popularity_is_the_fallback(
    searcher: Searcher, walker: Path
) -> None:
    found = recommend(searcher, History(("gone", "item 31", "", "item 33", "no")), 5)
    assert (found.basis, found.unknown) == (Basis.HISTORY, 3)
    assert [hit.id for hit in found.hits] == ids(searcher, History(("item 31", "item 33")), 5)
    popular = QueryEncoder(walker).items.by_popularity
    for history, unknown in ((History(()), 0), (History(("gone",)), 1)):
        found = recommend(searcher, history, 12, Options(offset=3))
        assert (found.basis, found.unknown) == (Basis.POPULARITY, unknown)
        assert [hit.id for hit in found.hits] == popular[3:15]
        scores = [hit.score for hit in found.hits]
        assert scores == sorted(scores, reverse=True)
    first = popular[0]
    assert ids(searcher, History((), (first,)), 3) == popular[1:4]
    where = parse_where("group = 4")
    assert ids(searcher, History(()), 20, where=where) == (
        [item for item in popular if int(item.split()[1]) // 15 == 4]
    )


def test_examples_still_work_and_texts_are_refused(searcher: Searcher, folder: Path) -> None:
    with trimseek.open_index(folder) as index:
        alike = index.recommend(["item 31"], 5)
        assert "item 31" not in {hit.id for hit in alike}
        assert index.search("thing 7", mode="lexical").hits[0].id == "item 7"
        with pytest.raises(QueryError, match="reads histories of items, not texts"):
            index.search("thing 7")
        assert index.recommend_next([], 2).basis is Basis.POPULARITY
    searcher.probe()


def test_what_makes_no_sense(searcher: Searcher, tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="a history of more than 10,000 items"):
        recommend(searcher, History(("item 1",) * 10_001))
    with pytest.raises(QueryError, match="k is 0"):
        recommend(searcher, History(("item 1",)), 0)
    texts = trimseek.create_index(
        tmp_path / "texts", [{"id": "a", "text": "a"}], encoder=tiny_encoder
    )
    with texts, pytest.raises(QueryError, match="reads texts, not histories of items: give like"):
        texts.recommend_next(["item 1"])
    for given, message in (
        ((None, (), None, None, ()), "give like or history"),
        ((["a"], (), None, ["b"], ()), "give like or history"),
        ((None, ["a"], None, ["b"], ()), "unlike and weights go with like"),
        ((["a"], (), None, None, ["b"]), "seen and again go with a history"),
    ):
        with pytest.raises(QueryError, match=message):
            asked_of(*given, again=False)


def test_an_index_of_items_is_cared_for(folder: Path, run: Run, walker: Path) -> None:
    """Verified against the encoder, tuned, embedded anew, with documents added and removed."""
    assert run("verify", "--deep", folder).returncode == 0
    made = run("index", walker / "items.jsonl", "--into", "hnsw", "--encoder", walker)
    assert made.returncode == 0, made.stderr
    assert run("delete", "hnsw", "--id", "item 3", "--yes").returncode == 0
    found = run("recommend", "hnsw", "--history", "item 4", "--json")
    assert found.returncode == 0
    assert '"item 3"' not in found.stdout
    assert run("reembed", "hnsw", "--encoder", walker).returncode == 0
    assert run("verify", "--deep", "hnsw").returncode == 0
