"""A cluster's index as the HTTP service searches it: as any other, but for writing to it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TypeVar

from trimseek.cluster.fetch import cache_folder, fetched_file
from trimseek.cluster.manifest import Manifest
from trimseek.cluster.reader import ClusterReader
from trimseek.cluster.shards import Shards
from trimseek.cluster.statistics import CorpusWords
from trimseek.cluster.storage import Storage
from trimseek.encoders import QueryEncoder
from trimseek.encoders.prompts import described_prompts
from trimseek.indexer.card import IndexCard, write_card
from trimseek.indexer.summary import IndexSummary
from trimseek.search.opened import chosen_encoder, open_query_encoder
from trimseek.search.reader import IndexReader
from trimseek.search.reader_searcher import ReaderSearcher

T = TypeVar("T")

SHARD_SECONDS = 3.0  # that a shard may take for an answer


class Generation:
    """One generation, opened: its manifest, its shards, its words, and the encoder of queries."""

    def __init__(
        self, storage: Storage, manifest: Manifest, shards: Shards, query_encoder: str | None
    ) -> None:
        self.manifest, self.shards = manifest, shards
        self.card = manifest.card
        words = manifest.words
        path = fetched_file(storage, manifest, words.file, "words.db")
        self.folder = cache_folder(storage) / manifest.id
        write_card(self.card, self.folder)
        lengths = words.in_texts, words.in_titles
        self.words = CorpusWords(path, manifest.documents, lengths, words.language)
        self.encoder_name = chosen_encoder(self.card, query_encoder)
        self.encoder = open_query_encoder(self.card, self.folder, query_encoder, shared=True)

    def reader(self, seconds: float) -> ClusterReader:
        """What answers one question."""
        return ClusterReader(self.card, self.manifest.documents, self.shards, self.words, seconds)


class ClusterSearcher(ReaderSearcher):
    """Searches the generation that was taken up last, safe to call from several threads.

    ``shard_seconds``: that a shard may take for an answer; then it counts as missing.
    """

    def __init__(
        self, name: str, uri: str, generation: Generation, shard_seconds: float = SHARD_SECONDS
    ) -> None:
        self.name, self._seconds = name, shard_seconds
        self._generation = generation
        self._lock = Lock()
        self.refusal = (
            f"index {name!r} is a cluster's: it is built, not written to; change the corpus, then: "
            f"trimseek cluster build CORPUS --into {uri}"
        )

    @property
    def folder(self) -> Path:  # type: ignore[override]
        """Where the card of the generation lies on this machine."""
        return self._generation.folder

    @property
    def generation(self) -> Generation:
        """The one that is searched now."""
        return self._generation

    def take_up(self, generation: Generation) -> Generation:
        """Search another generation from now on; what is under way ends with the one before.

        Returns the one before.
        """
        with self._lock:
            before, self._generation = self._generation, generation
        return before

    def close(self) -> None:
        """Ask no more."""
        self._generation.shards.close()

    @property
    def card(self) -> IndexCard:
        """As one index of all documents would have it."""
        return self._generation.card

    @property
    def encoder(self) -> QueryEncoder:
        """The query encoder."""
        return self._generation.encoder

    @property
    def encoder_name(self) -> str:
        """The name that the query encoder was given by."""
        return self._generation.encoder_name

    def reading(self, work: Callable[[IndexReader], T]) -> T:
        """What ``work`` reads of one generation."""
        return work(self._generation.reader(self._seconds))

    def probe(self) -> None:
        """Raise what keeps the index from being searched: also that a shard does not answer."""
        self._generation.reader(self._seconds).ask_all("ping")
        super().probe()

    def summary(self) -> IndexSummary:
        """What the index holds now."""
        manifest = self._generation.manifest
        return IndexSummary(
            name=self.name,
            documents=manifest.documents,
            chunks=manifest.chunks,
            encoder=manifest.encoder,
            space=manifest.space,
            dim=manifest.dim,
            snapshot=manifest.chunks,
            bytes=manifest.bytes,
            kind=manifest.shards[0].kind,
            facets=manifest.facets,
            generation=manifest.generation,
            prompts=described_prompts(asdict(manifest.prompts)),
            language=manifest.words.language,
            queries=manifest.card.query_encoder,
        )
