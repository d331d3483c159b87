"""Corpus to index on disk."""

from typing import TYPE_CHECKING

from trimseek.lazy import lazy_names

if TYPE_CHECKING:
    from trimseek.indexer.corpus import open_corpus
    from trimseek.indexer.documents import Corpus, Document, Fields, ReadOptions
    from trimseek.indexer.ingest import Ingest, IngestReport
    from trimseek.indexer.summary import IndexSummary, summarize

__all__ = [
    "Corpus",
    "Document",
    "Fields",
    "IndexSummary",
    "Ingest",
    "IngestReport",
    "ReadOptions",
    "open_corpus",
    "summarize",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Corpus": "trimseek.indexer.documents",
        "Document": "trimseek.indexer.documents",
        "Fields": "trimseek.indexer.documents",
        "ReadOptions": "trimseek.indexer.documents",
        "IndexSummary": "trimseek.indexer.summary",
        "Ingest": "trimseek.indexer.ingest",
        "IngestReport": "trimseek.indexer.ingest",
        "open_corpus": "trimseek.indexer.corpus",
        "summarize": "trimseek.indexer.summary",
    },
)
