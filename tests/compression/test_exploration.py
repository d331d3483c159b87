"""The search over all budgets, with an encoder whose loss, speed and size are formulas."""

from collections.abc import Iterator
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest

from trimseek.compression.budget import Budget, Measurement
from trimseek.compression.candidates import Cost, EncoderCandidate
from trimseek.compression.search import search
from trimseek.encoders.shrink.recipe import Recipe
from trimseek.errors import BudgetError, OutOfTimeError
from trimseek.eval.quality.significance import Interval

LAYERS = 6
BASE_MS = 4.0
RELATIVE = (2.0, 0.05)  # arithmetic in layers, and loss without further training
TRAINED = 0.3  # of the loss is left after training
LONG_ENOUGH = 3.0  # minutes
SURE = 0.0  # half of an interval


class Formulas:
    """Stands in for a ``Compressor``: a minute passes for each candidate."""

    def __init__(self, budget: Budget, minutes: float = 40.0, *, relative: bool = False) -> None:
        self.budget, self.minutes, self.relative = budget, minutes, relative
        self.start = SimpleNamespace(weights=SimpleNamespace(layers=[None] * LAYERS))
        self.candidates: list[EncoderCandidate] = []
        self.trained: list[str] = []
        self.trains = True

    def can_train(self) -> bool:
        return self.trains

    def can_prune(self) -> bool:
        return True

    def least_keep(self) -> float:
        return 0.1

    def minutes_left(self) -> float:
        return self.minutes

    def relatives(self) -> list[tuple[str, Any]]:
        return [("relative", RELATIVE)] if self.relative else []

    def cost_of_shape(self, layers: int, keep: float, *, timed: bool) -> Cost:
        cost = cost_of(layers * keep)
        return cost if timed else Cost(cost.graph_bytes, 0.0, 0.0)

    def attempt(self, recipe: Recipe, name: str) -> EncoderCandidate:
        return self.attempt_shrunk(recipe, name)

    def attempt_shrunk(self, shrunk: Any, name: str, minutes: float = 0.0) -> EncoderCandidate:
        self.minutes -= minutes or 0.2
        if self.minutes < 0:
            raise OutOfTimeError("over")
        if shrunk == RELATIVE:
            arithmetic, loss = RELATIVE
        else:
            arithmetic = (LAYERS if shrunk.layers is None else shrunk.layers) * shrunk.keep
            loss = 0.002 + 0.3 * (1 - arithmetic / LAYERS) ** 1.5
            if shrunk.layers is not None:
                loss *= 1.3
            if shrunk.kept_in_float:
                loss, arithmetic = 0.0005, 1.5 * LAYERS
        if minutes:
            self.trained.append(name)
            loss *= TRAINED if minutes >= LONG_ENOUGH else 0.6
        cost = cost_of(arithmetic)
        measurement = Measurement(
            name, "shape", cost.graph_bytes, cost.query_ms, cost.speedup, loss,
            Interval(loss - SURE, loss + SURE), Interval(0, 1), 500, judged=False, seconds=1.0,
        )  # fmt: skip
        candidate = EncoderCandidate(measurement, lambda: shrunk)
        self.candidates.append(candidate)
        return candidate


def cost_of(arithmetic: float) -> Cost:
    ms = 0.4 + 0.25 * arithmetic
    return Cost(round(1e6 * (8 + 2 * arithmetic)), ms, BASE_MS / ms)


LIMITS = {"max_loss": 0.02, "speedup": 4.0, "max_ms": 1.0, "max_mb": 13.0}
# 4 times is 1 ms and 2.4 layers; 13 MB are 2.5 layers, whose loss is 0.14 without training


def combined() -> Iterator[dict[str, float]]:
    for count in range(1, len(LIMITS) + 1):
        for names in combinations(LIMITS, count):
            yield {name: LIMITS[name] for name in names}


def found(budget: Budget, **options: Any) -> tuple[Measurement, Formulas]:
    formulas = Formulas(budget, **options)
    return search(formulas).measurement, formulas  # type: ignore[arg-type]


@pytest.mark.parametrize("limits", list(combined()), ids=lambda limits: "+".join(limits))
def test_every_combination_of_limits_is_kept_to(limits: dict[str, float]) -> None:
    budget = Budget(**(limits | ({"max_loss": 0.06} if "max_loss" in limits else {})))
    best, formulas = found(budget)
    assert budget.met_by(best)
    assert formulas.trained, "there was time to train"
    if limits.keys() - {"max_loss"}:
        assert best.speedup >= 3.5  # no less than the limits ask for
        assert best.speedup < 7  # and what is faster loses more for nothing, if nothing is asked
    for each in formulas.candidates:
        if "float32" in each.measurement.recipe:
            assert limits.keys() == {"max_loss"}  # slower, so that it cannot help a speed


@pytest.mark.parametrize("limits", list(combined()), ids=lambda limits: "+".join(limits))
def test_where_nothing_fits_the_closest_is_named(limits: dict[str, float]) -> None:
    impossible = {"max_loss": 0.00001, "speedup": 50.0, "max_ms": 0.01, "max_mb": 1.0}
    budget = Budget(**{name: impossible[name] for name in limits})
    with pytest.raises(BudgetError, match="the closest found: .*nothing is written") as raised:
        found(budget)
    assert str(budget) in str(raised.value)


def test_a_loss_alone_is_used_up_by_training() -> None:
    best, formulas = found(Budget(max_loss=0.02))
    untrained = max(
        each.measurement.speedup
        for each in formulas.candidates
        if each.measurement.loss <= 0.02 and "aligned" not in each.measurement.recipe
    )
    assert best.speedup > 1.15 * untrained
    assert best.recipe in formulas.trained


def test_what_training_brings_is_learnt() -> None:
    """Training recovers less than is expected; then milder shapes are trained, not the same."""
    formulas = Formulas(Budget(max_loss=0.02), minutes=20.0)
    search(formulas)  # type: ignore[arg-type]
    assert len(set(formulas.trained)) == len(formulas.trained)
    losses = [each.measurement.loss for each in formulas.candidates]
    assert min(losses) < 0.02


def test_an_aligned_relative_is_taken_where_it_is_better() -> None:
    budget = Budget(max_loss=0.06)
    alone, _ = found(budget)
    best, _ = found(budget, relative=True, minutes=4.0)
    assert best.recipe.startswith("relative")
    assert best.speedup > cost_of(RELATIVE[0]).speedup - 0.01
    assert alone.recipe != best.recipe


def test_without_texts_to_train_on_the_time_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    formulas = Formulas(Budget(max_loss=0.05), minutes=5.0)
    formulas.trains = False
    best = search(formulas).measurement  # type: ignore[arg-type]
    assert best.loss <= 0.05
    assert not formulas.trained
    said = capsys.readouterr().err
    assert "too few texts to train on" in said
    assert "next: 6 layers, keep 60%, int8: between" in said


def test_float32_matrices_are_tried_where_int8_loses_too_much() -> None:
    formulas = Formulas(Budget(max_loss=0.001))
    formulas.trains = False
    assert search(formulas).measurement.recipe == "int8, 2 in float32"  # type: ignore[arg-type]
    # training int8 is better where there is a choice
    assert found(Budget(max_loss=0.001))[0].recipe == "6 layers, int8, aligned"
