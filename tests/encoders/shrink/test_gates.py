"""Gates that are learned."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import STRUCTURES, tiny_weights
from trimseek.encoders.card import LayerShape
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.allocate import share_of
from trimseek.encoders.shrink.calibration import cosine_loss, embeddings
from trimseek.encoders.shrink.gates import (
    Scores,
    chance,
    drawn,
    gated,
    learn_scores,
    shapes_by_scores,
    shifted,
)
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.obs import prune
from trimseek.encoders.shrink.recipe import Allocation, Method, Recipe, Shrinker
from trimseek.encoders.shrink.taylor import prune_by_magnitude
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

WHOLE = {"bert": tiny_weights(), **STRUCTURES}
STEPS = 150


def learnt(weights: EncoderWeights, keep: float) -> Scores:
    return learn_scores(weights, calibration(), Pooling.MEAN, keep, normalize=True, steps=STEPS)


@pytest.mark.parametrize("openness", [-3.0, -0.5, 0.0, 1.0, 4.0])
def test_gates_are_open_as_often_as_they_say(openness: float) -> None:
    many = torch.full((20_000,), openness)
    values = drawn(many, torch.Generator().manual_seed(1))
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1
    assert float((values > 0).float().mean()) == pytest.approx(float(chance(many)[0]), abs=0.015)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_closed_gate_is_a_unit_less(kind: str) -> None:
    weights = WHOLE[kind]
    module = EncoderModule(weights, Pooling.MEAN, normalize=True).eval()
    ids = torch.tensor([calibration(1)[0]])
    with torch.no_grad(), gated(module, weights.head_dim) as gates:
        assert torch.equal(module(ids, None), module(ids, None))
        gates[1, "heads"].value = torch.tensor([1.0, 0, 1, 1])
        gates[0, "neurons"].value[5] = 0
        found = module(ids, None)
    layers = list(weights.layers)
    first = layers[0].output.weight.copy()
    first[5] = 0
    second = layers[1].attention_output.weight.copy()
    second[8:16] = 0
    layers[0] = replace(layers[0], output=layers[0].output._replace(weight=first))
    layers[1] = replace(
        layers[1], attention_output=layers[1].attention_output._replace(weight=second)
    )
    without = replace(weights, layers=tuple(layers))
    expected = EncoderModule(without, Pooling.MEAN, normalize=True).eval()(ids, None)
    torch.testing.assert_close(found, expected.detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("keep", [0.4, 0.7])
def test_gates_close_for_the_share_that_is_asked_for(keep: float) -> None:
    generator = torch.Generator().manual_seed(2)
    openness = torch.randn(500, generator=generator, requires_grad=True)
    work = torch.rand(500, generator=generator)
    found = shifted(openness, work / work.sum(), keep)
    assert float((found - openness).detach().std()) < 1e-6  # all by the same
    assert float((work * chance(found)).sum().detach() / work.sum()) == pytest.approx(
        keep, abs=1e-4
    )
    # one that opens further closes the others, so that the share stays
    torch.autograd.backward((work * chance(found)).sum())
    assert openness.grad is not None
    assert float(openness.grad.abs().max()) < 1e-6


@pytest.mark.parametrize("kind", WHOLE)
def test_learnt_gates_lose_less_than_magnitude(kind: str) -> None:
    weights, texts = WHOLE[kind], calibration()
    scores = learnt(weights, 0.5)
    shapes = shapes_by_scores(weights, scores, 0.5)
    assert 0.4 < share_of(weights, shapes) <= 0.5
    originals = embeddings(EncoderModule(weights, Pooling.MEAN, normalize=True).eval(), texts)
    losses = [
        cosine_loss(
            embeddings(EncoderModule(each, Pooling.MEAN, normalize=True).eval(), texts), originals
        )
        for each in (prune(weights, shapes, texts, scores), prune_by_magnitude(weights, shapes))
    ]
    assert losses[0] < 0.7 * losses[1]


def test_units_that_do_nothing_are_closed_first() -> None:
    weights = tiny_weights()
    first = weights.layers[0]
    output = first.output.weight.copy()
    output[:32] = 0
    idle = replace(first, output=first.output._replace(weight=output))
    scores = learnt(replace(weights, layers=(idle, weights.layers[1])), 0.8)
    found = scores[0]["neurons"]
    assert found[:32].max() < found[32:].min()


def test_a_recipe_prunes_by_gates(tiny: Checkpoint) -> None:
    shrinker = Shrinker(tiny, calibration())
    for recipe in (
        Recipe(method=Method.GATES, keep=0.5),
        Recipe(method=Method.GATES, keep=0.5, allocation=Allocation.UNIFORM),
        Recipe(method=Method.GATES, heads=2, neurons=32),
    ):
        shrunk = shrinker.shrink(recipe)
        small = shrunk.checkpoint.weights
        shapes = [LayerShape(*each) for each in zip(small.heads, small.neurons, strict=True)]
        assert 0.3 < share_of(tiny.weights, shapes) <= 0.5
        assert shrunk.steps[0].startswith("prune by gates to ")


def test_shapes_keep_something_of_every_layer() -> None:
    weights = WHOLE["bert"]
    scores: Scores = [
        {"heads": np.full(4, low, np.float32), "neurons": np.full(64, low, np.float32)}
        for low in (-9.0, 9.0)
    ]
    assert shapes_by_scores(weights, scores, 0.5) == [LayerShape(1, 8), LayerShape(4, 40)]
    with pytest.raises(EncoderError, match="too few"):
        learn_scores(weights, calibration(3), Pooling.MEAN, 0.5, normalize=True)
