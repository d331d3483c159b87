"""The terms of what is searched, how many documents have each, and how a query's terms weigh."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from trimseek.indexer.analyzer import Analyzer


class Vocabulary(Protocol):
    """Terms and their ids, as documents.db has them (``indexer.word_store``)."""

    @property
    def analyzer(self) -> Analyzer:
        """What makes words of texts and of queries."""

    def term_ids(self, terms: Sequence[str]) -> dict[str, int]:
        """The ids of those terms that documents have, or had."""

    def terms_begun_by(self, beginning: str, most: int) -> list[int]:
        """The ids of at most so many terms that begin so, in the order of the terms."""

    def term_of(self, id_: int) -> str:
        """The term of an id; IndexFolderError where there is none."""

    def count_terms(self) -> int:
        """How many terms there are."""

    def terms_of_length(
        self, least: int, most: int, beginnings: Sequence[str] | None = None
    ) -> dict[str, int]:
        """The ids of terms of so many characters; of those that begin so, None for all."""


class Frequencies(Protocol):
    """How many documents have each term."""

    @property
    def documents(self) -> int:
        """How many documents there are."""

    def ids(self, terms: Sequence[str], store: Vocabulary) -> dict[str, int]:
        """The ids of those terms that there are."""

    def frequencies(self, ids: Sequence[int]) -> list[int]:
        """How many documents have each of some terms."""


class WeighedTerms(NamedTuple):
    """The terms of a query and their weights, the heaviest first: the order of their sum.

    ``rarest``: how many of all ``documents`` have the term that fewest have.
    """

    ids: list[int]
    weights: list[float]
    rarest: int
    documents: int


def weighed(groups: Sequence[Sequence[int]], counts: Frequencies) -> WeighedTerms:
    """The weights of terms by how many documents have them.

    ``groups``: ids of each term of the query; several where it stands for all words that begin
    with it, which weigh as one that all their documents had.
    """
    ids = [id_ for group in groups for id_ in group]
    found = counts.frequencies(ids)
    total, weights, start = counts.documents, list[float](), 0
    rarest = total
    for group in groups:
        documents = min(total, sum(found[start : start + len(group)]))
        weights += [inverse_frequency(documents, total)] * len(group)
        start += len(group)
        rarest = min(rarest, documents) if documents else rarest
    order = sorted(range(len(ids)), key=lambda i: (-weights[i], ids[i]))
    return WeighedTerms([ids[i] for i in order], [weights[i] for i in order], rarest, total)


def inverse_frequency(documents: int, total: int) -> float:
    """The weight of a term that so many documents of all have."""
    return math.log(1 + (total - documents + 0.5) / (documents + 0.5))
