"""What an encoder costs in arithmetic, whatever runs it."""

from collections.abc import Iterable

from trimseek.encoders.weights import EncoderWeights


def multiply_accumulates(weights: EncoderWeights, lengths: Iterable[int]) -> int:
    """Multiply-accumulates of the matrix products for texts of these lengths, in tokens.

    A text of n tokens takes n products with every weight matrix, and 2 n^2 multiply-accumulates for
    each column of the heads: n^2 for the scores and n^2 for the weighted values. Padding is not
    counted.
    """
    matrices = attention = 0
    for layer in weights.layers:
        width = layer.query.weight.shape[1]
        matrices += weights.dim * (4 * width + (3 if weights.gated else 2) * layer.neurons)
        attention += 2 * width
    if weights.embedding_projection is not None:
        matrices += weights.embedding_projection.weight.size
    return sum(n * matrices + n * n * attention for n in lengths)
