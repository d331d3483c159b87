"""Recognizes the queries that losses are measured on, so that nothing is trained on them."""

from collections.abc import Iterable, Sequence

BEGINNING = 3  # words by which queries are looked up


class QueryMatcher:
    """Finds queries within texts, word by word; words are what whitespace separates."""

    def __init__(self, queries: Iterable[str]) -> None:
        self._by_beginning: dict[tuple[str, ...], list[list[str]]] = {}
        for query in queries:
            words = query.split()
            self._by_beginning.setdefault(tuple(words[:BEGINNING]), []).append(words)

    def occurs_in(self, words: Sequence[str]) -> bool:
        """Whether all words of one of the queries stand in a row in ``words``."""
        for start in range(len(words)):
            for length in range(1, BEGINNING + 1):
                beginning = tuple(words[start : start + length])
                for query in self._by_beginning.get(beginning, ()):
                    if words[start : start + len(query)] == query:
                        return True
        return False
