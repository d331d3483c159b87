"""Matrices in fewer than 8 bits, which run as int8: codes, multipliers and scales.

A number of a matrix ``(in, out)`` is stored as a code, a digit of a small base, and read back as

    level(code) * multiplier(block of 32 rows, column) * scale(column)

Levels and multipliers are integers whose product fits in 8 bits, so that a matrix of codes becomes
an int8 matrix with a scale for each column, exactly, and runs on the kernels of int8 at the speed
of int8. The second, integer scale is that of double quantization (Dettmers et al. 2023).

| precision | levels | codes in a byte | bits a number, multipliers included | as |
|---|---|---|---|---|
| int4 | -8 to 7 | 2 | 4.25 | |
| int2 | -3 -1 1 3 | 4 | 2.25 | |
| ternary | -1 0 1 | 5 | 1.85 | Li et al. 2016 |
| binary | -1 1 | 8 | 1.25 | Rastegari et al. 2016 |

The scale of a block is the one with the least squared error among several shares of its largest
number. What was read back is coded as it was, so that training and error feedback can choose codes
by handing over numbers that lie on them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.quantize import FULL_RANGE, REDUCED_RANGE, Precision, scale_of
from trimseek.encoders.weights import FloatArray

BLOCK = 32  # rows that share a multiplier
SHARES = 16  # that are tried, of the scale under which the largest number is the largest level
LARGEST_SHARE = 1.15
ROUNDING = np.float32(1e-6)  # an error that is less by such a share is not less


class Levels(NamedTuple):
    """The numbers that codes stand for: ``step * code + lowest`` for codes below ``base``.

    ``packed``: how many codes are in a byte, as digits of a number of this base. ``share``: of the
    scale that the largest number needs, the least that is worth trying: with few levels most
    numbers are far below the largest.
    """

    base: int
    packed: int
    step: int
    lowest: int
    share: float

    @property
    def largest(self) -> int:
        """The largest size of a level."""
        return max(-self.lowest, self.step * (self.base - 1) + self.lowest)

    @property
    def sizes(self) -> list[int]:
        """Sizes of levels, the largest first, without 0."""
        found = {abs(self.step * code + self.lowest) for code in range(self.base)}
        return sorted(found - {0}, reverse=True)

    def most(self, *, reduced: bool) -> int:
        """The largest multiplier whose products with all levels are within the range of int8."""
        return (REDUCED_RANGE if reduced else FULL_RANGE) // self.largest


LEVELS = {
    Precision.INT4: Levels(16, 2, 1, -8, 0.65),
    Precision.INT2: Levels(4, 4, 2, -3, 0.35),
    Precision.TERNARY: Levels(3, 5, 1, -1, 0.25),
    Precision.BINARY: Levels(2, 8, 2, -1, 0.15),
}


class Codes(NamedTuple):
    """A matrix ``(in, out)`` in codes.

    ``codes (in, out) uint8``, ``multipliers (blocks, out) uint8``, ``scale (out,) float32``.
    """

    codes: NDArray[np.uint8]
    multipliers: NDArray[np.uint8]
    scale: FloatArray
    levels: Levels

    def integers(self) -> NDArray[np.int8]:
        """The int8 matrix ``(in, out)``, which is to be multiplied by the scales."""
        return integers_of(self.codes, self.multipliers, self.levels)

    def read_back(self) -> FloatArray:
        """The real numbers ``(in, out) float32``."""
        return self.integers() * self.scale


def integers_of(
    codes: NDArray[np.uint8], multipliers: NDArray[np.uint8], levels: Levels
) -> NDArray[np.int8]:
    """The int8 matrix ``(in, out)`` of codes and multipliers, still without its scales."""
    values = levels.step * codes.astype(np.int16) + levels.lowest
    rows = np.arange(len(values)) // BLOCK
    return (values * multipliers[rows]).astype(np.int8)


def code_matrix(weight: FloatArray, levels: Levels, *, reduced: bool = False) -> Codes:
    """The codes of a matrix ``(in, out)``; ``reduced``: products are kept to 7 bits."""
    blocks = in_blocks(weight)
    wanted = block_scales(blocks, levels)
    most = levels.most(reduced=reduced)
    scale = scale_of(wanted.max(axis=0), most)
    multipliers = np.clip(np.rint(wanted / scale), 0, most)
    steps = (multipliers * scale)[:, None, :]
    codes = nearest_codes(blocks, np.where(steps > 0, steps, 1), levels)
    flat = codes.reshape(-1, weight.shape[1])[: len(weight)]
    return Codes(flat.astype(np.uint8), multipliers.astype(np.uint8), scale, levels)


def in_blocks(weight: FloatArray) -> FloatArray:
    """``(in, out)`` as ``(blocks, BLOCK, out)``; the last row fills up the last block.

    Zeros would not do: some levels have none, so that they would change the block's scale.
    """
    padded = np.pad(weight, ((0, -len(weight) % BLOCK), (0, 0)), "edge")
    return padded.reshape(-1, BLOCK, weight.shape[1])


def block_scales(blocks: FloatArray, levels: Levels) -> FloatArray:
    """The scale of each block and column ``(blocks, out)`` with the least squared error.

    First those under which the largest number is a level: one of them is exact for numbers that
    were read back from codes.
    """
    largest = np.abs(blocks).max(axis=1)
    best: FloatArray = np.zeros_like(largest)
    error = np.full(largest.shape, np.inf, np.float32)
    shares = np.linspace(levels.share, LARGEST_SHARE, SHARES) / levels.largest
    for share in [*(1 / size for size in levels.sizes), *shares]:
        scale = largest * np.float32(share)
        steps = np.where(scale > 0, scale, 1)[:, None, :]
        read = (levels.step * nearest_codes(blocks, steps, levels) + levels.lowest) * steps
        squares = np.square(read - blocks).sum(axis=1)
        better = squares < error * (1 - ROUNDING)
        best, error = np.where(better, scale, best), np.where(better, squares, error)
    return best


def nearest_codes(
    blocks: NDArray[np.floating], steps: NDArray[np.floating], levels: Levels
) -> NDArray[np.floating]:
    """The codes of the levels that are nearest to numbers divided by ``steps``, as floats."""
    codes: NDArray[np.floating] = np.rint((blocks / steps - levels.lowest) / levels.step)
    return codes.clip(0, levels.base - 1)


def pack(codes: NDArray[np.uint8], levels: Levels) -> NDArray[np.uint8]:
    """Codes ``(in, out)`` as bytes ``(in / packed, out)``, rounded up; low digits first."""
    rows, columns = codes.shape
    padded = np.zeros((-(-rows // levels.packed) * levels.packed, columns), np.uint8)
    padded[:rows] = codes
    digits = padded.reshape(-1, levels.packed, columns)
    places = levels.base ** np.arange(levels.packed)
    packed: NDArray[np.uint8] = (digits * places[:, None]).sum(axis=1).astype(np.uint8)
    return packed


def unpack(packed: NDArray[np.uint8], rows: int, levels: Levels) -> NDArray[np.uint8]:
    """What ``pack`` packed, the first so many rows."""
    places = levels.base ** np.arange(levels.packed)
    digits = packed[:, None, :] // places[:, None] % levels.base
    return digits.reshape(-1, packed.shape[1])[:rows].astype(np.uint8)
