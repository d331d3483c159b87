"""documents.db: the documents, chunks and vectors of an index, in SQLite.

Everything here changes in transactions; whatever FAISS holds can be rebuilt from it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import CorpusError, ReplacedError
from trimseek.indexer.chunks import Chunk
from trimseek.indexer.documents import Document, check, document_metadata
from trimseek.indexer.filters import Sql, json_path, parse_field, values_of
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.metadata import stored_metadata
from trimseek.indexer.rows import (
    ChunkPlace,
    ChunkVectors,
    Counts,
    SnapshotRecord,
    StoredChunk,
    Vectors,
)
from trimseek.indexer.word_store import WordStore, marks

ROWS_AT_A_TIME = 8192
SNAPSHOT_KINDS = {kind.value for kind in SnapshotKind if kind is not SnapshotKind.AUTO}
# Rows whose columns are of another type than they should be, by table.
WRONG_TYPES = {
    "documents": "typeof(id) || typeof(title) || typeof(text) || typeof(metadata) || typeof(hash)"
    " != 'texttexttexttextblob'",
    "chunks": "typeof(document) || typeof(start) || typeof(end) || typeof(vector)"
    " != 'integerintegerintegerblob'",
}
CONTENT_HASH, METADATA_HASH = 16, 8  # bytes
# The settings: the number of the snapshot that the file of vectors is of, and its checksum.
VECTORS_OF, VECTORS_FILE = "vectors_of", "vectors_file"


def content_hash(document: Document) -> bytes:
    """16 bytes that change when what is embedded changes, or the document's own vector."""
    content = f"{document.title}\0{document.text}".encode()
    if document.vector is not None:
        content += b"\0vector\0" + np.array(document.vector, "<f2").tobytes()
    return hashlib.blake2b(content, digest_size=CONTENT_HASH).digest()


def stored_hash(document: Document) -> bytes:
    """The content hash, and 8 bytes more for the metadata: a flipped bit is found."""
    return content_hash(document) + metadata_hash(document_metadata(document))


def metadata_hash(metadata: str) -> bytes:
    """8 bytes that change when the metadata does."""
    return hashlib.blake2b(metadata.encode(), digest_size=METADATA_HASH).digest()


