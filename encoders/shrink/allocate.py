"""How many heads and neurons each layer keeps, for a share of the encoder's arithmetic.

Uniform: every layer keeps the same share. Global: optimal brain surgeon predicts the error for
every layer and count of units; the units that cost the least error for each saved
multiply-accumulate go next. Errors of different layers are made comparable: each is scaled to how
much the encoder's vectors move when that layer alone loses half of its units.

Searched: losses of layers do not simply add up, so that what they add up to is then measured.
Scales are changed at random, a few at a time, and the encoder that they lead to is put together of
layers that were each pruned on their own. The search goes on from what moves the vectors least
(SPDY, Frantar & Alistarh 2022).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import (
    Ids,
    check_enough,
    cosine_loss,
    first_states,
    onwards,
    probes,
    through,
)
from trimseek.encoders.shrink.module import EncoderModule, LayerModule
from trimseek.encoders.shrink.obs import (
    Elimination,
    Problem,
    check_shapes,
    eliminate,
    inputs_and_targets,
    pose,
    refit,
)
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS, UNIT_KINDS, UnitKind
from trimseek.encoders.weights import EncoderWeights, LayerWeights
from trimseek.errors import EncoderError

NEURON_BLOCK = 32  # neurons go in blocks, because round sizes suit the kernels
TRIALS = 32  # allocations that are put together and measured
CHANGED = 0.25  # share of the scales that a trial changes
SPREAD = 0.7  # standard deviation of such a change, as a natural logarithm


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
    return share_of(weights, [LayerShape(1, neuron_block(each)) for each in weights.neurons])


def share_of(weights: EncoderWeights, shapes: Sequence[LayerShape]) -> float:
    """The share of the layers' arithmetic that these shapes take."""
    kept, whole = (
        sum(
            HEADS.work(weights) * heads + NEURONS.work(weights) * neurons for heads, neurons in each
        )
        for each in (
            [(shape.heads, shape.neurons) for shape in shapes],
            zip(weights.heads, weights.neurons, strict=True),
        )
    )
    return kept / whole


def price(curve: Curve, kept: int) -> tuple[float, int]:
    """The least added loss for each saved multiply-accumulate, and how many blocks go for it."""
    options = (
        ((curve.losses[kept - n] - curve.losses[kept]) / (n * curve.work), n)
        for n in range(1, kept)
    )
    return min(options)


class LayerStudy(NamedTuple):
    """Units of one kind in one layer, the order in which they go, and what their loss costs."""

    kind: UnitKind
    problem: Problem
    elimination: Elimination
    curve: Curve


class LayerStudies:
    """What an encoder loses with fewer units in each layer.

    ``texts``: token ids of calibration texts. EncoderError if they are too few; OutOfTimeError when
    a ``time_limit`` passes.
    """

    def __init__(
        self, weights: EncoderWeights, texts: Sequence[Ids], pooling: Pooling, *, normalize: bool
    ) -> None:
        check_enough(texts)
        self.weights, self.texts = weights, texts
        self.module = EncoderModule(weights, pooling, normalize=normalize).eval()
        self.probed = first_states(self.module, probes(texts))
        self.vectors = onwards(self.module, self.probed, self.module.stack)

    @cached_property
    def curves(self) -> list[Curve]:
        """A curve for each kind of units in each layer, when only they are cut."""
        return [study.curve for study in self.study()]

    @cached_property
    def studies(self) -> list[LayerStudy]:
        """All of them; their problems are a gigabyte for MPNet, so that only a search has them."""
        return list(self.study())

    @torch.inference_mode()
    def study(self) -> Iterator[LayerStudy]:
        """Each kind of units in each layer, one after another."""
        probed, states = self.probed, first_states(self.module, self.texts)
        for i, (original, layer) in enumerate(
            zip(self.module.stack, self.weights.layers, strict=True)
        ):
            for kind in UNIT_KINDS:
                outputs, sums, after = kind.forward(original, states)
                problem = pose(
                    inputs_and_targets(states, outputs, sums),
                    kind.linear(layer),
                    kind.unit_size(self.weights.head_dim),
                )
                elimination = eliminate(problem)
                half = elimination.kept(max(1, elimination.units // 2))
                cut = kind.cut(layer, half, refit(problem, half), self.weights)
                layers = [LayerModule(cut, self.weights).eval(), *self.module.stack[i + 1 :]]
                half_loss = cosine_loss(onwards(self.module, probed, layers), self.vectors)
                found = curve(i, kind, elimination, half_loss, self.weights)
                yield LayerStudy(kind, problem, elimination, found)
                states = after
            probed = through([original], probed)

    def allocate(self, keep: float) -> list[LayerShape]:
        """Shapes of at most this share of the arithmetic by the curves alone; see ``allocate``."""
        return allocate(self.weights, self.curves, keep)

    def search(self, keep: float, trials: int = TRIALS) -> list[LayerShape]:
        """As ``allocate``, the shapes that lose least of those that are measured."""
        random, predicted = np.random.default_rng(0), [study.curve for study in self.studies]
        scales = np.ones(len(predicted))
        best = allocate(self.weights, predicted, keep)
        least, seen = self.loss(best), {tuple(best)}
        for _ in range(trials):
            chosen = random.random(len(scales)) < CHANGED
            changed = scales * np.exp(SPREAD * chosen * random.standard_normal(len(scales)))
            curves = [
                curve._replace(losses=[scale * loss for loss in curve.losses])
                for curve, scale in zip(predicted, changed, strict=True)
            ]
            shapes = allocate(self.weights, curves, keep)
            if tuple(shapes) in seen:
                continue
            seen.add(tuple(shapes))
            loss = self.loss(shapes)
            if loss < least:
                best, least, scales = shapes, loss, changed
        return best

    @torch.inference_mode()
    def loss(self, shapes: Sequence[LayerShape]) -> float:
        """Mean 1 - cosine of probes, if every layer is pruned on its own; raises as ``prune``."""
        check_shapes(self.weights, shapes)
        layers = [
            LayerModule(self.pruned(number, shape), self.weights).eval()
            for number, shape in enumerate(shapes)
        ]
        return cosine_loss(onwards(self.module, self.probed, layers), self.vectors)

    def pruned(self, number: int, shape: LayerShape) -> LayerWeights:
        """The layer of this number with fewer units, without regard to the others."""
        layer = self.weights.layers[number]
        for kind, problem, elimination, of in self.studies:
            count = getattr(shape, kind.name)
            if of.layer == number and count < elimination.units:
                kept = elimination.kept(count)
                layer = kind.cut(layer, kept, refit(problem, kept), self.weights)
        return layer


def curve(
    layer: int, kind: UnitKind, elimination: Elimination, half_loss: float, weights: EncoderWeights
) -> Curve:
    """Predicted losses, scaled so that keeping half of the units loses ``half_loss``."""
    units = elimination.units
    block = 1 if kind is HEADS else neuron_block(units)
    errors = [elimination.errors[-1], *reversed(elimination.errors), 0.0]  # by units that are kept
    scale = half_loss / max(errors[max(1, units // 2)], np.finfo(float).tiny)
    losses = [scale * errors[kept] for kept in range(0, units + 1, block)]
    return Curve(layer, kind.name, losses, block, block * kind.work(weights))


def neuron_block(neurons: int) -> int:
    """Neurons in a block: at most 32, at least eight blocks in a layer, and no remainder."""
    return math.gcd(min(NEURON_BLOCK, max(1, neurons // 8)), neurons)
