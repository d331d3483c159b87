"""Corpus to index: read, compare, chunk, embed, store.

A corpus that can be read twice is first checked as a whole, so that a mistake in its last line
is found before anything is written. Then every batch of documents is one transaction: whenever
the run is interrupted, what was stored is searchable, and the next run goes on from there.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from trimseek.console import note, progress
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.errors import ConfigError, CorpusError, IndexFolderError
from trimseek.indexer.card import CARD, IndexCard, read_card
from trimseek.indexer.chunks import DEFAULT_OVERLAP, chunker_of
from trimseek.indexer.documents import Corpus, Document, no_text
from trimseek.indexer.embedding import (
    ADDED,
    UNCHANGED,
    UPDATED,
    DocumentEmbedder,
    find_changes,
    write_changes,
)
from trimseek.indexer.folder import check_space, configure, open_or_create, refresh_snapshot
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.own_vectors import SCALED, with_checked_vector
from trimseek.indexer.prompts import check_prompt, new_card
from trimseek.indexer.seen import SeenIds
from trimseek.indexer.store import Store
from trimseek.indexer.vector_map import (
    SAMPLE,
    VectorMap,
    check_mappable,
    fit_map,
    store_map,
    stored_map,
)

# A batch ends at whichever comes first: enough work for good batches, bounded memory.
BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 2**20


def ignore_progress(_: int) -> None:
    """The default of ``Ingest.advance``."""


@dataclass
class IngestReport:
    """What a run did, in documents; ``chunks`` and ``tokens`` that were embedded.

    ``skipped``: documents without any text, left out because that was asked for; ``bad``: parts
    of the corpus that could not be read, left out for the same reason, of which ``bad_parts``
    names the first ten. ``scaled``: documents whose own vectors were scaled to unit length.
    ``fields``: how each field of the corpus was read. ``remarks``: what a user may not expect of
    it. ``vector_map``: what a map that was fitted brings, in words.
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    scaled: int = 0
    bad: int = 0
    chunks: int = 0
    tokens: int = 0
    seconds: float = 0.0
    fields: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    bad_parts: list[str] = field(default_factory=list)
    vector_map: str = ""


