"""What int8 matrices read: ranges that are calibrated, and channels that are made alike.

By default each token's activations have a range of their own, which is looked for as they are
quantized. A calibrated range is the same for all tokens (Jacob et al. 2018): of the least and the
most that the calibration texts give, the share that reads their numbers back with the least squared
error, as a few large ones would make the steps of all others coarse.

Channels that are much larger than others do the same to a whole range. Dividing channel j of what a
matrix W reads by s_j and multiplying row j of W by it changes nothing but what is rounded. As in
SmoothQuant (Xiao et al. 2023), with the power a,

    s_j = max |X_j|^a / max |W_j|^(1 - a),

scaled to a geometric mean of 1, so that a part of the difficulty goes from activations to weights.
BERT's norms stand behind the sums, whose outcome is read by a matrix and added to its output alike,
so that s cannot be hidden in them: activations are multiplied as they are quantized.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import ACTIVATION_LEVELS
from trimseek.encoders.shrink.calibration import Ids, States, check_enough, first_states
from trimseek.encoders.shrink.error_feedback import MATRICES, Steps
from trimseek.encoders.shrink.module import EncoderModule, joined
from trimseek.encoders.weights import RANGE, SMOOTH, EncoderWeights, FloatArray
from trimseek.time_limit import check_time

SHARES = np.linspace(0.2, 1.0, 33)  # of the least and the most
SAMPLED = 2**18  # numbers of a matrix's inputs that ranges are compared on
SMALLEST = 1e-5


class MatrixInputs(NamedTuple):
    """What a matrix reads: by channel the least and the most ``(in,)``, and a sample ``(n, in)``.

    ``weight (in, out)``: its own.
    """

    name: str
    least: FloatArray
    most: FloatArray
    rows: FloatArray
    weight: FloatArray

    @property
    def largest(self) -> FloatArray:
        """By channel the largest size ``(in,)``."""
        sizes: FloatArray = np.maximum(np.abs(self.least), np.abs(self.most))
        return sizes

    def range(self, smooth: FloatArray | float) -> FloatArray:
        """The range ``(2,)`` of what is read divided by ``smooth``."""
        low, high = (self.least / smooth).min(), (self.most / smooth).max()
        return best_range(float(low), float(high), self.rows / smooth)


def calibrate_inputs(
    weights: EncoderWeights, texts: Sequence[Ids], *, ranges: bool, smoothing: float = 0.0
) -> EncoderWeights:
    """The encoder with ranges of what its matrices read, or with channels made alike, or both.

    ``smoothing``: the power a, 0 for none. ``texts``: token ids of calibration texts. EncoderError
    if they are too few; OutOfTimeError when a ``time_limit`` passes.
    """
    inputs: dict[str, FloatArray] = {}
    for read in matrix_inputs(weights, texts):
        if smoothing:
            inputs[f"{read.name}{SMOOTH}"] = smooth_factors(read, smoothing)
        if ranges:
            inputs[f"{read.name}{RANGE}"] = read.range(inputs.get(f"{read.name}{SMOOTH}", 1.0))
    return replace(weights, inputs=inputs)


def recalibrated(weights: EncoderWeights, texts: Sequence[Ids]) -> EncoderWeights:
    """An encoder that was trained since, with ranges of what its matrices read now."""
    inputs = dict(weights.inputs)
    if not any(name.endswith(RANGE) for name in inputs):
        return weights
    for read in matrix_inputs(weights, texts):
        if f"{read.name}{RANGE}" in inputs:
            inputs[f"{read.name}{RANGE}"] = read.range(inputs.get(f"{read.name}{SMOOTH}", 1.0))
    return replace(weights, inputs=inputs)


@torch.inference_mode()
def matrix_inputs(weights: EncoderWeights, texts: Sequence[Ids]) -> Iterator[MatrixInputs]:
    """Of every matrix of the layers; raises as ``calibrate_inputs``."""
    check_enough(texts)
    module = EncoderModule(weights, Pooling.MEAN, normalize=False).eval()
    states = first_states(module, texts)
    for i, layer in enumerate(module.stack):
        steps = [Steps(layer, batch) for batch in states]
        for matrix, parts in MATRICES.items():
            check_time()
            found = []
            for step in steps:
                inputs = step.inputs(matrix)
                step.go_on(matrix, inputs)
                found.append(step.batch.real(inputs))
            rows = torch.cat(found).numpy()
            every = -(-rows.size // SAMPLED)
            yield MatrixInputs(
                f"layers.{i}.{matrix}",
                rows.min(0),
                rows.max(0),
                rows[::every],
                joined(layer, parts).weight,
            )
        states = [States(step.x, step.batch.mask) for step in steps]


def smooth_factors(read: MatrixInputs, power: float) -> FloatArray:
    """S of every channel ``(in,)``."""
    of_inputs = np.maximum(read.largest, SMALLEST) ** power
    of_weights = np.maximum(np.abs(read.weight).max(1), SMALLEST) ** (1 - power)
    logarithms = np.log(of_inputs / of_weights)
    smooth: FloatArray = np.exp(logarithms - logarithms.mean()).astype(np.float32)
    return smooth


def best_range(low: float, high: float, rows: FloatArray) -> FloatArray:
    """The share of a range ``(2,)``, 0 within it, that reads the rows back with least error."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return np.array([0, 1], np.float32)
    best, least = np.array([low, high], np.float32), np.inf
    for share in SHARES:
        step = share * (high - low) / ACTIVATION_LEVELS
        zero = np.rint(-share * low / step)
        levels = np.clip(np.rint(rows / step) + zero, 0, ACTIVATION_LEVELS)
        error = float(np.square((levels - zero) * step - rows).mean())
        if error < least:
            best, least = np.array([share * low, share * high], np.float32), error
    return best
