"""Zeroed weights: which ones, how many, and what makes no sense."""

import numpy as np
import pytest

from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.shrink.sparsity import sparsify
from trimseek.errors import ConfigError


def test_the_smallest_share_of_each_matrix_goes(tiny: Checkpoint) -> None:
    found = sparsify(tiny.weights, sparsity=0.25)
    assert found.sparsity == pytest.approx(0.25, abs=0.01)
    before, after = (each.layers[1].output.weight for each in (tiny.weights, found.weights))
    gone = after == 0
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])


def test_a_threshold_is_the_least_that_stays(tiny: Checkpoint) -> None:
    found = sparsify(tiny.weights, threshold=0.1)
    weight = found.weights.layers[0].query.weight
    assert np.abs(weight[weight != 0]).min() >= 0.1
    assert 0.2 < found.sparsity < 0.6


def test_nothing_goes_at_zero(tiny: Checkpoint) -> None:
    assert sparsify(tiny.weights, sparsity=0.0).sparsity == 0


@pytest.mark.parametrize(
    "asked", [{}, {"sparsity": 1.0}, {"threshold": -1.0}, {"sparsity": 0.5, "threshold": 0.1}]
)
def test_what_makes_no_sense_is_refused(asked: dict[str, float], tiny: Checkpoint) -> None:
    with pytest.raises(ConfigError):
        sparsify(tiny.weights, **asked)
