"""How sure a loss is."""

import math

import numpy as np
import pytest

from trimseek.compression.estimate import (
    NOTHING,
    Estimate,
    combined,
    judged_noise,
    measured,
)
from trimseek.eval.quality.significance import loss_interval


def test_an_interval_is_as_wide_as_is_sure() -> None:
    estimate = Estimate(0.02, 0.005)
    low, high = estimate.interval(0.95)
    assert (low, high) == pytest.approx((0.0102, 0.0298), abs=1e-6)
    assert estimate.interval(0.99).high > high > estimate.interval(0.5).high
    wide = estimate.interval(0.95, noise=0.012)
    assert wide.high - wide.low == pytest.approx(2 * 1.959964 * 0.013, abs=1e-6)


def test_a_measured_loss_has_the_bootstraps_interval() -> None:
    chosen = np.random.default_rng(3)
    reference = chosen.random(400)
    candidate = reference * (chosen.random(400) < 0.9)
    estimate = measured(reference, candidate)
    expected = loss_interval(reference, candidate)
    assert estimate.loss == 1 - candidate.mean() / reference.mean()
    assert estimate.interval(0.95) == pytest.approx(expected, abs=0.004)


@pytest.mark.parametrize("reference", [np.ones(5), np.zeros(100), np.zeros(0)])
def test_of_too_little_nothing_is_known(reference: np.ndarray) -> None:
    assert measured(reference, reference) == NOTHING
    assert NOTHING.deviation == math.inf


def test_estimates_are_combined_by_how_sure_they_are() -> None:
    sure, unsure = Estimate(0.02, 0.001), Estimate(0.06, 0.003)
    both = combined([sure, unsure])
    assert both.loss == pytest.approx(0.024)
    assert both.deviation == pytest.approx(0.001 * math.sqrt(0.9))
    assert combined([sure, NOTHING]) == pytest.approx(sure)


def test_more_queries_measure_with_less_noise() -> None:
    assert judged_noise(0.04, 100) == pytest.approx(0.022)
    assert judged_noise(0.04, 400) == pytest.approx(0.011)
    assert judged_noise(-0.04, 400) == pytest.approx(0.011)
