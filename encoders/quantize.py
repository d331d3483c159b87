"""Quantization: the affine formula, once, and the number formats of an encoder.

A real number r is stored as an integer q with a scale s and a zero point z (Jacob et al. 2018):

    q = clip(round(r / s) + z, low, high)            r is read back as s (q - z)

| numbers | q | s | z |
|---|---|---|---|
| int8 matrix, symmetric | int8, [-127, 127] | max abs(r) / 127 | 0 |
| int8 matrix, asymmetric | uint8, [0, 255] | (max - min) / 255, 0 in it | round(-min / s) |
| int8 table, of each row | uint8, [1, 255] | max abs(r) / 127 | 128 |
| int4 table, of each row | 4 bits, [0, 15] | see below | 8 |
| activations, at run time | uint8, [0, 255] | (max - min) / 255 | round(-min / s) |

Activations have one range for each token on trimseek's own kernels, where they are 7 bits, [0,
127], on a CPU with AVX2 alone, and one for a whole batch on onnxruntime. So what an encoder loses
differs a little between machines. Or they have ranges that were calibrated, one for each matrix
(``shrink.input_ranges``).

A matrix has a scale for each output channel, or one for all. -128 is left out of the symmetric
range, so that the range is the same on both sides. The scale of a 4-bit row is the one with the
least squared error among several shares of max abs(r) / 7: most numbers are small, and clipping the
largest a little makes the steps of all others finer. Matrices in fewer than 8 bits: see
``block_codes``.

``reduced_range``: 7 bits, [-64, 64]. CPUs with AVX2 or AVX512 but without VNNI add two uint8 * int8
products in 16 bits with saturation: 2 * 255 * 64 = 32640 still fits, 2 * 255 * 127 does not.
"""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import FloatArray

FULL_RANGE = 127
REDUCED_RANGE = 64
ACTIVATION_LEVELS = 255
WHOLE_ROW = 512  # longer than a table's rows, so that each row is one block with one scale
NIBBLE_ZERO = 8
SHARES = np.linspace(0.7, 1.15, 19, dtype=np.float32)  # of max abs(r) / 7


class Precision(str, Enum):
    """What the matrix products and the token table are stored in."""

    FLOAT32 = "float32"
    INT8 = "int8"
    INT4 = "int4"
    INT2 = "int2"
    TERNARY = "ternary"
    BINARY = "binary"


LOW_BITS = (Precision.INT4, Precision.INT2, Precision.TERNARY, Precision.BINARY)  # of matrices
OF_TABLES = (Precision.FLOAT32, Precision.INT8, Precision.INT4)


@dataclass(frozen=True)
class Quantization:
    """How an encoder's numbers are stored.

    ``matrices``: int8 is multiplied as int8, with activations quantized at run time; fewer bits
    are stored as ``block_codes`` and run as int8. ``table``: the token embeddings, one of
    ``OF_TABLES``. ``symmetric`` and ``per_channel`` are int8 matrices'. ``kept``: matrices that
    stay float32, by their names in ``EncoderWeights.arrays`` without ``.weight``; a layer's query,
    key and value are one matrix, ``layers.0.qkv``. ``finer``: of matrices in fewer bits, those that
    are int8.
    """

    matrices: Precision = Precision.INT8
    table: Precision = Precision.INT8
    symmetric: bool = True
    per_channel: bool = True
    reduced_range: bool = False
    kept: tuple[str, ...] = ()
    finer: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.table not in OF_TABLES:
            known = ", ".join(precision.value for precision in OF_TABLES)
            raise ValueError(f"a token table is stored as {known}, not as {self.table.value}")

    def precision_of(self, matrix: str) -> Precision:
        """How a matrix of this name is stored."""
        if matrix in self.kept:
            return Precision.FLOAT32
        return Precision.INT8 if matrix in self.finer else self.matrices

    @property
    def codes(self) -> bool:
        """Whether matrices are stored in fewer than 8 bits."""
        return self.matrices in LOW_BITS

    @classmethod
    def everywhere(cls, precision: Precision) -> "Quantization":
        """The same precision for matrices and token table, whose least is int4."""
        table = precision if precision in OF_TABLES else Precision.INT4
        return cls(matrices=precision, table=table)

    def __str__(self) -> str:
        phrases = [f"{self.matrices.value} matrices", f"{self.table.value} token table"]
        if self.matrices is Precision.INT8:
            phrases[0] += " (" + ", ".join(self.details()) + ")"
        if self.finer:
            phrases.append(f"int8 {', '.join(self.finer)}")
        if self.kept:
            phrases.append(f"float32 {', '.join(self.kept)}")
        return "; ".join(phrases)

    def details(self) -> tuple[str, ...]:
        """How int8 matrices are stored, in words."""
        return (
            "symmetric" if self.symmetric else "asymmetric",
            "per channel" if self.per_channel else "per tensor",
            *(["7 bits"] if self.reduced_range else []),
        )