@dataclass(frozen=True)
class Ingest:
    """One run: ``corpus`` into the index at ``folder``.

    ``encoder_name``, ``query_encoder``: what a new index records, so that a search finds the
    encoders again; the latter is "" if it is the former.
    ``query_prompt``, ``document_prompt``: of a new index, None for the encoder's own; the encoder
    was opened with the latter. ``facets``: metadata fields to index; ``kind``: of the snapshot, as
    it is by default. ``map_to``: an encoder that embeds a sample of a new index's documents too,
    so that their vectors are mapped towards its own (``vector_map``).
    ``sync``: documents of the index that the corpus lacks are removed, unless parts of it could
    not be read. ``skip_empty``: documents
    without any text are left out; otherwise they are a CorpusError. ``advance``: called after
    each batch with how many documents were stored.
    """

    corpus: Corpus
    folder: Path
    encoder: DocumentEncoder
    encoder_name: str
    query_encoder: str = ""
    sync: bool = False
    skip_empty: bool = False
    overlap: int = DEFAULT_OVERLAP
    query_prompt: str | None = None
    document_prompt: str | None = None
    facets: Sequence[str] = ()
    language: str | None = None
    kind: SnapshotKind | None = None
    map_to: DocumentEncoder | None = None
    report: IngestReport = field(default_factory=IngestReport)
    advance: Callable[[int], None] = ignore_progress

    def run(self) -> IngestReport:
        """Do it; CorpusError, IndexFolderError or StorageError leave the index consistent."""
        self._check_encoder()
        sample = Sample(SAMPLE if self.map_to is not None else 0)
        total = None if self.corpus.streamed else self._check_corpus(sample)
        started = time.perf_counter()
        with open_or_create(self.folder, self._new_card) as opened, closing(SeenIds()) as seen:
            card, store = opened
            self._check_space(card)
            configure(store, self.facets, self.kind, self.language)
            vector_map = self._vector_map(card, store, sample)
            embedder = DocumentEmbedder(self.encoder, card.overlap, vector_map)
            with progress("indexing", total) as ticker:
                for batch in batches(self._documents(), BATCH_DOCUMENTS, BATCH_CHARACTERS):
                    for document in batch:
                        seen.add(document)
                    self._store_batch(store, embedder, batch)
                    ticker.advance(len(batch))
                    self.advance(len(batch))
            if self.report.added + self.report.updated + self.report.unchanged == 0:
                raise self._no_documents()
            self._take_notices()
            if self.sync and not self.report.bad:
                with store.transaction():
                    self.report.removed = store.delete(seen.missing(store.ids()))
            refresh_snapshot(opened, self.folder)
            store.checkpoint()
        self.report.seconds = time.perf_counter() - started
        return self.report

    def _take_notices(self) -> None:
        notices, report = self.corpus.notices, self.report
        report.fields, report.remarks = notices.fields(), list(notices.remarks)
        report.bad, report.bad_parts = notices.bad, notices.bad_parts
        if report.scaled:
            report.remarks.append(f"{report.scaled} documents: {SCALED}")
        if self.sync and report.bad:
            report.remarks.append(
                "nothing was removed, as what could not be read may be in the index"
            )

    def _check_encoder(self) -> None:
        """IndexFolderError or ConfigError, before the corpus is read, for what cannot be done."""
        if (self.folder / CARD).is_file():
            self._check_space(read_card(self.folder))
        if self.map_to is None:
            return
        if self.corpus.streamed:
            raise ConfigError("--map-to reads the corpus twice, so that it must be in files")
        check_mappable(self.encoder.card, self.map_to.card)

    def _vector_map(self, card: IndexCard, store: Store, sample: "Sample") -> VectorMap | None:
        """The index's map, fitted now if it is new and has one; IndexFolderError, ConfigError."""
        known = stored_map(store, card.dim)
        if known is not None and self.encoder_name != card.encoder:
            raise IndexFolderError(
                f"{self.folder}: its vectors are mapped from those of {card.encoder!r}, and "
                f"documents by {self.encoder_name!r} would not fit; leave out --encoder"
            )
        if known is not None or self.map_to is None:
            return known
        if store.counts().documents:
            raise IndexFolderError(
                f"{self.folder}: its documents are embedded without a map; leave out --map-to, or "
                "make another index"
            )
        chunker = chunker_of(self.encoder, card.overlap)
        chunks = [chunker.chunks(document) for document in sample.documents]
        # beginnings, middles and ends
        passages = [of_one[i % len(of_one)].embedded for i, of_one in enumerate(chunks)]
        note(f"fitting a map on {len(passages):,} passages ...")
        fit = fit_map(self.encoder.encode(passages).vectors, self.map_to.encode(passages).vectors)
        with store.transaction():
            store_map(store, fit.map)
        self.report.vector_map = str(fit)
        return fit.map

    def _check_space(self, card: IndexCard) -> None:
        check_space(card, self.encoder.card.space, self.folder, self.encoder_name)
        check_prompt(card, self.encoder, self.folder)

    def _new_card(self) -> IndexCard:
        return new_card(
            self.encoder.folder,
            self.encoder.card,
            self.encoder_name,
            self.query_encoder,
            self.overlap,
            self.query_prompt,
            self.document_prompt,
        )

    def _documents(self) -> Iterator[Document]:
        """The corpus's documents that have a text; what was left out is in the report then."""
        admitted = AdmittedDocuments(
            self.corpus.documents(), self.encoder.card, skip_empty=self.skip_empty
        )
        yield from admitted
        self.report.skipped, self.report.scaled = admitted.skipped, admitted.scaled

    def _check_corpus(self, sample: "Sample") -> int:
        """Read every document once, and sample them; how many there are. CorpusError."""
        count = 0
        with closing(SeenIds()) as seen, progress("checking") as ticker:
            for document in self._documents():
                seen.add(document)
                sample.add(document)
                count += 1
                ticker.advance(1)
        if count == 0:
            raise self._no_documents()
        return count

    def _no_documents(self) -> CorpusError:
        """The error of an empty corpus."""
        notices = self.corpus.notices
        if notices.bad:
            return CorpusError(
                f"{self.corpus.name}: none of its {notices.bad} parts can be read: "
                f"{notices.bad_parts[0]}"
            )
        return CorpusError(f"{self.corpus.name}: no documents")

    def _store_batch(
        self, store: Store, embedder: DocumentEmbedder, batch: Sequence[Document]
    ) -> None:
        changes = find_changes(store, batch)
        embedded = embedder.embed(changes.new)
        with store.transaction():
            write_changes(store, changes, embedded.by_id)
        counts = Counter(changes.statuses.values())
        self.report.added += counts[ADDED]
        self.report.updated += counts[UPDATED]
        self.report.unchanged += counts[UNCHANGED]
        self.report.chunks += sum(len(document.chunks) for document in embedded.by_id.values())
        self.report.tokens += embedded.tokens


class Sample:
    """At most ``most`` documents without vectors of their own, drawn evenly from a stream.

    The same ones for the same stream (reservoir sampling, Vitter 1985).
    """

    def __init__(self, most: int) -> None:
        self.documents: list[Document] = []
        self._most, self._seen = most, 0
        self._random = random.Random(0)  # noqa: S311 - a sample, not a secret

    def add(self, document: Document) -> None:
        """Take it, or leave it."""
        if not self._most or document.vector is not None:
            return
        self._seen += 1
        if len(self.documents) < self._most:
            self.documents.append(document)
        elif (place := self._random.randrange(self._seen)) < self._most:
            self.documents[place] = document


class AdmittedDocuments:
    """Those of some documents that can be stored, with their own vectors as they are stored.

    ``skipped``: how many had no text; ``scaled``: how many vectors were scaled to unit length.
    """

    def __init__(
        self, documents: Iterable[Document], encoder: EncoderCard, *, skip_empty: bool
    ) -> None:
        self._documents, self._encoder, self._skip_empty = documents, encoder, skip_empty
        self.skipped = self.scaled = 0

    def __iter__(self) -> Iterator[Document]:
        """CorpusError for one without a text, unless these are skipped, or with a wrong vector."""
        for read in self._documents:
            document, scaled = with_checked_vector(read, self._encoder)
            self.scaled += scaled
            if not document.is_empty:
                yield document
            elif self._skip_empty:
                self.skipped += 1
            else:
                raise CorpusError(f"{no_text(document)}; --skip-empty leaves such documents out")


def batches(documents: Iterator[Document], most: int, characters: int) -> Iterator[list[Document]]:
    """Cut the stream of documents into batches of at most ``most``, of about so many characters."""
    batch: list[Document] = []
    length = 0
    for document in documents:
        batch.append(document)
        length += len(document.text)
        if len(batch) == most or length >= characters:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch
