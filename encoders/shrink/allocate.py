"""How many heads and neurons each layer keeps, for a share of the encoder's arithmetic.

Uniform: the same share everywhere. Global: from the error that optimal brain surgeon's
elimination predicts for every layer and count, always take next what costs least error for each
multiply-accumulate that it saves. Errors of different layers are brought to one measure by how
much the encoder's vectors move when that layer alone loses half of its units.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from encoders.card import LayerShape
from encoders.pooling import Pooling
from encoders.shrink.calibration import (
    Ids,
    States,
    check_enough,
    cosine_loss,
    first_states,
    onwards,
    probes,
)
from encoders.shrink.module import EncoderModule, layer_module
from encoders.shrink.obs import Elimination, eliminate, inputs_and_targets, pose, refit
from encoders.shrink.parts import HEADS, PARTS, Part
from encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

NEURON_BLOCK = 32  # neurons are given and taken in blocks: kernels like round sizes


class Curve(NamedTuple):
    """What it costs to keep fewer units of one part of one layer.

    ``losses[k]``: predicted loss (mean 1 - cosine of the vectors) when ``k`` blocks are kept;
    ``block``: units in a block; ``work``: of one block, multiply-accumulates a token.
    """

    layer: int
    part: str
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
    budget, now = keep * total, float(total)
    while now > budget:
        prices = [
            price(curve, count) if count > 1 else (np.inf, 0)
            for curve, count in zip(curves, kept, strict=True)
        ]
        cheapest = min(range(len(curves)), key=lambda i: prices[i][0])
        cost, blocks = prices[cheapest]
        if cost == np.inf:
            raise EncoderError(f"keeping {keep:.1%} of the layers is less than one block of each")
        kept[cheapest] -= blocks
        now -= blocks * curves[cheapest].work
    shapes = [LayerShape(0, 0)] * len(weights.layers)
    for count, curve in zip(kept, curves, strict=True):
        shapes[curve.layer] = replace(shapes[curve.layer], **{curve.part: count * curve.block})
    return shapes


def price(curve: Curve, kept: int) -> tuple[float, int]:
    """Least loss for each multiply-accumulate saved by taking some blocks more, and how many."""
    options = (
        ((curve.losses[kept - n] - curve.losses[kept]) / (n * curve.work), n)
        for n in range(1, kept)
    )
    return min(options)


@torch.inference_mode()
def loss_curves(
    weights: EncoderWeights, texts: Sequence[Ids], pooling: Pooling, *, normalize: bool
) -> list[Curve]:
    """What each part of each layer loses alone, on calibration texts; EncoderError if too few."""
    check_enough(texts)
    module = EncoderModule(weights, pooling, normalize=normalize).eval()
    probed = first_states(module, probes(texts))
    vectors = onwards(module, probed, module.stack)
    states = first_states(module, texts)
    found = []
    for i, (original, layer) in enumerate(zip(module.stack, weights.layers, strict=True)):
        for part in PARTS:
            insides = [part.inside(original, each) for each in states]
            sums = [
                each.x + part.added(original, inside)
                for each, inside in zip(states, insides, strict=True)
            ]
            problem = pose(
                inputs_and_targets(states, insides, sums),
                part.linear(layer),
                part.unit_size(weights.head_dim),
            )
            gone = eliminate(problem)
            kept = gone.kept(max(1, gone.units // 2))
            cut = part.cut(layer, kept, refit(problem, kept), weights.head_dim)
            alone = layer_module(cut, weights).eval()
            moved = onwards(module, probed, [alone, *module.stack[i + 1 :]])
            found.append(curve(i, part, gone, cosine_loss(moved, vectors), weights))
            states = [
                States(part.normalized(original, x), each.mask)
                for x, each in zip(sums, states, strict=True)
            ]
        probed = [States(original(x, mask), mask) for x, mask in probed]
    return found


def curve(layer: int, part: Part, gone: Elimination, half: float, weights: EncoderWeights) -> Curve:
    """Predicted losses, scaled so that keeping half loses ``half``, as was measured."""
    block = 1 if part is HEADS else neuron_block(gone.units)
    errors = [gone.errors[-1], *reversed(gone.errors), 0.0]  # by how many units are kept
    scale = half / max(errors[max(1, gone.units // 2)], np.finfo(float).tiny)
    losses = [scale * errors[kept] for kept in range(0, gone.units + 1, block)]
    width = 4 * weights.head_dim if part is HEADS else 2
    return Curve(layer, part.name, losses, block, width * block * weights.dim)


def neuron_block(neurons: int) -> int:
    """At most 32, at least eight blocks in a layer, and no remainder."""
    return math.gcd(min(NEURON_BLOCK, max(1, neurons // 8)), neurons)
