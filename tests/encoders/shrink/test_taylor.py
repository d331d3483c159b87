"""Taylor scores against differences, and that rounds are worth their while."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import tiny_weights
from trimseek.encoders.card import LayerShape
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import batches
from trimseek.encoders.shrink.gates import gated
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.taylor import TEMPERATURE, prune_by_taylor, taylor_scores
from trimseek.encoders.weights import EncoderWeights

STEP = 0.02


def loss(module: EncoderModule, ids: torch.Tensor, theirs: torch.Tensor) -> float:
    logits = module(ids) @ theirs.T / TEMPERATURE
    return float(functional.cross_entropy(logits, torch.arange(len(ids))))


def test_scores_are_the_slope_of_the_loss_at_each_gate(tiny: Checkpoint) -> None:
    weights, other = tiny.weights, tiny_weights(seed=5)
    texts = [each[:8] for each in calibration(12)]
    ((ids, mask),) = batches(texts)
    theirs = EncoderModule(other, Pooling.MEAN, normalize=True)(ids, mask).detach()
    scores = taylor_scores(weights, texts, [theirs], Pooling.MEAN)
    module = EncoderModule(weights, Pooling.MEAN, normalize=True)
    for part, unit in (("heads", 2), ("neurons", 17)):
        slopes = []
        with gated(module, weights.head_dim) as gates, torch.no_grad():
            gate = gates[1, part].value
            for each in range(len(gate)):
                before = gate[each].clone()
                losses = []
                for step in (STEP, -STEP):
                    gate[each] = before + step
                    losses.append(loss(module, ids, theirs))
                gate[each] = before
                slopes.append(abs(losses[0] - losses[1]) / (2 * STEP))
        expected = np.array(slopes) / np.linalg.norm(slopes)
        assert scores[1][part][unit] == pytest.approx(expected[unit], rel=0.02)


def idle(weights: EncoderWeights) -> EncoderWeights:
    """Neurons 10 to 19 of the first layer have large output weights and never fire."""
    layer = weights.layers[0]
    layer.intermediate.weight[:, 10:20] = 0
    layer.intermediate.bias[10:20] = -50
    layer.output.weight[10:20] *= 10
    return weights


def test_a_neuron_that_never_fires_goes_first() -> None:
    weights = idle(tiny_weights())
    found = prune_by_taylor(
        weights, [LayerShape(4, 54), LayerShape(4, 64)], calibration(), Pooling.MEAN, rounds=2
    )
    kept = found.layers[0].intermediate.bias
    assert kept.min() > -50
    assert (found.heads, found.neurons) == ((4, 4), (54, 64))
