"""Lists of shards are merged as far as they are needed, whatever shards there are."""

import numpy as np
import pytest

from trimseek.cluster.placement import document_key
from trimseek.cluster.reader import SPARE, MergedList, most_frequent, most_telling
from trimseek.cluster.shard import ShardList, Span


def lists(shards: int, each: int, skew: float) -> list[ShardList]:
    """The whole list of each shard; with a skew, the first shards have most of the best."""
    chance = np.random.default_rng(shards)
    whole = []
    for shard in range(shards):
        scores = np.round(chance.random(each) + skew * (shards - shard) / shards, 2)
        keys = np.array([document_key(0, row + 1, shard) for row in range(each)])
        order = np.lexsort((keys, -scores))
        whole.append(
            ShardList(keys[order], keys[order], scores[order], np.zeros(each), complete=True)
        )
    return whole


def part_of(whole: ShardList, span: Span) -> ShardList:
    some = slice(span.start, span.depth)
    return ShardList(
        whole.documents[some],
        whole.chunks[some],
        whole.scores[some],
        whole.others[some],
        complete=span.depth >= len(whole.scores),
    )


def read(merged: MergedList, whole: list[ShardList], depth: int) -> int:
    """Read to a depth; how many rounds it took."""
    rounds = 0
    while wanted := merged.wanted(depth):
        for shard, span in wanted.items():
            merged.add(shard, part_of(whole[shard], span))
        rounds += 1
    return rounds


@pytest.mark.parametrize("skew", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("shards", [1, 4, 64])
def test_the_best_of_all_shards(shards: int, skew: float) -> None:
    whole = lists(shards, 600, skew)
    every = sorted(
        (-score, key)
        for some in whole
        for score, key in zip(some.scores.tolist(), some.documents.tolist(), strict=True)
    )
    merged = MergedList(shards)
    for depth in (1, 10, 64, 256, 500):
        read(merged, whole, depth)
        assert [row[:2] for row in merged.best(depth)] == every[:depth]
    assert not merged.is_complete(500)
    read(merged, whole, 600 * shards)
    assert merged.is_complete(600 * shards)


@pytest.mark.parametrize("shards", [4, 64, 256])
def test_no_more_is_read_than_is_needed(shards: int) -> None:
    whole = lists(shards, 600, 0.0)
    merged = MergedList(shards)
    rounds = read(merged, whole, 500)
    # a fair share of each list, and some of those that have more of the best
    assert len(merged.rows) <= 2 * (500 + SPARE * shards)
    assert rounds <= 3


def test_counts_of_shards_are_added_up() -> None:
    counted = most_frequent([[("a", 3), (2, 1)], [("b", 3), ("a", 1)], [(True, 2)]])
    assert counted == [("a", 4), ("b", 3), (True, 2), (2, 1)]


def test_what_shards_say_of_a_condition() -> None:
    nowhere = "no document has the field 'x'"
    other_kind = "no document has text in the field 'x': it holds numbers; write numbers so"
    assert most_telling([[nowhere], [""]]) == ""
    assert most_telling([[nowhere], [other_kind]]) == other_kind
    assert most_telling([[nowhere], [nowhere]]) == nowhere
