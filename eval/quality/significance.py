"""Whether two systems differ on the same queries by more than chance.

Loss is ``1 - mean(candidate) / mean(reference)``: 0.01 is one per cent of the reference's quality.
Why the bootstrap and the randomization test: Sakai 2014; Smucker, Allan & Carterette 2007.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SAMPLES = 10_000
SEED = 20
CHUNK = 2**22  # random numbers drawn at a time
EXACT_UP_TO = 12  # differing queries: all 2^12 sign patterns are tried instead of samples
SAME = 1e-9  # a difference up to which two values count as equal

Values = NDArray[np.float64]


class Interval(NamedTuple):
    """The ends of a confidence interval."""

    low: float
    high: float


def loss(reference: Values, candidate: Values) -> float:
    """Relative loss of the mean; 0 where the reference's mean is 0."""
    mean = float(reference.mean())
    return 1 - float(candidate.mean()) / mean if mean else 0.0


def loss_interval(reference: Values, candidate: Values, confidence: float = 0.95) -> Interval:
    """Percentile interval of the loss over paired bootstrap samples of the queries (Efron 1979)."""
    n = len(reference)
    chosen = np.random.default_rng(SEED)
    losses = []
    step = max(1, CHUNK // max(n, 1))
    for start in range(0, SAMPLES, step):
        counts = chosen.multinomial(n, np.full(n, 1 / n), min(step, SAMPLES - start))
        kept, whole = counts @ candidate, counts @ reference
        losses.append(1 - np.divide(kept, whole, out=np.ones_like(kept), where=whole > 0))
    outside = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(losses), [outside, 1 - outside])
    return Interval(float(low), float(high))


def randomization_test(reference: Values, candidate: Values) -> float:
    """Two-sided p-value of Fisher's randomization test on the difference of the means.

    Under the null hypothesis a query's two values could be swapped. All patterns of swaps are tried
    where at most 12 queries differ, else 10,000 random ones and the observed one, so that p is
    never 0.
    """
    differences = (candidate - reference)[np.abs(candidate - reference) > SAME]
    n = len(differences)
    if n == 0:
        return 1.0
    observed = abs(differences.sum()) - SAME
    if n <= EXACT_UP_TO:
        signs = 1 - 2 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
        return float((np.abs(signs @ differences) >= observed).mean())
    chosen = np.random.default_rng(SEED)
    extreme, step = 0, max(1, CHUNK // n)
    for start in range(0, SAMPLES, step):
        signs = chosen.choice(np.array([-1.0, 1.0]), (min(step, SAMPLES - start), n))
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return (extreme + 1) / (SAMPLES + 1)


@dataclass(frozen=True)
class Record:
    """In how many queries the candidate is better, the same, and worse."""

    wins: int
    ties: int
    losses: int


def record(reference: Values, candidate: Values) -> Record:
    """Count the queries by the sign of ``candidate - reference``."""
    difference = candidate - reference
    wins, losses = int((difference > SAME).sum()), int((difference < -SAME).sum())
    return Record(wins, len(difference) - wins - losses, losses)
