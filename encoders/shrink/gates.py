"""Gates on heads and neurons that are learned: which of them an encoder of fewer units keeps.

Every unit's output is multiplied by a gate z in [0, 1] of a hard concrete distribution (Louizos,
Welling & Kingma 2018): with u uniform and a the gate's parameter,

    s = sigmoid((log u - log(1 - u) + a) / b)        z = min(1, max(0, s (h - g) + g)),

so that z is exactly 0 or 1 part of the time, and P(z > 0) = sigmoid(a - b log(-g / h)). The a are
trained until the encoder's vectors come near those that it gives without gates, while its weights
stay as they are. All layers and both kinds of units compete for the same arithmetic (CoFi, Xia,
Zhong & Chen 2022). Its share S that is expected to stay is to be T, which falls to what is asked
for during the first part. Where CoFi learns multipliers that hold S to T, here the same c is added
to every a so that S = T in each step, and gradients go through c: dc / da_i = -S_i / sum of all S_j
with S_i = dS / da_i. That is the multipliers' effect when they have found their values.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.allocate import neuron_block
from trimseek.encoders.shrink.calibration import Ids, batches, check_enough
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS, UNIT_KINDS, UnitKind
from trimseek.encoders.weights import EncoderWeights, FloatArray
from trimseek.time_limit import check_time

STEPS = 400
FALLING = 0.5  # share of the steps in which the target falls
LEARNING_RATE = 0.1
SHARPNESS, LOWEST, HIGHEST = 2 / 3, -0.1, 1.1  # b, g, h
LARGEST_SHIFT = 50.0  # of all a
HALVINGS = 40  # of the interval that the shift is looked for in
SMALLEST = 1e-9
BATCH_TOKENS = 2048

Scores = list[dict[str, FloatArray]]  # of each layer: by the kind's name, ``(units,)``
Key = tuple[int, str]  # a layer's number and a kind's name


class Gate:
    """What the outputs of a layer's units of one kind are multiplied by; ``value (units,)``."""

    def __init__(self, units: int, size: int) -> None:
        self.value, self._size = torch.ones(units), size

    def __call__(self, _module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        """A hook before the projection that reads the units."""
        return (inputs[0] * self.value.repeat_interleave(self._size),)


@contextmanager
def gated(module: EncoderModule, head_dim: int) -> Iterator[dict[Key, Gate]]:
    """Gates on all units while the context lasts, all of them open."""
    gates: dict[Key, Gate] = {}
    hooks = []
    for i, layer in enumerate(module.stack):
        for kind in UNIT_KINDS:
            projection: nn.Linear = getattr(layer, kind.projection)
            size = kind.unit_size(head_dim)
            gate = Gate(projection.in_features // size, size)
            gates[i, kind.name] = gate
            hooks.append(projection.register_forward_pre_hook(gate))
    try:
        yield gates
    finally:
        for hook in hooks:
            hook.remove()


def learn_scores(
    weights: EncoderWeights,
    texts: Sequence[Ids],
    pooling: Pooling,
    keep: float,
    *,
    normalize: bool,
    steps: int = STEPS,
) -> Scores:
    """The a of every unit, trained for this share of the arithmetic.

    ``texts``: token ids of calibration texts. EncoderError if they are too few; OutOfTimeError when
    a ``time_limit`` passes.
    """
    check_enough(texts)
    generator = torch.Generator().manual_seed(0)
    module = EncoderModule(weights, pooling, normalize=normalize).eval().requires_grad_(False)
    prepared = batches(texts, BATCH_TOKENS)
    with torch.no_grad():
        targets = [module(ids, mask) for ids, mask in prepared]
    with gated(module, weights.head_dim) as gates:
        openness = [torch.zeros_like(gate.value, requires_grad=True) for gate in gates.values()]
        work = torch.cat(
            [
                torch.full_like(gate.value, kind.work(weights))
                for (_, kind), gate in zip(units_of(weights), gates.values(), strict=True)
            ]
        )
        optimizer = torch.optim.Adam(openness, lr=LEARNING_RATE)
        order: list[int] = []
        for step in range(steps):
            check_time()
            if not order:
                order = torch.randperm(len(prepared), generator=generator).tolist()
            (ids, mask), target = prepared[order[-1]], targets[order.pop()]
            share = 1 - (1 - keep) * min(1.0, (step + 1) / (FALLING * steps))
            values = drawn(shifted(torch.cat(openness), work / work.sum(), share), generator)
            sizes = [len(each) for each in openness]
            for gate, value in zip(gates.values(), torch.split(values, sizes), strict=True):
                gate.value = value
            loss = (1 - functional.cosine_similarity(module(ids, mask), target)).mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    found = (each.detach().numpy() for each in openness)
    scores = dict(zip(gates, found, strict=True))
    return [
        {kind.name: scores[i, kind.name] for kind in UNIT_KINDS} for i in range(len(weights.layers))
    ]


def shifted(openness: Tensor, work: Tensor, share: float) -> Tensor:
    """All a with one number added, so that ``work``, of which P(z > 0) stays, is this share."""
    low, high = -LARGEST_SHIFT, LARGEST_SHIFT
    with torch.no_grad():
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if float((work * chance(openness + middle)).sum()) < share:
                low = middle
            else:
                high = middle
    chances = chance(openness + low)
    missed = (work * chances).sum() - share
    slope = (work * chances * (1 - chances)).sum().detach()
    return openness + low - missed / slope.clamp_min(SMALLEST)


def drawn(openness: Tensor, generator: torch.Generator) -> Tensor:
    """Z of every gate, drawn anew."""
    uniform = torch.rand(openness.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    noise = uniform.log() - (-uniform).log1p()
    stretched = ((noise + openness) / SHARPNESS).sigmoid() * (HIGHEST - LOWEST) + LOWEST
    return stretched.clamp(0, 1)


def chance(openness: Tensor) -> Tensor:
    """P(z > 0) of every gate."""
    return (openness - SHARPNESS * math.log(-LOWEST / HIGHEST)).sigmoid()


def shapes_by_scores(weights: EncoderWeights, scores: Scores, keep: float) -> list[LayerShape]:
    """How many units of each layer are among the best of all, within this share of the arithmetic.

    Neurons go by blocks, whose score is the mean of theirs; a head and a block of neurons stay in
    each layer.
    """
    counts = {(i, kind.name): 0 for i, kind in units_of(weights)}
    choices, total = [], 0
    for i, kind in units_of(weights):
        found = np.sort(scores[i][kind.name])[::-1]
        size = 1 if kind is HEADS else neuron_block(len(found))
        work = size * kind.work(weights)
        total += work * (len(found) // size)
        for number, score in enumerate(found.reshape(-1, size).mean(1)):
            choices.append((float(score) if number else np.inf, i, kind.name, size, work))
    spent = 0
    for score, i, name, size, work in sorted(choices, key=lambda choice: -choice[0]):
        if score == np.inf or spent + work <= keep * total:
            counts[i, name] += size
            spent += work
    return [LayerShape(counts[i, HEADS.name], counts[i, NEURONS.name]) for i in range(len(scores))]


def units_of(weights: EncoderWeights) -> list[tuple[int, UnitKind]]:
    """The number of each layer, with each kind of units."""
    return [(i, kind) for i in range(len(weights.layers)) for kind in UNIT_KINDS]
