"""First-order Taylor importance of heads and neurons, in rounds; magnitude as the baseline.

With a gate g = 1 on a unit's output, L(g = 0) - L(g = 1) is -dL/dg to the first order, so that the
mean of |dL/dg| over batches estimates how much the loss depends on the unit (Michel et al. 2019,
heads; Molchanov et al. 2017, neurons). Scores are divided by their layer's norm, as both papers do.
L is a contrastive loss over a batch: each text's vector should find the original encoder's vector
of the same text among those of the others (van den Oord et al. 2018).

The estimate holds near the encoder that it was made for, and no longer when half of its units are
gone. So some units go in each round, and the others are scored again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import Ids, batches, check_enough
from trimseek.encoders.shrink.gates import BATCH_TOKENS, Key, Scores, gated
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.obs import check_shapes
from trimseek.encoders.shrink.unit_kinds import UNIT_KINDS
from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerWeights
from trimseek.time_limit import check_time

ROUNDS = 8
TEMPERATURE = 0.05


def prune_by_taylor(
    weights: EncoderWeights,
    shapes: Sequence[LayerShape],
    texts: Sequence[Ids],
    pooling: Pooling,
    rounds: int = ROUNDS,
) -> EncoderWeights:
    """The encoder with the units that matter most to the loss; raises as ``obs.prune``."""
    check_enough(texts)
    original = EncoderModule(weights, pooling, normalize=True).eval()
    with torch.no_grad():
        targets = [original(ids, mask) for ids, mask in batches(texts, BATCH_TOKENS)]

    def score(pruned: EncoderWeights) -> Scores:
        return taylor_scores(pruned, texts, targets, pooling)

    return prune_by_scores(weights, shapes, score, rounds)


def prune_by_magnitude(weights: EncoderWeights, shapes: Sequence[LayerShape]) -> EncoderWeights:
    """The encoder with the units whose projection weights have the largest norm; needs no text."""
    return prune_by_scores(weights, shapes, magnitude_scores, rounds=1)


def prune_by_scores(
    weights: EncoderWeights,
    shapes: Sequence[LayerShape],
    score: Callable[[EncoderWeights], Scores],
    rounds: int,
) -> EncoderWeights:
    """Take out the units of least score in rounds, and score the others again after each.

    Every round takes out the same number of units. EncoderError if a shape is out of range.
    """
    check_shapes(weights, shapes)
    for later_rounds in reversed(range(rounds)):
        share_left = later_rounds / (later_rounds + 1)
        layers = [
            cut_to_best(layer, shape, scores, share_left, weights)
            for layer, shape, scores in zip(weights.layers, shapes, score(weights), strict=True)
        ]
        weights = replace(weights, layers=tuple(layers))
    return weights


def cut_to_best(
    layer: LayerWeights,
    shape: LayerShape,
    scores: dict[str, FloatArray],
    share_left: float,
    weights: EncoderWeights,
) -> LayerWeights:
    """The layer's best units; ``share_left`` of those that must go stay until later rounds."""
    for kind in UNIT_KINDS:
        kept = getattr(shape, kind.name)
        count = kept + round((kind.count(layer, weights.head_dim) - kept) * share_left)
        best = np.sort(np.argsort(-scores[kind.name], kind="stable")[:count])
        layer = kind.keep(layer, best, weights)
    return layer


def magnitude_scores(weights: EncoderWeights) -> Scores:
    """Norm of each unit's rows of the output projection."""
    return [
        {
            kind.name: np.linalg.norm(
                kind.linear(layer).weight.reshape(kind.count(layer, weights.head_dim), -1), axis=1
            )
            for kind in UNIT_KINDS
        }
        for layer in weights.layers
    ]


def taylor_scores(
    weights: EncoderWeights, texts: Sequence[Ids], targets: Sequence[Tensor], pooling: Pooling
) -> Scores:
    """Mean |dL/dg| over batches, divided by the norm over the units of a kind in a layer.

    ``targets``: the original encoder's vectors of the texts, in ``batches``. OutOfTimeError when a
    ``time_limit`` passes.
    """
    module = EncoderModule(weights, pooling, normalize=True).eval().requires_grad_(False)
    totals: dict[Key, Tensor] = {}
    with gated(module, weights.head_dim) as gates:
        values = {key: gate.value.requires_grad_() for key, gate in gates.items()}
        for (ids, mask), vectors in zip(batches(texts, BATCH_TOKENS), targets, strict=True):
            check_time()
            logits = module(ids, mask) @ vectors.T / TEMPERATURE
            loss = functional.cross_entropy(logits, torch.arange(len(ids)))
            slopes = torch.autograd.grad(loss, list(values.values()))
            for key, slope in zip(values, slopes, strict=True):
                totals[key] = totals.get(key, torch.zeros_like(slope)) + slope.abs() * len(ids)
    return [
        {kind.name: unit_norm(totals[i, kind.name]) for kind in UNIT_KINDS}
        for i in range(len(weights.layers))
    ]


def unit_norm(scores: Tensor) -> FloatArray:
    """Scores divided by their Euclidean norm."""
    normalized: FloatArray = functional.normalize(scores, dim=0).numpy()
    return normalized
