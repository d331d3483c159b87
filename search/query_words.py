"""The words of a query: their ids in an index, and where they are in its texts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from trimseek.indexer.analyzer import UNSPACED, Analyzer, Word, analyzer_of
from trimseek.indexer.store import Store
from trimseek.search.vocabulary import Frequencies, Vocabulary

MOST_TERMS = 1024  # of a query
MOST_BEGUN = 256  # words that one begins
MOST_LOOKED_AT = 8192  # of which these are the most frequent
SHORTEST_STEM = 3  # letters
TELLING_SHARE = 0.5  # of the documents: words that more of them have tell nothing
OTHERWISE = 2  # IT counts as such where so many times as many documents have it


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a document's text."""

    start: int
    end: int


class SpanFinder(Protocol):
    """Finds the words of a query in texts."""

    def spans(self, store: Store, documents: Sequence[int]) -> dict[int, list[Span]]:
        """Where they are in the texts of documents, by their keys."""


@dataclass(frozen=True)
class TellingWords:
    """The words of a query that tell documents from one another.

    ``terms``: as documents have them. ``begun``: what the last word begins with, where it is only
    begun. ``language``: of the index's words, None where they are not reduced to stems.
    """

    terms: frozenset[str]
    begun: tuple[str, ...]
    language: str | None

    def spans(self, store: Store, documents: Sequence[int]) -> dict[int, list[Span]]:
        """Where they are in the texts of documents, by their keys."""
        terms, analyzer = self.terms, analyzer_of(self.language)
        beginnings = (*(term for term in terms if is_beginning(term)), *self.begun)
        if not terms or not documents:
            return {}
        return {
            key: merged(
                [
                    Span(word.start, word.end)
                    for word in analyzer.words(text)
                    if word.term in terms or (beginnings and word.term.startswith(beginnings))
                ]
            )
            for key, _, text in store.texts_of(documents)
        }


class QueryWords:
    """The words of a query, by the analyzer of the index that is asked.

    ``words``: None in an index that has none. ``prefix``: the last word is only begun, and stands
    for all words that begin so, unless a blank comes after it.
    """

    def __init__(
        self, query: str, store: Vocabulary, words: Frequencies | None, *, prefix: bool = False
    ) -> None:
        self.query, self._store, self._words_stored = query, store, words
        self._prefix = prefix

    @cached_property
    def analyzer(self) -> Analyzer:
        """What makes words of the index's texts."""
        return self._store.analyzer

    @cached_property
    def words(self) -> list[Word]:
        """Without the last character of a run of pairs, which stands in its last pair."""
        words = self.analyzer.words(self.query)
        if self.query.isascii():  # has no script that gives pairs
            return words
        ends = {word.end for word in words if len(word.term) > 1}
        return [word for word in words if not (is_beginning(word.term) and word.end in ends)]

    @cached_property
    def terms(self) -> list[str]:
        """Each term once, in the order of the query."""
        return list(dict.fromkeys(word.term for word in self.words))[:MOST_TERMS]

    @cached_property
    def begun(self) -> list[str]:
        """What the last word begins with, as it is typed: words are reduced to stems only whole."""
        if not self._prefix:
            return []
        typed = analyzer_of(None).words(self.query)
        return list(
            dict.fromkeys(
                word.term
                for word in typed
                if word.end == len(self.query) and not UNSPACED.search(word.term)
            )
        )

    @cached_property
    def known(self) -> dict[str, int]:
        """The ids of those terms that the index has."""
        if self._words_stored is None:
            return self._store.term_ids(self.terms)
        return self._words_stored.ids(self.terms, self._store)

    @cached_property
    def frequencies(self) -> dict[str, int]:
        """How many documents have each of the terms."""
        if self._words_stored is None:
            return {}
        counts = self._words_stored.frequencies(list(self.known.values()))
        return dict(zip(self.known, counts, strict=True))

    @cached_property
    def term_ids(self) -> list[list[int]]:
        """The ids of each term.

        A single character of a script without spaces stands for all terms that begin with it, and
        so does a last word that is only begun. A word in capitals (``analyzer``) counts as such
        where it mostly is another word.
        """
        written = {word.term: before.term for before, word in self._written()}
        counts = self.frequencies if written else {}
        groups = []
        for term in self.terms:
            if is_beginning(term):
                groups.append(self._store.terms_begun_by(term, MOST_BEGUN))
            elif term in self.known and (
                term not in written or counts.get(written[term], 0) >= OTHERWISE * counts[term]
            ):
                groups.append([self.known[term]])
        return [group for group in (*groups, self.begun_ids) if group]

    @cached_property
    def begun_ids(self) -> list[int]:
        """The ids of the terms that the last word may become."""
        return sorted({id_ for beginning in self.begun for id_ in self._begun_by(beginning)})

    def _begun_by(self, beginning: str) -> list[int]:
        """The ids of the terms that most documents have, of those that begin so.

        Where there are none, that of the longest one that it begins with: "runni" is of "run".
        """
        ids = self._store.terms_begun_by(beginning, MOST_LOOKED_AT)
        if not ids and self.analyzer.language is not None:
            shorter = [beginning[:length] for length in range(SHORTEST_STEM, len(beginning))]
            known = self._store.term_ids(shorter)
            return [known[max(known, key=len)]] if known else []
        if len(ids) <= MOST_BEGUN or self._words_stored is None:
            return ids[:MOST_BEGUN]
        counts = self._words_stored.frequencies(ids)
        return [ids[i] for i in sorted(range(len(ids)), key=lambda i: -counts[i])[:MOST_BEGUN]]

    def _written(self) -> list[tuple[Word, Word]]:
        """Words in capitals, each with the same word in small letters, which stands before it."""
        if self.query.islower():
            return []
        return [
            (before, word)
            for before, word in zip(self.words, self.words[1:], strict=False)
            if word.term.isupper() and (before.start, before.end) == (word.start, word.end)
        ]

    @cached_property
    def telling(self) -> set[str]:
        """The terms that tell documents from one another; all of them where none does."""
        if self._words_stored is None:
            return set(self.terms)
        most = TELLING_SHARE * self._words_stored.documents
        common = {term for term, count in self.frequencies.items() if count > most}
        return set(self.terms) - common or set(self.terms)

    @cached_property
    def telling_words(self) -> TellingWords:
        """What is looked for in the texts of documents."""
        return TellingWords(frozenset(self.telling), tuple(self.begun), self.analyzer.language)

    def spans(self, store: Store, documents: Sequence[int]) -> dict[int, list[Span]]:
        """Where the query's telling words are in the texts of documents, by their keys."""
        return self.telling_words.spans(store, documents) if documents else {}


def is_beginning(term: str) -> bool:
    """Whether a term is one character of a script of which documents have pairs."""
    return len(term) == 1 and not term.isascii() and UNSPACED.fullmatch(term) is not None


def merged(spans: Sequence[Span]) -> list[Span]:
    """Spans in their order; those that overlap become one."""
    joined: list[Span] = []
    for span in sorted(spans):
        if joined and span.start < joined[-1].end:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined
