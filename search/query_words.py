"""The words of a query: their ids in an index, and where they are in its texts."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from trimseek.indexer.analyzer import UNSPACED, Analyzer, Word
from trimseek.indexer.store import Store
from trimseek.search.words import Words

MOST_TERMS = 1024  # of a query
MOST_BEGUN = 256  # words that one begins
OTHERWISE = 2  # IT counts as such where so many times as many documents have it


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a document's text."""

    start: int
    end: int


class QueryWords:
    """The words of a query, by the analyzer of the index that is asked."""

    def __init__(self, query: str, analyzer: Analyzer) -> None:
        self._query, self._analyzer = query, analyzer

    @cached_property
    def _words(self) -> list[Word]:
        """Without the last character of a run of pairs, which stands in its last pair."""
        words = self._analyzer.words(self._query)
        ends = {word.end for word in words if len(word.term) > 1}
        return [word for word in words if not (is_beginning(word.term) and word.end in ends)]

    @cached_property
    def terms(self) -> list[str]:
        """Each term once, in the order of the query."""
        return list(dict.fromkeys(word.term for word in self._words))[:MOST_TERMS]

    def term_ids(self, store: Store, words: Words) -> list[list[int]]:
        """The ids of each term.

        A single character of a script without spaces stands for all terms that begin with it. A
        word in capitals (``analyzer``) counts as such where it mostly is another word.
        """
        known = store.term_ids(self.terms)
        written = {word.term: before.term for before, word in self._written()}
        asked = [term for term in self.terms if term in known or is_beginning(term)]
        counts = dict(zip(known, words.frequencies(list(known.values())), strict=True))
        groups = []
        for term in asked:
            if is_beginning(term):
                groups.append(store.terms_begun_by(term, MOST_BEGUN))
            elif term not in written or (counts.get(written[term], 0) >= OTHERWISE * counts[term]):
                groups.append([known[term]])
        return [group for group in groups if group]

    def _written(self) -> list[tuple[Word, Word]]:
        """Words in capitals, each with the same word in small letters, which stands before it."""
        return [
            (before, word)
            for before, word in zip(self._words, self._words[1:], strict=False)
            if word.term.isupper() and (before.start, before.end) == (word.start, word.end)
        ]

    def spans(self, store: Store, documents: Sequence[int]) -> dict[int, list[Span]]:
        """Where the query's words are in the texts of documents, by their keys."""
        terms = set(self.terms)
        beginnings = tuple(term for term in terms if is_beginning(term))
        if not terms or not documents:
            return {}
        return {
            key: merged(
                [
                    Span(word.start, word.end)
                    for word in self._analyzer.words(text)
                    if word.term in terms or (beginnings and word.term.startswith(beginnings))
                ]
            )
            for key, _, text in store.texts_of(documents)
        }


def is_beginning(term: str) -> bool:
    """Whether a term is one character of a script of which documents have pairs."""
    return len(term) == 1 and UNSPACED.fullmatch(term) is not None


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in their order; those that overlap become one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start < joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
