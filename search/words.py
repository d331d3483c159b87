"""BM25 over the words of an index (Robertson & Zaragoza 2009, with k1 = 1.2 and b = 0.75).

The score of a document is the sum over the query's terms of
``idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))``, with ``tf`` how often the
term comes in it and ``idf = ln(1 + (n - df + 0.5) / (df + 0.5))`` of ``df`` of ``n`` documents.
A word of a title counts ``title_weight`` times.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.indexer.rows import SnapshotRecord
from trimseek.indexer.snapshot import words_path
from trimseek.indexer.store import Store
from trimseek.indexer.words import WordBlock, blocks_of, read_words
from trimseek.search.native.postings import add_scores, best_places

K1, B = 1.2, 0.75
MOST_BLOCKS = 8  # of what came since the snapshot, beyond which they are put together


class Ranked(NamedTuple):
    """First chunks of documents, and their scores, best first."""

    chunks: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class WordScores:
    """A query's score for every document, of each block ``(documents,) float32``.

    ``rarest``: how many of all ``documents`` have the term that fewest have.
    """

    blocks: Sequence[WordBlock]
    scores: Sequence[NDArray[np.float32]]
    rarest: int
    documents: int

    def best(self, k: int, allowed: NDArray[np.int64] | None = None) -> Ranked:
        """The k best documents that have a term; of equal scores the older chunk first.

        ``allowed``: the only chunks that count, ascending.
        """
        chunks, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for block, scores in zip(self.blocks, self.scores, strict=True):
            mask = None if allowed is None else members(allowed, block.chunks)
            places = best_places(scores, mask, k)
            chunks.append(block.chunks[places])
            values.append(scores[places])
        all_chunks, all_scores = np.concatenate(chunks), np.concatenate(values)
        order = np.lexsort((all_chunks, -all_scores))[:k]
        return Ranked(all_chunks[order], all_scores[order])

    def of(self, chunks: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of documents by their first chunks; 0 of those that have no term."""
        found = np.zeros(len(chunks), np.float32)
        for block, scores in zip(self.blocks, self.scores, strict=True):
            places = np.searchsorted(block.chunks, chunks)
            places[places == len(block.chunks)] = 0
            inside = block.chunks[places] == chunks
            found[inside] = scores[places[inside]]
        return found


