"""How far two rankings of the same documents agree, without any judgments.

Rankings are arrays ``(queries, depth)`` of document positions, best first; ``NO_HIT`` is none.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOP = 10
PERSISTENCE = 0.9  # of rank-biased overlap: its first ten ranks carry 86 % of the weight

Ranking = NDArray[np.int64]
NO_HIT = -1


@dataclass(frozen=True)
class Agreement:
    """Means over queries, 1 where the rankings agree.

    ``overlap``: share of the reference's top 10 in the candidate's top 10. ``recall``: its share
    anywhere in the candidate's ranking. ``rbo``: rank-biased overlap.
    """

    overlap: float
    recall: float
    rbo: float


def agreement(reference: Ranking, candidate: Ranking) -> Agreement:
    """Agreement of ``candidate`` with ``reference``."""
    by_query = []
    for reference_row, candidate_row in zip(reference.tolist(), candidate.tolist(), strict=True):
        expected = [key for key in reference_row if key != NO_HIT]
        actual = [key for key in candidate_row if key != NO_HIT]
        by_query.append(
            (
                shared(expected[:TOP], actual[:TOP]),
                shared(expected[:TOP], actual),
                rank_biased_overlap(expected, actual),
            )
        )
    return Agreement(*np.array(by_query).mean(0).tolist())


def shared(reference: list[int], candidate: list[int]) -> float:
    """Share of the reference that is in the candidate; 1 of an empty reference."""
    return len(set(reference) & set(candidate)) / len(reference) if reference else 1.0


def rank_biased_overlap(a: list[int], b: list[int], p: float = PERSISTENCE) -> float:
    """RBO extrapolated from two rankings cut at the same depth k (Webber et al. 2010, eq. 30).

    ``p^k X_k / k + (1 - p) / p * sum_{d=1..k} p^d X_d / d``, X_d being the size of the overlap of
    the first d.
    """
    depth = min(len(a), len(b))
    if depth == 0:
        return 1.0 if len(a) == len(b) else 0.0
    seen_a: set[int] = set()
    seen_b: set[int] = set()
    overlap, total = 0, 0.0
    for d, (x, y) in enumerate(zip(a[:depth], b[:depth], strict=True), 1):
        overlap += int(x == y) or int(x in seen_b) + int(y in seen_a)
        seen_a.add(x)
        seen_b.add(y)
        total += p**d * overlap / d
    return p**depth * overlap / depth + (1 - p) / p * total
