"""Which terms a whole corpus has and how many documents have each: what words are weighed by.

Each shard lists its own terms in their order; merged, they are one SQLite file, which the front of
a cluster reads.
"""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from threading import local
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import IndexFolderError
from trimseek.indexer.analyzer import Analyzer, analyzer_of
from trimseek.indexer.stems import NO_STEMS
from trimseek.indexer.store import Store
from trimseek.indexer.term_table import TermTable
from trimseek.indexer.word_store import marks
from trimseek.search.vocabulary import Vocabulary
from trimseek.search.words import Words

SCHEMA = """
CREATE TABLE terms (term TEXT PRIMARY KEY, id INTEGER NOT NULL, documents INTEGER NOT NULL)
    WITHOUT ROWID;
"""
INDEX = "CREATE UNIQUE INDEX terms_by_id ON terms (id, term, documents)"
AT_A_TIME = 8192
TERMS_KEPT = 65_536  # whose numbers are known
NOT_LOOKED_UP = -1


class TermCount(NamedTuple):
    """How many documents have a term."""

    term: str
    documents: int


def term_counts(store: Store, words: Words) -> Iterator[TermCount]:
    """The terms that documents of an index have, in their order."""
    counts = document_counts(words)
    for term, id_ in store.terms_in_order():
        if id_ < len(counts) and counts[id_]:
            yield TermCount(term, int(counts[id_]))


def document_counts(words: Words) -> NDArray[np.int64]:
    """How many documents have each term, by its id."""
    size = max((int(block.terms[-1]) + 1 for block in words.blocks if len(block.terms)), default=0)
    counts = np.zeros(size, np.int64)
    for block, live in zip(words.blocks, words.live, strict=True):
        starts = block.starts.astype(np.int64)
        if live is None:
            counts[block.terms] += np.diff(starts)
        else:
            having = np.concatenate([[0], np.cumsum(live[block.places])])
            counts[block.terms] += having[starts[1:]] - having[starts[:-1]]
    return counts


def write_term_counts(counts: Iterable[TermCount], path: Path) -> None:
    """Write a shard's terms to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("term", pa.string()), ("documents", pa.int64())])
    some: list[TermCount] = []
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:

        def write() -> None:
            rows = [each._asdict() for each in some]
            writer.write_table(pa.Table.from_pylist(rows, schema))
            some.clear()

        for each in counts:
            some.append(each)
            if len(some) == AT_A_TIME:
                write()
        write()


def read_term_counts(path: Path) -> Iterator[TermCount]:
    """What ``write_term_counts`` wrote."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(AT_A_TIME):
            columns = (column.to_pylist() for column in batch.columns)
            yield from map(TermCount, *columns)


def write_statistics(shards: Sequence[Iterable[TermCount]], path: Path) -> None:
    """Merge the terms of shards into one file."""
    merged = heapq.merge(*shards)
    rows = (
        (term, number, sum(each.documents for each in of_term))
        for number, (term, of_term) in enumerate(groupby(merged, lambda each: each.term))
    )
    with closing(sqlite3.connect(path)) as db:
        db.executescript(SCHEMA)
        with db:
            db.executemany("INSERT INTO terms VALUES (?, ?, ?)", rows)
            db.execute(INDEX)


class KnownTerm(NamedTuple):
    """A term, and how many documents have it."""

    id: int
    term: str
    documents: int


class CorpusWords(TermTable):
    """The terms of all shards' documents, as one index would know them (``search.vocabulary``).

    ``documents``: how many there are. ``in_texts``, ``in_titles``: words of all texts and titles.
    Safe to use from several threads.
    """

    def __init__(self, path: Path, documents: int, lengths: tuple[int, int], language: str) -> None:
        self.path, self.documents, self._lengths = path, documents, lengths
        self._language = None if language == NO_STEMS else language
        self._local = local()
        self._known: dict[int, KnownTerm] = {}
        self._ids: dict[str, int | None] = {}

    @property
    def analyzer(self) -> Analyzer:
        """What makes words of texts and of queries."""
        return analyzer_of(self._language)

    def mean_length(self, title_weight: float) -> float:
        """Words of a document, those of its title counted so many times."""
        in_texts, in_titles = self._lengths
        return (in_texts + title_weight * in_titles) / max(1, self.documents)

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query, by a connection of this thread's own."""
        db = getattr(self._local, "db", None)
        try:
            if db is None:
                db = sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode=ro&immutable=1", uri=True
                )
                self._local.db = db
            return list(db.execute(sql, parameters).fetchall())
        except sqlite3.Error as error:
            raise IndexFolderError(
                f"{self.path}: damaged ({error}); delete it, and it is fetched anew"
            ) from error

    def term_ids(self, terms: Sequence[str]) -> dict[str, int]:
        """The ids of those terms that documents have."""
        found = {term: self._ids.get(term, NOT_LOOKED_UP) for term in terms}
        new = [term for term, id_ in found.items() if id_ == NOT_LOOKED_UP]
        if new:
            sql = f"SELECT term, id, documents FROM terms WHERE term IN ({marks(new)})"  # noqa: S608
            stored = {term: KnownTerm(id_, term, count) for term, id_, count in self.rows(sql, new)}
            self._keep(stored.values())
            for term in new:
                found[term] = self._ids[term] = stored[term].id if term in stored else None
        return {term: id_ for term, id_ in found.items() if id_ is not None}

    def _keep(self, terms: Iterable["KnownTerm"]) -> None:
        if len(self._known) > TERMS_KEPT or len(self._ids) > TERMS_KEPT:
            self._known, self._ids = {}, {}
        self._known.update((term.id, term) for term in terms)

    def ids(self, terms: Sequence[str], _: Vocabulary) -> dict[str, int]:
        """As ``term_ids``."""
        return self.term_ids(terms)

    def frequencies(self, ids: Sequence[int]) -> list[int]:
        """How many documents have each of some terms."""
        found = self._by_id(ids)
        return [found[id_].documents if id_ in found else 0 for id_ in ids]

    def _by_id(self, ids: Sequence[int]) -> dict[int, "KnownTerm"]:
        found = {id_: self._known[id_] for id_ in ids if id_ in self._known}
        new = [id_ for id_ in ids if id_ not in found]
        for start in range(0, len(new), AT_A_TIME):
            some = new[start : start + AT_A_TIME]
            sql = f"SELECT id, term, documents FROM terms WHERE id IN ({marks(some)})"  # noqa: S608
            terms = [KnownTerm(*row) for row in self.rows(sql, some)]
            self._keep(terms)
            found |= {term.id: term for term in terms}
        return found

    def term_of(self, id_: int) -> str:
        """The term of an id; IndexFolderError where there is none."""
        found = self._by_id([id_])
        if id_ not in found:
            raise IndexFolderError(f"{self.path}: damaged (it has no term {id_})")
        return found[id_].term

    def count_terms(self) -> int:
        """How many terms there are."""
        return int(self.rows("SELECT coalesce(max(id), -1) + 1 FROM terms", [])[0][0])
