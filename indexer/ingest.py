"""Corpus to index: read, compare, chunk, embed, store.

A corpus that can be read twice is first checked as a whole, so that a mistake in its last line
is found before anything is written. Then every batch of documents is one transaction: whenever
the run is interrupted, what was stored is searchable, and the next run goes on from there.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from encoders.encoder import DocumentEncoder
from indexer.card import CARD, IndexCard, read_card
from indexer.chunks import DEFAULT_OVERLAP, Chunker
from indexer.documents import Corpus, Document
from indexer.folder import check_space, open_for_writing, refresh_snapshot
from indexer.seen import SeenIds
from indexer.snapshot import KIND, SnapshotKind
from indexer.store import Store, is_new, is_relabelled
from trimseek.console import progress
from trimseek.errors import CorpusError

# A batch ends at whichever comes first: enough work for good batches, bounded memory.
BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 2**20


def nothing(_: int) -> None:
    """Tells nobody."""


@dataclass
class IngestReport:
    """What a run did, in documents; ``chunks`` and ``tokens`` that were embedded.

    ``skipped``: documents without any text, left out because that was asked for.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ingest:
    """One run: ``corpus`` into the index at ``folder``.

    ``encoder_name``: what the index records, so that a search finds the encoder again.
    ``facets``: metadata fields to index; ``kind``: of the snapshot, as it is by default.
    ``sync``: documents of the index that the corpus lacks are removed. ``skip_empty``: documents
    without any text are left out; otherwise they are a CorpusError.
    """

    corpus: Corpus
    folder: Path
    encoder: DocumentEncoder
    encoder_name: str
    sync: bool = False
    skip_empty: bool = False
    overlap: int = DEFAULT_OVERLAP
    facets: Sequence[str] = ()
    kind: SnapshotKind | None = None
    report: IngestReport = field(default_factory=IngestReport)
    advance: Callable[[int], None] = nothing  # is told how many documents were stored

    def run(self) -> IngestReport:
        """Do it; CorpusError, IndexFolderError or StorageError leave the index consistent."""
        card = self._card()
        total = None if self.corpus.streamed else self._check_corpus()
        started = time.perf_counter()
        with open_for_writing(self.folder, card) as store, closing(SeenIds()) as seen:
            self._set_up(store)
            chunker = Chunker(self.encoder.tokenizer, card.overlap)
            with progress("indexing", total) as ticker:
                for batch in batches(self._documents()):
                    for document in batch:
                        seen.add(document)
                    self._store_batch(store, chunker, batch)
                    ticker.advance(len(batch))
                    self.advance(len(batch))
            if self.report.added + self.report.updated + self.report.unchanged == 0:
                raise CorpusError(f"{self.corpus.name}: no documents")
            if self.sync:
                with store.transaction():
                    self.report.removed = store.delete(seen.missing(store.ids()))
            refresh_snapshot(store, self.folder, card)
            store.checkpoint()
        self.report.seconds = time.perf_counter() - started
        return self.report

    def _card(self) -> IndexCard:
        encoder = self.encoder.card
        if (self.folder / CARD).is_file():
            card = read_card(self.folder)
            check_space(card, encoder.space, self.folder, self.encoder_name)
            return card
        return IndexCard(encoder.space, encoder.dim, self.encoder_name, self.overlap)

    def _set_up(self, store: Store) -> None:
        """What is asked for beside the documents."""
        with store.transaction():
            for field_ in self.facets:
                store.add_facet(field_)
            if self.kind is not None:
                store.set_setting(KIND, self.kind.value)

    def _documents(self) -> Iterator[Document]:
        """The corpus's documents that have a text."""
        for document in self.corpus.documents():
            if not document.is_empty:
                yield document
            elif self.skip_empty:
                self.report.skipped += 1
            else:
                raise CorpusError(
                    f"{document.where}: document {document.id!r} has no text and no title; "
                    "--skip-empty leaves such documents out"
                )

    def _check_corpus(self) -> int:
        """Read every document once; how many there are. CorpusError."""
        count = 0
        with closing(SeenIds()) as seen, progress("checking") as ticker:
            for document in self._documents():
                seen.add(document)
                count += 1
                ticker.advance(1)
        self.report.skipped = 0  # they are met again
        if count == 0:
            raise CorpusError(f"{self.corpus.name}: no documents")
        return count

    def _store_batch(self, store: Store, chunker: Chunker, batch: Sequence[Document]) -> None:
        known = store.known([document.id for document in batch])
        changed = [document for document in batch if is_new(document, known)]
        relabelled = [document for document in batch if is_relabelled(document, known)]
        chunks = [chunker.chunks(document) for document in changed]
        encoded = self.encoder.encode([chunk.embedded for part in chunks for chunk in part])
        with store.transaction():
            start = 0
            for document, part in zip(changed, chunks, strict=True):
                store.upsert(document, part, encoded.vectors[start : start + len(part)])
                start += len(part)
            for document in relabelled:
                store.set_metadata(document)
        added = sum(document.id not in known for document in changed)
        self.report.added += added
        self.report.updated += len(changed) - added + len(relabelled)
        self.report.unchanged += len(batch) - len(changed) - len(relabelled)
        self.report.chunks += len(encoded.vectors)
        self.report.tokens += encoded.tokens


def batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Cut the stream of documents by count and by length."""
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch
