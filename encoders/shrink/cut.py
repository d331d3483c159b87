"""Cut heads, neurons and layers out of an encoder's arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import EncoderWeights, LayerWeights, Linear
from trimseek.errors import EncoderError

Kept = Sequence[int] | NDArray[np.int64]


def keep_layers(weights: EncoderWeights, layers: Iterable[int]) -> EncoderWeights:
    """The encoder with these layers alone; EncoderError if there are none or one does not exist."""
    numbers = sorted(set(layers))
    count = len(weights.layers)
    if not numbers or numbers[0] < 0 or numbers[-1] >= count:
        raise EncoderError(f"layers {numbers}: the encoder has layers 0 to {count - 1}; keep some")
    return replace(weights, layers=tuple(weights.layers[i] for i in numbers))


def keep_heads(layer: LayerWeights, heads: Kept, head_dim: int) -> LayerWeights:
    """The layer with these heads alone, in this order."""
    columns = np.concatenate([np.arange(h * head_dim, (h + 1) * head_dim) for h in heads])
    return replace(
        layer,
        query=columns_of(layer.query, columns),
        key=columns_of(layer.key, columns),
        value=columns_of(layer.value, columns),
        attention_output=rows_of(layer.attention_output, columns),
        distances=None if layer.distances is None else layer.distances[:, np.asarray(heads)],
    )


def keep_neurons(layer: LayerWeights, neurons: Kept) -> LayerWeights:
    """The layer with these FFN neurons alone, in this order."""
    rows = columns = np.asarray(neurons)
    if layer.intermediate.weight.shape[1] > layer.neurons:  # gated
        columns = np.concatenate([rows, layer.neurons + rows])
    return replace(
        layer,
        intermediate=columns_of(layer.intermediate, columns),
        output=rows_of(layer.output, rows),
    )


def columns_of(linear: Linear, columns: NDArray[np.int64]) -> Linear:
    """The linear map with these outputs alone."""
    return Linear(linear.weight[:, columns], linear.bias[columns])


def rows_of(linear: Linear, rows: NDArray[np.int64]) -> Linear:
    """The linear map with these inputs alone."""
    return Linear(linear.weight[rows], linear.bias)
