"""Sketches of vectors: one bit a dimension, by which the walk of a graph leaves out what is far.

A vector x is mean + r. Its sketch holds the signs of r, and numbers by which <q - mean, r> is
estimated for a query q as slope * sum(sign(r[i]) * scale[i] * (q - mean)[i]); slope = |r|^2 / <r,
sign(r) * scale> makes it true for q - mean = r. That is RaBitQ (Gao & Long 2024), with a scale for
each dimension, its mean of |r[i]|, in the place of a random rotation. Estimates are wrong by about
|q - mean| * error, where error is the length of what the estimate leaves out of r, divided by the
root of dim; ``spread`` is by how much more they are on a sample.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD = 64  # bits
LINE = 64  # bytes: a sketch is whole cache lines
NUMBERS = 4  # float32: slope, slope times set bits, <mean, r>, error
SAMPLE = 65_536  # vectors for mean and scale
PAIRS = 512  # vectors that are compared with as many others for the spread
LEAST_SPREAD = 0.5


class SketchModel(NamedTuple):
    """``mean``, ``scale``: ``(dim,) float32``; all numbers are finite."""

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    spread: float


class Sketches(NamedTuple):
    """``rows (n, sketch_bytes(dim)) uint8``: see ``search/native/sketch.h``."""

    model: SketchModel
    rows: NDArray[np.uint8]


def sketch_words(dim: int) -> int:
    """How many words of 64 signs a sketch has."""
    return -(-dim // WORD)


def sketch_bytes(dim: int) -> int:
    """The size of a sketch."""
    return -(-(sketch_words(dim) * 8 + NUMBERS * 4) // LINE) * LINE


def sketch_model(sample: NDArray[np.float32]) -> SketchModel:
    """What sketches of such vectors ``(n, dim)`` share, n at least 1."""
    mean = sample.mean(axis=0)
    scale = np.abs(sample - mean).mean(axis=0)
    model = SketchModel(mean, scale, 1.0)
    chosen = np.random.default_rng(0).permutation(len(sample))[: 2 * PAIRS]
    some = sample[chosen] - mean
    ones, others = some[: len(some) // 2], some[len(some) // 2 :]
    signs = np.sign(ones) * scale
    slope, error = slopes_and_errors(ones, signs)
    expected = error[:, None] * np.linalg.norm(others, axis=1)
    wrong = (slope[:, None] * signs) @ others.T - ones @ others.T
    known = expected > 0
    if known.any():
        spread = float(np.sqrt(np.mean((wrong[known] / expected[known]) ** 2)))
        model = model._replace(spread=max(LEAST_SPREAD, spread))
    return model


def slopes_and_errors(
    rest: NDArray[np.float32], signs: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each r, ``(n, dim)``, by ``sign(r) * scale``; zeros where r is 0."""
    squares = np.einsum("nd,nd->n", rest, rest)
    products = np.einsum("nd,nd->n", rest, signs)
    slope = np.divide(squares, products, out=np.zeros_like(squares), where=products > 0)
    # slope * signs is r and something at a right angle to it
    left = slope**2 * np.einsum("nd,nd->n", signs, signs) - squares
    return slope, np.sqrt(np.maximum(left, 0) / rest.shape[1])


def sketch_rows(vectors: NDArray[np.float32], model: SketchModel) -> NDArray[np.uint8]:
    """The sketches of vectors ``(n, dim)``, rows of ``Sketches``."""
    count, dim = vectors.shape
    rest = vectors - model.mean
    positive = rest > 0
    slope, error = slopes_and_errors(rest, np.where(positive, model.scale, -model.scale))
    rows = np.zeros((count, sketch_bytes(dim)), np.uint8)
    bits = np.packbits(positive, axis=1, bitorder="little")
    rows[:, : bits.shape[1]] = bits
    columns = (slope, slope * positive.sum(axis=1), rest @ model.mean, error)
    words = sketch_words(dim) * 8
    rows[:, words : words + NUMBERS * 4] = np.stack(columns, 1).astype("<f4").view(np.uint8)
    return rows
