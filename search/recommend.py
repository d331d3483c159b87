"""Recommend: documents like some and unlike others, from the vectors that are stored.

The vector that is searched for is, as in Rocchio's relevance feedback (1971),

    mean over liked documents of w v   -   weight * mean over disliked documents of v

with v of unit length and w a weight of each liked one: what somebody read last counts more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from indexer.filters import And, Condition, Filter, Not, Operator
from search.hits import Hit
from search.options import DEFAULT, Options
from search.searcher import Searcher
from trimseek.errors import QueryError

UNLIKE_WEIGHT = 0.5
MOST_EXAMPLES = 1000


@dataclass(frozen=True)
class Examples:
    """Ids of documents. ``weights``: one for each liked one, 1 by default."""

    like: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None


def history_weights(count: int, half_life: float) -> tuple[float, ...]:
    """Weights of a history, the latest last: each half as large ``half_life`` places before."""
    return tuple(0.5 ** ((count - 1 - i) / half_life) for i in range(count))


def recommend(
    searcher: Searcher, examples: Examples, k: int = 10, options: Options = DEFAULT
) -> list[Hit]:
    """The k documents nearest to what is liked and far from what is not, none of these.

    QueryError for no example, or weights that are not one positive number for each.
    UnknownDocumentError for an id that is not there.
    """
    check_examples(examples)
    weights = np.array(examples.weights or [1.0] * len(examples.like), np.float32)
    vector = weights @ searcher.vectors(examples.like) / weights.sum()
    if examples.unlike:
        vector = vector - UNLIKE_WEIGHT * searcher.vectors(examples.unlike).mean(axis=0)
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise QueryError("what is liked and what is not are the same")
    where = without((*examples.like, *examples.unlike), options.where)
    query = (vector / length).astype(np.float32)
    return searcher.nearest(query, k, replace(options, where=where))


def check_examples(examples: Examples) -> None:
    if not examples.like:
        raise QueryError("give at least one document that is liked")
    if len(examples.like) + len(examples.unlike) > MOST_EXAMPLES:
        raise QueryError(f"more than {MOST_EXAMPLES:,} examples")
    weights: Sequence[float] = examples.weights or ()
    if examples.weights is not None and len(weights) != len(examples.like):
        raise QueryError(f"{len(weights)} weights for {len(examples.like)} liked documents")
    if not all(0 < weight < float("inf") for weight in weights):
        raise QueryError("a weight must be a number above 0")


def without(ids: Sequence[str], where: Filter | None) -> Filter:
    """A filter, and none of these documents."""
    others = Not(Condition(("_id",), Operator.IN, tuple(ids)))
    return others if where is None else And((others, where))
