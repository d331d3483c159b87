"""Rounding in training: weights as their quantized selves, with the gradient passed straight on.

Quantization-aware training as in Jacob et al. 2018, with the straight-through estimator of Bengio
et al. 2013: forwards a weight is what it will be once stored, backwards rounding is not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimseek.encoders.block_codes import BLOCK, LEVELS, Levels
from trimseek.encoders.quantize import (
    FULL_RANGE,
    LOW_BITS,
    NIBBLE_ZERO,
    Quantization,
)
from trimseek.encoders.shrink.averaging import fill, filled_with
from trimseek.encoders.shrink.error_feedback import MATRICES

SMALLEST_SCALE = 1e-12
TABLE_CHANGE, POSITIONS = "up", "positions"
STORED_AS = {part: matrix for matrix, parts in MATRICES.items() for part in parts}
# The scale of a block, as a multiple of its mean size, that a bell curve asks for; it is then
# fitted to the numbers in so many turns.
FIRST_SCALE = {16: 0.42, 4: 0.62, 3: 1.53, 2: 1.0}  # by the levels' base
TURNS = 2


def rounded(weight: Tensor, limit: int) -> Tensor:
    """``(out, in)`` rounded to integers up to ``limit`` times a scale for each row."""
    scale = (weight.detach().abs().amax(1, keepdim=True) / limit).clamp_min(SMALLEST_SCALE)
    values = (weight.detach() / scale).round().clamp(-limit, limit) * scale
    return weight + (values - weight).detach()


def coded(weight: Tensor, levels: Levels, *, reduced: bool = False) -> Tensor:
    """``(out, in)`` as ``block_codes`` store its transpose, by scales that are quick to find."""
    columns = weight.shape[1]
    padding = (0, -columns % BLOCK)
    blocks = functional.pad(weight.detach(), padding, "replicate").view(len(weight), -1, BLOCK)
    scale = blocks.abs().mean(2, keepdim=True) * FIRST_SCALE[levels.base]
    for _ in range(TURNS):
        found = nearest(blocks, scale, levels)
        squares = found.square().sum(2, keepdim=True)
        scale = (blocks * found).sum(2, keepdim=True) / squares.clamp_min(1)
    most = levels.most(reduced=reduced)
    unit = (scale.amax(1, keepdim=True) / most).clamp_min(SMALLEST_SCALE)
    scale = (scale / unit).round().clamp(0, most) * unit
    values = (nearest(blocks, scale, levels) * scale).flatten(1)[:, :columns]
    return weight + (values - weight).detach()


def nearest(blocks: Tensor, scale: Tensor, levels: Levels) -> Tensor:
    """The levels that are nearest to numbers divided by their scale."""
    codes = (blocks / scale.clamp_min(SMALLEST_SCALE) - levels.lowest) / levels.step
    found: Tensor = codes.round().clamp(0, levels.base - 1) * levels.step + levels.lowest
    return found


def rounded_parameters(module: nn.Module, quantization: Quantization) -> dict[str, Tensor]:
    """The matrices of an ``EncoderModule`` as they will be stored, by their names.

    In 8 bits and more as an aligned encoder's file stores them: int8 for each output channel of a
    matrix and each position; the change of the token table's U in 4 bits for each row.
    """
    found = {}
    for name, value in module.named_parameters():
        matrix = stored_as(name)
        precision = quantization.precision_of(matrix)
        if matrix and precision in LOW_BITS:
            levels = LEVELS[precision]
            found[name] = coded(value, levels, reduced=quantization.reduced_range)
        elif value.ndim > 1 and (name in (TABLE_CHANGE, POSITIONS) or name.endswith(".weight")):
            limit = NIBBLE_ZERO - 1 if name == TABLE_CHANGE else FULL_RANGE
            found[name] = rounded(value, limit)
    return found


def stored_as(parameter: str) -> str:
    """The matrix that a weight is a part of, as ``Quantization.kept`` names it; "" for none."""
    parts = parameter.split(".")
    if len(parts) != 4 or parts[0] != "layers" or parts[3] != "weight":
        return ""
    return f"layers.{parts[1]}.{STORED_AS[parts[2]]}" if parts[2] in STORED_AS else ""


def run_rounded(
    module: nn.Module, ids: Tensor, mask: Tensor | None, quantization: Quantization
) -> Tensor:
    """The module's output with rounded weights."""
    parameters = dict(rounded_parameters(module, quantization))
    output: Tensor = torch.func.functional_call(module, parameters, (ids, mask))
    return output


@torch.no_grad()
def round_in_place(module: nn.Module, quantization: Quantization) -> None:
    """Give a module the rounded weights for its own; storing them finds their codes again."""
    values = rounded_parameters(module, quantization)
    fill({name: module.get_parameter(name) for name in values}, values)


@contextmanager
def rounded_in_place(module: nn.Module, quantization: Quantization) -> Iterator[None]:
    """The module has rounded weights inside this context."""
    values = rounded_parameters(module, quantization)
    with filled_with({name: module.get_parameter(name) for name in values}, values):
        yield
