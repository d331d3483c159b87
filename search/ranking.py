"""From documents of a query, best first, to hits: grouped, reranked, made diverse, paged."""

import time
from collections.abc import Hashable, Iterable, Sequence, Set
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.transforms import unit
from trimseek.indexer.filters import Field, field_name, kind_name
from trimseek.search.candidates import Candidate, diversified, one_of_each
from trimseek.search.hits import FacetValue, Hit
from trimseek.search.options import Options
from trimseek.search.query_words import QueryWords
from trimseek.search.reader import IndexReader
from trimseek.search.rerank import reranked

COUNTED_DEPTH = 100  # documents whose facets are counted
DIVERSE_BLOCK = 100  # documents that are put in another order among themselves


class Found(NamedTuple):
    """What ``find`` gives; ``rerank``: milliseconds that reranking took."""

    hits: list[Hit]
    facets: dict[str, list[FacetValue]]
    rerank: float


def find(
    reader: IndexReader,
    words: QueryWords,
    vector: NDArray[np.float32] | None,
    k: int,
    options: Options,
    excluded: Set[int] = frozenset(),
) -> Found:
    """The hits of a query, and the facets that are asked for.

    ``vector (dim,)``: the query's, not needed in lexical mode. Options that were checked.
    ``excluded``: keys of documents that are no hits.
    """
    first = first_wanted(k, options) + len(excluded)
    batches = reader.batches(words, vector, options, first)
    return find_among(reader, words, batches, k, options, excluded)


def first_wanted(k: int, options: Options) -> int:
    """How many documents are looked at, at least, for so many hits."""
    counted = COUNTED_DEPTH if options.facets else 0
    depth = options.rerank_depth if options.scorer else 0
    return max(depth or pool_of(k, options), counted)


def pool_of(k: int, options: Options) -> int:
    """How many documents the hits are chosen from."""
    wanted = options.offset + k
    return -(-wanted // DIVERSE_BLOCK) * DIVERSE_BLOCK if options.diversity else wanted


def find_among(
    reader: IndexReader,
    words: QueryWords,
    batches: Iterable[list[Candidate]],
    k: int,
    options: Options,
    excluded: Set[int] = frozenset(),
) -> Found:
    """As ``find``, of documents that come best first, some at a time."""
    wanted, pool = options.offset + k, pool_of(k, options)
    counted = COUNTED_DEPTH if options.facets else 0
    depth = options.rerank_depth if options.scorer else 0
    candidates: list[Candidate] = []
    chosen: list[Candidate] = []
    for batch in batches:
        candidates += (each for each in batch if each.document not in excluded)
        if depth:
            enough = len(candidates) >= depth
        else:
            chosen = selected(reader, candidates, options)
            enough = len(chosen) >= pool
        if enough and len(candidates) >= counted:
            break
    rerank = 0.0
    if options.scorer is not None:
        began = time.perf_counter()
        ordered = reranked(reader, candidates[:depth], words, options.scorer)
        chosen = selected(reader, ordered, options)
        rerank = (time.perf_counter() - began) * 1e3
    facets = facets_of(reader, candidates[:counted], options)
    if options.diversity:
        chosen = diversify(reader, chosen[:pool], words, options.diversity)
    hits = reader.hits(chosen[options.offset : wanted], words, options)
    return Found(hits, facets, rerank)


def selected(reader: IndexReader, candidates: list[Candidate], options: Options) -> list[Candidate]:
    """Those of at least ``min_score`` and, with ``group_by``, the best of each of its values."""
    if options.min_score is not None:
        candidates = [candidate for candidate in candidates if candidate.score >= options.min_score]
    if options.group_by is None:
        return candidates
    documents = [candidate.document for candidate in candidates]
    values = reader.field_values(options.group_by, documents)

    def group(candidate: Candidate) -> Hashable | None:
        value = values.get(candidate.document)
        return None if value is None else (kind_name(value), value)  # 1 is not true

    return one_of_each(candidates, group)


def diversify(
    reader: IndexReader, candidates: list[Candidate], words: QueryWords, diversity: float
) -> list[Candidate]:
    """Documents in the order of maximal marginal relevance, ``DIVERSE_BLOCK`` by so many.

    A document's relevance is its score as a share of the best one's, its vector that of its best
    chunk. Blocks are the same whatever page is wanted, and so is the order.
    """
    ordered: list[Candidate] = []
    best = max((abs(candidate.score) for candidate in candidates[:1]), default=0.0)
    for start in range(0, len(candidates), DIVERSE_BLOCK):
        block = candidates[start : start + DIVERSE_BLOCK]
        vectors = reader.vectors(block, words)
        known = [candidate for candidate in block if candidate.document in vectors]
        if not known:
            continue
        scores = np.array([candidate.score for candidate in known], np.float32)
        relevance = scores / max(best, 1e-9)
        stacked = unit(np.stack([vectors[candidate.document] for candidate in known]))
        ordered += [known[i] for i in diversified(relevance, stacked, len(known), diversity)]
    return ordered


def named_fields(options: Options) -> list[Field]:
    """The fields whose values are counted or grouped by."""
    grouped = [] if options.group_by is None else [options.group_by]
    return [*options.facets, *grouped]


def facets_of(
    reader: IndexReader, candidates: Sequence[Candidate], options: Options
) -> dict[str, list[FacetValue]]:
    """The values of the fields that are to be counted, among the candidates."""
    documents = [candidate.document for candidate in candidates]
    return {
        field_name(field): [
            FacetValue(*counted) for counted in reader.facet_counts(field, documents)
        ]
        for field in options.facets
    }
