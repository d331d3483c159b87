"""Texts to be found by their words: BM25 in memory, as an index has it."""

from collections.abc import Sequence

from trimseek.indexer.analyzer import analyzer_of
from trimseek.indexer.stems import language_of
from trimseek.indexer.words import blocks_of, pack_counts
from trimseek.search.words import Words

SAMPLED = 200  # texts that the language is told by


class TextWords:
    """The words of texts, which are known by their positions."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._analyzer = analyzer_of(language_of(texts[:: -(-len(texts) // SAMPLED)]))
        self._terms: dict[str, int] = {}
        rows = []
        for number, text in enumerate(texts):
            counts = self._analyzer.counts(text)
            known = {
                self._terms.setdefault(term, len(self._terms)): count
                for term, count in counts.items()
            }
            rows.append((number + 1, pack_counts(known, {})))
        blocks = tuple(blocks_of(rows))
        self._words = Words(None, 0, 0, blocks, (None,) * len(blocks), len(rows))

    def best(self, query: str, k: int) -> list[int]:
        """Positions of at most k texts, best first; none where no word of the query is known."""
        terms = [
            [self._terms[term]] for term in self._analyzer.counts(query) if term in self._terms
        ]
        if not terms:
            return []
        return [number - 1 for number in self._words.scores(terms).best(k).chunks.tolist()]
