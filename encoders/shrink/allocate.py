"""How many heads and neurons each layer keeps, for a share of the encoder's arithmetic.

Uniform: every layer keeps the same share. Global: optimal brain surgeon predicts the error for
every layer and count of units; the units that cost the least error for each saved
multiply-accumulate go next. Errors of different layers are made comparable: each is scaled to how
much the encoder's vectors move when that layer alone loses half of its units.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import (
    Ids,
    States,
    check_enough,
    cosine_loss,
    first_states,
    onwards,
    probes,
)
from trimseek.encoders.shrink.module import EncoderModule, LayerModule
from trimseek.encoders.shrink.obs import Elimination, eliminate, inputs_and_targets, pose, refit
from trimseek.encoders.shrink.unit_kinds import HEADS, UNIT_KINDS, UnitKind
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

NEURON_BLOCK = 32  # neurons go in blocks, because round sizes suit the kernels


class Curve(NamedTuple):
    """The cost of keeping fewer units of one kind in one layer.

    ``kind``: "heads" or "neurons". ``losses[k]``: predicted loss (mean 1 - cosine of the vectors)
    when ``k`` blocks are kept. ``block``: units in a block. ``work``: multiply-accumulates of a
    block for each token.
    """

    layer: int
    kind: str
    losses: list[float]
    block: int
    work: int


def uniform(weights: EncoderWeights, keep: float) -> list[LayerShape]:
    """The same share of heads and of neurons in each layer, at least one of each."""
    return [
        LayerShape(max(1, round(heads * keep)), max(1, round(neurons * keep)))
        for heads, neurons in zip(weights.heads, weights.neurons, strict=True)
    ]


def allocate(weights: EncoderWeights, curves: Sequence[Curve], keep: float) -> list[LayerShape]:
    """Shapes whose layers take at most the share ``keep`` of the arithmetic of a token.

    EncoderError if even one block of everything takes more.
    """
    kept = [len(curve.losses) - 1 for curve in curves]
    total = sum(count * curve.work for count, curve in zip(kept, curves, strict=True))
    budget, work = keep * total, float(total)
    while work > budget:
        prices = [
            price(curve, count) if count > 1 else (np.inf, 0)
            for curve, count in zip(curves, kept, strict=True)
        ]
        cheapest = min(range(len(curves)), key=lambda i: prices[i][0])
        cost, blocks = prices[cheapest]
        if cost == np.inf:
            raise EncoderError(f"keeping {keep:.1%} of the layers is less than one block of each")
        kept[cheapest] -= blocks
        work -= blocks * curves[cheapest].work
    shapes = [LayerShape(0, 0)] * len(weights.layers)
    for count, curve in zip(kept, curves, strict=True):
        shapes[curve.layer] = replace(shapes[curve.layer], **{curve.kind: count * curve.block})
    return shapes


def least_share(weights: EncoderWeights) -> float:
    """The least share of the arithmetic of a token that ``allocate`` can keep."""
    of_head, of_neuron = 4 * weights.head_dim, 3 if weights.gated else 2
    shapes = list(zip(weights.heads, weights.neurons, strict=True))
    least = sum(of_head + of_neuron * neuron_block(neurons) for _, neurons in shapes)
    return least / sum(of_head * heads + of_neuron * neurons for heads, neurons in shapes)


def price(curve: Curve, kept: int) -> tuple[float, int]:
    """The least added loss for each saved multiply-accumulate, and how many blocks go for it."""
    options = (
        ((curve.losses[kept - n] - curve.losses[kept]) / (n * curve.work), n)
        for n in range(1, kept)
    )
    return min(options)


@torch.inference_mode()
def loss_curves(
    weights: EncoderWeights, texts: Sequence[Ids], pooling: Pooling, *, normalize: bool
) -> list[Curve]:
    """A curve for each kind of units in each layer, when only they are cut.

    ``texts``: token ids of calibration texts. EncoderError if they are too few; OutOfTimeError when
    a ``time_limit`` passes.
    """
    check_enough(texts)
    module = EncoderModule(weights, pooling, normalize=normalize).eval()
    probed = first_states(module, probes(texts))
    vectors = onwards(module, probed, module.stack)
    states = first_states(module, texts)
    curves = []
    for i, (original, layer) in enumerate(zip(module.stack, weights.layers, strict=True)):
        for kind in UNIT_KINDS:
            outputs, sums, after = kind.forward(original, states)
            problem = pose(
                inputs_and_targets(states, outputs, sums),
                kind.linear(layer),
                kind.unit_size(weights.head_dim),
            )
            elimination = eliminate(problem)
            half = elimination.kept(max(1, elimination.units // 2))
            cut = kind.cut(layer, half, refit(problem, half), weights.head_dim)
            layers = [LayerModule(cut, weights).eval(), *module.stack[i + 1 :]]
            half_loss = cosine_loss(onwards(module, probed, layers), vectors)
            curves.append(curve(i, kind, elimination, half_loss, weights))
            states = after
        probed = [States(original(x, mask), mask) for x, mask in probed]
    return curves


def curve(
    layer: int, kind: UnitKind, elimination: Elimination, half_loss: float, weights: EncoderWeights
) -> Curve:
    """Predicted losses, scaled so that keeping half of the units loses ``half_loss``."""
    units = elimination.units
    block = 1 if kind is HEADS else neuron_block(units)
    errors = [elimination.errors[-1], *reversed(elimination.errors), 0.0]  # by units that are kept
    scale = half_loss / max(errors[max(1, units // 2)], np.finfo(float).tiny)
    losses = [scale * errors[kept] for kept in range(0, units + 1, block)]
    width = 4 * weights.head_dim if kind is HEADS else 3 if weights.gated else 2
    return Curve(layer, kind.name, losses, block, width * block * weights.dim)


def neuron_block(neurons: int) -> int:
    """Neurons in a block: at most 32, at least eight blocks in a layer, and no remainder."""
    return math.gcd(min(NEURON_BLOCK, max(1, neurons // 8)), neurons)
