"""Error feedback: what the rounding of one row of a matrix loses, the rows after it make up for.

A matrix W ``(in, out)`` with inputs X of calibration tokens and target outputs T is to have little

    E(W) = |X W - T|^2 + r |W - W0|^2        with H = X'X + r I

(``obs``). With W at the least of E, putting q in the place of row i and refitting the rows after it
changes them by -(w_i - q) (H^-1)_ij / (H^-1)_ii, with H^-1 of the rows from i on, whose quotients
are those of one Cholesky factor of the first H^-1. So rows are replaced one after another: by
numbers of few bits (GPTQ, Frantar et al. 2023) or with zeros in them (SparseGPT, Frantar & Alistarh
2023). The last row, the bias, is not replaced and takes what is left.

Layers go in order, and so do the matrices of a layer. Inputs are those that the matrices replaced
before give, and targets the outputs of the original, so that later ones make up for earlier ones.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trimseek.encoders.block_codes import (
    BLOCK,
    LEVELS,
    Codes,
    Levels,
    code_matrix,
    nearest_codes,
)
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import LOW_BITS, Quantization
from trimseek.encoders.shrink.calibration import Ids, States, check_enough, first_states
from trimseek.encoders.shrink.module import (
    EncoderModule,
    LayerModule,
    filled,
    joined,
    joined_outputs,
    taken_apart,
)
from trimseek.encoders.shrink.obs import Problem, pose, refit
from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerWeights, Linear
from trimseek.time_limit import check_time

# Parts of a layer by the matrix that they are stored as.
MATRICES = {
    "qkv": ("query", "key", "value"),
    "attention_output": ("attention_output",),
    "intermediate": ("intermediate",),
    "output": ("output",),
}
# Of the matrices whose output is added to the layer's input, the norm behind the sum.
NORMS = {"attention_output": "attention_norm", "output": "output_norm"}
DoubleArray = NDArray[np.float64]
Treatment = Callable[[str, Problem, Linear], Linear]


class Rounding(Protocol):
    """Chooses what replaces the rows of a matrix; of ``block`` rows at a time."""

    block: int

    def begin(self, weight: FloatArray) -> None:
        """Look at the whole matrix ``(in, out)`` before its first row."""

    def begin_block(self, rows: DoubleArray, costs: DoubleArray) -> None:
        """Look at rows ``(block, out)`` as they are now; ``costs (block,)``: of a change of 1."""

    def row(self, number: int, values: DoubleArray) -> DoubleArray:
        """What replaces a row ``(out,)``."""


@dataclass
class ToCodes:
    """Rows of few bits; multipliers and scales are those of the matrix at the beginning."""

    levels: Levels
    reduced: bool = False
    block: int = BLOCK

    def begin(self, weight: FloatArray) -> None:
        """See ``Rounding``."""
        self._codes: Codes = code_matrix(weight, self.levels, reduced=self.reduced)

    def begin_block(self, rows: DoubleArray, costs: DoubleArray) -> None:
        """See ``Rounding``."""

    def row(self, number: int, values: DoubleArray) -> DoubleArray:
        """See ``Rounding``."""
        steps = self._codes.multipliers[number // BLOCK] * self._codes.scale
        codes = nearest_codes(values, np.where(steps > 0, steps, 1), self.levels)
        replaced: DoubleArray = (self.levels.step * codes + self.levels.lowest) * steps
        return replaced


def round_with_feedback(
    weights: EncoderWeights, texts: Sequence[Ids], quantization: Quantization
) -> EncoderWeights:
    """The encoder with matrices that lie on their codes, each making up for those before it.

    Matrices of 8 bits or more are refitted to what comes to them. ``texts``: token ids of
    calibration texts. EncoderError if there is too little text.
    """

    def treatment(name: str, problem: Problem, _before: Linear) -> Linear:
        precision = quantization.precision_of(name)
        if precision not in LOW_BITS:
            return refit(problem, range(problem.units))
        return fed_back(problem, ToCodes(LEVELS[precision], reduced=quantization.reduced_range))

    return replace_matrices(weights, texts, treatment)


@torch.inference_mode()
def replace_matrices(
    weights: EncoderWeights, texts: Sequence[Ids], treatment: Treatment
) -> EncoderWeights:
    """The encoder with other matrices: ``treatment(name, problem, before)`` gives each.

    ``name``: as ``Quantization.kept`` has it. ``texts``: token ids of calibration texts.
    EncoderError if there is too little text; OutOfTimeError when a ``time_limit`` passes.
    """
    check_enough(texts)
    module = EncoderModule(weights, Pooling.MEAN, normalize=False).eval()
    originals = first_states(module, texts)
    states, layers = list(originals), []
    for number, (original, layer) in enumerate(zip(module.stack, weights.layers, strict=True)):
        current = LayerModule(layer, weights).eval()
        changed, originals, states = replace_in_layer(
            original,
            current,
            originals,
            states,
            lambda name, *rest, n=number: treatment(f"layers.{n}.{name}", *rest),
        )
        layers.append(changed)
    return replace(weights, layers=tuple(layers))


def replace_in_layer(
    original: LayerModule,
    current: LayerModule,
    originals: Sequence[States],
    states: Sequence[States],
    treatment: Treatment,
) -> tuple[LayerWeights, list[States], list[States]]:
    """The layer with other matrices, and the states behind it: of the original and of the new one.

    ``current``: a copy of the original, whose matrices are replaced one after another.
    """
    of_original = [Steps(original, batch) for batch in originals]
    of_current = [Steps(current, batch) for batch in states]
    for matrix, parts in MATRICES.items():
        inputs = [steps.inputs(matrix) for steps in of_current]
        theirs = [steps.inputs(matrix) for steps in of_original]
        before = joined(current, parts)
        pairs = pairs_of(matrix, inputs, theirs, of_current, of_original)
        made = treatment(matrix, pose(pairs, before, 1), before)
        for part, linear in taken_apart(current, parts, made).items():
            filled(getattr(current, part), linear.weight.T, linear.bias)
        for steps, own in (
            *zip(of_current, inputs, strict=True),
            *zip(of_original, theirs, strict=True),
        ):
            steps.go_on(matrix, own)
    behind = [steps.behind for steps in of_original], [steps.behind for steps in of_current]
    return current.weights(), *behind


class Steps:
    """A batch on its way through a layer, matrix by matrix."""

    def __init__(self, layer: LayerModule, batch: States) -> None:
        self.layer, self.batch, self.x = layer, batch, batch.x

    def inputs(self, matrix: str) -> Tensor:
        """What a matrix reads, ``(batch, tokens, in)``."""
        if matrix == "qkv":
            return self.layer.before("attention_norm", self.x)
        if matrix == "attention_output":
            return self.layer.context(self.x, self.batch.mask)
        if matrix == "intermediate":
            return self.layer.before("output_norm", self.x)
        return self.layer.hidden(self.x)

    def go_on(self, matrix: str, inputs: Tensor) -> None:
        """Take the output of a matrix that is added to its input into the states."""
        if matrix in NORMS:
            added: Tensor = getattr(self.layer, matrix)(inputs)
            self.x = self.layer.behind(NORMS[matrix], self.x + added)

    @property
    def behind(self) -> States:
        """The states so far."""
        return States(self.x, self.batch.mask)


def pairs_of(
    matrix: str,
    inputs: Sequence[Tensor],
    theirs: Sequence[Tensor],
    of_current: Sequence[Steps],
    of_original: Sequence[Steps],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and target outputs of a matrix, without padding, ``(tokens, ...)``.

    The target of what is added to its input makes up for the difference of the two inputs, too.
    """
    for own, other, steps, original in zip(inputs, theirs, of_current, of_original, strict=True):
        target = joined_outputs(original.layer, MATRICES[matrix], other)
        if matrix in NORMS:
            target = original.x + target - steps.x
        yield steps.batch.real(own), steps.batch.real(target)


def fed_back(problem: Problem, rounding: Rounding) -> Linear:
    """The matrix with its rows replaced, each making up for those before it, and its bias."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.hessian))
    weight = (inverse @ problem.target).numpy()
    factor = torch.linalg.cholesky(inverse, upper=True).numpy()
    rows = problem.units
    rounding.begin(weight[:rows].astype(np.float32))
    for start in range(0, rows, rounding.block):
        check_time()
        end = min(start + rounding.block, rows)
        block, own = weight[start:end], factor[start:end, start:end]
        rounding.begin_block(block, own.diagonal() ** -2)
        errors = np.zeros_like(block)
        for i in range(end - start):
            replaced = rounding.row(start + i, block[i])
            errors[i] = (block[i] - replaced) / own[i, i]
            block[i] = replaced
            block[i + 1 :] -= np.outer(own[i, i + 1 :], errors[i])
        weight[end:] -= factor[start:end, end:].T @ errors
    solution = weight.astype(np.float32)
    return Linear(solution[:-1], solution[-1].copy())
