"""Recommend: documents like some and unlike others, from the vectors that are stored.

The vector that is searched for is, as in Rocchio's relevance feedback (1971),

    mean over liked documents of w v   -   weight * mean over disliked documents of v

with v of unit length and w a weight of each liked one: what somebody read last counts more.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import QueryError, UnknownDocumentError
from trimseek.indexer.filter_notes import conditions_asked
from trimseek.indexer.filters import And, Condition, Filter, Not, Operator
from trimseek.search.hits import Hit, ShardCount
from trimseek.search.options import DEFAULT, Mode, Options, check_count, check_options
from trimseek.search.ranking import find, named_fields
from trimseek.search.reader import IndexReader
from trimseek.search.reader_searcher import ReaderSearcher, shard_warnings

UNLIKE_WEIGHT = 0.5
MOST_EXAMPLES = 1000


@dataclass(frozen=True)
class Examples:
    """Ids of documents. ``weights``: one for each liked one, 1 by default."""

    like: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None


class Recommendations(NamedTuple):
    """Hits, best first; ``warnings`` and ``shards`` as of a search's ``Results``."""

    hits: list[Hit]
    warnings: tuple[str, ...]
    shards: ShardCount | None


def history_weights(count: int, half_life: float) -> tuple[float, ...]:
    """Weights of a history, the latest last: each half as large ``half_life`` places before."""
    return tuple(0.5 ** ((count - 1 - i) / half_life) for i in range(count))


def recommend(
    searcher: ReaderSearcher, examples: Examples, k: int = 10, options: Options = DEFAULT
) -> Recommendations:
    """The k documents nearest to what is liked and far from what is not, none of these.

    QueryError for no example, or weights that are not one positive number for each.
    UnknownDocumentError for an id that is not there.
    """
    check_examples(examples)
    check_count(k)
    where = without((*examples.like, *examples.unlike), options.where)
    conditions = conditions_asked(options.where, named_fields(options))
    options = replace(options, where=where, mode=Mode.DENSE)
    check_options(options)

    def work(reader: IndexReader) -> Recommendations:
        vector = query_vector(reader, examples)
        hits = find(reader, reader.words(""), vector, k, options).hits
        warnings = (*reader.warnings(conditions), *shard_warnings(reader))
        return Recommendations(hits, warnings, reader.shards)

    return searcher.reading(work)


def query_vector(reader: IndexReader, examples: Examples) -> NDArray[np.float32]:
    """The vector that is searched for, ``(dim,)``, of unit length; QueryError if it is zero."""
    weights = np.array(examples.weights or [1.0] * len(examples.like), np.float32)
    vector = weights @ document_vectors(reader, examples.like) / weights.sum()
    if examples.unlike:
        vector = vector - UNLIKE_WEIGHT * document_vectors(reader, examples.unlike).mean(axis=0)
    length = float(np.linalg.norm(vector))
    if not length > 0:
        raise QueryError("what is liked and what is not are the same")
    return np.asarray(vector / length, np.float32)


def document_vectors(reader: IndexReader, ids: Sequence[str]) -> NDArray[np.float32]:
    """The mean of each document's passages' vectors, of unit length, ``(n, dim)``.

    UnknownDocumentError if one is not there.
    """
    sums = reader.passage_sums(ids)
    for id_ in ids:
        if id_ not in sums:
            raise UnknownDocumentError(f"the index has no document {id_!r}")
    means = np.array([sums[id_] for id_ in ids], np.float32).reshape(len(ids), reader.card.dim)
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    return (means / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def check_examples(examples: Examples) -> None:
    """QueryError as ``recommend``."""
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
