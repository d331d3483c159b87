"""Search for the best encoder under a budget of loss, speed and size.

First shapes without training, which takes seconds each: the mildest within the limits of speed
and size, then, where a loss is allowed, smaller ones until too much is lost, and the aligned
encoders of the base that come with trimseek. Then training, for the time that is left: of the
shapes that were measured, the fastest whose loss training is expected to bring within the budget,
judged by what training brought before. What is tried next, and why, is said on stderr.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trimseek.compression.budget import Budget
from trimseek.compression.candidates import LEAST_TRAINING, Compressor, EncoderCandidate
from trimseek.console import note
from trimseek.encoders.shrink.recipe import Allocation, Recipe
from trimseek.errors import BudgetError, OutOfTimeError

KEEPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # shares of heads and neurons
FLOATS = (2, 4, 8)  # matrices kept in float32 where int8 alone loses too much
LAYER_SHARES = (1, 2 / 3, 1 / 2, 1 / 3, 1 / 6)  # shares of the base's layers that are tried
MOST_DEPTHS = 3  # whose mildest shape within the limits is made and measured
MARGIN = 0.95  # share of a time limit that a shape must keep to before it is made
EXPLORING = 0.4  # share of the minutes that go into shapes without training, where they can train
FURTHER = 3  # shapes behind the last good one that are measured, for training to make good
# What training leaves of a shape's loss until one was trained; measured on MiniLM: 0.15 to 0.5.
RECOVERY = 0.4
LEAST_LOSS = 0.002  # a smaller loss tells nothing about what training brings


def search(compressor: Compressor) -> EncoderCandidate:
    """The best encoder within the budget; BudgetError with the closest if there is none.

    A ``time_limit`` ends it with what was measured until then; OutOfTimeError if nothing was.
    """
    budget = compressor.budget
    try:
        Exploration(compressor).run()
    except OutOfTimeError:
        if not compressor.candidates:
            raise
        note("the time is over; the last candidate was not finished")
    best = best_of(compressor.candidates, budget)
    if not budget.met_by(best.measurement):
        closest = best.measurement
        raise BudgetError(
            f"no encoder has {budget}; the closest found: {closest.recipe}: loss "
            f"{closest.loss:.2%} (up to {closest.expected.high:.2%}), {closest.speedup:.1f} times "
            f"the speed, {closest.query_ms:.2f} ms a query, {closest.graph_bytes / 1e6:.1f} MB; "
            "nothing is written"
        )
    return best


def best_of(candidates: Sequence[EncoderCandidate], budget: Budget) -> EncoderCandidate:
    """The best candidate; where none is within the budget, the closest.

    With a limit on the loss, that is the fastest of those within the budget, else the one that
    loses least of those within the other limits, else the fastest within the loss, else the one
    that loses least of all. Without, it is the one that loses least of those within the budget,
    else the fastest.
    """
    within = [candidate for candidate in candidates if budget.met_by(candidate.measurement)]
    if budget.max_loss is None:
        return min(within, key=loss_of) if within else max(candidates, key=speed_of)
    if within:
        return max(within, key=speed_of)
    others = replace(budget, max_loss=None)
    fast_and_small = [each for each in candidates if others.met_by(each.measurement)]
    if fast_and_small:
        return min(fast_and_small, key=loss_of)
    loss = Budget(max_loss=budget.max_loss)
    little = [each for each in candidates if loss.met_by(each.measurement)]
    return max(little, key=speed_of) if little else min(candidates, key=loss_of)


def loss_of(candidate: EncoderCandidate) -> float:
    """Relative to float32."""
    return candidate.measurement.loss


def speed_of(candidate: EncoderCandidate) -> float:
    """As a multiple of float32's."""
    return candidate.measurement.speedup


@dataclass(frozen=True)
class Shape:
    """So many layers, and the share of their heads and neurons that is kept."""

    layers: int
    keep: float

    @property
    def arithmetic(self) -> float:
        """In layers of the base."""
        return self.layers * self.keep

    def __str__(self) -> str:
        layers = f"{self.layers} layer{'s' * (self.layers > 1)}"
        return f"{layers}, keep {self.keep:.0%}, int8" if self.keep < 1 else f"{layers}, int8"


