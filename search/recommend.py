"""Recommend: documents like some and unlike others, or the items that follow a history.

By examples, the vector that is searched for is, as in Rocchio's relevance feedback (1971),

    mean over liked documents of w v   -   weight * mean over disliked documents of v

with v of unit length and w a weight of each liked one: what somebody read last counts more. By a
history, it is what the index's recommender makes of it; of a history without any item that the
recommender knows, the most popular items are recommended.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.recommender.items import history_text
from trimseek.errors import CorpusError, QueryError, UnknownDocumentError
from trimseek.ids import check_text
from trimseek.indexer.filter_notes import conditions_asked
from trimseek.indexer.filters import And, Condition, Filter, Operator
from trimseek.indexer.folder import check_space
from trimseek.search.candidates import Candidate
from trimseek.search.hits import Hit, ShardCount
from trimseek.search.options import DEFAULT, Mode, Options, check_count, check_options
from trimseek.search.ranking import find, find_among, named_fields
from trimseek.search.reader import IndexReader
from trimseek.search.reader_searcher import ReaderSearcher, shard_warnings

UNLIKE_WEIGHT = 0.5
MOST_EXAMPLES = 1000
LONGEST_HISTORY = 10_000
BLOCK = 256  # popular items that are looked up at a time


@dataclass(frozen=True)
class Examples:
    """Ids of documents. ``weights``: one for each liked one, 1 by default."""

    like: tuple[str, ...]
    unlike: tuple[str, ...] = ()
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class History:
    """Ids of the items that somebody took, the latest last.

    ``seen``: items that are not recommended either way; ``again``: those of the history may be.
    """

    items: tuple[str, ...]
    seen: tuple[str, ...] = ()
    again: bool = False


def asked_of(
    like: Sequence[str] | None,
    unlike: Sequence[str],
    weights: Sequence[float] | None,
    history: Sequence[str] | None,
    seen: Sequence[str],
    *,
    again: bool,
) -> Examples | History:
    """What is asked for by these; QueryError unless it is one of the two."""
    if (like is None) == (history is None):
        raise QueryError("give like or history, one of the two")
    if history is not None:
        if unlike or weights is not None:
            raise QueryError("unlike and weights go with like, not with a history")
        return History(tuple(history), tuple(seen), again)
    if seen or again:
        raise QueryError("seen and again go with a history, not with like")
    given = None if weights is None else tuple(weights)
    return Examples(tuple(like or ()), tuple(unlike), given)


class Basis(str, Enum):
    """What recommendations follow from."""

    EXAMPLES = "examples"
    HISTORY = "history"
    POPULARITY = "popularity"


class Recommendations(NamedTuple):
    """Hits, best first; ``warnings`` and ``shards`` as of a search's ``Results``.

    ``unknown``: how many items of a history the recommender does not know.
    """

    hits: list[Hit]
    warnings: tuple[str, ...]
    shards: ShardCount | None
    basis: Basis = Basis.EXAMPLES
    unknown: int = 0


def history_weights(count: int, half_life: float) -> tuple[float, ...]:
    """Weights of a history, the latest last: each half as large ``half_life`` places before."""
    return tuple(0.5 ** ((count - 1 - i) / half_life) for i in range(count))


def recommend(
    searcher: ReaderSearcher, asked: Examples | History, k: int = 10, options: Options = DEFAULT
) -> Recommendations:
    """The k documents nearest to what is liked and far from what is not, none of these.

    Of a history, the k items that are likeliest to follow. QueryError for no example, weights that
    are not one positive number for each, or a history where the index's encoder reads none.
    UnknownDocumentError for an example that is not there.
    """
    check_count(k)
    options = replace(options, mode=Mode.DENSE)
    check_options(options)
    if isinstance(asked, History):
        check_ids((*asked.items, *asked.seen))
        return follow(searcher, asked, k, options)
    check_ids((*asked.like, *asked.unlike))
    check_examples(asked)

    def work(reader: IndexReader) -> Recommendations:
        vector = query_vector(reader, asked)
        excluded = keys_of(reader, (*asked.like, *asked.unlike))
        hits = find(reader, reader.words(""), vector, k, options, excluded).hits
        return Recommendations(hits, warnings_of(reader, options), reader.shards)

    return searcher.reading(work)


def follow(searcher: ReaderSearcher, history: History, k: int, options: Options) -> Recommendations:
    """As ``recommend``, of a history."""
    encoder = searcher.encoder
    if not encoder.card.histories:
        raise QueryError(
            f"the encoder of {searcher.name!r} reads texts, not histories of items: give like; "
            "trimseek train-recommender makes one that reads histories"
        )
    if len(history.items) + len(history.seen) > LONGEST_HISTORY:
        raise QueryError(f"a history of more than {LONGEST_HISTORY:,} items")
    known = [item for item in history.items if item in encoder.items]
    unknown = len(history.items) - len(known)
    vector = encoder.encode([history_text(known)]).vectors[0] if known else None
    left_out = (*history.seen, *(() if history.again else history.items))

    def work(reader: IndexReader) -> Recommendations:
        check_space(reader.card, encoder.card.space, searcher.folder, encoder.card.name)
        excluded, words = keys_of(reader, left_out), reader.words("")
        if vector is not None:
            basis = Basis.HISTORY
            hits = find(reader, words, vector, k, options, excluded).hits
        else:
            basis = Basis.POPULARITY
            popular = popular_items(reader, encoder.items.by_popularity, options.where)
            by_place = replace(options, mode=Mode.LEXICAL)  # no passage is the nearest
            hits = find_among(reader, words, popular, k, by_place, excluded).hits
        return Recommendations(hits, warnings_of(reader, options), reader.shards, basis, unknown)

    return searcher.reading(work)


def popular_items(
    reader: IndexReader, items: Sequence[str], where: Filter | None
) -> Iterator[list[Candidate]]:
    """The documents of items, of which the most popular come first, within a filter.

    A score is 1 divided by the item's place among all items.
    """
    for start in range(0, len(items), BLOCK):
        block = items[start : start + BLOCK]
        keys = reader.keys_of(block)
        if where is not None and keys:
            these = And((Condition(("_id",), Operator.IN, tuple(keys)), where))
            within = {document.id for _, document in reader.documents_after(0, BLOCK, these)}
            keys = {id_: key for id_, key in keys.items() if id_ in within}
        yield [
            Candidate(keys[item], 1 / place)
            for place, item in enumerate(block, start + 1)
            if item in keys
        ]


def keys_of(reader: IndexReader, ids: Sequence[str]) -> frozenset[int]:
    """The keys of those documents that are there."""
    return frozenset(reader.keys_of(tuple(dict.fromkeys(ids))).values())


def warnings_of(reader: IndexReader, options: Options) -> tuple[str, ...]:
    """What to say of the filter and the fields, and of shards that have not answered."""
    conditions = conditions_asked(options.where, named_fields(options))
    return (*reader.warnings(conditions), *shard_warnings(reader))


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


def check_ids(ids: Sequence[str]) -> None:
    """QueryError for an id that is no text."""
    try:
        for id_ in ids:
            check_text(id_, "id", "recommend")
    except CorpusError as error:
        raise QueryError(str(error)) from None


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
