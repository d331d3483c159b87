"""Change an index while it is searched: documents put, patched and deleted, each change durable.

A call returns when what it did is on the disk: it survives a kill and a power loss. Readers, in
this process and in others, see it with their next search.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from encoders.encoder import DocumentEncoder
from encoders.weights import FloatArray
from indexer.card import read_card
from indexer.chunks import Chunk, Chunker
from indexer.documents import Document, check
from indexer.filters import Filter, to_sql
from indexer.folder import WAIT, check_space, folder_identity, refresh_snapshot, write_lock
from indexer.snapshot import is_stale
from indexer.store import Store, is_new, is_relabelled
from trimseek.errors import CorpusError, UnknownDocumentError


class Put(NamedTuple):
    """What became of documents, by number; ``updated`` counts new metadata alone too."""

    added: int
    updated: int
    unchanged: int


class Embedded(NamedTuple):
    """A document's chunks and their vectors ``(chunks, dim) float32``."""

    chunks: list[Chunk]
    vectors: FloatArray


class IndexWriter:
    """Writes to an index folder that exists; any number of writers take turns.

    ``encoder``: of the index's space. Errors leave the index as it was before the call.
    """

    def __init__(self, folder: Path, encoder: DocumentEncoder | None = None) -> None:
        self.folder, self.encoder = folder, encoder
        with write_lock(folder, WAIT):
            self._open()

    def close(self) -> None:
        self._store.close()

    def _open(self) -> None:
        self._identity = folder_identity(self.folder)
        self.card = read_card(self.folder)
        if self.encoder is not None:
            check_space(self.card, self.encoder.card.space, self.folder, self.encoder.card.name)
        self._store = Store(self.folder, writable=True, durable=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction on the index that is in the folder now, under its lock."""
        while True:
            with write_lock(self.folder, WAIT):
                if folder_identity(self.folder) == self._identity:
                    with self._store.transaction():
                        yield
                    return
                # another index has taken its place; the lock that is held is the old one's
                self._store.close()
                self._open()

    def put(self, documents: Sequence[Document]) -> Put:
        """Add documents, or replace those of their ids; all of them or none.

        What is unchanged is not embedded anew. CorpusError for a document without text, one that
        cannot be stored, or an id given twice.
        """
        statuses = self.put_each(documents)
        return Put(*(statuses.count(each) for each in Put._fields))

    def put_each(self, documents: Sequence[Document]) -> list[str]:
        """As ``put``: of each document, whether it was added, updated or unchanged."""
        if self.encoder is None:
            raise ValueError("this writer was opened without an encoder")
        check_documents(documents)
        ids = [each.id for each in documents]
        embedded: dict[str, Embedded] = {}
        while True:
            # the encoder works while others may write; what is stored at the end decides
            known = self._store.known(ids)
            self._embed([each for each in documents if is_new(each, known)], embedded)
            with self._writing():
                known = self._store.known(ids)
                changed = [each for each in documents if is_new(each, known)]
                if all(each.id in embedded for each in changed):
                    for document in changed:
                        self._store.upsert(document, *embedded[document.id])
                    relabelled = [each for each in documents if is_relabelled(each, known)]
                    for document in relabelled:
                        self._store.set_metadata(document)
                    break
        written = {each.id for each in (*changed, *relabelled)}
        return [
            "added" if id_ not in known else "updated" if id_ in written else "unchanged"
            for id_ in ids
        ]

    def _embed(self, documents: Sequence[Document], embedded: dict[str, "Embedded"]) -> None:
        """Chunk and encode those that are not embedded yet."""
        assert self.encoder is not None  # noqa: S101 - put has looked
        chunker = Chunker(self.encoder.tokenizer, self.card.overlap)
        missing = [each for each in documents if each.id not in embedded]
        chunks = [chunker.chunks(each) for each in missing]
        vectors = self.encoder.encode([part.embedded for each in chunks for part in each]).vectors
        start = 0
        for document, part in zip(missing, chunks, strict=True):
            embedded[document.id] = Embedded(part, vectors[start : start + len(part)])
            start += len(part)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; how many there were."""
        with self._writing():
            return self._store.delete(ids)

    def delete_where(self, condition: Filter) -> int:
        """Delete the documents that a filter lets through; how many there were."""
        with self._writing():
            found = self._store.ids_where(to_sql(condition, self._store.facets()))
            return self._store.delete(found)

    def patch(self, id_: str, changes: Mapping[str, Any]) -> Document:
        """Change metadata without embedding anything: new values, None takes a field away.

        As JSON Merge Patch (RFC 7396) at the first level. UnknownDocumentError.
        """
        with self._writing():
            old = self._store.document(id_)
            if old is None:
                raise UnknownDocumentError(f"{self.folder}: no document {id_!r}")
            kept = {name: value for name, value in old.metadata.items() if name not in changes}
            new = {name: value for name, value in changes.items() if value is not None}
            document = Document(old.id, old.title, old.text, kept | new, where=f"patch of {id_!r}")
            check(document)
            self._store.set_metadata(document)
        return document

    def is_stale(self) -> bool:
        """Whether enough has changed for a new snapshot."""
        return is_stale(self._store, self.card.dim)

    def refresh(self) -> bool:
        """Build a new snapshot if enough has changed; whether it did.

        Others may write meanwhile.
        """
        return refresh_snapshot(self._store, self.folder, self.card)


def check_documents(documents: Sequence[Document]) -> None:
    """CorpusError for what cannot be stored, and for an id given twice."""
    seen: set[str] = set()
    for document in documents:
        where = document.where or f"document {document.id!a}"
        if document.id in seen:
            raise CorpusError(f"{where}: the id {document.id!a} is given twice")
        if document.is_empty:
            raise CorpusError(f"{where}: it has no text and no title")
        check(replace(document, where=where))
        seen.add(document.id)
