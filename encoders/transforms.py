"""What comes behind pooling: sentence-transformers' Dense and LayerNorm modules."""

from collections.abc import Sequence

import numpy as np

from trimseek.encoders.activations import activated
from trimseek.encoders.weights import Dense, FloatArray, LayerNorm

SMALLEST_LENGTH = 1e-12  # below which a vector is not scaled to unit length
EPSILON = 1e-5  # of torch's LayerNorm, which the module leaves as it is
# The last part of the name of torch's class -> as it is called here.
ACTIVATIONS = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "Sigmoid": "sigmoid",
    "SiLU": "silu",
}


def transformed(vectors: FloatArray, transforms: Sequence[Dense | LayerNorm]) -> FloatArray:
    """Vectors ``(n, dim)`` after all of them; the same in any batch."""
    for transform in transforms:
        if isinstance(transform, LayerNorm):
            centred = vectors - vectors.mean(1, keepdims=True)
            spread = np.sqrt((centred**2).mean(1, keepdims=True) + np.float32(EPSILON))
            vectors = centred / spread * transform.weight + transform.bias
            continue
        # one by one: the sums of a product of matrices depend on how many rows there are
        products = np.array([vector @ transform.weight for vector in vectors], np.float32)
        vectors = activated(
            products.reshape(-1, len(transform.bias)) + transform.bias, transform.activation
        )
    return np.asarray(vectors, np.float32)


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors ``(n, dim)`` scaled to unit length, float32; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, SMALLEST_LENGTH), np.float32)
