"""Quantization against the affine formula, read back."""

import numpy as np
import pytest

from trimseek.encoders.quantize import (
    pack_nibbles,
    quantize_matrix,
    quantize_nibbles,
    quantize_rows,
)

WEIGHT = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)


def test_columns_are_quantized_each_with_its_own_scale() -> None:
    weight = np.array([[1.0, -100.0], [-0.5, 50.0]], np.float32)
    values, scale, zero = quantize_matrix(weight)
    np.testing.assert_allclose(scale, [1 / 127, 100 / 127])
    assert values.tolist() == [[127, -127], [-64, 64]]  # 63.5 rounds to even
    assert zero.tolist() == [0, 0]


def test_one_scale_serves_all_columns_per_tensor() -> None:
    weight = np.array([[1.0, -100.0], [-0.5, 50.0]], np.float32)
    values, scale, _ = quantize_matrix(weight, per_channel=False)
    np.testing.assert_allclose(scale, [100 / 127])
    assert values.tolist() == [[1, -127], [-1, 64]]


def test_an_asymmetric_range_is_used_whole() -> None:
    weight = np.array([[3.0, 0.5], [-1.0, 2.0]], np.float32)
    values, scale, zero = quantize_matrix(weight, symmetric=False)
    np.testing.assert_allclose(scale, [4 / 255, 2 / 255])  # a range has 0 in it
    assert zero.tolist() == [64, 0]
    assert values.tolist() == [[255, 64], [0, 255]]


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("reduced", "limit"), [(False, 127), (True, 64)])
@pytest.mark.parametrize("per_channel", [True, False])
def test_error_is_at_most_half_a_step(
    symmetric: bool, reduced: bool, limit: int, per_channel: bool
) -> None:
    found = quantize_matrix(WEIGHT, symmetric=symmetric, reduced=reduced, per_channel=per_channel)
    assert found.values.dtype == (np.int8 if symmetric else np.uint8)
    if symmetric:
        assert np.abs(found.values.astype(int)).max() == limit
    elif reduced:
        assert found.values.max() <= 2 * limit
    assert (np.abs(found.read_back() - WEIGHT) <= found.scale * 1.01 / 2 + 1e-7).mean() > 0.99
    assert (np.abs(found.read_back() - WEIGHT) <= found.scale + 1e-7).all()


def test_rows_and_zeros() -> None:
    table = np.array([[0.0, 0.0], [2.0, -1.0]], np.float32)
    found = quantize_rows(table)
    assert found.scale.shape == (2, 1)
    np.testing.assert_allclose(found.read_back(), table, atol=0.01)
    assert np.isfinite(found.scale).all()


def test_the_scale_of_a_4_bit_block_is_better_than_that_of_its_largest() -> None:
    table = np.random.default_rng(1).standard_t(4, (200, 80)).astype(np.float32)
    values, scale, zero = quantize_nibbles(table, 32)
    assert scale.shape == (200, 3)  # blocks of 32, 32 and 16
    assert (values.min(), values.max()) == (0, 15)
    wide = np.repeat(scale, 32, axis=1)[:, :80]
    error = np.square((values.astype(np.float32) - zero) * wide - table).mean()
    blocks = [table[:, i : i + 32] for i in (0, 32, 64)]
    plain = 0.0
    for block in blocks:
        step = np.abs(block).max(1, keepdims=True) / 7
        plain += np.square(np.rint(block / step) * step - block).sum()
    assert error < 0.9 * plain / table.size


def test_nibbles_are_packed_low_half_first() -> None:
    assert pack_nibbles(np.array([[1, 2, 15, 0]], np.uint8)).tolist() == [[0x21, 0x0F]]
