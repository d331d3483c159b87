"""What an encoder costs in arithmetic, whatever runs it."""

from collections.abc import Iterable
from typing import NamedTuple

from trimseek.encoders.weights import EncoderWeights


class Shares(NamedTuple):
    """What an encoder keeps of a larger one: layers, and shares of all their units and products."""

    layers: int
    of_layers: int
    heads: float
    neurons: float
    arithmetic: float

    def __str__(self) -> str:
        return (
            f"{self.layers}/{self.of_layers} layers, {self.heads:.0%}/{self.neurons:.0%}, "
            f"{self.arithmetic:.0%}"
        )


def shares(weights: EncoderWeights, whole: EncoderWeights) -> Shares:
    """What an encoder keeps of another; arithmetic is that of a token's products in the layers."""
    return Shares(
        len(weights.layers),
        len(whole.layers),
        sum(weights.heads) / max(1, sum(whole.heads)),
        sum(weights.neurons) / max(1, sum(whole.neurons)),
        layer_products(weights) / max(1, layer_products(whole)),
    )


def layer_products(weights: EncoderWeights) -> int:
    """Multiply-accumulates of a token with the matrices of all layers."""
    of_neuron = 3 if weights.gated else 2
    return sum(
        weights.dim * (4 * layer.query.weight.shape[1] + of_neuron * layer.neurons)
        for layer in weights.layers
    )


def multiply_accumulates(weights: EncoderWeights, lengths: Iterable[int]) -> int:
    """Multiply-accumulates of the matrix products for texts of these lengths, in tokens.

    A text of n tokens takes n products with every weight matrix, and 2 n^2 multiply-accumulates for
    each column of the heads: n^2 for the scores and n^2 for the weighted values. Padding is not
    counted.
    """
    matrices = layer_products(weights)
    attention = sum(2 * layer.query.weight.shape[1] for layer in weights.layers)
    if weights.embedding_projection is not None:
        matrices += weights.embedding_projection.weight.size
    return sum(n * matrices + n * n * attention for n in lengths)
