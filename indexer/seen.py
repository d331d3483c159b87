"""The ids met in a corpus so far, on disk, so that memory does not grow with the corpus."""

import sqlite3
from collections.abc import Iterable, Iterator

from trimseek.errors import CorpusError
from trimseek.indexer.documents import Document


class SeenIds:
    """Refuses the second document of an id."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")  # a private temporary file, gone when closed
        self._db.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID")

    def close(self) -> None:
        """Drop the file."""
        self._db.close()

    def add(self, document: Document) -> None:
        """Note a document; CorpusError if its id was there before."""
        row = (document.id, document.where)
        try:
            self._db.execute("INSERT INTO seen VALUES (?, ?)", row)
        except sqlite3.IntegrityError:
            first = self._db.execute("SELECT place FROM seen WHERE id = ?", row[:1]).fetchone()[0]
            raise CorpusError(
                f"{document.where}: the id {document.id!r} was already at {first}; "
                "ids must be unique in a corpus"
            ) from None

    def missing(self, ids: Iterable[str]) -> Iterator[str]:
        """Those of ``ids`` that were not met."""
        for id_ in ids:
            if self._db.execute("SELECT 1 FROM seen WHERE id = ?", (id_,)).fetchone() is None:
                yield id_
