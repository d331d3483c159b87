"""Sketches of vectors: one bit a dimension, by which the walk of a graph leaves out what is far.

RaBitQ (Gao & Long 2024): a vector x is mean + r, and its sketch holds the signs of R r, where R is
a random rotation, and numbers by which <q - mean, r> is estimated for a query q as slope *
<sign(R r), R (q - mean)>; slope = |r|^2 / <R r, sign(R r)> makes it true for q - mean = r.
Estimates are wrong by about |q - mean| * error, where error is the length of what the estimate
leaves out of r, divided by the root of dim; ``spread`` is by how much more they are on a sample.

R turns signs over at random and transforms (Walsh & Hadamard) the first or the last dimensions, as
many as are a power of two, by turns.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WORD = 64  # bits
LINE = 64  # bytes: a sketch is whole cache lines
NUMBERS = 4  # float32: slope, slope times set bits, <mean, r>, error
SAMPLE = 65_536  # vectors for the mean
AT_A_TIME = 8192  # vectors
ROUNDS = 4  # of a rotation
PAIRS = 512  # vectors that are compared with as many others for the spread
LEAST_SPREAD = 0.5


class SketchModel(NamedTuple):
    """``mean (dim,) float32``; ``flips (ROUNDS, dim) float32`` of R, 1 or -1; all are finite."""

    mean: NDArray[np.float32]
    flips: NDArray[np.float32]
    spread: float


class Sketches(NamedTuple):
    """``rows (n, sketch_bytes(dim)) uint8``: see ``indexer/native/sketch.h``."""

    model: SketchModel
    rows: NDArray[np.uint8]


def sample_of(count: int) -> slice:
    """Which of so many vectors ``sketch_model`` is given: evenly spread ones."""
    return slice(None, None, -(-count // SAMPLE))


def slices(count: int) -> Iterator[slice]:
    """So many vectors, some at a time, as they are sketched."""
    for start in range(0, count, AT_A_TIME):
        yield slice(start, start + AT_A_TIME)


def sketch_words(dim: int) -> int:
    """How many words of 64 signs a sketch has."""
    return -(-dim // WORD)


def sketch_bytes(dim: int) -> int:
    """The size of a sketch."""
    return -(-(sketch_words(dim) * 8 + NUMBERS * 4) // LINE) * LINE


def sketch_model(sample: NDArray[np.float32]) -> SketchModel:
    """What sketches of such vectors ``(n, dim)`` share, n at least 1."""
    chosen = np.random.default_rng(0)
    mean = sample.mean(axis=0)
    flips = chosen.choice(np.array([-1, 1], np.float32), (ROUNDS, len(mean)))
    some = sample[chosen.permutation(len(sample))[: 2 * PAIRS]] - mean
    ones, others = some[: len(some) // 2], rotated(some[len(some) // 2 :], flips)
    ones = rotated(ones, flips)
    slope, error = slopes_and_errors(ones)
    expected = error[:, None] * np.linalg.norm(others, axis=1)
    wrong = (slope[:, None] * np.sign(ones)) @ others.T - ones @ others.T
    known = expected > 0
    spread = 1.0
    if known.any():
        spread = max(LEAST_SPREAD, float(np.sqrt(np.mean((wrong[known] / expected[known]) ** 2))))
    return SketchModel(mean, flips, spread)


def rotated(vectors: NDArray[np.float32], flips: NDArray[np.float32]) -> NDArray[np.float32]:
    """R of each vector, ``(n, dim)``."""
    turned = vectors.copy()
    dim = vectors.shape[1]
    length = 1 << (dim.bit_length() - 1)
    for number, signs in enumerate(flips):
        turned *= signs
        part = turned[:, :length] if number % 2 == 0 else turned[:, dim - length :]
        transform(part)
    return turned


def transform(vectors: NDArray[np.float32]) -> None:
    """Walsh and Hadamard's, in place; ``(n, length)``, length a power of two."""
    length = vectors.shape[1]
    half = 1
    while half < length:
        for start in range(0, length, 2 * half):
            one, other = vectors[:, start : start + half], vectors[:, start + half :][:, :half]
            one[:], other[:] = one + other, one - other
        half *= 2
    vectors *= np.float32(length**-0.5)


def slopes_and_errors(
    rest: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of each rotated r, ``(n, dim)``; zeros where r is 0."""
    squares = np.einsum("nd,nd->n", rest, rest)
    sums = np.abs(rest).sum(axis=1)
    slope = np.divide(squares, sums, out=np.zeros_like(squares), where=sums > 0)
    # slope * sign(r) is r and something at a right angle to it
    left = slope**2 * rest.shape[1] - squares
    return slope, np.sqrt(np.maximum(left, 0) / rest.shape[1])


def sketch_rows(vectors: NDArray[np.float32], model: SketchModel) -> NDArray[np.uint8]:
    """The sketches of vectors ``(n, dim)``, rows of ``Sketches``."""
    count, dim = vectors.shape
    # many vectors are rotated sooner by a product with R than as one is
    rotation = rotated(np.eye(dim, dtype=np.float32), model.flips)
    differences = vectors - model.mean
    rest = np.asarray(differences @ rotation, np.float32)
    positive = rest > 0
    slope, error = slopes_and_errors(rest)
    rows = np.zeros((count, sketch_bytes(dim)), np.uint8)
    bits = np.packbits(positive, axis=1, bitorder="little")
    rows[:, : bits.shape[1]] = bits
    columns = (slope, slope * positive.sum(axis=1), differences @ model.mean, error)
    words = sketch_words(dim) * 8
    rows[:, words : words + NUMBERS * 4] = np.stack(columns, 1).astype("<f4").view(np.uint8)
    return rows
