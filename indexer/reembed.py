"""Change the document encoder of an index in place: the old one serves until the new one is whole.

The documents are embedded anew into a folder beside the index, which goes on where it was
interrupted; then the two change places at once. What is written meanwhile is taken over.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trimseek.atomic import replace_folder
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.errors import IndexFolderError
from trimseek.file_lock import file_lock
from trimseek.indexer.card import CARD, folder_identity, read_card
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import open_index, replaced_error, write_lock
from trimseek.indexer.ingest import Ingest, IngestReport
from trimseek.indexer.notices import Notices
from trimseek.indexer.prompts import new_card
from trimseek.indexer.snapshot import chosen_kind
from trimseek.indexer.store import Store

AT_A_TIME = 256
WAIT = 60.0  # seconds for another writer to finish
LOCK = "reembed.lock"


@dataclass(frozen=True)
class StoredCorpus:
    """The documents of an index, as a corpus."""

    store: Store
    name: str
    streamed: bool = True  # it was checked when it was stored
    notices: Notices = field(default_factory=Notices)

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        for part in self.store.all_documents(AT_A_TIME):
            yield from (document for _, document in part)


def ignore_progress(_done: int, _total: int) -> None:
    """The default of ``advance``."""


def reembed(
    folder: Path,
    encoder: DocumentEncoder,
    encoder_name: str,
    advance: Callable[[int, int], None] = ignore_progress,
    *,
    query_encoder: str = "",
    query_prompt: str | None = None,
    document_prompt: str | None = None,
) -> IngestReport:
    """Embed every document with another encoder; the report of the first of two passes.

    ``encoder_name``, ``query_encoder``: what the index then names as its encoders, as ``Ingest``.
    The prompts are the encoder's own where they are None; it was opened with the latter.

    Readers and writers go on meanwhile; the second pass, which embeds what they changed, keeps
    writers waiting. ``advance(done, total)``: called after each batch, in documents.
    IndexFolderError if the index has no document; ReplacedError if another index took its place.
    """
    target = folder.absolute().with_name(f".{folder.resolve().name}.reembedded")
    began = folder_identity(folder)
    busy = f"{folder}: another program embeds it anew; wait for its end"
    with open_index(folder) as (card, store), file_lock(folder / LOCK, busy):
        wanted = new_card(
            *(encoder.folder, encoder.card, encoder_name, query_encoder, card.overlap),
            query_prompt,
            document_prompt,
        )
        if (target / CARD).is_file():
            begun = read_card(target)
            of_begun = begun.encoder, begun.queries, begun.prompts
            if of_begun != (wanted.encoder, wanted.queries, wanted.prompts):
                shutil.rmtree(target)  # begun for another encoder
        if not store.counts().documents:
            raise IndexFolderError(f"{folder}: no documents to embed")
        kind = chosen_kind(store)

        def copy(source: Store) -> IngestReport:
            total, done = source.counts().documents, 0

            def count(documents: int) -> None:
                nonlocal done
                done += documents
                advance(done, total)

            return Ingest(
                StoredCorpus(source, str(folder)),
                target,
                encoder,
                wanted.encoder,
                wanted.queries,
                sync=True,
                overlap=card.overlap,
                facets=sorted(source.facets()),
                language=source.given_language,
                kind=kind,
                query_prompt=query_prompt,
                document_prompt=document_prompt,
                advance=count,
            ).run()

        with store.reading() as frozen:
            report = copy(frozen)
        with write_lock(folder, WAIT):
            if folder_identity(folder) != began:
                shutil.rmtree(target, ignore_errors=True)
                raise replaced_error(folder)
            with store.reading() as frozen:
                copy(frozen)
            replace_folder(target, folder.resolve())
        return report
