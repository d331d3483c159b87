"""BM25 over the words of an index (Robertson & Zaragoza 2009, with k1 = 1.2 and b = 0.75).

The score of a document is the sum over the query's terms of
``idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))``, with ``tf`` how often the
term comes in it and ``idf = ln(1 + (n - df + 0.5) / (df + 0.5))`` of ``df`` of ``n`` documents.
A word of a title counts ``title_weight`` times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.indexer.rows import SnapshotRecord
from trimseek.indexer.snapshot import words_path
from trimseek.indexer.store import Store
from trimseek.indexer.words import WordBlock, blocks_of, read_words
from trimseek.search.native.library import functions
from trimseek.search.native.postings import (
    Bitmap,
    Lengths,
    PreparedBlocks,
    PreparedWords,
    Terms,
    bitmap_of,
    scores_in,
)
from trimseek.search.vocabulary import Vocabulary, WeighedTerms, weighed

K1, B = 1.2, 0.75
TERMS_KEPT = 16_384  # whose places are known
NOT_LOOKED_UP = -1
FREQUENT = 1024  # documents of a block, from which on a term has a bitmap of 10 KB there
MOST_BLOCKS = 8  # of what came since the snapshot, beyond which they are put together


class Ranked(NamedTuple):
    """First chunks of documents, and their scores, best first."""

    chunks: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class WordScores:
    """A query's scores of documents.

    ``terms``: of the query. ``lengths``: of documents. ``rarest``: how many of all ``documents``
    have the term that fewest have. ``counted``: see ``Words.counted``. ``prepared``: the blocks for
    compiled code, None where they are still to be prepared.
    """

    blocks: Sequence[WordBlock]
    terms: Terms
    lengths: Lengths
    rarest: int
    documents: int
    counted: Sequence[NDArray[np.bool_] | None]
    prepared: PreparedBlocks | None

    def best(self, k: int) -> Ranked:
        """The k best documents that have a term; of equal scores the older chunk first."""
        if self.compiled is not None:
            return Ranked(*self.compiled.best(k))
        chunks, values = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for block, scores in zip(self.blocks, self._sums, strict=True):
            places = np.flatnonzero(scores > 0)
            places = places[np.lexsort((places, -scores[places]))[:k]]
            chunks.append(block.chunks[places])
            values.append(scores[places])
        all_chunks, all_scores = np.concatenate(chunks), np.concatenate(values)
        order = np.lexsort((all_chunks, -all_scores))[:k]
        return Ranked(all_chunks[order], all_scores[order])

    def of(self, chunks: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of documents by their first chunks; 0 of those that have no term."""
        if self.compiled is not None:
            return self.compiled.of(chunks)
        found = np.zeros(len(chunks), np.float32)
        for block, scores in zip(self.blocks, self._sums, strict=True):
            places = np.searchsorted(block.chunks, chunks)
            places[places == len(block.chunks)] = 0
            inside = block.chunks[places] == chunks
            found[inside] = scores[places[inside]]
        return found

    @cached_property
    def compiled(self) -> PreparedWords | None:
        """The same for compiled code; None where there is none."""
        if functions() is None:
            return None
        blocks = self.prepared or PreparedBlocks(self.blocks, self.lengths, self.counted)
        return PreparedWords(blocks, self.terms)

    @cached_property
    def _sums(self) -> list[NDArray[np.float32]]:
        """The score of every document of each block."""
        parts = zip(self.blocks, self.terms.at, self.lengths.norms, self.counted, strict=True)
        return [
            scores_in(block, at, self.terms, norms, counted) for block, at, norms, counted in parts
        ]


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
    ``lengths``, ``prepared``: what was found out, by the weight of titles and the mean length that
    was given. ``known``: by the id of a term. ``known_ids``: of terms, None of those that the index
    has not.
    """

    snapshot: SnapshotRecord | None
    made: int
    mapped: int
    blocks: tuple[WordBlock, ...]
    live: tuple[NDArray[np.bool_] | None, ...]
    last_chunk: int
    lengths: dict[tuple[float, float | None], Lengths] = field(default_factory=dict)
    prepared: dict[tuple[float, float | None], PreparedBlocks] = field(default_factory=dict)
    known: dict[int, "KnownTerm"] = field(default_factory=dict)
    known_ids: dict[str, int | None] = field(default_factory=dict)

    @cached_property
    def documents(self) -> int:
        """How many documents there are."""
        return sum(
            len(block.chunks) if live is None else int(live.sum())
            for block, live in zip(self.blocks, self.live, strict=True)
        )

    def scores(
        self,
        terms: Sequence[Sequence[int]],
        title_weight: float = 1.0,
        counted: Sequence[NDArray[np.bool_] | None] | None = None,
    ) -> WordScores:
        """The scores of documents.

        ``terms``: ids of each term of the query; several where it stands for all words that begin
        with it, which weigh as one that all their documents had. ``counted``: which documents
        count, as the method of that name says; None for all.
        """
        return self.scores_of(weighed(terms, self), title_weight, counted)

    def scores_of(
        self,
        query: WeighedTerms,
        title_weight: float = 1.0,
        counted: Sequence[NDArray[np.bool_] | None] | None = None,
        mean_length: float | None = None,
    ) -> WordScores:
        """As ``scores``, of terms that were weighed, perhaps by more documents than these.

        ``mean_length``: of documents, the words of titles among it ``title_weight`` times; None for
        the mean of these.
        """
        known = [self._term(id_) for id_ in query.ids]
        at = [[term.places[b] for term in known] for b in range(len(self.blocks))]
        terms = Terms(
            np.array(at, np.int32).reshape(len(self.blocks), len(known)),
            np.array(query.weights, np.float32),
            title_weight,
            [[term.bitmaps[b] for term in known] for b in range(len(self.blocks))],
        )
        prepared = None
        if counted is None:
            counted, prepared = self.live, self._prepared(title_weight, mean_length)
        lengths = self._lengths(title_weight, mean_length)
        return WordScores(
            self.blocks, terms, lengths, query.rarest, query.documents, counted, prepared
        )

    def total_lengths(self) -> tuple[int, int]:
        """How many words all documents have: in their texts, and in their titles."""
        totals = [0, 0]
        for block, live in zip(self.blocks, self.live, strict=True):
            for i, lengths in enumerate((block.text_lengths, block.title_lengths)):
                totals[i] += int((lengths if live is None else lengths[live]).sum(dtype=np.int64))
        return totals[0], totals[1]

    def counted(self, chunks: NDArray[np.int64]) -> list[NDArray[np.bool_]]:
        """Which documents of each block have one of some chunks, ascending, as their first."""
        flags = []
        for block, live in zip(self.blocks, self.live, strict=True):
            inside = members(chunks, block.chunks)
            flags.append(inside if live is None else inside & live)
        return flags

    def ids(self, terms: Sequence[str], store: Vocabulary) -> dict[str, int]:
        """The ids of those terms that the index has; ``store``: of the same moment."""
        found = {term: self.known_ids.get(term, NOT_LOOKED_UP) for term in terms}
        new = [term for term, id_ in found.items() if id_ == NOT_LOOKED_UP]
        if new:
            stored = store.term_ids(new)
            if len(self.known_ids) >= TERMS_KEPT:
                self.known_ids.clear()
            for term in new:
                self.known_ids[term] = found[term] = stored.get(term)
        return {term: id_ for term, id_ in found.items() if id_ is not None}

    def places(self, id_: int) -> tuple[int, ...]:
        """Where a term is in each block, -1 where it is not."""
        return self._term(id_).places

    def frequencies(self, ids: Sequence[int]) -> list[int]:
        """How many documents have each of some terms."""
        return [self._term(id_).documents for id_ in ids]

    def _term(self, id_: int) -> "KnownTerm":
        """What is known of a term; kept, as queries are alike."""
        known = self.known.get(id_)
        if known is None:
            places: list[int] = []
            bitmaps: list[Bitmap | None] = []
            documents = 0
            for block, live in zip(self.blocks, self.live, strict=True):
                at = int(np.searchsorted(block.terms, id_))
                if at == len(block.terms) or block.terms[at] != id_:
                    places.append(-1)
                    bitmaps.append(None)
                    continue
                places.append(at)
                has = block.places[int(block.starts[at]) : int(block.starts[at + 1])]
                bitmaps.append(bitmap_of(has) if len(has) >= FREQUENT else None)
                documents += len(has) if live is None else int(np.count_nonzero(live[has]))
            known = KnownTerm(tuple(places), tuple(bitmaps), documents)
            if len(self.known) >= TERMS_KEPT:
                self.known.clear()
            self.known[id_] = known
        return known

    def some_chunks(self, id_: int, most: int) -> NDArray[np.int64]:
        """First chunks of at most so many documents that have a term."""
        chunks = [np.empty(0, np.int64)]
        for block, live, at in zip(self.blocks, self.live, self.places(id_), strict=True):
            if at < 0:
                continue
            places = block.places[int(block.starts[at]) : int(block.starts[at + 1])]
            if live is not None:
                places = places[live[places]]
            chunks.append(block.chunks[places[:most]])
        return np.concatenate(chunks)[:most]

    def _prepared(self, title_weight: float, mean_length: float | None) -> PreparedBlocks | None:
        """The blocks for compiled code, where all documents count; None where there is none."""
        if functions() is None:
            return None
        prepared = self.prepared.get((title_weight, mean_length))
        if prepared is None:
            lengths = self._lengths(title_weight, mean_length)
            prepared = PreparedBlocks(self.blocks, lengths, self.live)
            self.prepared.clear()  # of other weights
            self.prepared[title_weight, mean_length] = prepared
        return prepared

    def _lengths(self, title_weight: float, mean_length: float | None) -> Lengths:
        """What documents' lengths add: k1 * (1 - b + b * length / mean length)."""
        key = title_weight, mean_length
        known = self.lengths.get(key)
        if known is None:
            lengths = [
                block.text_lengths + np.float32(title_weight) * block.title_lengths
                for block in self.blocks
            ]
            if mean_length is None:
                in_texts, in_titles = self.total_lengths()
                mean_length = (in_texts + title_weight * in_titles) / max(1, self.documents)
            mean = np.float32(mean_length or 1)
            known = Lengths(
                [
                    (np.float32(K1) * (np.float32(1 - B) + np.float32(B) * length / mean)).astype(
                        np.float32
                    )
                    for length in lengths
                ],
                [np.zeros(len(block.terms), np.float32) for block in self.blocks],
            )
            self.lengths.clear()  # of other weights
            self.lengths[key] = known
        return known


class KnownTerm(NamedTuple):
    """Where a term is in each block, -1 where it is not, and how many documents have it.

    ``bitmaps``: of which documents, in blocks where it is frequent.
    """

    places: tuple[int, ...]
    bitmaps: tuple[Bitmap | None, ...]
    documents: int


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
