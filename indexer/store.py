"""documents.db: the documents, chunks and vectors of an index, in SQLite.

Everything here changes in transactions; whatever FAISS holds can be rebuilt from it.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.chunks import Chunk
from indexer.documents import Document, metadata_json
from indexer.filters import Sql, json_path, parse_field
from indexer.rows import ChunkPlace, Counts, SnapshotRecord, StoredChunk, Vectors
from indexer.schema import ADDED_SCHEMA, FILL_FACET, SCHEMA, UPGRADE
from trimseek.errors import IndexFolderError, StorageError

DATABASE = "documents.db"
FORMAT_VERSION = 2
UPGRADABLE = 1  # a database of this version becomes one of FORMAT_VERSION when it is written to
REMEDY = "restore it from a copy, or delete the folder and index the corpus again"
BUSY_TIMEOUT = 30.0  # seconds
ROWS_AT_A_TIME = 8192
CONTENT_HASH, METADATA_HASH = 16, 8  # bytes


def content_hash(document: Document) -> bytes:
    """16 bytes that change when what is embedded changes."""
    content = f"{document.title}\0{document.text}".encode()
    return hashlib.blake2b(content, digest_size=CONTENT_HASH).digest()


def stored_hash(document: Document) -> bytes:
    """The content hash, and 8 bytes more for the metadata: a flipped bit is found."""
    return content_hash(document) + metadata_hash(metadata_json(document))


def metadata_hash(metadata: str) -> bytes:
    return hashlib.blake2b(metadata.encode(), digest_size=METADATA_HASH).digest()


Known = Mapping[str, tuple[bytes, str]]  # content hash and metadata of stored ids


def is_new(document: Document, known: Known) -> bool:
    """Whether a document must be embedded: it is not stored, or with another title or text."""
    return known.get(document.id, (b"", ""))[0] != content_hash(document)


def is_relabelled(document: Document, known: Known) -> bool:
    """Whether only its metadata is another than what is stored."""
    return not is_new(document, known) and known[document.id][1] != metadata_json(document)


class Store:
    """One connection to documents.db; calls from several threads wait for each other.

    ``durable``: what was committed survives a power loss, at the cost of waiting for the disk;
    otherwise the last transactions may be lost by one, and nothing is ever half there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        writable: bool = False,
        create: bool = False,
        durable: bool = False,
        name: str = DATABASE,
    ) -> None:
        self.path = folder / name
        self._lock = RLock()
        with self._errors():
            self._db = self._connect(writable=writable, create=create)
            if durable:
                self._db.execute("PRAGMA synchronous = FULL")
            if create:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._run_script(SCHEMA + ADDED_SCHEMA)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version == UPGRADABLE and writable:
                self._run_script(UPGRADE)
                version = FORMAT_VERSION
        if version == 0:
            raise IndexFolderError(f"{self.path}: damaged (it is empty); {REMEDY}")
        self._version = version
        if version not in (UPGRADABLE, FORMAT_VERSION):
            raise IndexFolderError(
                f"{self.path}: format version {version}, this trimseek reads {FORMAT_VERSION}"
            )

    def _run_script(self, script: str) -> None:
        """Make tables in one transaction, after which the database is of FORMAT_VERSION."""
        self._db.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
        )

    @property
    def is_current(self) -> bool:
        """Whether words and facets are there: an older database gets them when it is written to."""
        return bool(self._version == FORMAT_VERSION)

    def _connect(self, *, writable: bool, create: bool) -> sqlite3.Connection:
        if not create and not self.path.is_file():
            raise IndexFolderError(f"{self.path}: missing; {REMEDY}")
        mode = "rwc" if create else "rw" if writable else "ro"
        db = self._open(f"mode={mode}")
        try:
            db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError:
            if mode != "ro" or self.path.with_name(f"{self.path.name}-wal").exists():
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
                stored_hash(document),
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
        """New metadata for a stored document; inside a transaction."""
        self._db.execute(
            "UPDATE documents SET metadata = ?, hash = ? WHERE id = ?",
            (metadata_json(document), stored_hash(document), document.id),
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

    def facets(self) -> frozenset[str]:
        """The metadata fields whose values are indexed."""
        rows = self.rows("SELECT field FROM facet_fields") if self.is_current else []
        return frozenset(row[0] for row in rows)

    def add_facet(self, field: str) -> None:
        """Index a metadata field's values, of what is stored and will be; in a transaction."""
        if field not in self.facets():
            path = json_path(parse_field(field))
            self._db.execute("INSERT INTO facet_fields VALUES (?, ?)", (field, path))
            self._db.execute(FILL_FACET, (path, field))

    def setting(self, name: str, default: Any) -> Any:
        """What is set for the whole index, a JSON value; the default where nothing is."""
        if not self.is_current:
            return default
        rows = self.rows("SELECT value FROM settings WHERE name = ?", [name])
        return json.loads(rows[0][0]) if rows else default

    def set_setting(self, name: str, value: Any) -> None:
        """Inside a transaction."""
        self._db.execute(
            "INSERT INTO settings VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )

    def matching(self, condition: Sql) -> NDArray[np.int64]:
        """Keys of the chunks whose document a filter lets through, ascending."""
        rows = self.rows(
            "SELECT key FROM chunks WHERE document IN"
            f" (SELECT documents.key FROM documents WHERE {condition.text}) ORDER BY key",
            condition.parameters,
        )
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def ids_where(self, condition: Sql) -> list[str]:
        """Ids of the documents that a filter lets through."""
        sql = f"SELECT id FROM documents WHERE {condition.text} ORDER BY key"
        return [row[0] for row in self.rows(sql, condition.parameters)]

    def vectors_of(self, keys: Sequence[int], dim: int) -> Vectors:
        """The vectors of those chunks that are still there, in ascending order of keys."""
        rows = self.rows(
            f"SELECT key, vector FROM chunks WHERE key IN ({marks(keys)}) ORDER BY key",
            list(keys),
        )
        return self._as_vectors(rows, dim)

    def _as_vectors(self, rows: Sequence[tuple[int, bytes]], dim: int) -> Vectors:
        keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        try:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), "<f2")
            return Vectors(keys, vectors.reshape(len(rows), dim))
        except ValueError as error:
            raise IndexFolderError(f"{self.path}: damaged vectors: {error}") from error

    def chunks_of(self, documents: Sequence[int]) -> dict[int, list[ChunkPlace]]:
        """Where the chunks of those documents lie, by document key."""
        rows = self.rows(
            "SELECT document, key, start, end FROM chunks"
            f" WHERE document IN ({marks(documents)}) ORDER BY key",
            list(documents),
        )
        places: dict[int, list[ChunkPlace]] = {}
        for document, *place in rows:
            places.setdefault(document, []).append(ChunkPlace(*place))
        return places

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """Document key of each of those ids that is stored."""
        sql = f"SELECT id, key FROM documents WHERE id IN ({marks(ids)})"
        return dict(self.rows(sql, list(ids)))

    def _delete_chunks(self, document: int) -> None:
        of_document = (document,)
        self._db.execute(
            "INSERT INTO tombstones SELECT key FROM chunks WHERE document = ?", of_document
        )
        self._db.execute("DELETE FROM chunks WHERE document = ?", of_document)

    def known(self, ids: Sequence[str]) -> dict[str, tuple[bytes, str]]:
        """Content hash and metadata of those ids that are stored."""
        rows = self.rows(
            f"SELECT id, substr(hash, 1, {CONTENT_HASH}), metadata FROM documents"
            f" WHERE id IN ({marks(ids)})",
            list(ids),
        )
        return {id_: (hash_, metadata) for id_, hash_, metadata in rows}

    def ids(self) -> Iterator[str]:
        """Every document's id; the table may be changed meanwhile."""
        last = ""
        while rows := self.rows(
            "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?", [last, ROWS_AT_A_TIME]
        ):
            yield from (row[0] for row in rows)
            last = rows[-1][0]

    def document(self, id_: str) -> Document | None:
        rows = self.rows("SELECT id, title, text, metadata FROM documents WHERE id = ?", [id_])
        return self._document(*rows[0]) if rows else None

    def _document(self, id_: str, title: str, text: str, metadata: str) -> Document:
        try:
            return Document(id_, title, text, json.loads(metadata))
        except ValueError as error:
            raise IndexFolderError(
                f"{self.path}: damaged (the metadata of document {id_!a}: {error}); {REMEDY}"
            ) from error

    def documents_of(self, chunks: Sequence[int]) -> dict[int, int]:
        """Document key of each chunk key that is still there."""
        rows = self.rows(
            f"SELECT key, document FROM chunks WHERE key IN ({marks(chunks)})",
            list(chunks),
        )
        return dict(rows)

    def chunks(self, keys: Sequence[int]) -> dict[int, StoredChunk]:
        """The chunks of those keys that are still there, with their passages."""
        rows = self.rows(
            "SELECT chunks.key, document, id, title, metadata, start, end,"
            " substr(text, start + 1, end - start)"
            " FROM chunks JOIN documents ON documents.key = document"
            f" WHERE chunks.key IN ({marks(keys)})",
            list(keys),
        )
        return {row[0]: StoredChunk(*row) for row in rows}

    def vectors(self, after: int, dim: int) -> Iterator[Vectors]:
        """Vectors of the chunks whose key is larger than ``after``, some thousands at a time."""
        while rows := self.rows(
            "SELECT key, vector FROM chunks WHERE key > ? ORDER BY key LIMIT ?",
            [after, ROWS_AT_A_TIME],
        ):
            yield self._as_vectors(rows, dim)
            after = rows[-1][0]

    def tombstones(self) -> NDArray[np.int64]:
        """Keys of chunks deleted since the snapshot, ascending."""
        rows = self.rows("SELECT chunk FROM tombstones ORDER BY chunk", [])
        return np.array([row[0] for row in rows], np.int64)

    def counts(self) -> Counts:
        row = self.rows(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)", []
        )[0]
        return Counts(*row)

    def documents_without_chunks(self) -> int:
        return int(
            self.rows(
                "SELECT count(*) FROM documents WHERE key NOT IN (SELECT document FROM chunks)", []
            )[0][0]
        )

    def snapshot(self) -> SnapshotRecord | None:
        rows = self.rows(
            "SELECT number, kind, sha256, last_chunk, chunks FROM snapshots"
            " ORDER BY number DESC LIMIT 1",
            [],
        )
        return SnapshotRecord(*rows[0]) if rows else None

    def set_snapshot(self, record: SnapshotRecord, masked: NDArray[np.int64]) -> None:
        """Make it the only snapshot; inside a transaction.

        ``masked``: tombstones of before it was begun, whose chunks it does not hold.
        """
        self._db.execute("DELETE FROM snapshots")
        self._db.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?)", record)
        self._db.executemany(
            "DELETE FROM tombstones WHERE chunk = ?", ((int(key),) for key in masked)
        )

    @contextmanager
    def reading(self) -> Iterator["Store"]:
        """The store as it is at this moment, whatever is written meanwhile."""
        frozen = Store(self.path.parent)
        try:
            with frozen._errors():
                frozen._db.execute("BEGIN")
            frozen.counts()  # the first look is the moment
            yield frozen
        finally:
            frozen.close()

    def sample(self, count: int, dim: int) -> NDArray[np.float32]:
        """At most so many vectors, evenly from all chunks, ``(n, dim)``."""
        keys = [row[0] for row in self.rows("SELECT key FROM chunks ORDER BY key")]
        chosen = keys[:: -(-len(keys) // count) or 1]
        parts = [
            self.vectors_of(chosen[start : start + ROWS_AT_A_TIME], dim).vectors
            for start in range(0, len(chosen), ROWS_AT_A_TIME)
        ]
        return np.concatenate([np.empty((0, dim), np.float16), *parts]).astype(np.float32)

    def version(self) -> int:
        """A number that changes when another connection has committed."""
        return int(self.rows("PRAGMA data_version", [])[0][0])

    def check(self, *, deep: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; empty when all is well.

        ``deep``: rows against their indexes as well, and words against the texts.
        """
        found = [
            row[0] for row in self.rows(f"PRAGMA {'integrity' if deep else 'quick'}_check(10)")
        ]
        damage = [] if found == ["ok"] else found
        if deep and not damage:
            damage += self._content_damage()
            if self.is_current:
                damage += self._words_damage()
        return damage

    def _content_damage(self) -> list[str]:
        """Documents that are not what their hashes are of, or whose chunks reach beyond them."""
        damaged: list[str] = []
        for part in self._raw_documents(ROWS_AT_A_TIME // 8):
            for _, id_, title, text, metadata, stored in part:
                document = Document(id_, title, text)
                hashed = content_hash(document) + metadata_hash(metadata)
                # format 1 had no hash of the metadata
                if len(stored) < CONTENT_HASH or hashed[: len(stored)] != stored:
                    damaged.append(id_)
        outside = self.rows(
            "SELECT DISTINCT id FROM chunks JOIN documents ON documents.key = document"
            " WHERE start < 0 OR start > end OR end > length(text)"
        )
        return [f"document {id_!a} is damaged" for id_ in [*damaged, *(row[0] for row in outside)]]

    def _words_damage(self) -> list[str]:
        """Whether the words are those of the texts.

        FTS5 tells only who may write: a copy in memory is asked.
        """
        memory = sqlite3.connect(":memory:")
        try:
            with self._lock, self._errors():
                self._db.backup(memory)
            memory.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
        except UnicodeDecodeError:  # even what SQLite says of the damage
            return ["the words are not those of the texts"]
        except sqlite3.DatabaseError as error:
            return [f"the words are not those of the texts: {error}"]
        finally:
            memory.close()
        return []

    def compact(self) -> None:
        """Give back free pages, and merge the words' parts."""
        with self._lock, self._errors():
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
            self._db.execute("VACUUM")

    def copy_into(self, path: Path) -> None:
        """A consistent, compact copy of the database as a new file."""
        with self._lock, self._errors():
            self._db.execute("VACUUM INTO ?", (str(path),))

    def forget_snapshots(self) -> None:
        """Inside a transaction; the next one is built from what is stored."""
        self._db.execute("DELETE FROM snapshots")
        self._db.execute("DELETE FROM tombstones")

    def chunk_keys(self) -> NDArray[np.int64]:
        """Keys of all chunks, ascending."""
        rows = self.rows("SELECT key FROM chunks ORDER BY key")
        return np.fromiter((row[0] for row in rows), np.int64, len(rows))

    def all_documents(self, count: int) -> Iterator[list[tuple[int, Document]]]:
        """Every document under its key, so many at a time."""
        for rows in self._raw_documents(count):
            yield [(row[0], self._document(*row[1:5])) for row in rows]

    def _raw_documents(self, count: int) -> Iterator[list[tuple[Any, ...]]]:
        """Key, id, title, text, metadata and hash of every document, so many at a time."""
        last = 0
        while rows := self.rows(
            "SELECT key, id, title, text, metadata, hash FROM documents"
            " WHERE key > ? ORDER BY key LIMIT ?",
            [last, count],
        ):
            yield rows
            last = rows[-1][0]

    def some_documents(self, count: int) -> list[tuple[int, Document]]:
        """At most so many documents under their keys, evenly from all."""
        keys = [row[0] for row in self.rows("SELECT key FROM documents ORDER BY key")]
        chosen = keys[:: -(-len(keys) // count) or 1]
        rows = self.rows(
            "SELECT key, id, title, text, metadata FROM documents"
            f" WHERE key IN ({marks(chosen)}) ORDER BY key",
            chosen,
        )
        return [(row[0], self._document(*row[1:])) for row in rows]

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)", [])

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """All rows of a query; SQL stays in this package."""
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
        spoilt = any(words in str(error) for words in ("no such", "malformed", "decode to UTF-8"))
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or spoilt:
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
