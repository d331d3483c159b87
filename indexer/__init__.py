"""Corpus to index on disk."""

from indexer.corpus import open_corpus
from indexer.documents import Corpus, Document, Fields
from indexer.ingest import Ingest, IngestReport
from indexer.summary import IndexSummary, summarize

__all__ = [
    "Corpus",
    "Document",
    "Fields",
    "IndexSummary",
    "Ingest",
    "IngestReport",
    "open_corpus",
    "summarize",
]
