import numpy as np
import pytest

from encoders.quantize import quantize_columns, quantize_rows


def test_columns_are_quantized_each_with_its_own_scale() -> None:
    weight = np.array([[1.0, -100.0], [-0.5, 50.0]], np.float32)
    values, scale = quantize_columns(weight)
    np.testing.assert_allclose(scale, [1 / 127, 100 / 127])
    assert values.tolist() == [[127, -127], [-64, 64]]  # 63.5 rounds to even


@pytest.mark.parametrize(("reduced", "limit"), [(False, 127), (True, 64)])
def test_error_is_at_most_half_a_step(reduced: bool, limit: int) -> None:
    weight = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    values, scale = quantize_columns(weight, reduced=reduced)
    assert np.abs(values.astype(int)).max() == limit
    assert (np.abs(values * scale - weight) <= scale / 2 + 1e-7).all()


def test_rows_and_zeros() -> None:
    table = np.array([[0.0, 0.0], [2.0, -1.0]], np.float32)
    values, scale = quantize_rows(table)
    assert scale.shape == (2, 1)
    np.testing.assert_allclose(values * scale, table, atol=0.01)
    assert np.isfinite(scale).all()
