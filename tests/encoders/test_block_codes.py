from itertools import pairwise

import numpy as np
import pytest

from trimseek.encoders.block_codes import BLOCK, LEVELS, Levels, code_matrix, pack, unpack
from trimseek.encoders.weights import FloatArray

ALL = pytest.mark.parametrize("levels", LEVELS.values(), ids=[each.value for each in LEVELS])


def matrix(rows: int = 96, columns: int = 24) -> FloatArray:
    numbers: FloatArray = np.random.default_rng(3).normal(size=(rows, columns)).astype(np.float32)
    return numbers * np.geomspace(0.01, 10, columns, dtype=np.float32)


@ALL
def test_numbers_are_levels_times_multipliers_times_scales(levels: Levels) -> None:
    stored = code_matrix(matrix(), levels)
    assert stored.codes.max() < levels.base
    assert stored.multipliers.shape == (3, 24)
    integers = stored.integers()
    assert integers.dtype == np.int8
    assert np.abs(integers.astype(int)).max() <= 127
    for row, column in ((0, 0), (40, 3), (95, 23)):
        level = levels.step * int(stored.codes[row, column]) + levels.lowest
        multiplier = int(stored.multipliers[row // BLOCK, column])
        assert integers[row, column] == level * multiplier
        assert stored.read_back()[row, column] == np.float32(level * multiplier) * np.float32(
            stored.scale[column]
        )


@ALL
def test_what_was_read_back_is_coded_as_it_was(levels: Levels) -> None:
    first = code_matrix(matrix(), levels).read_back()
    again = code_matrix(first, levels).read_back()
    np.testing.assert_allclose(again, first, rtol=1e-6)


@ALL
def test_codes_are_packed_and_unpacked(levels: Levels) -> None:
    codes = code_matrix(matrix(), levels).codes
    packed = pack(codes, levels)
    assert packed.shape == (-(-96 // levels.packed), 24)
    np.testing.assert_array_equal(unpack(packed, 96, levels), codes)


@ALL
def test_a_reduced_range_has_products_of_7_bits(levels: Levels) -> None:
    integers = code_matrix(matrix(), levels, reduced=True).integers()
    assert np.abs(integers.astype(int)).max() <= 64


def test_more_bits_are_nearer() -> None:
    numbers = matrix(320)
    errors = []
    for levels in LEVELS.values():
        difference = code_matrix(numbers, levels).read_back() - numbers
        errors.append(float(np.square(difference / numbers.std(0)).mean()))
    assert all(fine < coarse for fine, coarse in pairwise(errors))
    # a uniform quantizer of a bell curve loses 0.0115, 0.119, 0.19 and 0.36 (Max 1960); blocks less
    assert np.all(np.array(errors) < [0.0115, 0.119, 0.19, 0.37])


@ALL
def test_columns_of_zeros(levels: Levels) -> None:
    numbers = matrix()
    numbers[:, 5] = 0
    numbers[:BLOCK, 6] = 0
    stored = code_matrix(numbers, levels).read_back()
    assert np.isfinite(stored).all()
    assert np.all(stored[:, 5] == 0)
    assert np.all(stored[:BLOCK, 6] == 0)


@ALL
def test_a_last_block_of_few_rows(levels: Levels) -> None:
    numbers = matrix(BLOCK + 3)
    stored = code_matrix(numbers, levels)
    assert stored.codes.shape == numbers.shape
    assert stored.integers().shape == numbers.shape
    alone = code_matrix(numbers[BLOCK:], levels).read_back()
    # by its own rows alone, but for the rounding of its multiplier
    np.testing.assert_allclose(stored.read_back()[BLOCK:], alone, atol=0.3 * np.abs(numbers).max())
