"""documents.db: the documents, chunks and vectors of an index, in SQLite.

Everything here changes in transactions; whatever FAISS holds can be rebuilt from it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.chunks import Chunk
from indexer.documents import Document, metadata_json
from trimseek.errors import IndexFolderError, StorageError

DATABASE = "documents.db"
FORMAT_VERSION = 1
REMEDY = "restore it from a copy, or delete the folder and index the corpus again"
BUSY_TIMEOUT = 30.0  # seconds
ROWS_AT_A_TIME = 8192
SCHEMA = """
CREATE TABLE documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,  -- a JSON object
    hash BLOB NOT NULL       -- of what is embedded: title and text
);
CREATE TABLE chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    document INTEGER NOT NULL REFERENCES documents (key),
    start INTEGER NOT NULL,  -- characters of the document's text
    end INTEGER NOT NULL,
    vector BLOB NOT NULL     -- float16, little-endian
);
CREATE INDEX chunks_of_document ON chunks (document);
-- Chunks deleted since the snapshot was made.
CREATE TABLE tombstones (chunk INTEGER PRIMARY KEY);
CREATE TABLE snapshots (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    last_chunk INTEGER NOT NULL,
    chunks INTEGER NOT NULL
);
"""


class Vectors(NamedTuple):
    """Chunk keys ``(n,) int64`` and their vectors ``(n, dim) float16``."""

    keys: NDArray[np.int64]
    vectors: NDArray[np.float16]


class SnapshotRecord(NamedTuple):
    """A snapshot file: number, kind, checksum, and the chunks it was made of."""

    number: int
    kind: str
    sha256: str
    last_chunk: int
    chunks: int


class StoredChunk(NamedTuple):
    """A chunk, and its document without the text around it; ``metadata`` is JSON text."""

    key: int
    document: int
    id: str
    title: str
    metadata: str
    start: int
    end: int
    passage: str


class Counts(NamedTuple):
    """How many documents and chunks there are."""

    documents: int
    chunks: int


def content_hash(document: Document) -> bytes:
    """16 bytes that change when what is embedded changes."""
    content = f"{document.title}\0{document.text}".encode()
    return hashlib.blake2b(content, digest_size=16).digest()


class Store:
    """One connection to documents.db; calls from several threads wait for each other."""

    def __init__(self, folder: Path, *, writable: bool = False, create: bool = False) -> None:
        self.path = folder / DATABASE
        self._lock = RLock()
        with self._errors():
            self._db = self._connect(writable=writable, create=create)
            if create:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = 1; COMMIT;")
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            raise IndexFolderError(f"{self.path}: damaged (it is empty); {REMEDY}")
        if version != FORMAT_VERSION:
            raise IndexFolderError(
                f"{self.path}: format version {version}, this trimseek reads {FORMAT_VERSION}"
            )

    def _connect(self, *, writable: bool, create: bool) -> sqlite3.Connection:
        if not create and not self.path.is_file():
            raise IndexFolderError(f"{self.path}: missing; {REMEDY}")
        mode = "rwc" if create else "rw" if writable else "ro"
        db = self._open(f"mode={mode}")
        try:
            db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError:
            if mode != "ro" or self.path.with_name(f"{DATABASE}-wal").exists():
                raise
            db.close()  # a folder that cannot be written: nobody else can write to it either
            db = self._open("mode=ro&immutable=1")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _open(self, parameters: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{parameters}",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing of it."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def upsert(
        self, document: Document, chunks: Sequence[Chunk], vectors: NDArray[np.floating]
    ) -> None:
        """Put a document in place of what has its id; inside a transaction.

        vectors: ``(chunks, dim)``, stored as float16.
        """
        row = self._db.execute(
            "INSERT INTO documents (id, title, text, metadata, hash) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET title = excluded.title, text = excluded.text,"
            " metadata = excluded.metadata, hash = excluded.hash RETURNING key",
            (
                document.id,
                document.title,
                document.text,
                metadata_json(document),
                content_hash(document),
            ),
        ).fetchone()
        self._delete_chunks(row[0])
        self._db.executemany(
            "INSERT INTO chunks (document, start, end, vector) VALUES (?, ?, ?, ?)",
            [
                (row[0], chunk.start, chunk.end, vector.astype("<f2").tobytes())
                for chunk, vector in zip(chunks, vectors, strict=True)
            ],
        )

    def set_metadata(self, document: Document) -> None:
        self._db.execute(
            "UPDATE documents SET metadata = ? WHERE id = ?", (metadata_json(document), document.id)
        )

    def delete(self, ids: Iterable[str]) -> int:
        """Delete documents; inside a transaction. How many there were."""
        count = 0
        for id_ in ids:
            row = self._db.execute("SELECT key FROM documents WHERE id = ?", (id_,)).fetchone()
            if row is not None:
                self._delete_chunks(row[0])
                self._db.execute("DELETE FROM documents WHERE key = ?", row)
                count += 1
        return count

    def _delete_chunks(self, document: int) -> None:
        of_document = (document,)
        self._db.execute(
            "INSERT INTO tombstones SELECT key FROM chunks WHERE document = ?", of_document
        )
        self._db.execute("DELETE FROM chunks WHERE document = ?", of_document)

    def known(self, ids: Sequence[str]) -> dict[str, tuple[bytes, str]]:
        """Content hash and metadata of those ids that are stored."""
        rows = self._rows(
            f"SELECT id, hash, metadata FROM documents WHERE id IN ({marks(ids)})",  # noqa: S608
            list(ids),
        )
        return {id_: (hash_, metadata) for id_, hash_, metadata in rows}

    def ids(self) -> Iterator[str]:
        """Every document's id; the table may be changed meanwhile."""
        last = ""
        while rows := self._rows(
            "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?", [last, ROWS_AT_A_TIME]
        ):
            yield from (row[0] for row in rows)
            last = rows[-1][0]

    def document(self, id_: str) -> Document | None:
        rows = self._rows("SELECT id, title, text, metadata FROM documents WHERE id = ?", [id_])
        return next((Document(i, title, text, json.loads(m)) for i, title, text, m in rows), None)

    def documents_of(self, chunks: Sequence[int]) -> dict[int, int]:
        """Document key of each chunk key that is still there."""
        rows = self._rows(
            f"SELECT key, document FROM chunks WHERE key IN ({marks(chunks)})",  # noqa: S608
            list(chunks),
        )
        return dict(rows)

    def chunks(self, keys: Sequence[int]) -> dict[int, StoredChunk]:
        """The chunks of those keys that are still there, with their passages."""
        rows = self._rows(
            "SELECT chunks.key, document, id, title, metadata, start, end,"  # noqa: S608
            " substr(text, start + 1, end - start)"
            " FROM chunks JOIN documents ON documents.key = document"
            f" WHERE chunks.key IN ({marks(keys)})",
            list(keys),
        )
        return {row[0]: StoredChunk(*row) for row in rows}

    def vectors(self, after: int, dim: int) -> Iterator[Vectors]:
        """Vectors of the chunks whose key is larger than ``after``, some thousands at a time."""
        while rows := self._rows(
            "SELECT key, vector FROM chunks WHERE key > ? ORDER BY key LIMIT ?",
            [after, ROWS_AT_A_TIME],
        ):
            keys = np.array([row[0] for row in rows], np.int64)
            try:
                vectors = np.frombuffer(b"".join(row[1] for row in rows), "<f2")
                yield Vectors(keys, vectors.reshape(len(rows), dim))
            except ValueError as error:
                raise IndexFolderError(f"{self.path}: damaged vectors: {error}") from error
            after = int(keys[-1])

    def tombstones(self) -> NDArray[np.int64]:
        """Keys of chunks deleted since the snapshot, ascending."""
        rows = self._rows("SELECT chunk FROM tombstones ORDER BY chunk", [])
        return np.array([row[0] for row in rows], np.int64)

    def counts(self) -> Counts:
        row = self._rows(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)", []
        )[0]
        return Counts(*row)

    def documents_without_chunks(self) -> int:
        return int(
            self._rows(
                "SELECT count(*) FROM documents WHERE key NOT IN (SELECT document FROM chunks)", []
            )[0][0]
        )

    def snapshot(self) -> SnapshotRecord | None:
        rows = self._rows(
            "SELECT number, kind, sha256, last_chunk, chunks FROM snapshots"
            " ORDER BY number DESC LIMIT 1",
            [],
        )
        return SnapshotRecord(*rows[0]) if rows else None

    def set_snapshot(self, record: SnapshotRecord) -> None:
        """Make it the only snapshot; inside a transaction with nothing else written meanwhile."""
        self._db.execute("DELETE FROM snapshots")
        self._db.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", record)
        self._db.execute("DELETE FROM tombstones")

    def version(self) -> int:
        """A number that changes when another connection has committed."""
        return int(self._rows("PRAGMA data_version", [])[0][0])

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty when all is well."""
        found = [row[0] for row in self._rows("PRAGMA quick_check(10)", [])]
        return [] if found == ["ok"] else found

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file."""
        self._rows("PRAGMA wal_checkpoint(TRUNCATE)", [])

    def _rows(self, sql: str, parameters: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        with self._lock, self._errors():
            return self._db.execute(sql, parameters).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> Exception:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such" in str(error):
            return IndexFolderError(f"{self.path}: damaged ({error}); {REMEDY}")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
            return StorageError(
                f"{self.path}: cannot write ({error}); what was committed before is intact"
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StorageError(f"{self.path}: another program keeps it locked; try again")
        if code == sqlite3.SQLITE_CANTOPEN:
            return IndexFolderError(f"{self.path}: cannot be opened: {error}")
        return error


def marks(values: Sequence[object]) -> str:
    """Question marks for an SQL list."""
    return ", ".join("?" * len(values))
