"""First-order Taylor importance of heads and neurons, in rounds; magnitude as the baseline.

With a gate g = 1 on what a unit gives, L(g = 0) - L(g = 1) is -dL/dg to the first order: the mean
of |dL/dg| over batches is how much the loss cares for the unit (Michel et al. 2019, heads;
Molchanov et al. 2017, neurons). Scores are divided by their layer's norm, as both do. L is a
contrastive loss over a batch: each text's vector should find the original encoder's vector of the
same text among those of the others (van den Oord et al. 2018).

Removing half at once makes the estimate useless, as it is made at the unpruned encoder; so
some units go in each round, and the rest is scored anew.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.card import LayerShape
from encoders.pooling import Pooling
from encoders.shrink.calibration import Ids, batches, check_enough
from encoders.shrink.module import EncoderModule
from encoders.shrink.obs import check_shapes
from encoders.shrink.parts import PARTS
from encoders.weights import EncoderWeights, FloatArray, LayerWeights
from trimseek.time_limit import check_time

ROUNDS = 8
TEMPERATURE = 0.05
BATCH_TOKENS = 2048

Scores = list[dict[str, FloatArray]]  # of each layer, by part


def prune_by_taylor(
    weights: EncoderWeights,
    shapes: Sequence[LayerShape],
    texts: Sequence[Ids],
    pooling: Pooling,
    rounds: int = ROUNDS,
) -> EncoderWeights:
    """The encoder with the units that the loss cares for most; EncoderError as ``obs.prune``."""
    check_enough(texts)
    original = EncoderModule(weights, pooling, normalize=True).eval()
    with torch.no_grad():
        wanted = [original(ids, mask) for ids, mask in batches(texts, BATCH_TOKENS)]

    def score(now: EncoderWeights) -> Scores:
        return taylor_scores(now, texts, wanted, pooling)

    return prune_by_scores(weights, shapes, score, rounds)


def prune_by_magnitude(weights: EncoderWeights, shapes: Sequence[LayerShape]) -> EncoderWeights:
    """The encoder with the units whose output weights are largest; needs no text."""
    return prune_by_scores(weights, shapes, magnitude_scores, rounds=1)


def prune_by_scores(
    weights: EncoderWeights,
    shapes: Sequence[LayerShape],
    score: Callable[[EncoderWeights], Scores],
    rounds: int,
) -> EncoderWeights:
    """Take out the units of least score, in rounds of as many each."""
    check_shapes(weights, shapes)
    for left in reversed(range(rounds)):
        scores = score(weights)
        layers = [
            cut_to_best(layer, shape, found, left / (left + 1), weights.head_dim)
            for layer, shape, found in zip(weights.layers, shapes, scores, strict=True)
        ]
        weights = replace(weights, layers=tuple(layers))
    return weights


def cut_to_best(
    layer: LayerWeights,
    shape: LayerShape,
    scores: dict[str, FloatArray],
    share_left: float,
    head_dim: int,
) -> LayerWeights:
    """The layer with its best units; of what must go, ``share_left`` stays for later rounds."""
    for part in PARTS:
        now, wanted = part.count(layer, head_dim), getattr(shape, part.name)
        count = wanted + round((now - wanted) * share_left)
        best = np.sort(np.argsort(-scores[part.name], kind="stable")[:count])
        layer = part.keep(layer, best, head_dim)
    return layer


def magnitude_scores(weights: EncoderWeights) -> Scores:
    """Norm of each unit's rows of the output projection."""
    return [
        {
            part.name: np.linalg.norm(
                part.linear(layer).weight.reshape(part.count(layer, weights.head_dim), -1), axis=1
            )
            for part in PARTS
        }
        for layer in weights.layers
    ]


def taylor_scores(
    weights: EncoderWeights, texts: Sequence[Ids], wanted: Sequence[Tensor], pooling: Pooling
) -> Scores:
    """Mean |dL/dg| over batches, each part of a layer divided by its norm.

    ``wanted``: the original's vectors of the texts, in ``batches``.
    """
    module = EncoderModule(weights, pooling, normalize=True).eval().requires_grad_(False)
    totals: dict[tuple[int, str], Tensor] = {}
    with gates(module, weights.head_dim) as gated:
        for (ids, mask), theirs in zip(batches(texts, BATCH_TOKENS), wanted, strict=True):
            check_time()
            logits = module(ids, mask) @ theirs.T / TEMPERATURE
            loss = functional.cross_entropy(logits, torch.arange(len(ids)))
            slopes = torch.autograd.grad(loss, list(gated.values()))
            for at, slope in zip(gated, slopes, strict=True):
                totals[at] = totals.get(at, torch.zeros_like(slope)) + slope.abs() * len(ids)
    return [
        {part.name: unit_norm(totals[i, part.name]) for part in PARTS}
        for i in range(len(weights.layers))
    ]


def unit_norm(scores: Tensor) -> FloatArray:
    found: FloatArray = functional.normalize(scores, dim=0).numpy()
    return found


@contextmanager
def gates(module: EncoderModule, head_dim: int) -> Iterator[dict[tuple[int, str], Tensor]]:
    """Gates of one on all units of all layers, while inside."""
    gated: dict[tuple[int, str], Tensor] = {}
    hooks = []
    for i, layer in enumerate(module.stack):
        for part in PARTS:
            projection: nn.Linear = getattr(layer, part.projection)
            size = part.unit_size(head_dim)
            gate = torch.ones(projection.in_features // size, requires_grad=True)
            gated[i, part.name] = gate
            hooks.append(projection.register_forward_pre_hook(gate_hook(gate, size)))
    try:
        yield gated
    finally:
        for hook in hooks:
            hook.remove()


def gate_hook(gate: Tensor, size: int) -> Callable[[nn.Module, tuple[Tensor]], tuple[Tensor]]:
    def hook(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0] * gate.repeat_interleave(size),)

    return hook
