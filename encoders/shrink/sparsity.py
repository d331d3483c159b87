"""Unstructured pruning: single weights of small magnitude become zero (Han et al. 2015).

It makes an encoder compress better on disk, but not faster: the kernels are dense, and a product
with zero takes as long as any other.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerWeights, Linear
from trimseek.errors import ConfigError

MATRICES = ("query", "key", "value", "attention_output", "intermediate", "output")


class Sparse(NamedTuple):
    """The encoder, and the share of zeros in its layers' matrices."""

    weights: EncoderWeights
    sparsity: float


def sparsify(
    weights: EncoderWeights, *, sparsity: float | None = None, threshold: float | None = None
) -> Sparse:
    """Zero the ``sparsity`` smallest share of each matrix, or all below ``threshold``.

    ConfigError unless one of the two is given, and in range.
    """
    if (sparsity is None) == (threshold is None):
        raise ConfigError("give a sparsity or a threshold, not both and not neither")
    if sparsity is not None and not 0 <= sparsity < 1:
        raise ConfigError(f"sparsity {sparsity:g}: must be from 0 to less than 1")
    if threshold is not None and threshold < 0:
        raise ConfigError(f"threshold {threshold:g}: must not be negative")

    def sparse_matrix(weight: FloatArray) -> FloatArray:
        limit = threshold if sparsity is None else cut_off(np.abs(weight), sparsity)
        return np.where(np.abs(weight) >= limit, weight, np.float32(0))

    def sparse_layer(layer: LayerWeights) -> LayerWeights:
        matrices = {}
        for name in MATRICES:
            linear: Linear = getattr(layer, name)
            matrices[name] = Linear(sparse_matrix(linear.weight), linear.bias)
        return replace(layer, **matrices)  # type: ignore[arg-type]

    layers = tuple(sparse_layer(layer) for layer in weights.layers)
    arrays = [getattr(layer, name).weight for layer in layers for name in MATRICES]
    zeros = sum(int((array == 0).sum()) for array in arrays)
    return Sparse(replace(weights, layers=layers), zeros / sum(array.size for array in arrays))


def cut_off(magnitudes: FloatArray, sparsity: float) -> float:
    """The least magnitude that is kept when the ``sparsity`` smallest share goes."""
    count = int(sparsity * magnitudes.size)
    return float(np.partition(magnitudes, count, axis=None)[count])
