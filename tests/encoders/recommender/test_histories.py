"""What is trained on, what is held out, and ranks among all items."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from tests.logs import write_log
from trimseek.encoders.recommender.events import read_events
from trimseek.encoders.recommender.histories import (
    TEST,
    VALIDATION,
    held_out,
    measures,
    ranks,
    training_histories,
)


def test_the_last_two_of_three_or_more_are_held_out(tmp_path: Path) -> None:
    events = [("a", f"i{n}", n) for n in range(6)]
    events += [("b", "i0", 1), ("b", "i1", 2), ("c", "i0", 1)]
    events += [("d", "i3", 1), ("d", "i4", 2), ("d", "i3", 3)]
    log = read_events(write_log(tmp_path / "log.csv", events))
    name = log.items.__getitem__
    test, validation = held_out(log, TEST), held_out(log, VALIDATION)
    assert [log.users[user] for user in test.users] == ["a"]
    assert [name(i) for i in test.targets.tolist()] == ["i5"]
    assert [name(i) for i in test.histories[0].tolist()] == ["i0", "i1", "i2", "i3", "i4"]
    assert test.again == 1  # d took what it had had
    assert [log.users[user] for user in validation.users] == ["a", "d"]
    assert [name(i) for i in validation.targets.tolist()] == ["i4", "i4"]
    trained = [[name(i) for i in piece.tolist()] for piece in training_histories(log, 10)]
    assert trained == [["i0", "i1", "i2", "i3"], ["i0", "i1"]]


@pytest.mark.parametrize("length", [2, 3, 4, 7])
def test_pieces_have_every_item_once_behind_another(length: int, tmp_path: Path) -> None:
    events = [("a", f"i{n}", n) for n in range(13)]
    log = read_events(write_log(tmp_path / "log.csv", events))
    pieces = training_histories(log, length)
    assert all(2 <= len(piece) <= length for piece in pieces)
    pairs = [pair for piece in pieces for pair in itertools.pairwise(piece)]
    history = log.history(0)[:-2]
    assert sorted(pairs) == sorted(itertools.pairwise(history))


def test_ranks_are_those_of_a_plain_sort() -> None:
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((1500, 8)).astype(np.float32)
    items = generator.standard_normal((90, 8)).astype(np.float32)
    seen = [generator.choice(89, 5, replace=False).astype(np.int32) for _ in vectors]
    targets = np.array([next(i for i in range(89, -1, -1) if i not in set(own)) for own in seen])
    found = ranks(vectors, items, targets, seen)
    for row in (0, 7, 1023, 1024, 1499):
        scores = items @ vectors[row]
        order = [i for i in np.argsort(-scores) if i not in set(seen[row].tolist())]
        assert found[row] == order.index(targets[row]) + 1


def test_equal_scores_are_no_hits() -> None:
    """A model that scores all items the same finds nothing."""
    nothing = np.zeros((4, 2), np.float32)
    seen = [np.array([0], np.int32)] * 4
    found = ranks(nothing, np.zeros((50, 2), np.float32), np.array([1, 2, 3, 4]), seen)
    assert found.tolist() == [49] * 4
    assert measures(found) == (0.0, 0.0)


def test_measures_of_ranks() -> None:
    found = measures(np.array([1, 3, 10, 11]))
    assert found.hit_rate == pytest.approx(0.75)
    assert found.ndcg == pytest.approx((1 + 1 / 2 + 1 / np.log2(11)) / 4)
    assert measures(np.empty(0, np.int64)) == (0.0, 0.0)
