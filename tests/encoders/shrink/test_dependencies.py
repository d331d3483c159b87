"""Units of a layer as running it shows them."""

from dataclasses import replace

import numpy as np
import pytest

from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders.shrink.dependencies import Units, find_units, keep_units
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS
from trimseek.encoders.weights import EncoderWeights

KINDS = {"bert": tiny_weights(), **STRUCTURES}
HEAD = np.arange(32).reshape(4, 8)  # of 8 dimensions each
NEURON = np.arange(64)[:, None]


def placed(units: Units) -> dict[tuple[str, int], list[list[int]]]:
    return {(each.part, each.axis): each.indices.tolist() for each in units.slices}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_every_structure_has_heads_and_neurons(kind: str, number: int) -> None:
    weights = KINDS[kind]
    found = find_units(weights.layers[number], weights)
    assert list(found) == ["attention_output", "output"]
    heads, neurons = found["attention_output"], found["output"]
    assert heads.writers == ("query", "key", "value")
    assert neurons.writers == ("intermediate",)
    expected = dict.fromkeys([("query", 1), ("key", 1), ("value", 1)], HEAD.tolist())
    if kind == "distances":
        expected["distances", 1] = [[0], [1], [2], [3]]
    assert placed(heads) == {**expected, ("attention_output", 0): HEAD.tolist()}
    written = np.hstack([NEURON, 64 + NEURON]) if weights.gated else NEURON
    assert placed(neurons) == {
        ("intermediate", 1): written.tolist(),
        ("output", 0): NEURON.tolist(),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_units_that_stay_are_where_they_were(kind: str) -> None:
    weights = KINDS[kind]
    layer = weights.layers[1]
    units = find_units(layer, weights)
    small = keep_units(layer, units["output"], [5, 3, 40])
    np.testing.assert_array_equal(small.output.weight, layer.output.weight[[5, 3, 40]])
    np.testing.assert_array_equal(small.output.bias, layer.output.bias)
    columns = [5, 3, 40, *([69, 67, 104] if weights.gated else [])]
    np.testing.assert_array_equal(small.intermediate.weight, layer.intermediate.weight[:, columns])
    np.testing.assert_array_equal(small.intermediate.bias, layer.intermediate.bias[columns])
    small = keep_units(layer, units["attention_output"], [3, 1])
    columns = [*range(24, 32), *range(8, 16)]
    for part in ("query", "key", "value"):
        whole, cut = getattr(layer, part), getattr(small, part)
        np.testing.assert_array_equal(cut.weight, whole.weight[:, columns])
        np.testing.assert_array_equal(cut.bias, whole.bias[columns])
    if layer.distances is not None and small.distances is not None:
        np.testing.assert_array_equal(small.distances, layer.distances[:, [3, 1]])


def one_of_each(weights: EncoderWeights) -> EncoderWeights:
    first = HEADS.keep(weights.layers[0], [2], weights)
    first = NEURONS.keep(first, [7], weights)
    return replace(weights, layers=(first, weights.layers[1]))


@pytest.mark.parametrize("kind", KINDS)
def test_one_unit_is_found_too(kind: str) -> None:
    weights = one_of_each(KINDS[kind])
    layer = weights.layers[0]
    for kept in (HEADS.keep(layer, [0], weights), NEURONS.keep(layer, [0], weights)):
        for name, array in replace(weights, layers=(kept, weights.layers[1])).arrays().items():
            np.testing.assert_array_equal(array, weights.arrays()[name])
