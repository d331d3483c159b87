"""Hits as plain values, ready to be JSON: the same for the command line and for HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trimseek.indexer.documents import Document
from trimseek.search.hits import FacetValue, Hit, Results, ShardCount
from trimseek.search.recommend import Recommendations

Content = dict[str, Any]


@dataclass(frozen=True)
class MetadataFields:
    """Which metadata fields of a hit are given; ``include``: None for all."""

    include: frozenset[str] | None
    exclude: frozenset[str]

    def of(self, metadata: Mapping[str, Any]) -> Content:
        """The fields of a hit's metadata that are given."""
        return {
            name: value
            for name, value in metadata.items()
            if (self.include is None or name in self.include) and name not in self.exclude
        }


def search_content(results: Results, fields: MetadataFields | None = None) -> Content:
    """The answer of a search; ``fields``: None gives all metadata."""
    return {
        "hits": [hit_content(hit, fields) for hit in results.hits],
        "query_tokens": results.query_tokens,
        "truncated": results.truncated,
        "facets": facet_content(results.facets),
        "warnings": list(results.warnings),
        "suggestion": results.suggestion,
        "timing_ms": results.timing_ms._asdict(),
        **shards_content(results.shards),
    }


def recommend_content(found: Recommendations) -> Content:
    """The answer of a recommendation."""
    return {
        "hits": [hit_content(hit) for hit in found.hits],
        "basis": found.basis.value,
        "unknown": found.unknown,
        "warnings": list(found.warnings),
        **shards_content(found.shards),
    }


def shards_content(shards: ShardCount | None) -> Content:
    """How many shards have answered; nothing where there are none."""
    return {} if shards is None else {"shards": shards._asdict()}


def hit_content(hit: Hit, fields: MetadataFields | None = None) -> Content:
    """One hit; ``fields``: None gives all metadata."""
    return {
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "passage": hit.passage._asdict(),
        "metadata": hit.metadata if fields is None else fields.of(hit.metadata),
        "sources": {name: source._asdict() for name, source in hit.sources.items()},
        "highlights": [mark._asdict() for mark in hit.highlights],
    }


def document_content(document: Document) -> Content:
    """A document as it was indexed."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "metadata": dict(document.metadata),
    }


def facet_content(facets: Mapping[str, list[FacetValue]]) -> Content:
    """Values and their counts, by field."""
    return {name: [value._asdict() for value in values] for name, values in facets.items()}
