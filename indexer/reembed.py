"""Change the document encoder of an index in place: the old one serves until the new one is whole.

The documents are embedded anew into a folder beside the index, which goes on where it was
interrupted; then the two change places at once. What is written meanwhile is taken over.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from encoders.encoder import DocumentEncoder
from indexer.card import CARD, read_card
from indexer.documents import Document
from indexer.folder import open_index, write_lock
from indexer.ingest import Ingest, IngestReport
from indexer.snapshot import KIND, SnapshotKind
from indexer.store import Store
from trimseek.atomic import replace_folder
from trimseek.errors import IndexFolderError

AT_A_TIME = 256
WAIT = 60.0  # seconds for another writer to finish


@dataclass(frozen=True)
class StoredCorpus:
    """The documents of an index, as a corpus."""

    store: Store
    name: str
    streamed: bool = True  # it was checked when it was stored

    def documents(self) -> Iterator[Document]:
        for part in self.store.all_documents(AT_A_TIME):
            yield from (document for _, document in part)


def tell_nobody(_done: int, _total: int) -> None:
    """The default of ``advance``."""


def reembed(
    folder: Path,
    encoder: DocumentEncoder,
    encoder_name: str,
    advance: Callable[[int, int], None] = tell_nobody,
) -> IngestReport:
    """Embed every document with another encoder; what the longer of two passes did.

    ``advance`` is told how many documents of how many are done.

    Readers and writers go on meanwhile; the second pass, which takes over what they changed,
    keeps writers waiting. IndexFolderError if the index has no document.
    """
    card = read_card(folder)
    target = folder.absolute().with_name(f".{folder.resolve().name}.reembedded")
    if (target / CARD).is_file() and read_card(target).encoder != encoder_name:
        shutil.rmtree(target)  # begun for another encoder
    _, store = open_index(folder)
    try:
        if not store.counts().documents:
            raise IndexFolderError(f"{folder}: no documents to embed")
        kind = SnapshotKind(store.setting(KIND, SnapshotKind.AUTO.value))

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
                encoder_name,
                sync=True,
                overlap=card.overlap,
                facets=sorted(source.facets()),
                kind=kind,
                advance=count,
            ).run()

        with store.reading() as frozen:
            report = copy(frozen)
        with write_lock(folder, WAIT):
            with store.reading() as frozen:
                copy(frozen)
            replace_folder(target, folder.resolve())
        return report
    finally:
        store.close()
