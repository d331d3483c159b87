"""How a search is done, beside its query and how many hits are wanted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from trimseek.errors import QueryError
from trimseek.indexer.filters import Field, Filter, check_filter, check_path, field_name

if TYPE_CHECKING:  # the supervisor of a service reads the limits below, and needs no encoder
    from trimseek.encoders.cross_encoder import PairScores

MOST_HITS = 1000
MOST_OFFSET = 9000
LONGEST_QUERY = 100_000  # characters
MOST_EFFORT = 1_000_000
MOST_FACETS = 16
MOST_TITLE_WEIGHT = 100
DEFAULT_RERANK_DEPTH = 50
# Gain of nDCG@10 over vectors alone, mean of SciFact, NFCorpus, Cranfield, SQuAD and the Python
# questions: 10.8 % at 0.9, 12.7 % at 0.85, 12.9 % at 0.8, 11.8 % at 0.7. Where words tell little,
# more weight on meaning loses less.
DEFAULT_WEIGHT = 0.85


class Mode(str, Enum):
    """By meaning (vectors), by words (BM25), or by both."""

    DENSE = "dense"
    LEXICAL = "lexical"
    HYBRID = "hybrid"


class Fusion(str, Enum):
    """What hybrid search makes of both: a weighted sum of scaled scores, or of reciprocal ranks."""

    SCORES = "scores"
    RANKS = "ranks"


class Scorer(Protocol):
    """What reranks, as ``encoders.cross_encoder.CrossEncoder`` does."""

    def scores(self, query: str, texts: Sequence[str]) -> "PairScores":
        """The score of each text for the query."""


@dataclass(frozen=True)
class Options:
    """``offset``: hits to leave out, for the next page. ``where``: which documents count.

    ``weight``: of meaning in hybrid mode, from 0 (words alone) to 1, where ``fusion`` is by scores.
    ``effort``: of an approximate index, see ``trimseek.indexer.snapshot``; None is what was tuned.
    ``min_score``: the least score of a hit, in the scores of the mode. ``group_by``: a metadata
    field; only the best hit of each of its values is given. ``diversity``: 0 is none, up to 1,
    as in maximal marginal relevance. ``highlight``: say where the query's words are.
    ``facets``: metadata fields whose values among the best documents are counted.
    ``title_weight``: how often a word of a title counts for BM25. ``prefix``: the last word is only
    begun, and stands for all words that begin so. ``suggest``: say what a query with mistyped words
    may have meant. ``scorer``: a cross-encoder that puts the ``rerank_depth`` best documents into
    another order; no others are then found. ``vector``: the query's, in the place of the encoder's;
    of the index's space. ``require_all``: of an index in a cluster, rather no answer than one
    without the documents of shards that do not answer.
    """

    mode: Mode = Mode.HYBRID
    offset: int = 0
    where: Filter | None = None
    effort: int | None = None
    min_score: float | None = None
    group_by: Field | None = None
    diversity: float = 0.0
    highlight: bool = False
    facets: tuple[Field, ...] = ()
    weight: float = DEFAULT_WEIGHT
    fusion: Fusion = Fusion.SCORES
    title_weight: float = 1.0
    prefix: bool = False
    suggest: bool = False
    scorer: Scorer | None = None
    rerank_depth: int = DEFAULT_RERANK_DEPTH
    vector: tuple[float, ...] | None = None
    require_all: bool = False

    @property
    def needs_encoding(self) -> bool:
        """Whether the query is to be encoded."""
        return self.mode is not Mode.LEXICAL and self.vector is None


DEFAULT = Options()


def check_options(options: Options) -> None:
    """QueryError for options that make no sense."""
    if not 0 <= options.offset <= MOST_OFFSET:
        raise QueryError(f"offset is {options.offset}; it must be from 0 to {MOST_OFFSET}")
    if options.effort is not None and not 1 <= options.effort <= MOST_EFFORT:
        raise QueryError(f"effort is {options.effort}; it must be from 1 to {MOST_EFFORT:,}")
    if options.min_score is not None and not math.isfinite(options.min_score):
        raise QueryError(f"min_score is {options.min_score}; it must be a number")
    if not 0 <= options.weight <= 1:
        raise QueryError(f"weight is {options.weight:g}; it must be from 0 to 1")
    if not 0 <= options.title_weight <= MOST_TITLE_WEIGHT:
        raise QueryError(
            f"title_weight is {options.title_weight:g}; it must be from 0 to {MOST_TITLE_WEIGHT}"
        )
    if not 1 <= options.rerank_depth <= MOST_HITS:
        raise QueryError(
            f"rerank_depth is {options.rerank_depth}; it must be from 1 to {MOST_HITS}"
        )
    if options.vector is not None and options.mode is Mode.LEXICAL:
        raise QueryError("a vector is not searched for by words; leave out mode, or the vector")
    if not 0 <= options.diversity <= 1:
        raise QueryError(f"diversity is {options.diversity:g}; it must be from 0 to 1")
    if len(options.facets) > MOST_FACETS:
        raise QueryError(f"{len(options.facets)} facets; the most is {MOST_FACETS}")
    if options.where is not None:
        check_filter(options.where)
    for field in (*options.facets, *([options.group_by] if options.group_by else [])):
        check_path(field)
        if field[0].startswith("_") and field_name(field) in ("_id", "_title"):
            raise QueryError(f"{field_name(field)}: every document has its own")


def check_query(query: str, k: int, options: Options = DEFAULT) -> None:
    """QueryError for a blank query, one that is no text, or a k beyond 1 to 1000.

    A query may be blank where a vector stands for it.
    """
    check_count(k)
    if not query.strip() and options.vector is not None and options.scorer is not None:
        raise QueryError("a cross-encoder reads the query: give one beside the vector")
    if not query.strip() and (options.vector is None or options.mode is Mode.LEXICAL):
        raise QueryError("the query is empty")
    if len(query) > LONGEST_QUERY:
        raise QueryError(f"the query has {len(query):,} characters; the most is {LONGEST_QUERY:,}")
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"the query is not Unicode text at character {error.start}") from None
    if "\0" in query:
        raise QueryError("the query holds a NUL character (U+0000)")


def check_count(k: int) -> None:
    """QueryError for a k beyond 1 to 1000."""
    if not 1 <= k <= MOST_HITS:
        raise QueryError(f"k is {k}; it must be from 1 to {MOST_HITS}")