def members(allowed: NDArray[np.int64], chunks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each chunk, ascending, is one that is allowed."""
    first, last = int(chunks[0]), int(chunks[-1])
    inside = allowed[np.searchsorted(allowed, first) : np.searchsorted(allowed, last, "right")]
    flags = np.zeros(last - first + 1, bool)
    flags[inside - first] = True
    return flags[chunks - first]


@dataclass(frozen=True)
class Words:
    """The words of an index at one moment.

    ``snapshot``: what the first ``mapped`` blocks were read for; the others came since. ``live``:
    which documents of each block are not deleted, None where all are. ``made``: of the term ids.
    """

    snapshot: SnapshotRecord | None
    made: int
    mapped: int
    blocks: tuple[WordBlock, ...]
    live: tuple[NDArray[np.bool_] | None, ...]
    last_chunk: int
    norms: dict[float, list[NDArray[np.float32]]] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """How many documents there are."""
        return sum(
            len(block.chunks) if live is None else int(live.sum())
            for block, live in zip(self.blocks, self.live, strict=True)
        )

    def scores(self, terms: Sequence[Sequence[int]], title_weight: float = 1.0) -> WordScores:
        """The score of every document.

        ``terms``: ids of each term of the query; several where it stands for all words that begin
        with it, which weigh as one that all their documents had.
        """
        ids = np.array([id_ for group in terms for id_ in group], np.uint32)
        spans = [Spans.of(block, ids) for block in self.blocks]
        found = np.zeros(len(ids), np.int64)
        for block, live, span in zip(self.blocks, self.live, spans, strict=True):
            found += span.documents(block, live)
        total, weights, start, rarest = self.documents, [], 0, self.documents
        for group in terms:
            documents = min(total, int(found[start : start + len(group)].sum()))
            weights += [inverse_frequency(documents, total)] * len(group)
            start += len(group)
            rarest = min(rarest, documents) if documents else rarest
        norms = self._norms(title_weight)
        scores = []
        for i, (block, live, span) in enumerate(zip(self.blocks, self.live, spans, strict=True)):
            sums = np.zeros(len(block.chunks), np.float32)
            weight = np.array(weights, np.float32)
            add_scores(block, span.starts, span.ends, weight, title_weight, norms[i], sums)
            if live is not None:
                sums[~live] = 0
            scores.append(sums)
        return WordScores(self.blocks, scores, rarest, total)

    def frequencies(self, ids: Sequence[int]) -> list[int]:
        """How many documents have each of some terms."""
        array = np.array(ids, np.uint32)
        found = np.zeros(len(ids), np.int64)
        for block, live in zip(self.blocks, self.live, strict=True):
            found += Spans.of(block, array).documents(block, live)
        return found.tolist()

    def some_chunks(self, id_: int, most: int) -> NDArray[np.int64]:
        """First chunks of at most so many documents that have a term."""
        chunks = [np.empty(0, np.int64)]
        for block, live in zip(self.blocks, self.live, strict=True):
            (start,), (end,) = Spans.of(block, np.array([id_], np.uint32))
            places = block.places[start:end]
            if live is not None:
                places = places[live[places]]
            chunks.append(block.chunks[places[:most]])
        return np.concatenate(chunks)[:most]

    def _norms(self, title_weight: float) -> list[NDArray[np.float32]]:
        """k1 * (1 - b + b * length / mean length) of each document of each block."""
        norms = self.norms.get(title_weight)
        if norms is None:
            lengths = [
                block.text_lengths + np.float32(title_weight) * block.title_lengths
                for block in self.blocks
            ]
            total = sum(
                float((length if live is None else length[live]).sum(dtype=np.float64))
                for length, live in zip(lengths, self.live, strict=True)
            )
            mean = np.float32(total / max(1, self.documents) or 1)
            norms = [
                (np.float32(K1) * (np.float32(1 - B) + np.float32(B) * length / mean)).astype(
                    np.float32
                )
                for length in lengths
            ]
            self.norms.clear()  # of other weights
            self.norms[title_weight] = norms
        return norms


class Spans(NamedTuple):
    """Where the postings of some terms begin and end in a block, ``(terms,) uint32``."""

    starts: NDArray[np.uint32]
    ends: NDArray[np.uint32]

    @classmethod
    def of(cls, block: WordBlock, ids: NDArray[np.uint32]) -> "Spans":
        """Empty spans for terms that the block does not have."""
        if not len(block.terms):
            return cls(np.zeros(len(ids), np.uint32), np.zeros(len(ids), np.uint32))
        at = np.searchsorted(block.terms, ids)
        at[at == len(block.terms)] = 0
        starts = block.starts[at]
        ends = np.where(block.terms[at] == ids, block.starts[at + 1], starts)
        return cls(starts, ends)

    def documents(self, block: WordBlock, live: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """How many documents have each term."""
        if live is None:
            return self.ends.astype(np.int64) - self.starts
        counts = [
            live[block.places[start:end]].sum()
            for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        ]
        return np.array(counts, np.int64)


def inverse_frequency(documents: int, total: int) -> float:
    """The weight of a term that so many documents of all have."""
    return math.log(1 + (total - documents + 0.5) / (documents + 0.5))


def open_words(store: Store, folder: Path) -> Words | None:
    """The words that are committed now; None in an index that has none yet.

    IndexFolderError if the file beside the snapshot is missing or damaged.
    """
    if not store.has_words:
        return None
    record = store.snapshot()
    blocks: list[WordBlock] = []
    last = 0
    if record is not None and record.words:
        blocks = read_words(record, words_path(folder, record.number))
        last = record.last_chunk
    words = Words(record, store.words_made(), len(blocks), tuple(blocks), (), last)
    return with_changes(words, store)


def words_without_file(store: Store) -> Words | None:
    """All words in memory, as the database has them."""
    if not store.has_words:
        return None
    return with_changes(Words(store.snapshot(), store.words_made(), 0, (), (), 0), store)


def refreshed_words(words: Words | None, store: Store, folder: Path) -> Words | None:
    """The words that are committed now, sharing with the old ones what has not changed."""
    current = words is not None and words.made == store.words_made()
    if words is None or not current or words.snapshot != store.snapshot():
        return open_words(store, folder)
    return with_changes(words, store)


def with_changes(words: Words, store: Store) -> Words:
    """Add documents stored after the last known, and leave out those deleted since."""
    blocks, after = words.blocks, words.last_chunk
    if len(blocks) - words.mapped >= MOST_BLOCKS:
        blocks = blocks[: words.mapped]
        after = words.snapshot.last_chunk if words.mapped and words.snapshot else 0
    fresh = tuple(blocks_of(store.word_rows(after)))
    last = int(fresh[-1].chunks[-1]) if fresh else after
    blocks = (*blocks, *fresh)
    deleted = store.tombstones()
    live = tuple(undeleted(block.chunks, deleted) for block in blocks)
    return Words(words.snapshot, words.made, words.mapped, blocks, live, max(last, after))


def undeleted(chunks: NDArray[np.int64], deleted: NDArray[np.int64]) -> NDArray[np.bool_] | None:
    """Which chunks are not deleted; None if none is."""
    flags = members(deleted, chunks)
    return ~flags if flags.any() else None