class Exploration:
    """One search: what was measured so far, and what follows from it."""

    def __init__(self, compressor: Compressor) -> None:
        self.compressor, self.budget = compressor, compressor.budget
        self.limits = replace(self.budget, max_loss=None)
        self.whole = len(compressor.start.weights.layers)
        depths = (max(1, round(self.whole * share)) for share in LAYER_SHARES)
        self.depths = list(dict.fromkeys(depths))
        self.keeps = tuple(keep for keep in KEEPS if keep >= compressor.least_keep())
        self.tried: dict[Shape, EncoderCandidate] = {}
        self.trainable: list[EncoderCandidate] = []  # measured, and not yet trained
        self.recovery = RECOVERY
        self.can_train = compressor.can_train()
        whole_time = compressor.minutes_left()
        self.exploring_ends = (1 - EXPLORING) * whole_time if self.can_train else 0.0
        if not self.can_train:
            note("too few texts to train on; what needs no training is all there is")
        self.can_prune = compressor.can_prune()
        if not self.can_prune:
            note("too few texts to calibrate on; nothing is pruned")

    def run(self) -> None:
        """Measure candidates until the time is over, or nothing better is to be expected."""
        mildest = self.mildest_shapes()
        if not mildest:
            self.attempt(Shape(1, self.keeps[-1]), "nothing is fast or small enough; the closest")
            return
        first = self.attempt(mildest[0], "the mildest within the limits of speed and size")
        for name, shrunk in self.compressor.relatives():
            if self.has_time():
                note(f"next: {name}, which is aligned to the base")
                self.trainable.append(self.compressor.attempt_shrunk(shrunk, name))
        if self.budget.max_loss is not None:
            self.keep_some_in_float(mildest[0], first)
            if self.can_prune:
                self.shrink_further(mildest[0])
        for shape in mildest[1:]:
            if self.budget.max_loss is None or not self.any_good():
                self.attempt(shape, "fewer layers at the same limits")
        if self.can_train:
            self.train()

    def mildest_shapes(self) -> list[Shape]:
        """Of each depth, the shape that keeps most within the limits of speed and size.

        Without such limits that is the whole encoder.
        """
        if self.limits == Budget() or not self.can_prune:
            return [Shape(self.whole, 1.0)]
        found = []
        for layers in self.depths:
            shapes = [Shape(layers, keep) for keep in self.keeps]
            first = bisect.bisect_left(shapes, True, key=self.is_within_limits)
            found += shapes[first : first + 1]
            if len(found) == MOST_DEPTHS:
                break
        return found

    def is_within_limits(self, shape: Shape) -> bool:
        """Whether an encoder of that shape keeps to them; its weights do not matter."""
        limits = self.limits
        timed = limits.max_ms is not None or limits.speedup is not None
        cost = self.compressor.cost_of_shape(shape.layers, shape.keep, timed=timed)
        return (
            (limits.max_mb is None or cost.graph_bytes <= 1e6 * limits.max_mb)
            and (limits.max_ms is None or cost.query_ms <= MARGIN * limits.max_ms)
            and (limits.speedup is None or MARGIN * cost.speedup >= limits.speedup)
        )

    def attempt(self, shape: Shape, why: str) -> EncoderCandidate:
        """Make and measure a shape without training, once."""
        if shape not in self.tried:
            note(f"next: {shape}: {why}")
            # whole layers' shapes are chosen by what they lose where all layers are kept
            allocation = Allocation.GLOBAL if shape.layers == self.whole else Allocation.UNIFORM
            layers = None if shape.layers == self.whole else shape.layers
            recipe = Recipe(layers=layers, allocation=allocation, keep=shape.keep)
            candidate = self.compressor.attempt(recipe, str(shape))
            self.tried[shape] = candidate
            self.trainable.append(candidate)
        return self.tried[shape]

    def keep_some_in_float(self, shape: Shape, first: EncoderCandidate) -> None:
        """Where int8 alone loses too much, some matrices in float32, while that is fast enough."""
        if shape != Shape(self.whole, 1.0) or self.is_good(first):
            return
        for count in FLOATS:
            if not self.has_time():
                return
            note(f"next: {count} matrices in float32: int8 alone loses too much")
            recipe = Recipe(kept_in_float=count)
            candidate = self.compressor.attempt(recipe, f"int8, {count} in float32")
            if self.is_good(candidate) or not self.limits.met_by(candidate.measurement):
                return

    def shrink_further(self, mildest: Shape) -> None:
        """Smaller and smaller at one depth: the last that is good, and some behind it."""
        keeps = self.keeps[self.keeps.index(mildest.keep) :]
        low, high = 0, len(keeps)  # keeps[:low] are good, keeps[high:] are not
        while low < high and self.has_time():
            middle = (low + high) // 2
            why = f"between {keeps[low - 1]:.0%} and {keeps[min(high, len(keeps) - 1)]:.0%}"
            good = self.is_good(self.attempt(Shape(mildest.layers, keeps[middle]), why))
            low, high = (middle + 1, high) if good else (low, middle)
        if not self.can_train:
            return
        for keep in keeps[low : low + FURTHER]:
            for shape in self.alike(Shape(mildest.layers, keep)):
                if self.has_time():
                    self.attempt(shape, "training may make it good enough")

    def alike(self, shape: Shape) -> list[Shape]:
        """The shape, and shapes of fewer layers with about its arithmetic."""
        found = [shape]
        for layers in self.depths:
            keep = shape.arithmetic / layers
            if layers < shape.layers and keep <= 1:
                found.append(Shape(layers, min(self.keeps, key=lambda each: abs(each - keep))))
        return found

    def train(self) -> None:
        """Train what is to become the best, as long as there is time and something to expect."""
        while (left := self.compressor.minutes_left()) >= LEAST_TRAINING:
            start = self.most_promising()
            if start is None:
                return
            measured = start.measurement
            again = self.budget.max_loss is not None and left >= 2 * LEAST_TRAINING
            minutes = left / 2 if again else left
            expected = self.recovery * measured.loss
            note(
                f"next: {measured.recipe}, trained for {minutes:.1f} minutes: its loss of "
                f"{measured.loss:.2%} is expected to become {expected:.2%}"
            )
            self.trainable.remove(start)
            name = f"{measured.recipe}, aligned"
            trained = self.compressor.attempt_shrunk(start.shrunk, name, minutes)
            if measured.loss > LEAST_LOSS:
                self.recovery = max(0.0, trained.measurement.loss) / measured.loss
            if self.budget.max_loss is None:
                return

    def most_promising(self) -> EncoderCandidate | None:
        """What to train: None if nothing that is not yet trained could become the best.

        Without a limit on the loss, what loses least within the others. With one, the fastest
        whose loss training should bring within it and that is faster than what is good already;
        while nothing is good, at least what loses least.
        """
        open_ = [each for each in self.trainable if self.limits.met_by(each.measurement)]
        if not open_:
            return None
        least = min(open_, key=loss_of)
        if self.budget.max_loss is None:
            return least
        good = [each for each in self.compressor.candidates if self.is_good(each)]
        speed = max(map(speed_of, good), default=0.0)
        hopeful = [
            each
            for each in open_
            if speed_of(each) > speed and self.recovery * loss_of(each) <= self.budget.max_loss
        ]
        if hopeful:
            return max(hopeful, key=speed_of)
        return None if good else least

    def is_good(self, candidate: EncoderCandidate) -> bool:
        """Whether it is within the whole budget."""
        return self.budget.met_by(candidate.measurement)

    def any_good(self) -> bool:
        """Whether anything is within the whole budget."""
        return any(map(self.is_good, self.compressor.candidates))

    def has_time(self) -> bool:
        """Whether there is time to go on without training."""
        return self.compressor.minutes_left() > self.exploring_ends
