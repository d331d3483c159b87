"""What a search reads: an index at one moment, or the shards that one was divided into."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trimseek.indexer.card import IndexCard
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import Condition, Field, Filter, Scalar
from trimseek.indexer.rows import StoredChunk
from trimseek.search.candidates import Candidate
from trimseek.search.hits import Hit, ShardCount
from trimseek.search.options import Options
from trimseek.search.query_words import QueryWords

ValueCounts = list[tuple[str | int | float | bool, int]]  # values, and how many documents have each


class IndexReader(Protocol):
    """All that it reads is of one moment. Documents are known by their keys."""

    @property
    def card(self) -> IndexCard:
        """Of the index."""

    @property
    def has_words(self) -> bool:
        """Whether it can be searched by words: what an earlier trimseek made cannot."""

    @property
    def shards(self) -> ShardCount | None:
        """How many shards have answered all that was asked; None where there are none."""

    def words(self, query: str, *, prefix: bool = False) -> QueryWords:
        """A query's words; ``prefix`` as ``QueryWords``."""

    def batches(
        self,
        words: QueryWords,
        vector: NDArray[np.float32] | None,
        options: Options,
        first: int,
    ) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time; ``first``: how many are wanted at least.

        ``vector (dim,)``: the query's, not needed in lexical mode.
        """

    def field_values(self, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
        """The first value of a metadata field of each document that has one."""

    def facet_counts(self, field: Field, documents: Sequence[int]) -> ValueCounts:
        """The values of a field among some documents, as ``facets.facet_counts``."""

    def facet_totals(self, field: Field, where: Filter | None) -> ValueCounts:
        """The values of a field among all documents of a filter, as ``facets.facet_totals``."""

    def passages(
        self, candidates: Sequence[Candidate], words: QueryWords
    ) -> dict[int, StoredChunk]:
        """Each document's best passage by document; those deleted meanwhile are left out."""

    def vectors(
        self, candidates: Sequence[Candidate], words: QueryWords
    ) -> dict[int, NDArray[np.float32]]:
        """Each document's best passage's vector ``(dim,)``; without those deleted meanwhile."""

    def hits(
        self, candidates: Sequence[Candidate], words: QueryWords, options: Options
    ) -> list[Hit]:
        """The documents of some candidates, in their order, without those deleted meanwhile."""

    def suggestion(self, words: QueryWords) -> str | None:
        """As ``suggestions.suggestion``."""

    def warnings(self, conditions: Sequence[Condition]) -> tuple[str, ...]:
        """A sentence for each condition that asks for what no document has."""

    def passage_sums(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The sum of the vectors ``(dim,)`` of the passages of those documents that are there."""

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of those documents that are there, by id."""

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those documents that are there, by id."""

    def documents_after(
        self, key: int, count: int, where: Filter | None
    ) -> list[tuple[int, Document]]:
        """At most so many documents behind a key, ascending, that a filter lets through."""

    def count(self, where: Filter | None) -> int:
        """How many documents a filter lets through; all where it is None."""

    def sample(self, count: int) -> list[Document]:
        """At most so many documents, evenly from all."""
