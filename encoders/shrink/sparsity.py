"""Unstructured pruning: single weights become zero, by several rules of what may go.

- magnitude: of each matrix the smallest (Han et al. 2015)
- threshold: of all matrices the smallest, those below one threshold (Han et al. 2015)
- wanda: of each column the smallest ``|w| |x|``, x its input over calibration tokens (Sun et al.
  2024)
- sparsegpt: what costs least, the rows after it making up for it (Frantar & Alistarh 2023; see
  ``error_feedback``)

With a pattern of 2:4 two of any four rows go in each column, instead of a share of all.

It makes an encoder compress better on disk, but not faster: the kernels are dense, and a product
with zero takes as long as any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.error_feedback import (
    MATRICES,
    DoubleArray,
    fed_back,
    replace_matrices,
)
from trimseek.encoders.shrink.obs import Problem
from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerWeights, Linear
from trimseek.errors import ConfigError

PARTS = tuple(part for parts in MATRICES.values() for part in parts)
GROUP, GOES = 4, 2  # of the 2:4 pattern
SPARSE_BLOCK = 128  # rows among which sparsegpt chooses


class SparsityMethod(str, Enum):
    """What goes: see the module."""

    MAGNITUDE = "magnitude"
    THRESHOLD = "threshold"
    WANDA = "wanda"
    SPARSEGPT = "sparsegpt"


class Pattern(str, Enum):
    """Where zeros may be."""

    FREE = "free"
    TWO_OF_FOUR = "2:4"


class Sparse(NamedTuple):
    """The encoder, and the share of zeros in its layers' matrices."""

    weights: EncoderWeights
    sparsity: float


def sparsify(
    weights: EncoderWeights,
    share: float,
    texts: Sequence[Ids] = (),
    *,
    method: SparsityMethod = SparsityMethod.MAGNITUDE,
    pattern: Pattern = Pattern.FREE,
) -> Sparse:
    """Zero a share of the weights of the layers' matrices, or two of four.

    ``texts``: token ids of calibration texts, for wanda and sparsegpt. ConfigError for a share that
    is not from 0 to less than 1, or a pattern with a threshold; EncoderError for too little text.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"sparsity {share:g}: must be from 0 to less than 1")
    if pattern is Pattern.TWO_OF_FOUR and method is SparsityMethod.THRESHOLD:
        raise ConfigError("one threshold for all matrices cannot zero two of any four weights")
    if method is SparsityMethod.WANDA:
        weights = replace_matrices(
            weights,
            texts,
            lambda _, problem, before: Linear(
                np.where(
                    goes(np.abs(before.weight) * input_norms(problem), share, pattern, axis=0),
                    np.float32(0),
                    before.weight,
                ),
                before.bias,
            ),
        )
    elif method is SparsityMethod.SPARSEGPT:
        weights = replace_matrices(
            weights,
            texts,
            lambda _, problem, __: fed_back(problem, ToZeros(share, pattern)),
        )
    else:
        limit = None
        if method is SparsityMethod.THRESHOLD:
            sizes = [np.abs(array).ravel() for array in matrices(weights)]
            limit = float(cut_off(np.concatenate(sizes), share))
        weights = by_magnitude(weights, share, pattern, limit)
    zeros = sum(int((array == 0).sum()) for array in matrices(weights))
    return Sparse(weights, zeros / sum(array.size for array in matrices(weights)))


def matrices(weights: EncoderWeights) -> list[FloatArray]:
    """Of all layers."""
    return [getattr(layer, part).weight for layer in weights.layers for part in PARTS]


def by_magnitude(
    weights: EncoderWeights, share: float, pattern: Pattern, limit: float | None
) -> EncoderWeights:
    """Without the smallest weights: of each matrix, or below a limit."""

    def without(weight: FloatArray) -> FloatArray:
        sizes = np.abs(weight)
        gone = sizes < limit if limit is not None else goes(sizes, share, pattern)
        return np.where(gone, np.float32(0), weight)

    def sparse(layer: LayerWeights) -> LayerWeights:
        changed = {}
        for part in PARTS:
            linear: Linear = getattr(layer, part)
            changed[part] = Linear(without(linear.weight), linear.bias)
        return replace(layer, **changed)  # type: ignore[arg-type]

    return replace(weights, layers=tuple(map(sparse, weights.layers)))


def cut_off(
    scores: NDArray[np.floating], share: float, axis: int | None = None
) -> NDArray[np.floating]:
    """The least score that is kept when the smallest ``share`` goes: of all, or along an axis."""
    count = int(share * (scores.size if axis is None else scores.shape[axis]))
    least: NDArray[np.floating] = np.partition(scores, count, axis=axis).take(count, axis=axis)
    return least


def goes(
    scores: NDArray[np.floating], share: float, pattern: Pattern, axis: int | None = None
) -> NDArray[np.bool_]:
    """Which of ``(in, out)`` have the smallest scores: of all, of each column, or of four."""
    if pattern is Pattern.TWO_OF_FOUR:
        rows, columns = scores.shape
        padded = np.full((-(-rows // GROUP) * GROUP, columns), np.inf)
        padded[:rows] = scores
        order = padded.reshape(-1, GROUP, columns).argsort(axis=1, kind="stable")
        ranks: NDArray[np.intp] = order.argsort(axis=1, kind="stable")
        return (ranks < GOES).reshape(-1, columns)[:rows]
    gone: NDArray[np.bool_] = scores < cut_off(scores, share, axis)
    return gone


def input_norms(problem: Problem) -> FloatArray:
    """The size of each input over all tokens, ``(in, 1)``."""
    norms: FloatArray = problem.hessian.diagonal()[:-1, None].sqrt().float().numpy()
    return norms


@dataclass
class ToZeros:
    """Zeros in the place of what costs least, as ``error_feedback.Rounding``."""

    share: float
    pattern: Pattern
    block: int = SPARSE_BLOCK

    def begin(self, weight: FloatArray) -> None:
        """Nothing is to be known beforehand."""

    def begin_block(self, rows: DoubleArray, costs: DoubleArray) -> None:
        """Choose what goes of these rows."""
        self._gone = goes(np.square(rows) * costs[:, None], self.share, self.pattern)

    def row(self, number: int, values: DoubleArray) -> DoubleArray:
        """The row without what goes."""
        return np.where(self._gone[number % self.block], 0.0, values)
