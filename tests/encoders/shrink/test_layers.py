"""Layers that are left out, and what is folded into those before them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import cosine_loss, embeddings
from trimseek.encoders.shrink.layers import best_layers, fold_layers, keep_layers
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

FOUR = {
    kind: replace(weights, layers=(*weights.layers, weights.layers[1], weights.layers[1]))
    for kind, weights in {"bert": tiny_weights(), **STRUCTURES}.items()
}


def loss(small: EncoderWeights, whole: EncoderWeights) -> float:
    fresh = calibration(80, seed=9)
    ours, theirs = (
        embeddings(EncoderModule(each, Pooling.MEAN, normalize=True).eval(), fresh)
        for each in (small, whole)
    )
    return cosine_loss(ours, theirs)


@pytest.mark.parametrize("kept", [(0, 3), (1, 2), (0,), (0, 1, 2)])
@pytest.mark.parametrize("kind", FOUR)
def test_folded_layers_lose_less_than_dropped_ones(kind: str, kept: tuple[int, ...]) -> None:
    weights = FOUR[kind]
    found = fold_layers(weights, kept, calibration())
    assert found.structure == keep_layers(weights, kept).structure
    assert loss(found, weights) < 0.8 * loss(keep_layers(weights, kept), weights)


def test_layers_before_a_gap_stay_as_they_are() -> None:
    weights = FOUR["bert"]
    found = fold_layers(weights, (3, 0, 1), calibration())
    assert found.layers[0] is weights.layers[0]
    assert found.layers[1] is not weights.layers[1]
    whole = fold_layers(weights, range(4), calibration())
    for name, array in weights.arrays().items():
        np.testing.assert_array_equal(whole.arrays()[name], array)


def test_layers_that_cannot_be_kept_are_named() -> None:
    with pytest.raises(EncoderError, match=r"layers \[1, 7\]: the encoder has layers 0 to 3"):
        fold_layers(FOUR["bert"], (7, 1), calibration())
    with pytest.raises(EncoderError, match="too few"):
        fold_layers(FOUR["bert"], (0,), calibration(3))
    with pytest.raises(EncoderError, match="cannot keep 5 layers; the encoder has 4"):
        best_layers(FOUR["bert"], 5, calibration(), Pooling.MEAN, normalize=True)
