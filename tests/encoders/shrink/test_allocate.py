"""How a share of the arithmetic is spread over layers."""

from dataclasses import replace

import numpy as np
import pytest

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.allocate import LayerStudies, least_share
from trimseek.encoders.shrink.obs import prune
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

WHOLE = {"bert": tiny_weights(heads=(4, 4, 4, 4)), **STRUCTURES}


def work(weights: EncoderWeights, shapes: list[LayerShape]) -> int:
    of_neuron = 3 if weights.gated else 2
    return sum(4 * 8 * shape.heads + of_neuron * shape.neurons for shape in shapes)


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.75])
@pytest.mark.parametrize("kind", WHOLE)
def test_a_search_loses_no_more_within_the_same_share(kind: str, keep: float) -> None:
    weights = WHOLE[kind]
    studies = LayerStudies(weights, calibration(), Pooling.MEAN, normalize=True)
    added, searched = studies.allocate(keep), studies.search(keep)
    full = work(weights, [LayerShape(4, 64)] * len(weights.layers))
    for shapes in (added, searched):
        assert work(weights, shapes) <= keep * full
    assert studies.loss(searched) <= studies.loss(added)
    assert studies.search(keep) == searched  # the same again


def test_a_layer_that_does_nothing_gives_its_units_first() -> None:
    weights = WHOLE["bert"]
    third = weights.layers[2]
    idle = replace(
        third,
        output=third.output._replace(weight=0 * third.output.weight),
        attention_output=third.attention_output._replace(weight=0 * third.attention_output.weight),
    )
    weights = replace(weights, layers=(*weights.layers[:2], idle, weights.layers[3]))
    studies = LayerStudies(weights, calibration(), Pooling.MEAN, normalize=True)
    for shapes in (studies.allocate(0.8), studies.search(0.8)):
        assert shapes[2] == LayerShape(1, 8)
        assert shapes[:2] == [LayerShape(4, 64)] * 2
    assert studies.loss(studies.allocate(0.8)) < 1e-6


def test_a_layer_alone_is_pruned_as_the_pruner_does() -> None:
    weights = WHOLE["bert"]
    studies = LayerStudies(weights, calibration(), Pooling.MEAN, normalize=True)
    shapes = [LayerShape(4, 64), LayerShape(4, 64), LayerShape(4, 64), LayerShape(2, 64)]
    expected = prune(weights, shapes, calibration()).layers[3]
    found = studies.pruned(3, shapes[3])
    for part in ("query", "value", "attention_output"):  # the FFN is then fitted to what is left
        np.testing.assert_allclose(getattr(found, part).weight, getattr(expected, part).weight)


def test_less_than_one_block_of_each_is_refused() -> None:
    weights = WHOLE["bert"]
    studies = LayerStudies(weights, calibration(), Pooling.MEAN, normalize=True)
    with pytest.raises(EncoderError, match="is less than one block of each"):
        studies.search(0.9 * least_share(weights))
    with pytest.raises(EncoderError, match="too few"):
        LayerStudies(weights, calibration(3), Pooling.MEAN, normalize=True)
