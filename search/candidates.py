"""Ranked documents before they become hits: grouped, made diverse."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trimseek.search.hits import Source


@dataclass(frozen=True)
class Candidate:
    """A document by its key. ``chunk``: the key of its best passage, None if not known yet.

    ``sources``: score, and rank in the list (from 1) where it was found there, by list.
    """

    document: int
    score: float
    chunk: int | None = None
    sources: dict[str, Source] = field(default_factory=dict)


def one_of_each(
    candidates: Iterable[Candidate], group: Callable[[Candidate], Hashable | None]
) -> list[Candidate]:
    """The best of each group, in order; those of no group (None) all stay."""
    seen: set[Hashable] = set()
    kept = []
    for candidate in candidates:
        own = group(candidate)
        if own is None or own not in seen:
            kept.append(candidate)
            seen.add(own)
    return kept


def diversified(
    relevance: NDArray[np.float32], vectors: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Positions in the order of maximal marginal relevance (Carbonell & Goldstein 1998).

    Next is always the one of the largest ``(1 - diversity) * relevance - diversity * nearest``,
    nearest being its cosine to what was taken before. ``relevance (n,)``; ``vectors (n, dim)`` of
    unit length.
    """
    taken: list[int] = []
    left = np.ones(len(relevance), bool)
    nearest = np.zeros(len(relevance), np.float32)
    while len(taken) < min(count, len(relevance)):
        values = (1 - diversity) * relevance - diversity * nearest
        chosen = int(np.argmax(np.where(left, values, -np.inf)))
        taken.append(chosen)
        left[chosen] = False
        similar = vectors @ vectors[chosen]
        nearest = similar if len(taken) == 1 else np.maximum(nearest, similar)
    return taken
