"""Documents to stored passages with vectors: what is new is embedded, the rest is left alone.

The way of every write, of ``ingest`` and ``writer`` alike: find what changed, embed it while others
may write, then store it in one transaction.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trimseek.encoders.encoder import DocumentEncoder
from trimseek.encoders.weights import FloatArray
from trimseek.indexer.chunks import Chunk, chunker_of
from trimseek.indexer.documents import Document, document_metadata
from trimseek.indexer.store import Store, content_hash
from trimseek.indexer.vector_map import VectorMap

ADDED, UPDATED, UNCHANGED = "added", "updated", "unchanged"


class Changes(NamedTuple):
    """How documents differ from what is stored under their ids.

    ``new``: to be embedded, since their title or text is not stored. ``relabelled``: only their
    metadata is another. ``statuses``: by id, "added", "updated" or "unchanged".
    """

    new: list[Document]
    relabelled: list[Document]
    statuses: dict[str, str]


class Embedded(NamedTuple):
    """A document's chunks and their vectors ``(chunks, dim) float32``."""

    chunks: list[Chunk]
    vectors: FloatArray


class EmbeddedDocuments(NamedTuple):
    """Documents by id; ``tokens`` that were encoded, special tokens included."""

    by_id: dict[str, Embedded]
    tokens: int


class DocumentEmbedder:
    """Cuts documents into passages and encodes them.

    ``overlap``: tokens that neighbouring passages share. ``vector_map``: the index's, if it has
    one; vectors that come with documents are not mapped.
    """

    def __init__(
        self, encoder: DocumentEncoder, overlap: int, vector_map: VectorMap | None = None
    ) -> None:
        self.encoder = encoder
        self._chunker = chunker_of(encoder, overlap)
        self._map = vector_map

    def embed(self, documents: Sequence[Document]) -> EmbeddedDocuments:
        """Encode all passages of all documents together, in batches of the encoder's choice."""
        by_id = {
            document.id: own_passage(document)
            for document in documents
            if document.vector is not None
        }
        others = [document for document in documents if document.vector is None]
        chunks = [self._chunker.chunks(document) for document in others]
        texts = [chunk.embedded for of_document in chunks for chunk in of_document]
        encoded = self.encoder.encode(texts)
        vectors = encoded.vectors if self._map is None else self._map.apply(encoded.vectors)
        start = 0
        for document, of_document in zip(others, chunks, strict=True):
            end = start + len(of_document)
            by_id[document.id] = Embedded(of_document, vectors[start:end])
            start = end
        return EmbeddedDocuments(by_id, encoded.tokens)


def own_passage(document: Document) -> Embedded:
    """A document that brought its vector is one passage."""
    vectors = np.array([document.vector], np.float32)
    return Embedded([Chunk(0, len(document.text), document.text)], vectors)


def embedded_before(store: Store, documents: Sequence[Document], dim: int) -> dict[str, Embedded]:
    """The passages and vectors, by id, of those documents that a store has with the same text."""
    known = store.known([document.id for document in documents])
    same = [
        document
        for document in documents
        if document.id in known and known[document.id][0] == content_hash(document)
    ]
    keys = store.keys_of([document.id for document in same])
    places = store.chunks_of(list(keys.values()))
    stored = store.vectors_of_documents(list(keys.values()), dim)
    rows = {key: row for row, key in enumerate(stored.keys.tolist())}
    embedded = {}
    for document in same:
        of_document = places.get(keys[document.id], [])
        vectors = stored.vectors[[rows[place.key] for place in of_document]]
        chunks = [
            Chunk(place.start, place.end, document.text[place.start : place.end])
            for place in of_document
        ]
        embedded[document.id] = Embedded(chunks, vectors.astype(np.float32))
    return embedded


def find_changes(store: Store, documents: Sequence[Document]) -> Changes:
    """Compare documents with what is stored under their ids."""
    stored = store.known([document.id for document in documents])
    changes = Changes([], [], {})
    for document in documents:
        hash_, metadata = stored.get(document.id, (b"", ""))
        status = UPDATED if document.id in stored else ADDED
        if hash_ != content_hash(document):
            changes.new.append(document)
        elif metadata != document_metadata(document):
            changes.relabelled.append(document)
        else:
            status = UNCHANGED
        changes.statuses[document.id] = status
    return changes


def write_changes(store: Store, changes: Changes, embedded: Mapping[str, Embedded]) -> None:
    """Store what changed; inside a transaction. ``embedded`` has every new document."""
    store.tell_language([f"{document.title}\n{document.text}" for document in changes.new])
    for document in changes.new:
        store.upsert(document, *embedded[document.id])
    for document in changes.relabelled:
        store.set_metadata(document)
