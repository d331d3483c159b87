"""A shard of pieces: an ordinary index folder, and the files of it below the URI."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimseek.cluster.fetch import local_backup
from trimseek.cluster.known_texts import text_hash, write_known
from trimseek.cluster.manifest import Manifest, ShardEntry
from trimseek.cluster.pieces import PieceDocument, read_piece
from trimseek.cluster.placement import shards_before
from trimseek.cluster.plan import BuildPlan, shard_file
from trimseek.cluster.statistics import term_counts, write_term_counts
from trimseek.cluster.storage import Storage, StoredFile
from trimseek.errors import CorpusError, IndexFolderError
from trimseek.indexer.backup import write_backup
from trimseek.indexer.documents import place_of
from trimseek.indexer.embedding import DocumentEmbedder, Embedded, embedded_before
from trimseek.indexer.folder import create_index, open_index, open_writable, refresh_snapshot
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.store import Store, content_hash
from trimseek.search.words import open_words

STORED_AT_ONCE = 1024  # documents of a transaction


@dataclass(frozen=True)
class BuiltShard:
    """A shard that is finished. ``terms``: which it has, and how many documents have each."""

    entry: ShardEntry
    terms: StoredFile
    in_texts: int
    in_titles: int
    embedded: int


class ShardBuilder:
    """Builds one shard; ``before``: the manifest of the generation whose vectors are taken."""

    def __init__(
        self, plan: BuildPlan, shard: int, pieces: Sequence[str], before: Manifest | None
    ) -> None:
        self.plan, self.shard, self._pieces, self._before = plan, shard, pieces, before
        self._storage = Storage(plan.uri)
        self._embedder: DocumentEmbedder | None = None
        self._hashes: list[int] = []
        self._embedded = 0

    def build(self) -> BuiltShard:
        """Build it and store its files; CorpusError for two documents of one id."""
        with ExitStack() as opened:
            folder = Path(
                opened.enter_context(tempfile.TemporaryDirectory(prefix="trimseek-shard-"))
            )
            earlier = [
                opened.enter_context(local_backup(self._storage, entry.backup))
                for entry in self._earlier()
            ]
            return self._build(folder, earlier)

    def _earlier(self) -> list[ShardEntry]:
        """The shards of the generation before that may have documents of this one."""
        before = () if self._before is None else self._before.shards
        if not before:
            return []
        numbers = shards_before(self.shard, self.plan.shards, len(before))
        return [before[number] for number in numbers]

    def _build(self, folder: Path, earlier: Sequence[Store]) -> BuiltShard:
        plan, index = self.plan, folder / "index"
        create_index(
            *(index, plan.card),
            facets=plan.facets,
            kind=SnapshotKind(plan.kind),
            language=plan.language,
        )
        with open_writable(index) as opened:
            for some in self._batches():
                embedded = self._vectors(some, earlier)
                with opened.store.transaction():
                    self._insert(opened.store, some, embedded)
            refresh_snapshot(opened, index)
            opened.store.checkpoint()
        return self._stored(index, folder)

    def _batches(self) -> Iterator[list[PieceDocument]]:
        """The shard's documents, so many at a time, in the order of the corpus."""
        some: list[PieceDocument] = []
        for name in self._pieces:
            for each in read_piece(self._storage, name, self.shard, self.plan.card.dim):
                some.append(each)
                if len(some) == STORED_AT_ONCE:
                    yield some
                    some = []
        if some:
            yield some

    def _insert(
        self, store: Store, some: Sequence[PieceDocument], embedded: Mapping[str, Embedded]
    ) -> None:
        taken = set(store.keys_of([each.document.id for each in some]))
        for key, document, *_ in some:
            if document.id in taken:
                raise CorpusError(
                    f"{place_of(document)}: the id {document.id!r} is another document's, too"
                )
            taken.add(document.id)
            store.upsert(document, *embedded[document.id], key=key)
            self._hashes.append(text_hash(document.id, content_hash(document)))

    def _vectors(
        self, some: Sequence[PieceDocument], earlier: Sequence[Store]
    ) -> Mapping[str, Embedded]:
        """The passages and vectors of documents, those that are known from the earlier build."""
        embedded = {
            each.document.id: Embedded(each.chunks, each.vectors.astype(np.float32))
            for each in some
            if each.vectors is not None
        }
        known = [each.document for each in some if each.vectors is None]
        for store in earlier if known else ():
            embedded |= embedded_before(store, known, self.plan.card.dim)
        # of two texts whose hashes are the same, one is not known after all
        unknown = [document for document in known if document.id not in embedded]
        if unknown:
            if self._embedder is None:
                self._embedder = DocumentEmbedder(self.plan.open_encoder(), self.plan.card.overlap)
            embedded |= self._embedder.embed(unknown).by_id
            self._embedded += len(unknown)
        return embedded

    def _stored(self, index: Path, folder: Path) -> BuiltShard:
        """Store the files of an index that is built."""
        plan, shard, storage = self.plan, self.shard, self._storage
        with open_index(index) as (_, store):
            counts, record = store.counts(), store.snapshot()
            words = open_words(store, index)
            if record is None or words is None:
                raise IndexFolderError(f"{index}: has no snapshot")
            terms, known, backup = folder / "terms", folder / "known", folder / "backup"
            write_term_counts(term_counts(store, words), terms)
            in_texts, in_titles = words.total_lengths()
        write_known(self._hashes, known)
        write_backup(index, backup)
        beside = {
            path.name: storage.upload(path, shard_file(plan.folder, shard, path.name))
            for path in sorted(index.iterdir())
            if path.suffix in (".faiss", ".bin")
        }
        return BuiltShard(
            ShardEntry(
                counts.documents,
                counts.chunks,
                record.kind,
                storage.upload(backup, shard_file(plan.folder, shard, "backup")),
                beside,
                storage.upload(known, shard_file(plan.folder, shard, "known")),
            ),
            storage.upload(terms, shard_file(plan.work, shard, "terms")),
            in_texts,
            in_titles,
            self._embedded,
        )
