"""What the routes share: indexes, the engine, writers, tasks, and the settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any

from api.engine import Engine
from api.indexes import Indexes, own_encoder, shown
from api.keys import Key
from api.settings import ServiceSettings
from api.tasks import Tasks
from api.writing import Writing
from encoders import DocumentEncoder, QueryEncoder, find_encoder
from encoders.encoder import Encoder
from search import Hit, Results, Searcher
from search.hits import FacetValue


@dataclass
class Service:
    """``draining``: set when the process is about to end."""

    indexes: Indexes
    settings: ServiceSettings
    keys: tuple[Key, ...]
    draining: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.engine = Engine(self.settings.queue, self.settings.batch, self.settings.threads)
        self.writing = Writing(self.settings.write_queue)
        self.tasks = Tasks()
        self._encoders: dict[tuple[str, str], Encoder] = {}
        self._opening = Lock()

    def close(self) -> None:
        self.tasks.close()
        self.writing.close()
        self.engine.close()
        self.indexes.close()

    def encoder(self, name: str, role: str) -> Encoder:
        """An encoder of a role, opened when it is first asked for."""
        with self._opening:
            if (name, role) not in self._encoders:
                kind = QueryEncoder if role == "query" else DocumentEncoder
                self._encoders[name, role] = kind(find_encoder(name))
            return self._encoders[name, role]


Content = dict[str, Any]


def search_content(index: str, results: Results, fields: "Fields | None" = None) -> Content:
    """A search's answer, ready to be JSON; ``SearchAnswer`` describes it."""
    return {
        "index": index,
        "hits": [hit_content(hit, fields) for hit in results.hits],
        "query_tokens": results.query_tokens,
        "truncated": results.truncated,
        "facets": facet_content(results.facets),
        "timing_ms": results.timing_ms._asdict(),
    }


@dataclass(frozen=True)
class Fields:
    """Which metadata fields are given; ``include``: None for all."""

    include: frozenset[str] | None
    exclude: frozenset[str]

    def of(self, metadata: Mapping[str, Any]) -> Content:
        return {
            name: value
            for name, value in metadata.items()
            if (self.include is None or name in self.include) and name not in self.exclude
        }


def hit_content(hit: Hit, fields: Fields | None = None) -> Content:
    return {
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "passage": hit.passage._asdict(),
        "metadata": hit.metadata if fields is None else fields.of(hit.metadata),
        "sources": {name: source._asdict() for name, source in hit.sources.items()},
        "highlights": [mark._asdict() for mark in hit.highlights],
    }


def facet_content(facets: Mapping[str, list[FacetValue]]) -> Content:
    return {name: [value._asdict() for value in values] for name, values in facets.items()}


def index_content(searcher: Searcher) -> Content:
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
