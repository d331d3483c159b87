import numpy as np
import pytest

from trimseek.eval.quality.agreement import agreement, rank_biased_overlap


def test_equal_rankings_agree_wholly() -> None:
    ranking = np.arange(40).reshape(2, 20)
    agreed = agreement(ranking, ranking)
    assert (agreed.overlap, agreed.recall) == (1, 1)
    assert agreed.rbo == pytest.approx(1)


def test_disjoint_rankings_do_not_agree() -> None:
    agreed = agreement(np.arange(20)[None], np.arange(100, 120)[None])
    assert (agreed.overlap, agreed.recall, agreed.rbo) == (0, 0, 0)


def test_the_top_of_one_may_lie_deeper_in_the_other() -> None:
    reference = np.arange(20)
    candidate = np.concatenate([np.arange(10, 20), np.arange(10)])
    agreed = agreement(reference[None], candidate[None])
    assert agreed.overlap == 0
    assert agreed.recall == 1
    assert 0 < agreed.rbo < 0.5


def test_rbo_by_hand() -> None:
    """a b c and b a d at p = 0.9: overlaps 0, 2, 2 of 1, 2, 3."""
    p = 0.9
    expected = p**3 * 2 / 3 + (1 - p) / p * (p**2 * 2 / 2 + p**3 * 2 / 3)
    assert rank_biased_overlap([1, 2, 3], [2, 1, 4]) == pytest.approx(expected)


def test_rbo_weighs_the_top_more() -> None:
    base = list(range(20))
    top, bottom = base.copy(), base.copy()
    top[0], bottom[19] = 100, 100
    assert rank_biased_overlap(base, top) < rank_biased_overlap(base, bottom)


def test_missing_hits_are_no_hits() -> None:
    agreed = agreement(np.array([[1, 2, -1]]), np.array([[1, 2, -1]]))
    assert (agreed.overlap, agreed.recall) == (1, 1)
    assert rank_biased_overlap([], []) == 1
    assert rank_biased_overlap([], [1]) == 0
