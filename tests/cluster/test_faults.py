"""Shards that do not answer: no answer that lacks something claims to be whole."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.local import FailingShards, build, open_cluster
from tests.conftest import write_jsonl
from tests.search.test_modes import documents
from trimseek.cluster.placement import shard_of
from trimseek.cluster.searcher import ClusterSearcher
from trimseek.errors import MissingShardsError, QueryError
from trimseek.indexer.filters import parse_field
from trimseek.indexer.where import parse_where
from trimseek.search.hits import ShardCount
from trimseek.search.options import Mode, Options
from trimseek.search.recommend import Examples, recommend

SHARDS = 4
Cluster = tuple[ClusterSearcher, FailingShards]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Iterator[Cluster]:
    path = tmp_path_factory.mktemp("faults")
    build([write_jsonl(path / "c.jsonl", documents())], path / "cluster", tiny_encoder, SHARDS)
    searcher, shards = open_cluster(path / "cluster")
    with searcher:
        yield searcher, shards


@pytest.fixture
def cluster(opened: Cluster) -> Cluster:
    opened[1].silent, opened[1].silent_for = set(), set()
    return opened


@pytest.mark.parametrize("mode", list(Mode))
def test_a_silent_shard(mode: Mode, cluster: Cluster) -> None:
    searcher, shards = cluster
    whole = searcher.search("qed words", 240, Options(mode=mode))
    assert whole.shards == ShardCount(SHARDS, SHARDS)
    assert whole.warnings == ()
    shards.silent = {1, 3}
    results = searcher.search("qed words", 240, Options(mode=mode))
    assert results.shards == ShardCount(2, SHARDS)
    assert results.warnings == ("2 of 4 shards did not answer: documents of theirs are missing",)
    answering = [hit.id for hit in whole.hits if shard_of(hit.id, SHARDS) in (0, 2)]
    assert {hit.id for hit in results.hits} == set(answering)
    with pytest.raises(MissingShardsError, match=r"2 of 4 shards do not answer \(shard 1: silent"):
        searcher.search("qed words", 5, Options(mode=mode, require_all=True))


@pytest.mark.parametrize("silent_for", ["hits", "field_values", "facet_counts", "vectors"])
def test_a_shard_that_is_lost_on_the_way(silent_for: str, cluster: Cluster) -> None:
    searcher, shards = cluster
    topic = parse_field("topic")
    options = Options(facets=(topic,), group_by=topic, diversity=0.2)
    shards.silent_for = {silent_for}
    results = searcher.search("qed words", 30, options)
    assert results.shards == ShardCount(SHARDS - 1, SHARDS)
    assert results.warnings
    assert results.hits


def test_no_shard_answers(cluster: Cluster) -> None:
    searcher, shards = cluster
    shards.silent = set(range(SHARDS))
    with pytest.raises(MissingShardsError, match="4 of 4 shards"):
        searcher.search("qed", 5)


@pytest.mark.parametrize(
    "ask",
    [
        lambda searcher: searcher.count(parse_where("year > 2003")),
        lambda searcher: searcher.facets(parse_field("topic")),
        lambda searcher: searcher.page(limit=50),
        lambda searcher: searcher.documents([f"d{i}" for i in range(20)]),
        lambda searcher: recommend(searcher, Examples(tuple(f"d{i}" for i in range(20)))),
        lambda searcher: searcher.fields(),
        lambda searcher: searcher.probe(),
    ],
    ids=["count", "facets", "page", "documents", "recommend", "fields", "probe"],
)
def test_what_needs_every_shard(ask: Callable[[ClusterSearcher], object], cluster: Cluster) -> None:
    searcher, shards = cluster
    shards.silent = {2}
    with pytest.raises(MissingShardsError, match=r"1 of 4 shards do not answer \(shard 2"):
        ask(searcher)
    shards.silent = set()
    ask(searcher)


def test_recommendations_without_a_shard_say_so(cluster: Cluster) -> None:
    searcher, shards = cluster
    liked = next(f"d{i}" for i in range(20) if shard_of(f"d{i}", SHARDS) != 2)
    shards.silent = {2}
    found = recommend(searcher, Examples((liked,)))
    assert found.shards == ShardCount(SHARDS - 1, SHARDS)
    assert found.warnings


def test_a_mistake_is_not_a_fault(cluster: Cluster) -> None:
    searcher, _ = cluster
    with pytest.raises(QueryError):
        searcher.search("qed", 5, Options(where=parse_where("year > 2003"), offset=-1))
