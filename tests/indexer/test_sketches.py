"""Sketches: what they estimate, and that their numbers are right whatever the vectors are."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trimseek.indexer.sketches import (
    NUMBERS,
    rotated,
    sketch_bytes,
    sketch_model,
    sketch_rows,
    sketch_words,
)

COUNT = 2000


def vectors_of(kind: str, dim: int) -> NDArray[np.float32]:
    """Unit vectors: spread evenly, far from the origin, or with a few large dimensions."""
    chosen = np.random.default_rng(7)
    vectors = chosen.standard_normal((COUNT, dim))
    if kind == "shifted":
        vectors += 2 * chosen.standard_normal(dim)
    elif kind == "outliers":
        vectors[:, : max(1, dim // 50)] *= 12
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.mark.parametrize("dim", [384, 768, 65])
@pytest.mark.parametrize("kind", ["even", "shifted", "outliers"])
def test_estimates_are_as_wrong_as_is_said(kind: str, dim: int) -> None:
    vectors = vectors_of(kind, dim)
    model = sketch_model(vectors)
    rows = sketch_rows(vectors[:500], model)
    assert rows.shape == (500, sketch_bytes(dim))
    words = sketch_words(dim) * 8
    bits = np.unpackbits(rows[:, :words], axis=1, bitorder="little")[:, :dim].astype(bool)
    numbers = np.ascontiguousarray(rows[:, words : words + NUMBERS * 4]).view("<f4")
    slope, slope_of_set, mean, error = numbers.T[:, :, None]
    queries = vectors[-300:]
    turned = rotated(queries - model.mean, model.flips)
    estimates = slope * (np.where(bits, 1, -1) @ turned.T) + mean + queries @ model.mean
    wrong = estimates - vectors[:500] @ queries.T
    told = model.spread * error * np.linalg.norm(queries - model.mean, axis=1)
    assert abs(np.mean(wrong)) < 0.2 * np.mean(told)
    assert 0.8 < np.sqrt(np.mean((wrong / told) ** 2)) < 1.25
    np.testing.assert_allclose(slope_of_set, slope * bits.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_vector_is_near_to_itself() -> None:
    vectors = vectors_of("even", 384)
    model = sketch_model(vectors)
    rows = sketch_rows(vectors, model)
    bits = np.unpackbits(rows[:, :48], axis=1, bitorder="little").astype(bool)
    slope, _, mean, _ = np.ascontiguousarray(rows[:, 48:64]).view("<f4").T
    rest = vectors - model.mean
    turned = rotated(rest, model.flips)
    own = slope * np.sum(np.where(bits, 1, -1) * turned, axis=1)
    np.testing.assert_allclose(own, np.sum(rest**2, axis=1), rtol=1e-4)
    np.testing.assert_allclose(mean, rest @ model.mean, atol=1e-5)


def test_vectors_that_are_all_the_same() -> None:
    vectors = np.ones((5, 40), np.float32)
    rows = sketch_rows(vectors, sketch_model(vectors))
    assert np.isfinite(np.ascontiguousarray(rows[:, 8:24]).view("<f4")).all()


@pytest.mark.parametrize("dim", [384, 7, 1, 256])
def test_a_rotation_keeps_lengths_and_spreads_what_one_dimension_has(dim: int) -> None:
    model = sketch_model(np.random.default_rng(1).standard_normal((50, dim)).astype(np.float32))
    turned = rotated(np.eye(dim, dtype=np.float32), model.flips)
    np.testing.assert_allclose(turned @ turned.T, np.eye(dim), atol=1e-5)
    if dim > 100:
        assert np.abs(turned).max() < 0.5
