"""What the routes share: indexes, the engine, writers, tasks, and the settings."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock

from starlette.requests import Request

from trimseek.api.access import AccessControl
from trimseek.api.engine import Engine
from trimseek.api.indexes import Indexes, own_encoder, shown
from trimseek.api.keys import Key
from trimseek.api.settings import ServiceSettings
from trimseek.api.tasks import Tasks
from trimseek.api.writing import Writing
from trimseek.encoders import DocumentEncoder, QueryEncoder, find_encoder
from trimseek.encoders.catalog import find_cross_encoder
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.encoders.encoder import Encoder
from trimseek.errors import QueryError
from trimseek.indexer.prompts import document_encoder, given_prompt
from trimseek.search.content import Content
from trimseek.search.reader_searcher import ReaderSearcher


@dataclass
class Service:
    """``draining``: set when the process is about to end. ``buckets``: as ``AccessControl``.

    ``board``: as ``Tasks``. ``searches``: of one index at once; None for as many as CPUs. There are
    more where they wait for other machines.
    """

    indexes: Indexes
    settings: ServiceSettings
    keys: tuple[Key, ...]
    draining: Event = field(default_factory=Event)
    buckets: int | None = None
    board: Path | None = None
    searches: int | None = None

    def __post_init__(self) -> None:
        searches = self.searches or self.settings.threads
        self.engine = Engine(self.settings.queue, self.settings.batch, searches)
        self.writing = Writing(self.settings.write_queue, self.settings.threads)
        self.tasks = Tasks(self.board)
        self.access = AccessControl(self.settings, self.keys, self.buckets)
        self._cross_encoder: CrossEncoder | None = None
        self._query_encoders: dict[str, QueryEncoder] = {}
        self._document_encoders: dict[tuple[str, str | None], DocumentEncoder] = {}
        self._opening = Lock()

    def close(self) -> None:
        """End tasks, writes and searches, then close the indexes."""
        self.tasks.close()
        self.writing.close()
        self.engine.close()
        self.indexes.close()

    def query_encoder(self, name: str) -> QueryEncoder:
        """An encoder of queries by its name, opened when it is first asked for."""
        with self._opening:
            if name not in self._query_encoders:
                self._query_encoders[name] = QueryEncoder(find_encoder(name))
            return self._query_encoders[name]

    def cross_encoder(self) -> CrossEncoder:
        """What reranks, opened when it is first asked for; QueryError where there is none."""
        name = self.settings.reranker
        if name is None:
            raise QueryError("this service does not rerank; start it with --reranker MODEL")
        with self._opening:
            if self._cross_encoder is None:
                self._cross_encoder = CrossEncoder(find_cross_encoder(name), shared=True)
            return self._cross_encoder

    def encoder_of(self, searcher: ReaderSearcher, role: str) -> Encoder:
        """An index's encoder of a role, with the prompt that the index has."""
        if role == "query":
            return searcher.encoder
        card = searcher.card
        key = (card.encoder, given_prompt(card))
        with self._opening:
            if key not in self._document_encoders:
                self._document_encoders[key] = document_encoder(card, searcher.folder)
            return self._document_encoders[key]


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    service: Service = request.app.state.service
    return service


def index_content(searcher: ReaderSearcher) -> Content:
    """``schemas.Index`` of an open index."""
    summary = searcher.summary()
    return {
        "name": searcher.name,
        "documents": summary.documents,
        "chunks": summary.chunks,
        "encoder": shown(summary.encoder),
        "query_encoder": own_encoder(searcher),
        "space": summary.space,
        "dim": summary.dim,
        "kind": summary.kind,
        "generation": summary.generation,
        "bytes": summary.bytes,
        "facets": list(summary.facets),
    }
