"""Zeroed weights: which ones, how many, and what makes no sense."""

from typing import Any

import numpy as np
import pytest

from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.shrink.calibration import Ids, embeddings
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.sparsity import Pattern, SparsityMethod, matrices, sparsify
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import ConfigError, EncoderError

METHODS, THRESHOLD = list(SparsityMethod), SparsityMethod.THRESHOLD


@pytest.fixture(scope="module")
def texts() -> list[Ids]:
    draw = np.random.default_rng(1)
    return [draw.integers(5, 90, size=draw.integers(20, 60)).tolist() for _ in range(80)]


@pytest.mark.parametrize("method", METHODS)
def test_the_share_that_was_asked_for_goes(
    method: SparsityMethod, tiny: Checkpoint, texts: list[Ids]
) -> None:
    found = sparsify(tiny.weights, 0.25, texts, method=method)
    assert found.sparsity == pytest.approx(0.25, abs=0.02)
    assert sparsify(tiny.weights, 0.0, texts, method=method).sparsity < 0.01


def test_the_smallest_share_of_each_matrix_goes(tiny: Checkpoint) -> None:
    found = sparsify(tiny.weights, 0.25)
    before, after = (each.layers[1].output.weight for each in (tiny.weights, found.weights))
    gone = after == 0
    assert np.abs(before[gone]).max() <= np.abs(before[~gone]).min()
    np.testing.assert_array_equal(after[~gone], before[~gone])


def test_one_threshold_is_the_least_that_stays_anywhere(tiny: Checkpoint) -> None:
    found = sparsify(tiny.weights, 0.25, method=SparsityMethod.THRESHOLD)
    stays = [np.abs(weight[weight != 0]).min() for weight in matrices(found.weights)]
    gone = max(
        np.abs(before[after == 0]).max(initial=0)
        for before, after in zip(matrices(tiny.weights), matrices(found.weights), strict=True)
    )
    assert gone <= min(stays)


@pytest.mark.parametrize("method", [each for each in METHODS if each is not THRESHOLD])
def test_two_of_any_four(method: SparsityMethod, tiny: Checkpoint, texts: list[Ids]) -> None:
    found = sparsify(tiny.weights, 0.5, texts, method=method, pattern=Pattern.TWO_OF_FOUR)
    for weight in matrices(found.weights):
        zeros = (weight == 0).reshape(-1, 4, weight.shape[1]).sum(1)
        assert np.all(zeros == 2)


def loss(weights: EncoderWeights, tiny: Checkpoint, texts: list[Ids]) -> float:
    made, exact = (
        embeddings(EncoderModule(each, tiny.pooling, normalize=True).eval(), texts)
        for each in (weights, tiny.weights)
    )
    return float(1 - (made * exact).sum(1).mean())


def test_what_looks_at_text_loses_less(tiny: Checkpoint, texts: list[Ids]) -> None:
    losses = {
        method: loss(sparsify(tiny.weights, 0.5, texts, method=method).weights, tiny, texts)
        for method in METHODS
    }
    assert losses[SparsityMethod.SPARSEGPT] < losses[SparsityMethod.WANDA]
    assert losses[SparsityMethod.SPARSEGPT] < 0.7 * losses[SparsityMethod.MAGNITUDE]


@pytest.mark.parametrize(
    ("share", "options", "error"),
    [
        (1.0, {}, ConfigError),
        (-0.1, {}, ConfigError),
        (0.5, {"method": SparsityMethod.THRESHOLD, "pattern": Pattern.TWO_OF_FOUR}, ConfigError),
        (0.5, {"method": SparsityMethod.WANDA}, EncoderError),
    ],
)
def test_what_makes_no_sense_is_refused(
    share: float, options: dict[str, Any], error: type[Exception], tiny: Checkpoint
) -> None:
    with pytest.raises(error):
        sparsify(tiny.weights, share, **options)
