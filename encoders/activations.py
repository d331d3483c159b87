"""Activations of the small matrices behind the layers, in numpy."""

import math

import numpy as np

from trimseek.encoders.weights import FloatArray

SQRT_HALF = np.float32(0.5**0.5)
error_function = np.vectorize(math.erf, otypes=[np.float32])


def activated(x: FloatArray, activation: str) -> FloatArray:
    """An activation: tanh, relu, gelu (the exact one), sigmoid, silu, identity."""
    if activation == "tanh":
        return np.tanh(x)
    if activation == "relu":
        return np.maximum(x, 0)
    if activation == "gelu":
        return np.asarray(x * np.float32(0.5) * (1 + error_function(x * SQRT_HALF)), np.float32)
    if activation == "identity":
        return x
    sigmoid = np.asarray(1 / (1 + np.exp(-x)), np.float32)
    return sigmoid if activation == "sigmoid" else x * sigmoid
