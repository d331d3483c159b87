"""Search for the best encoder under a budget: smaller and smaller recipes, each one measured."""

import bisect
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trimseek.compression.budget import Budget
from trimseek.compression.candidates import LEAST_TRAINING, Compressor, EncoderCandidate
from trimseek.console import note
from trimseek.encoders.folder import write_encoder
from trimseek.encoders.shrink.recipe import Allocation, Method, Recipe
from trimseek.errors import BudgetError, OutOfTimeError

KEEPS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # shares of heads and neurons that are tried
FLOATS = (2, 4, 8)  # matrices kept in float32 where int8 alone loses too much
LAYER_SHARES = (1, 2 / 3, 1 / 2, 1 / 3, 1 / 6)  # shares of the base's layers that are tried
MOST_COMPARED = 3  # depths whose fastest-enough shape is made and measured
MARGIN = 0.95  # share of the time limit that a shape must keep to before it is trained


def search(compressor: Compressor) -> EncoderCandidate:
    """The best encoder within the budget; BudgetError with the closest if there is none.

    A ``time_limit`` ends it with what was measured until then; OutOfTimeError if nothing was.
    """
    budget = compressor.budget
    explore = by_speed if budget.max_loss is None else by_loss
    try:
        explore(compressor)
    except OutOfTimeError:
        if not compressor.candidates:
            raise
        note("the time is over; the last candidate was not finished")
    best = best_of(compressor.candidates, budget)
    if not budget.met_by(best.measurement):
        closest = best.measurement
        raise BudgetError(
            f"no encoder has {budget}; the closest found: {closest.recipe}: loss "
            f"{closest.loss:.2%}, {closest.speedup:.1f} times the speed, {closest.query_ms:.2f} ms "
            "a query; nothing is written"
        )
    return best


def best_of(candidates: Sequence[EncoderCandidate], budget: Budget) -> EncoderCandidate:
    """The best candidate; where none is within the budget, the closest.

    With a limit on the loss, that is the fastest of those within the budget, else the fastest
    within the loss, else the one that loses least. Without, it is the one that loses least of
    those within the budget, else the fastest.
    """
    within = [candidate for candidate in candidates if budget.met_by(candidate.measurement)]
    if budget.max_loss is None:
        return min(within, key=loss_of) if within else max(candidates, key=speed_of)
    if not within:
        limit = Budget(max_loss=budget.max_loss)
        within = [candidate for candidate in candidates if limit.met_by(candidate.measurement)]
    return max(within, key=speed_of) if within else min(candidates, key=loss_of)


def loss_of(candidate: EncoderCandidate) -> float:
    """Relative to float32."""
    return candidate.measurement.loss


def speed_of(candidate: EncoderCandidate) -> float:
    """As a multiple of float32's."""
    return candidate.measurement.speedup


def by_loss(compressor: Compressor) -> None:
    """Faster and faster until too much is lost: first without training, then with what is left."""
    budget = compressor.budget
    candidate = compressor.attempt(Recipe(), "int8")
    for count in FLOATS:
        if budget.met_by(candidate.measurement) or compressor.minutes_left() < 0:
            break
        recipe = Recipe(kept_in_float=count)
        candidate = compressor.attempt(recipe, f"int8, {count} in float32")
    if not budget.met_by(candidate.measurement):
        return
    low, high = 0, len(KEEPS)  # KEEPS[:low] are good enough, KEEPS[high:] are not
    while low < high and compressor.minutes_left() > 0:
        middle = (low + high) // 2
        keep = KEEPS[middle]
        candidate = compressor.attempt(Recipe(keep=keep), f"keep {keep:.0%}, int8")
        if budget.met_by(candidate.measurement):
            low = middle + 1
        else:
            high = middle
    for further in (low + 2, low + 1, low):  # shapes that training may make good enough
        keep = KEEPS[min(further, len(KEEPS) - 1)]
        minutes = training_minutes(compressor) / (1 if further == low else 2)
        if minutes < LEAST_TRAINING:
            break
        recipe = Recipe(keep=keep, align_minutes=minutes)
        candidate = compressor.attempt(recipe, f"keep {keep:.0%}, aligned, int8")
        if budget.met_by(candidate.measurement):
            break


def by_speed(compressor: Compressor) -> None:
    """Shapes that are fast enough; the one of least loss is trained for the time that is left."""
    count = len(compressor.base.weights.layers)
    fast_enough: list[tuple[Recipe, EncoderCandidate]] = []
    for layers in dict.fromkeys(max(1, round(count * share)) for share in LAYER_SHARES):
        began = time.monotonic()
        recipe = largest_in_time(compressor, layers)
        seconds = time.monotonic() - began
        if recipe is None:
            continue
        name = f"{layers} layers, keep {recipe.keep:.0%}, int8"
        fast_enough.append((recipe, compressor.attempt(recipe, name)))
        if len(fast_enough) == MOST_COMPARED or compressor.minutes_left() < seconds / 60:
            break
    if not fast_enough:
        smallest = Recipe(layers=1, keep=KEEPS[-1], allocation=Allocation.UNIFORM)
        compressor.attempt(smallest, f"1 layer, keep {KEEPS[-1]:.0%}, int8")
        return
    recipe, best = min(fast_enough, key=lambda pair: loss_of(pair[1]))
    minutes = training_minutes(compressor)
    if minutes >= LEAST_TRAINING:
        aligned = replace(recipe, align_minutes=minutes)
        compressor.attempt(aligned, f"{best.measurement.recipe}, aligned")


def largest_in_time(compressor: Compressor, layers: int) -> Recipe | None:
    """The recipe of so many layers that keeps most and is fast enough; None if none is."""
    recipes = [
        Recipe(layers=layers, keep=keep, allocation=Allocation.UNIFORM) for keep in (1.0, *KEEPS)
    ]
    first = bisect.bisect_left(recipes, True, key=lambda recipe: is_fast_enough(compressor, recipe))
    return recipes[first] if first < len(recipes) else None


def is_fast_enough(compressor: Compressor, recipe: Recipe) -> bool:
    """Whether an encoder of that shape keeps to the budget's speed; its weights do not matter."""
    budget = compressor.budget
    shrunk = compressor.shrinker.shrink(replace(recipe, method=Method.MAGNITUDE))
    with tempfile.TemporaryDirectory(dir=compressor.folder) as folder:
        shape = Path(folder) / "shape"
        write_encoder(shrunk.checkpoint, shape, shrunk.quantization)
        ms, base_ms = compressor.milliseconds([shape, compressor.reference])
    in_time = budget.max_ms is None or ms <= MARGIN * budget.max_ms
    return in_time and (budget.speedup is None or MARGIN * base_ms / ms >= budget.speedup)


def training_minutes(compressor: Compressor) -> float:
    """What is left for training; 0 where there are too few texts to train on."""
    if not compressor.can_train():
        note("too few texts to train on; what needs no training is all there is")
        return 0.0
    return compressor.minutes_left()
