"""Change an index while it is searched: documents put, patched and deleted, each change durable.

A call returns when what it did is on the disk: it survives a kill and a power loss. Readers, in
this process and in others, see it with their next search.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from trimseek.console import note
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.errors import CorpusError, IndexFolderError, StorageError, UnknownDocumentError
from trimseek.indexer.card import folder_identity
from trimseek.indexer.documents import Document, check, no_text
from trimseek.indexer.embedding import (
    ADDED,
    UNCHANGED,
    UPDATED,
    DocumentEmbedder,
    Embedded,
    find_changes,
    write_changes,
)
from trimseek.indexer.filters import Filter, to_sql
from trimseek.indexer.folder import (
    WAIT,
    check_space,
    open_index,
    open_writable,
    renew_snapshot,
    write_lock,
)
from trimseek.indexer.own_vectors import SCALED, with_checked_vector
from trimseek.indexer.prompts import check_prompt
from trimseek.indexer.snapshot import is_stale
from trimseek.indexer.vector_map import stored_map


class PutCounts(NamedTuple):
    """How many documents were added, updated (new metadata alone included) and unchanged."""

    added: int
    updated: int
    unchanged: int


class Written(NamedTuple):
    """What became of one document: "added", "updated", "unchanged", or "failed" and why."""

    id: str | None
    status: str
    error: str | None = None


class IndexWriter:
    """Writes to an index folder that exists; any number of writers take turns.

    ``encoder``: of the index's space. Errors leave the index as it was before the call.
    """

    def __init__(self, folder: Path, encoder: DocumentEncoder | None = None) -> None:
        self.folder, self.encoder = folder, encoder
        with write_lock(folder, WAIT):
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store."""
        try:
            with write_lock(self.folder):
                if folder_identity(self.folder) == self.card.id:
                    self._store.close()
                    return
        except StorageError:  # somebody else writes, or the folder is gone
            pass
        self._store.abandon()

    def _open(self) -> None:
        card, store = open_writable(self.folder, durable=True)
        embedder = None
        if self.encoder is not None:
            try:
                check_space(card, self.encoder.card.space, self.folder, self.encoder.card.name)
                check_prompt(card, self.encoder, self.folder)
            except IndexFolderError:
                store.close()
                raise
            vector_map = stored_map(store, card.dim)
            embedder = DocumentEmbedder(self.encoder, card.overlap, vector_map)
        self.card, self._store, self._embedder = card, store, embedder

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A transaction on the index that is in the folder now, under its lock."""
        while True:
            with write_lock(self.folder, WAIT):
                if folder_identity(self.folder) == self.card.id:
                    with self._store.transaction():
                        yield
                    return
                # another index has taken the place of the one that was opened
                self._store.abandon()
                self._open()

    def put(self, documents: Sequence[Document]) -> PutCounts:
        """Add documents, or replace those of their ids; all of them or none.

        What is unchanged is not embedded anew. CorpusError for a document without text, one that
        cannot be stored, or an id given twice.
        """
        documents, scaled = self._with_vectors(documents)
        check_documents(documents)
        statuses = Counter(self._put(documents).values())
        if scaled:
            note(f"{scaled} documents: {SCALED}")
        return PutCounts(statuses[ADDED], statuses[UPDATED], statuses[UNCHANGED])

    def put_each(self, entries: Sequence[Document | Written]) -> list[Written]:
        """As ``put``, but a document that cannot be stored fails alone; one result for each entry.

        An entry may be a failure already: it stays as it is, in its place.
        """
        ids: set[str] = set()
        card = self._encoder_card()
        results = [
            checked(entry, ids, card) if isinstance(entry, Document) else entry for entry in entries
        ]
        statuses = self._put([entry for entry in results if isinstance(entry, Document)])
        return [
            Written(entry.id, statuses[entry.id]) if isinstance(entry, Document) else entry
            for entry in results
        ]

    def _encoder_card(self) -> EncoderCard:
        """Of the encoder; ValueError without one."""
        if self.encoder is None:
            raise ValueError("this writer was opened without an encoder")
        return self.encoder.card

    def _with_vectors(self, documents: Sequence[Document]) -> tuple[list[Document], int]:
        """Documents with their own vectors as they are stored; how many were scaled."""
        card = self._encoder_card()
        prepared = [with_checked_vector(document, card) for document in documents]
        return [document for document, _ in prepared], sum(scaled for _, scaled in prepared)

    def _put(self, documents: Sequence[Document]) -> dict[str, str]:
        """Store documents that were checked; the status of each by its id."""
        if self._embedder is None:
            raise ValueError("this writer was opened without an encoder")
        if not documents:
            return {}
        embedder, embedded = self._embedder, dict[str, Embedded]()
        while True:
            # the encoder works while others may write; what is stored at the end decides
            new = find_changes(self._store, documents).new
            missing = [document for document in new if document.id not in embedded]
            embedded |= embedder.embed(missing).by_id
            with self._writing():
                if self._embedder is not embedder:  # of the index that is in the folder now
                    embedder, embedded = self._embedder, {}
                    continue
                changes = find_changes(self._store, documents)
                if all(document.id in embedded for document in changes.new):
                    write_changes(self._store, changes, embedded)
                    return changes.statuses

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents; how many there were."""
        with self._writing():
            return self._store.delete(ids)

    def delete_where(self, condition: Filter) -> int:
        """Delete the documents that a filter lets through; how many there were."""
        with self._writing():
            ids = self._store.ids_where(to_sql(condition, self._store.facets()))
            return self._store.delete(ids)

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
        with open_index(self.folder) as (card, store):
            return is_stale(store, card.dim)

    def refresh(self) -> bool:
        """Build a new snapshot if enough has changed; whether it did.

        Others may write meanwhile.
        """
        return renew_snapshot(self.folder, always=False)


def check_documents(documents: Sequence[Document]) -> None:
    """CorpusError for what cannot be stored, and for an id given twice."""
    ids: set[str] = set()
    for document in documents:
        check_new(document, ids)


def checked(document: Document, ids: set[str], encoder: EncoderCard) -> Document | Written:
    """The document, its own vector as it is stored, or its failure; ``ids`` as in ``check_new``."""
    try:
        document, _ = with_checked_vector(document, encoder)
        check_new(document, ids)
    except CorpusError as error:
        return Written(document.id, "failed", str(error))
    return document


def check_new(document: Document, ids: set[str]) -> None:
    """Refuse a document that cannot be stored (CorpusError); add its id to those seen."""
    where = document.where or f"document {document.id!a}"
    if document.id in ids:
        raise CorpusError(f"{where}: the id {document.id!a} is given twice")
    if document.is_empty:
        raise no_text(document)
    check(replace(document, where=where))
    ids.add(document.id)
