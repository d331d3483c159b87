"""Estimates of a loss: how much is lost, how sure that is, and what judged queries would measure.

Losses are relative losses of nDCG@10. Estimates are taken as normally distributed, and two of the
same loss are combined by the inverse of their variances.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from trimseek.eval.quality.significance import Interval, Values, loss

CONFIDENCE = 0.95
AS_MANY = 100  # judged queries, that ``Claim.interval`` is for where the user has none
QUERY_NOISE = 1.1  # see ``judged_noise``
FEWEST_QUERIES = 20  # fewer measure nothing
LEAST_DEVIATION = 1e-6


class Estimate(NamedTuple):
    """A loss, and its standard deviation."""

    loss: float
    deviation: float

    def interval(self, confidence: float, noise: float = 0.0) -> Interval:
        """Where the loss is; with ``noise``, where measurements of that deviation find it."""
        half = NormalDist().inv_cdf((1 + confidence) / 2) * math.hypot(self.deviation, noise)
        return Interval(self.loss - half, self.loss + half)


NOTHING = Estimate(0.0, math.inf)  # known of a loss


class Claim(NamedTuple):
    """What is said of an encoder's loss.

    ``expected``: the interval of the loss itself, which budgets are kept to by its upper end.
    ``interval``: where a measurement on judged queries finds it: on these ``queries`` where they
    are judged, else on ``AS_MANY``. ``queries``: on how many it was measured. ``judged``: by
    people, not on queries made from the text alone.
    """

    loss: float
    expected: Interval
    interval: Interval
    queries: int
    judged: bool


def measured(reference: Values, candidate: Values) -> Estimate:
    """The loss of values of the same queries, with the deviation of a ratio (delta method).

    ``NOTHING`` where there are no queries, or nothing that could be lost.
    """
    if len(reference) < FEWEST_QUERIES or not reference.any():
        return NOTHING
    lost = loss(reference, candidate)
    residuals = (candidate - (1 - lost) * reference) / reference.mean()
    return Estimate(lost, float(residuals.std(ddof=1)) / math.sqrt(len(reference)))


def combined(estimates: Sequence[Estimate]) -> Estimate:
    """The mean weighted by the inverse of the variances."""
    weights = np.array([max(each.deviation, LEAST_DEVIATION) ** -2.0 for each in estimates])
    losses = np.array([each.loss for each in estimates])
    return Estimate(float(weights @ losses / weights.sum()), float(weights.sum() ** -0.5))


def judged_noise(agreement_loss: float, queries: int, query_noise: float = QUERY_NOISE) -> float:
    """Deviation of the loss that so many judged queries measure, about its mean over many.

    Each query scatters by ``query_noise`` times the square root of the share of the agreement that
    is lost (``pseudo_judgments``): an encoder that puts few documents elsewhere changes few
    queries. Fitted by ``compression.calibration``.
    """
    return query_noise * math.sqrt(abs(agreement_loss) / queries)
