"""Optimal brain surgeon against least squares by brute force."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.tiny import STRUCTURES, VOCABULARY, tiny_weights
from trimseek.encoders.card import LayerShape
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import cosine_loss, embeddings
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.obs import (
    Problem,
    costs_of,
    eliminate,
    exchanged,
    fit,
    gains_of,
    pose,
    prune,
    refit,
)
from trimseek.encoders.shrink.taylor import prune_by_magnitude
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS
from trimseek.encoders.weights import EncoderWeights, Linear
from trimseek.errors import EncoderError

TINY_RIDGE = 1e-9


def calibration(count: int = 200, seed: int = 0) -> list[list[int]]:
    chosen = random.Random(seed)
    return [
        [2, *(chosen.randrange(4, len(VOCABULARY)) for _ in range(chosen.randint(8, 30))), 3]
        for _ in range(count)
    ]


def small_problem(
    size: int, units: int = 6, outputs: int = 3
) -> tuple[Problem, NDArray[np.float64], NDArray[np.float64]]:
    """A problem, with its inputs (a column of ones last) and wanted outputs."""
    chosen = np.random.default_rng(3)
    mixed = chosen.standard_normal((size * units, size * units))
    inputs = (chosen.standard_normal((80, size * units)) @ mixed).astype(np.float32)
    wanted = chosen.standard_normal((80, outputs)).astype(np.float32)
    before = Linear(
        np.zeros((size * units, outputs), np.float32), np.zeros(outputs, dtype=np.float32)
    )
    problem = pose([(torch.from_numpy(inputs), torch.from_numpy(wanted))], before, size, TINY_RIDGE)
    return problem, np.hstack([inputs, np.ones((80, 1))]).astype(float), wanted.astype(float)


def squares(inputs: NDArray[np.float64], wanted: NDArray[np.float64]) -> float:
    """The least sum of squares there is."""
    found, *_ = np.linalg.lstsq(inputs, wanted)
    return float(((inputs @ found - wanted) ** 2).sum())


def columns(units: list[int], size: int, total: int) -> list[int]:
    return [unit * size + i for unit in units for i in range(size)] + [total * size]


@pytest.mark.parametrize("kind", STRUCTURES)
def test_every_structure_is_pruned_with_less_loss_than_by_magnitude(kind: str) -> None:
    weights, texts = STRUCTURES[kind], calibration()
    shapes = [LayerShape(2, 24)] * 2
    originals = embeddings(EncoderModule(weights, Pooling.MEAN, normalize=True), texts)

    def loss(small: EncoderWeights) -> float:
        assert small.structure == weights.structure
        assert (small.heads, small.neurons) == ((2, 2), (24, 24))
        module = EncoderModule(small, Pooling.MEAN, normalize=True)
        return cosine_loss(embeddings(module, texts), originals)

    assert loss(prune(weights, shapes, texts)) < 0.7 * loss(prune_by_magnitude(weights, shapes))


@pytest.mark.parametrize("size", [1, 4])
def test_each_step_takes_the_unit_that_costs_least_by_brute_force(size: int) -> None:
    problem, inputs, wanted = small_problem(size)
    found = eliminate(problem)
    left = list(range(6))
    for unit, error in zip(found.order, found.errors, strict=True):
        costs = {
            each: squares(inputs[:, columns([u for u in left if u != each], size, 6)], wanted)
            for each in left
        }
        assert unit == min(costs, key=lambda each: costs[each])
        assert error * problem.energy == pytest.approx(costs[unit], rel=1e-5)
        left.remove(unit)
    assert found.kept(1) == left


@pytest.mark.parametrize("size", [1, 4])
def test_what_going_costs_and_coming_gains_is_so_by_brute_force(size: int) -> None:
    problem, inputs, wanted = small_problem(size)
    stay, others = [0, 2, 5], [1, 3, 4]

    def error(units: list[int]) -> float:
        return squares(inputs[:, columns(units, size, 6)], wanted)

    found = fit(problem, stay)
    assert found.error == pytest.approx(error(stay), rel=1e-5)
    rises = [error([u for u in stay if u != unit]) - error(stay) for unit in stay]
    falls = [error(stay) - error([*stay, unit]) for unit in others]
    np.testing.assert_allclose(costs_of(problem, found), rises, rtol=1e-4)
    np.testing.assert_allclose(gains_of(problem, found, others), falls, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_exchanges_come_near_the_best_choice(size: int) -> None:
    problem, inputs, wanted = small_problem(size, units=10)

    def error(units: Sequence[int]) -> float:
        return squares(inputs[:, columns(list(units), size, 10)], wanted)

    worst = max(itertools.combinations(range(10), 5), key=error)
    best = min(map(error, itertools.combinations(range(10), 5)))
    found = exchanged(problem, worst)
    assert len(set(found)) == 5
    assert error(found) < best + 0.2 * (error(worst) - best)
    greedy = eliminate(problem, 5).kept(5)
    assert error(exchanged(problem, greedy)) <= error(greedy)
    assert exchanged(problem, range(10)) == list(range(10))


def test_steps_that_are_pending_count(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = eliminate(small_problem(4)[0])
    monkeypatch.setattr("trimseek.encoders.shrink.obs.PENDING", 2)
    assert eliminate(small_problem(4)[0]).order == whole.order


@pytest.mark.parametrize("kept", list(itertools.combinations(range(6), 3)))
def test_a_refit_is_least_squares(kept: tuple[int, ...]) -> None:
    problem, inputs, wanted = small_problem(2)
    best, *_ = np.linalg.lstsq(inputs[:, columns(list(kept), 2, 6)], wanted)
    found = refit(problem, kept)
    np.testing.assert_allclose(found.weight, best[:-1], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.bias, best[-1], rtol=1e-3, atol=1e-5)


def test_pruning_nothing_changes_nothing(tiny: Checkpoint) -> None:
    shapes = [LayerShape(4, 64), LayerShape(4, 64)]
    for found in (
        prune(tiny.weights, shapes, calibration()),
        prune_by_magnitude(tiny.weights, shapes),
    ):
        for name, array in tiny.weights.arrays().items():
            np.testing.assert_array_equal(found.arrays()[name], array)


def redundant(weights: EncoderWeights) -> EncoderWeights:
    """Half of the neurons of the second layer say what the others say."""
    first, second = weights.layers
    chosen = [*range(32), *range(32)]
    return replace(weights, layers=(first, NEURONS.keep(second, chosen, weights)))


def test_what_is_redundant_costs_nothing() -> None:
    weights = redundant(tiny_weights())
    found = prune(weights, [LayerShape(4, 64), LayerShape(4, 32)], calibration())
    kept = {tuple(row) for row in found.layers[1].intermediate.weight.T}
    assert len(kept) == 32  # one of each pair
    fresh = calibration(50, seed=9)
    ours, theirs = (
        embeddings(EncoderModule(each, Pooling.MEAN, normalize=True).eval(), fresh)
        for each in (found, weights)
    )
    assert cosine_loss(ours, theirs) < 1e-5


def test_refitting_beats_cutting_the_same_units(tiny: Checkpoint) -> None:
    shapes = [LayerShape(3, 40), LayerShape(2, 32)]
    pruned = prune(tiny.weights, shapes, calibration())
    assert (pruned.heads, pruned.neurons) == ((3, 2), (40, 32))
    fresh = calibration(50, seed=9)
    theirs = embeddings(EncoderModule(tiny.weights, Pooling.MEAN, normalize=True).eval(), fresh)
    losses = [
        cosine_loss(
            embeddings(EncoderModule(each, Pooling.MEAN, normalize=True).eval(), fresh), theirs
        )
        for each in (pruned, prune_by_magnitude(tiny.weights, shapes))
    ]
    assert losses[0] < 0.7 * losses[1]


def test_what_cannot_be_pruned_is_said(tiny: Checkpoint) -> None:
    full = LayerShape(4, 64)
    with pytest.raises(EncoderError, match="layer 1: cannot keep 0 heads; it has 4"):
        prune(tiny.weights, [full, LayerShape(0, 64)], calibration())
    with pytest.raises(EncoderError, match="layer 0: cannot keep 65 neurons; it has 64"):
        prune(tiny.weights, [LayerShape(4, 65), full], calibration())
    with pytest.raises(EncoderError, match="3 shapes for 2 layers"):
        prune(tiny.weights, [full] * 3, calibration())
    with pytest.raises(EncoderError, match="5 calibration texts of .* too few; give at least 32"):
        prune(tiny.weights, [full, full], calibration(5))


def test_heads_go_whole(tiny: Checkpoint) -> None:
    layer = HEADS.keep(tiny.weights.layers[0], [1, 3], tiny.weights)
    np.testing.assert_array_equal(
        layer.key.weight, tiny.weights.layers[0].key.weight[:, [*range(8, 16), *range(24, 32)]]
    )
