"""BM25 over the words of a collection, to be compared with vectors: what words alone find.

Words are those of ``trimseek search``: its analyzer, its stems, its compiled scoring.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import FloatArray
from trimseek.eval.quality.agreement import NO_HIT
from trimseek.indexer.analyzer import Analyzer
from trimseek.indexer.card import IndexCard
from trimseek.indexer.chunks import Chunk
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import create_index, open_for_changes, open_index
from trimseek.indexer.words import write_words
from trimseek.search.query_words import QueryWords
from trimseek.search.words import words_without_file

BM25 = "bm25"  # as a benchmark's encoders are named
SUFFIX = ".words"  # of a file that says where the words are
NO_VECTORS = IndexCard("words", 1, BM25, overlap=0)


class WordIndex:
    """Documents by their words; it is searched as a FAISS index is, by queries for vectors."""

    def __init__(self, folder: Path) -> None:
        _, self._store = open_index(folder)
        words = words_without_file(self._store)
        assert words is not None  # noqa: S101 - every new index has words
        self._words = words
        self._chunks = np.concatenate([np.empty(0, np.int64), *(b.chunks for b in words.blocks)])

    @property
    def analyzer(self) -> Analyzer:
        """What makes words of texts."""
        return self._store.analyzer

    def queries(self, texts: Sequence[str]) -> list[QueryWords]:
        """Queries whose words are found."""
        queries = [QueryWords(text, self._store, self._words) for text in texts]
        for query in queries:
            _ = query.terms
        return queries

    def search(self, queries: Sequence[QueryWords], k: int) -> tuple[FloatArray, NDArray[np.int64]]:
        """Scores and rows ``(queries, k)`` of the best documents; 0 and -1 where there are no more.

        Rows are the documents' positions.
        """
        scores = np.zeros((len(queries), k), np.float32)
        rows = np.full((len(queries), k), NO_HIT, np.int64)
        for i, query in enumerate(queries):
            best = self._words.scores(query.term_ids).best(k)
            scores[i, : len(best.scores)] = best.scores
            rows[i, : len(best.chunks)] = np.searchsorted(self._chunks, best.chunks)
        return scores, rows

    def size(self, path: Path) -> int:
        """Bytes of its words as an index stores them; ``path``: of a file to be written."""
        write_words(self._words.blocks, path)
        return path.stat().st_size


@dataclass(frozen=True)
class WordFile:
    """A file that says where an index's words are, for those who open it."""

    folder: Path
    suffix: ClassVar[str] = SUFFIX

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(str(self.folder), "utf-8")


def open_word_file(path: str) -> WordIndex:
    """The index that a file is of."""
    return WordIndex(Path(Path(path).read_text("utf-8")))


def build_words(texts: Sequence[str], folder: Path) -> None:
    """Make an index of texts by their words."""
    documents = {str(i): text for i, text in enumerate(texts)}
    store_passages(folder, NO_VECTORS, documents, np.ones((len(texts), 1), np.float32))


def store_passages(
    folder: Path, card: IndexCard, documents: Mapping[str, str], vectors: FloatArray
) -> None:
    """Make an index with one passage for each document; ``vectors``: ``(documents, card.dim)``."""
    create_index(folder, card)
    with open_for_changes(folder) as (_, store), store.transaction():
        store.tell_language(list(documents.values()))
        for (id_, text), vector in zip(documents.items(), vectors, strict=True):
            store.upsert(Document(id_, "", text), [Chunk(0, len(text), text)], vector[None])
