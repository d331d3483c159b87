"""Rounding in training: weights as their quantized selves, with the gradient passed straight on.

Quantization-aware training as in Jacob et al. 2018, with the straight-through estimator of Bengio
et al. 2013: forwards a weight is what it will be once stored, backwards rounding is not there.
"""

import torch
from torch import Tensor, nn

from trimseek.encoders.quantize import FULL_RANGE, NIBBLE_ZERO

SMALLEST_SCALE = 1e-12
TABLE_CHANGE, POSITIONS = "up", "positions"


def rounded(weight: Tensor, limit: int) -> Tensor:
    """``(out, in)`` rounded to integers up to ``limit`` times a scale for each row."""
    scale = (weight.detach().abs().amax(1, keepdim=True) / limit).clamp_min(SMALLEST_SCALE)
    values = (weight.detach() / scale).round().clamp(-limit, limit) * scale
    return weight + (values - weight).detach()


def rounded_parameters(module: nn.Module) -> dict[str, Tensor]:
    """The matrices of an ``EncoderModule`` as an aligned encoder's file stores them.

    int8 for each output channel of a matrix and each position; the change of the token table's U
    in 4 bits for each row.
    """
    limits = {
        name: NIBBLE_ZERO - 1 if name == TABLE_CHANGE else FULL_RANGE
        for name, value in module.named_parameters()
        if value.ndim > 1 and (name in (TABLE_CHANGE, POSITIONS) or name.endswith(".weight"))
    }
    parameters = dict(module.named_parameters())
    return {name: rounded(parameters[name], limit) for name, limit in limits.items()}


def run_rounded(module: nn.Module, ids: Tensor, mask: Tensor | None) -> Tensor:
    """The module's output with rounded weights."""
    output: Tensor = torch.func.functional_call(
        module, dict(rounded_parameters(module)), (ids, mask)
    )
    return output
