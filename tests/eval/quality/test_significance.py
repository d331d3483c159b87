import itertools

import numpy as np
import pytest

from trimseek.eval.quality import significance
from trimseek.eval.quality.significance import loss, loss_interval, randomization_test, record


def test_loss_is_relative() -> None:
    assert loss(np.array([0.5, 0.5]), np.array([0.5, 0.4])) == pytest.approx(0.1)
    assert loss(np.zeros(2), np.ones(2)) == 0


def test_the_interval_covers_the_truth_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Samples of 80 queries from a known population: about 95 of 100 intervals hold its loss."""
    monkeypatch.setattr(significance, "SAMPLES", 1500)
    chosen = np.random.default_rng(5)
    true_loss = 0.06
    covered, trials = 0, 300
    for _ in range(trials):
        reference = chosen.beta(2, 2, 80)  # mean 0.5
        candidate = np.clip(reference - 0.5 * true_loss + chosen.normal(0, 0.1, 80), -1, 2)
        low, high = loss_interval(reference, candidate)
        covered += low <= true_loss <= high
    # 0.95 less what 80 queries cost a percentile interval; four standard errors either way
    assert 0.89 <= covered / trials <= 0.985


def test_the_interval_of_no_difference_is_a_point() -> None:
    values = np.array([0.2, 0.9, 0.4])
    assert loss_interval(values, values) == (0, 0)


def test_the_interval_is_paired() -> None:
    """Queries differ far more than the systems do; only pairing sees how sure the loss is."""
    chosen = np.random.default_rng(6)
    reference = chosen.random(200)
    low, high = loss_interval(reference, reference * 0.9)
    assert low == pytest.approx(0.1)
    assert high == pytest.approx(0.1)


@pytest.mark.parametrize("n", [3, 8, 12])
def test_few_queries_are_tested_exactly(n: int) -> None:
    chosen = np.random.default_rng(n)
    reference, candidate = chosen.random(n), chosen.random(n)
    difference = candidate - reference
    extreme = sum(
        abs(np.dot(signs, difference)) >= abs(difference.sum()) - 1e-9
        for signs in itertools.product((-1, 1), repeat=n)
    )
    assert randomization_test(reference, candidate) == pytest.approx(extreme / 2**n)


def test_many_queries_are_tested_by_samples_that_agree_with_the_exact_test() -> None:
    chosen = np.random.default_rng(9)
    reference = chosen.random(14)
    candidate = reference + chosen.normal(0.1, 0.2, 14)
    difference = candidate - reference
    signs = np.array(list(itertools.product((-1, 1), repeat=14)))
    exact = (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-9).mean()
    assert randomization_test(reference, candidate) == pytest.approx(exact, abs=0.02)


def test_no_difference_has_p_1_and_a_real_one_a_small_p() -> None:
    chosen = np.random.default_rng(1)
    values = chosen.random(300)
    assert randomization_test(values, values) == 1
    assert randomization_test(values, values - 0.05) < 0.001
    p = [randomization_test(values, values + chosen.normal(0, 0.2, 300)) for _ in range(40)]
    assert np.mean(np.array(p) < 0.05) < 0.2  # under the null, about one in twenty


def test_wins_ties_and_losses() -> None:
    counts = record(np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.2, 0.5, 0.5, 0.1]))
    assert (counts.wins, counts.ties, counts.losses) == (1, 2, 1)
