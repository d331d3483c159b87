"""What Ray's workers do with a corpus: read it, embed what is new, write pieces."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from trimseek.cluster.fetch import fetched_file
from trimseek.cluster.known_texts import KnownTexts
from trimseek.cluster.manifest import Manifest
from trimseek.cluster.pieces import PieceDocument, piece_name, write_piece
from trimseek.cluster.placement import MOST_ROWS, document_key, shard_of
from trimseek.cluster.plan import PIECE_CHARACTERS, PIECE_DOCUMENTS, BuildPlan
from trimseek.cluster.sources import PartReader
from trimseek.cluster.storage import Storage
from trimseek.encoders import find_encoder, open_encoder
from trimseek.errors import CorpusError
from trimseek.indexer.documents import Document
from trimseek.indexer.embedding import DocumentEmbedder
from trimseek.indexer.ingest import batches
from trimseek.indexer.store import content_hash

Row = dict[str, Any]


class CorpusReader:
    """Reads parts of a corpus in batches; those whose piece is there already are left out."""

    def __init__(self, plan: BuildPlan, written: frozenset[str]) -> None:
        self.plan, self._written = plan, written

    def __call__(self, row: Row) -> Iterator[Row]:
        """``row``: the number of a part, under ``file``."""
        plan, file = self.plan, int(row["file"])
        reader = reader_of(plan, file)
        first = 1
        read = batches(reader.documents(), PIECE_DOCUMENTS, PIECE_CHARACTERS)
        for number, batch in enumerate(read):
            if first + len(batch) > MOST_ROWS:
                raise CorpusError(
                    f"{plan.parts[file].name}: more than {MOST_ROWS:,} documents; split it"
                )
            if piece_name(plan.work, file, number) not in self._written:
                documents = json.dumps([as_row(document) for document in batch]).encode()
                yield {"file": file, "batch": number, "first": first, "documents": documents}
            first += len(batch)


def reader_of(plan: BuildPlan, file: int) -> PartReader:
    """What reads a part of the corpus."""
    card = open_encoder(find_encoder(plan.card.encoder))
    return PartReader(plan.parts[file], plan.options, card, skip_empty=plan.skip_empty)


class PieceWriter:
    """Embeds batches of documents and writes them; one for each share of the CPUs.

    ``before``: the manifest whose texts need not be embedded again.
    """

    def __init__(self, plan: BuildPlan, before: Manifest | None, threads: int) -> None:
        self.plan = plan
        self._storage = Storage(plan.uri)
        self._embedder = DocumentEmbedder(plan.open_encoder(threads), plan.card.overlap)
        self._known = KnownTexts(
            [
                fetched_file(self._storage, before, shard.known, f"known-{number:04d}")
                for number, shard in enumerate(before.shards if before else ())
                if before is not None
            ]
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Write one piece; how many documents it has, and how many were embedded for it."""
        file, number, first = (int(batch[name][0]) for name in ("file", "batch", "first"))
        documents = [document_of(row) for row in json.loads(batch["documents"][0])]
        new = [document for document in documents if not self._is_known(document)]
        embedded = self._embedder.embed(new).by_id
        rows = []
        for row, document in enumerate(documents, first):
            key = document_key(file, row, shard_of(document.id, self.plan.shards))
            of_document = embedded.get(document.id)
            if of_document is None:
                rows.append(PieceDocument(key, document, [], None))
            else:
                vectors = of_document.vectors.astype(np.float16)
                rows.append(PieceDocument(key, document, of_document.chunks, vectors))
        write_piece(self._storage, piece_name(self.plan.work, file, number), rows)
        return {"documents": [len(documents)], "embedded": [len(new)]}

    def _is_known(self, document: Document) -> bool:
        if document.vector is not None:
            return False  # it is stored with the document
        return self._known.has(document.id, content_hash(document))


def as_row(document: Document) -> Row:
    """A document as it goes from who reads to who embeds."""
    return {**vars(document), "metadata": dict(document.metadata)}


def document_of(row: Row) -> Document:
    """A document as ``as_row`` sent it."""
    vector = None if row["vector"] is None else tuple(row["vector"])
    return Document(**(row | {"vector": vector}))
