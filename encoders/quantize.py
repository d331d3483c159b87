"""Symmetric int8 quantization of weights: the affine formula, once.

A real number r is stored as q = clip(round(r / s) + z, lo, hi) and read back as s * (q - z)
(Jacob et al. 2018). Weights are symmetric: z = 0, so q is int8 in
[-127, 127] and s = max|r| / 127. -128 is left out, so that the range is the same on both sides.
Activations are quantized by onnxruntime's DynamicQuantizeLinear, per tensor at run time: uint8 in
[0, 255], s = (max - min) / 255 over a range that includes 0, z = round(-min / s).

``reduced``: 7 bits, [-64, 64]. CPUs with AVX2 or AVX512 but without VNNI add two uint8 * int8
products in 16 bits with saturation: 2 * 255 * 64 = 32640 still fits, 2 * 255 * 127 does not.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.weights import FloatArray

FULL_RANGE = 127
REDUCED_RANGE = 64


class Quantized(NamedTuple):
    """``values`` int8 and ``scale`` float32, which broadcasts: real = values * scale."""

    values: NDArray[np.int8]
    scale: FloatArray


def quantize_columns(weight: FloatArray, *, reduced: bool = False) -> Quantized:
    """Quantize a ``(in, out)`` matrix per output channel; scale ``(out,)``."""
    return quantize(weight, axis=0, limit=REDUCED_RANGE if reduced else FULL_RANGE)


def quantize_rows(table: FloatArray) -> Quantized:
    """Quantize an embedding table ``(rows, dim)`` per row; scale ``(rows, 1)``.

    A table is looked up and not multiplied, so that its range need not be reduced.
    """
    values, scale = quantize(table, axis=1, limit=FULL_RANGE)
    return Quantized(values, scale[:, None])


def quantize(array: FloatArray, axis: int, limit: int) -> Quantized:
    largest = np.abs(array).max(axis=axis, keepdims=True)
    scale = np.where(largest > 0, largest / limit, 1.0).astype(np.float32)
    values = np.clip(np.rint(array / scale), -limit, limit).astype(np.int8)
    return Quantized(values, scale.squeeze(axis))