class Store(WordStore):
    """What is in documents.db."""

    def upsert(
        self,
        document: Document,
        chunks: Sequence[Chunk],
        vectors: NDArray[np.floating],
        key: int | None = None,
    ) -> None:
        """Put a document in place of what has its id; inside a transaction.

        vectors: ``(chunks, dim)``, stored as float16. ``key``: of a new document; the next one
        where it is None.
        """
        row = self._db.execute(
            "INSERT INTO documents (key, id, title, text, metadata, hash) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET title = excluded.title, text = excluded.text,"
            " metadata = excluded.metadata, hash = excluded.hash RETURNING key",
            (
                key,
                document.id,
                document.title,
                document.text,
                document_metadata(document),
                stored_hash(document),
            ),
        ).fetchone()
        self._delete_chunks(row[0])
        self._fill_facets(row[0])
        self._db.executemany(
            "INSERT INTO chunks (document, start, end, vector) VALUES (?, ?, ?, ?)",
            [
                (row[0], chunk.start, chunk.end, vector.astype("<f2").tobytes())
                for chunk, vector in zip(chunks, vectors, strict=True)
            ],
        )
        self._add_words(row[0], document.title, document.text)

    def set_metadata(self, document: Document) -> None:
        """New metadata for a stored document; inside a transaction."""
        metadata = document_metadata(document)
        key, content = self.rows(
            f"SELECT key, substr(hash, 1, {CONTENT_HASH}) FROM documents WHERE id = ?",
            [document.id],
        )[0]
        self._db.execute(
            "UPDATE documents SET metadata = ?, hash = ? WHERE key = ?",
            (metadata, content + metadata_hash(metadata), key),
        )
        self._fill_facets(key)

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
        rows = self.rows("SELECT field FROM facet_fields") if self.has_settings else []
        fields = frozenset(row[0] for row in rows)
        if self.follows_lists:
            return fields
        return frozenset(field for field in fields if len(parse_field(field)) == 1)

    def add_facet(self, field: str) -> None:
        """Index a metadata field's values, of what is stored and will be; in a transaction."""
        if field not in self.facets():
            path = json_path(parse_field(field))
            self._db.execute("INSERT INTO facet_fields VALUES (?, ?)", (field, path))
            self._fill_facet(field)

    def _fill_upgraded(self) -> None:
        for field in self.facets():
            self._db.execute("DELETE FROM facets WHERE field = ?", (field,))
            self._fill_facet(field)
        self.make_words()

    def _fill_facet(self, field: str, document: int | None = None) -> None:
        """Note a field's values in one document, or in all."""
        values = values_of(parse_field(field))
        one, key = ("", ()) if document is None else ("AND documents.key = ?", (document,))
        self._db.execute(
            "INSERT INTO facets SELECT ?, each.type, each.value, documents.key"
            f" FROM documents, {values.tables}"
            f" WHERE {values.guard} AND each.type NOT IN ('object', 'array') {one}",
            (field, *values.parameters, *key),
        )

    def _fill_facets(self, document: int) -> None:
        """Note the values of all indexed fields in a document whose metadata are new."""
        fields = self.facets()
        if fields:
            self._db.execute("DELETE FROM facets WHERE document = ?", (document,))
        for field in fields:
            self._fill_facet(field, document)

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

    def count_where(self, condition: Sql) -> int:
        """How many documents a filter lets through."""
        sql = f"SELECT count(*) FROM documents WHERE {condition.text}"
        return int(self.rows(sql, condition.parameters)[0][0])

    def documents_after(
        self, key: int, count: int, condition: Sql | None
    ) -> list[tuple[int, Document]]:
        """At most so many documents behind a key, ascending, that a filter lets through."""
        text, parameters = ("1", ()) if condition is None else condition
        rows = self.rows(
            "SELECT key, id, title, text, metadata FROM documents"
            f" WHERE key > ? AND ({text}) ORDER BY key LIMIT ?",
            [key, *parameters, count],
        )
        return [(row[0], self._document(*row[1:])) for row in rows]

    def documents_by_id(self, ids: Sequence[str]) -> dict[str, Document]:
        """The documents of those ids that are there."""
        rows = self.rows(
            f"SELECT id, title, text, metadata FROM documents WHERE id IN ({marks(ids)})",
            list(ids),
        )
        return {row[0]: self._document(*row) for row in rows}

    def vectors_of(self, keys: Sequence[int], dim: int) -> Vectors:
        """The vectors of those chunks that are still there, in ascending order of keys."""
        rows = self.rows(
            f"SELECT key, vector FROM chunks WHERE key IN ({marks(keys)}) ORDER BY key",
            list(keys),
        )
        return self._as_vectors(rows, dim)

    def _as_vectors(self, rows: Sequence[tuple[Any, ...]], dim: int) -> Vectors:
        keys = np.fromiter((row[0] for row in rows), np.int64, len(rows))
        try:
            vectors = np.frombuffer(b"".join(row[1] for row in rows), "<f2")
            return Vectors(keys, vectors.reshape(len(rows), dim))
        except (ValueError, TypeError) as error:
            raise self._damaged(f"vectors: {error}") from error

    def _as_chunk_vectors(self, rows: Sequence[tuple[Any, ...]], dim: int) -> ChunkVectors:
        if not all(is_number(row[2]) for row in rows):
            raise self._damaged("the documents of its chunks")
        documents = np.fromiter((row[2] for row in rows), np.int64, len(rows))
        return ChunkVectors(*self._as_vectors(rows, dim), documents)

    def vectors_of_documents(self, documents: Sequence[int], dim: int) -> ChunkVectors:
        """The vectors of all chunks of those documents, in ascending order of their keys."""
        rows = self.rows(
            f"SELECT key, vector, document FROM chunks WHERE document IN ({marks(documents)})"
            " ORDER BY key",
            list(documents),
        )
        return self._as_chunk_vectors(rows, dim)

    def first_chunks(self, documents: Sequence[int]) -> dict[int, int]:
        """The key of the first chunk of each of those documents, by which words know it."""
        rows = self.rows(
            f"SELECT document, min(key) FROM chunks WHERE document IN ({marks(documents)})"
            " GROUP BY document",
            list(documents),
        )
        return dict(rows)

    def chunks_of(self, documents: Sequence[int]) -> dict[int, list[ChunkPlace]]:
        """Where the chunks of those documents lie, by document key."""
        rows = self.rows(
            "SELECT document, key, start, end FROM chunks"
            f" WHERE document IN ({marks(documents)}) ORDER BY key",
            list(documents),
        )
        places: dict[int, list[ChunkPlace]] = {}
        for document, *place in rows:
            if not all(map(is_number, place)):
                raise self._damaged(f"the row of chunk {place[0]}")
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
        self._db.execute(
            "DELETE FROM words WHERE chunk IN (SELECT key FROM chunks WHERE document = ?)",
            of_document,
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
        """The document of an id; None if there is none."""
        rows = self.rows("SELECT id, title, text, metadata FROM documents WHERE id = ?", [id_])
        return self._document(*rows[0]) if rows else None

    def _document(self, id_: str, title: str, text: str, metadata: str) -> Document:
        if not all(map(is_text, (id_, title, text))):
            raise self._damaged(f"the row of document {id_!a:.80}")
        try:
            return Document(id_, title, text, stored_metadata(metadata))
        except (ValueError, TypeError) as error:
            raise self._damaged(f"the metadata of document {id_!a}: {error}") from error

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
        chunks = {row[0]: StoredChunk(*row) for row in rows}
        for chunk in chunks.values():
            places = (chunk.document, chunk.start, chunk.end)
            texts = (chunk.id, chunk.title, chunk.metadata, chunk.passage)
            if not (all(map(is_number, places)) and all(map(is_text, texts))):
                raise self._damaged(f"the row of chunk {chunk.key}")
        return chunks

    def vectors(self, after: int, dim: int) -> Iterator[Vectors]:
        """Vectors of the chunks whose key is larger than ``after``, some thousands at a time."""
        while rows := self.rows(
            "SELECT key, vector FROM chunks WHERE key > ? ORDER BY key LIMIT ?",
            [after, ROWS_AT_A_TIME],
        ):
            yield self._as_vectors(rows, dim)
            after = rows[-1][0]

    def chunk_vectors(self, after: int, dim: int, last: int = 2**63 - 1) -> Iterator[ChunkVectors]:
        """As ``vectors``, with the chunks' documents; of keys that are at most ``last``."""
        while rows := self.rows(
            "SELECT key, vector, document FROM chunks WHERE key > ? AND key <= ?"
            " ORDER BY key LIMIT ?",
            [after, last, ROWS_AT_A_TIME],
        ):
            yield self._as_chunk_vectors(rows, dim)
            after = rows[-1][0]

    def vectors_file(self, number: int) -> str:
        """The checksum of the file of vectors beside the snapshot of a number; "" for none."""
        of, sha256 = self.setting(VECTORS_OF, 0), self.setting(VECTORS_FILE, "")
        return sha256 if of == number else ""

    def set_vectors_file(self, number: int, sha256: str) -> None:
        """Note the file of vectors beside the snapshot; inside a transaction."""
        self.set_setting(VECTORS_OF, number)
        self.set_setting(VECTORS_FILE, sha256)

    def tombstones(self) -> NDArray[np.int64]:
        """Keys of chunks deleted since the snapshot, ascending."""
        rows = self.rows("SELECT chunk FROM tombstones ORDER BY chunk", [])
        return np.array([row[0] for row in rows], np.int64)

    def counts(self) -> Counts:
        """How many documents and chunks there are."""
        row = self.rows(
            "SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)", []
        )[0]
        return Counts(*row)

    def documents_without_chunks(self) -> int:
        """How many documents no search could find."""
        return int(
            self.rows(
                "SELECT count(*) FROM documents WHERE key NOT IN (SELECT document FROM chunks)", []
            )[0][0]
        )

    def snapshot(self) -> SnapshotRecord | None:
        """The snapshot in use; None if there is none."""
        words = "words" if self.has_words else "''"
        rows = self.rows(
            f"SELECT number, kind, sha256, last_chunk, chunks, {words} FROM snapshots"
            " ORDER BY number DESC LIMIT 1",
            [],
        )
        return self._snapshot_record(rows[0]) if rows else None

    def _snapshot_record(self, row: tuple[Any, ...]) -> SnapshotRecord:
        number, kind, sha256, *counts, words = row
        sound = kind in SNAPSHOT_KINDS and isinstance(sha256, str) and isinstance(words, str)
        if not sound or not all(isinstance(n, int) and n >= 0 for n in (number, *counts)):
            raise self._damaged("the record of its snapshot")
        return SnapshotRecord(*row)

    def set_snapshot(self, record: SnapshotRecord, masked: NDArray[np.int64]) -> None:
        """Make it the only snapshot; inside a transaction.

        ``masked``: tombstones of before it was begun, whose chunks it does not hold.
        """
        self._db.execute("DELETE FROM snapshots")
        self._db.execute("INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?)", record)
        self._db.executemany(
            "DELETE FROM tombstones WHERE chunk = ?", ((int(key),) for key in masked)
        )

    @contextmanager
    def reading(self) -> Iterator["Store"]:
        """The store as it is at this moment, whatever is written meanwhile.

        ReplacedError if another index has taken its place.
        """
        with Store(self.path.parent, name=self.path.name) as frozen:
            frozen.begin()
            frozen.counts()  # the first read fixes the moment
            if frozen.id != self.id:
                raise ReplacedError(f"{self.path}: of another index now; run it again")
            yield frozen

    def sample(self, count: int, dim: int) -> NDArray[np.float32]:
        """At most so many vectors, evenly from all chunks, ``(n, dim)``."""
        keys = [row[0] for row in self.rows("SELECT key FROM chunks ORDER BY key")]
        chosen = keys[:: -(-len(keys) // count) or 1]
        parts = [
            self.vectors_of(chosen[start : start + ROWS_AT_A_TIME], dim).vectors
            for start in range(0, len(chosen), ROWS_AT_A_TIME)
        ]
        return np.concatenate([np.empty((0, dim), np.float16), *parts]).astype(np.float32)

    def check(self, *, deep: bool = False) -> list[str]:
        """What SQLite finds wrong with the file; empty when all is well.

        ``deep``: rows against their indexes as well, and words against the texts.
        """
        messages = [
            row[0] for row in self.rows(f"PRAGMA {'integrity' if deep else 'quick'}_check(10)")
        ]
        damage = [] if messages == ["ok"] else messages
        for table, wrong in WRONG_TYPES.items() if deep and not damage else ():
            count = self.rows(f"SELECT count(*) FROM {table} WHERE {wrong}")[0][0]
            damage += [f"{count} rows of {table} hold values of another type"] if count else []
        if deep and not damage:
            damage += self._content_damage()
            if self.has_words:
                damage += self.words_damage()
        return damage

    def _content_damage(self) -> list[str]:
        """Documents that are not what their hashes are of, or whose chunks reach beyond them."""
        damaged: list[str] = []
        for part in self._raw_documents(ROWS_AT_A_TIME // 8):
            for key, id_, title, text, metadata, stored in part:
                document = Document(id_, title, text)
                # format 1 had no hash of the metadata
                whole = len(stored) >= CONTENT_HASH and (
                    metadata_hash(metadata)[: len(stored) - CONTENT_HASH] == stored[CONTENT_HASH:]
                )
                content = stored[:CONTENT_HASH]
                if not whole or (
                    content_hash(document) != content and not self._has_own(document, key, content)
                ):
                    damaged.append(id_)
        outside = self.rows(
            "SELECT DISTINCT id FROM chunks JOIN documents ON documents.key = document"
            " WHERE start < 0 OR start > end OR end > length(text)"
        )
        return [f"document {id_!a} is damaged" for id_ in [*damaged, *(row[0] for row in outside)]]

    def _has_own(self, document: Document, key: int, content: bytes) -> bool:
        """Whether a content hash is of the document with the vector of its only passage."""
        rows = self.rows("SELECT vector FROM chunks WHERE document = ?", [key])
        if len(rows) != 1 or len(rows[0][0]) % 2:
            return False
        vector = tuple(np.frombuffer(rows[0][0], "<f2").tolist())
        return content_hash(replace(document, vector=vector)) == content

    def with_own_vector(self, key: int, document: Document) -> Document:
        """A document with the vector that it brought, if it did."""
        content = self.known([document.id])[document.id][0]
        if content == content_hash(document) or not self._has_own(document, key, content):
            return document
        rows = self.rows("SELECT vector FROM chunks WHERE document = ?", [key])
        return replace(document, vector=tuple(np.frombuffer(rows[0][0], "<f2").tolist()))

    def refused_document(self) -> str | None:
        """Why the first document that breaks the rules of what may be stored does; None if none."""
        for part in self._raw_documents(ROWS_AT_A_TIME // 8):
            for _, id_, title, text, metadata, _ in part:
                try:
                    check(Document(id_, title, text, json.loads(metadata), where=f"{id_!a}"))
                except (CorpusError, ValueError, TypeError, AttributeError) as error:
                    return str(error)
        return None

    def compact(self, language: str | None = None) -> None:
        """Make the words anew, and give back free pages; ``language`` as ``make_words``."""
        with self.transaction():
            self.make_words(language)
        with self._lock, self._errors():
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


def is_text(value: object) -> bool:
    """Whether a column holds a text, as it should."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether a column holds a whole number, as it should."""
    return isinstance(value, int)