class Quantized(NamedTuple):
    """Integers with scale and zero point, which broadcast: real = scale * (values - zero)."""

    values: NDArray[np.integer]
    scale: FloatArray
    zero: NDArray[np.integer]

    def read_back(self) -> FloatArray:
        """The real numbers, float32."""
        values = self.values.astype(np.float32) - self.zero.astype(np.float32)
        return (values * self.scale).astype(np.float32)


def quantize_matrix(
    weight: FloatArray, *, symmetric: bool = True, per_channel: bool = True, reduced: bool = False
) -> Quantized:
    """Quantize ``(in, out)`` to 8 bits; scale and zero ``(out,)``, or ``(1,)`` for the whole."""
    axis = 0 if per_channel else None
    if symmetric:
        limit = REDUCED_RANGE if reduced else FULL_RANGE
        scale = scale_of(np.abs(weight).max(axis=axis, keepdims=True), limit)
        values = np.clip(np.rint(weight / scale), -limit, limit).astype(np.int8)
        return Quantized(values, scale.ravel(), np.zeros(scale.size, np.int8))
    limit = 2 * REDUCED_RANGE if reduced else 2 * FULL_RANGE + 1
    low = np.minimum(weight.min(axis=axis, keepdims=True), 0)
    high = np.maximum(weight.max(axis=axis, keepdims=True), 0)
    scale = scale_of(high - low, limit)
    zero = np.rint(-low / scale).astype(np.uint8)
    values = np.clip(np.rint(weight / scale) + zero, 0, limit).astype(np.uint8)
    return Quantized(values, scale.ravel(), zero.ravel())


def quantize_rows(table: FloatArray) -> Quantized:
    """Quantize an embedding table ``(rows, dim)`` to 8 bits per row; scale ``(rows, 1)``.

    A table is looked up and not multiplied, so that 16-bit sums cannot saturate.
    """
    scale = scale_of(np.abs(table).max(axis=1, keepdims=True), FULL_RANGE)
    zero = FULL_RANGE + 1
    values = (np.clip(np.rint(table / scale), -FULL_RANGE, FULL_RANGE) + zero).astype(np.uint8)
    return Quantized(values, scale, np.array(zero, np.uint8))


def quantize_nibbles(array: FloatArray, block: int) -> Quantized:
    """Quantize ``(rows, n)`` to 4 bits in blocks along its rows; scale ``(rows, blocks)``.

    Values are unpacked, a byte each. The last block of a row may be shorter.
    """
    rows, n = array.shape
    padded = np.zeros((rows, -(-n // block) * block), np.float32)
    padded[:, :n] = array
    blocks = padded.reshape(rows, -1, block)
    largest = scale_of(np.abs(blocks).max(axis=2), NIBBLE_ZERO - 1)
    best, error = largest, np.full(largest.shape, np.inf, np.float32)
    for share in SHARES:
        scale = largest * share
        q = np.clip(np.rint(blocks / scale[..., None]), -NIBBLE_ZERO, NIBBLE_ZERO - 1)
        squares = np.square(q * scale[..., None] - blocks).sum(axis=2)
        best, error = np.where(squares < error, scale, best), np.minimum(squares, error)
    q = np.clip(np.rint(blocks / best[..., None]), -NIBBLE_ZERO, NIBBLE_ZERO - 1) + NIBBLE_ZERO
    values = q.reshape(rows, -1)[:, :n].astype(np.uint8)
    return Quantized(values, best, np.array(NIBBLE_ZERO, np.uint8))


def pack_nibbles(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Two 4-bit numbers in each byte, the first in the low half; the last axis must be even."""
    return (values[..., 0::2] | (values[..., 1::2] << 4)).astype(np.uint8)


def unpack_nibbles(pairs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What ``pack_nibbles`` packed, a byte each."""
    return np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(*pairs.shape[:-1], -1)


def scale_of(largest: FloatArray, limit: int) -> FloatArray:
    """The scale that maps ``largest`` to ``limit``; 1 where all numbers are zero."""
    scale: FloatArray = np.where(largest > 0, largest / limit, 1.0).astype(np.float32)
    return scale
