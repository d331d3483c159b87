"""Documents page after page, in the order in which they came, whatever is written meanwhile."""

import base64
import binascii
import hashlib
import json
from typing import NamedTuple

from trimseek.errors import QueryError
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import Filter, check_filter
from trimseek.search.reader import IndexReader

MOST_LISTED = 1000  # documents of a page
LONGEST_CURSOR = 1000  # characters


class DocumentPage(NamedTuple):
    """``cursor``: of the next page; None where there is none."""

    documents: list[Document]
    cursor: str | None


class Cursor(NamedTuple):
    """Where a page begins: behind the document of key ``after``.

    ``index_id``: of the index; ``where``: a digest of the filter. Keys are given once, and a
    document keeps its own when it is replaced: each one that stays is listed exactly once.
    """

    index_id: str
    where: str
    after: int

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(json.dumps(self).encode()).decode().rstrip("=")


def read_cursor(text: str, begins: Cursor) -> Cursor:
    """The cursor of a text; QueryError unless it is of the same index and filter as ``begins``."""
    try:
        content = base64.urlsafe_b64decode(text[:LONGEST_CURSOR] + "=" * (-len(text) % 4))
        index, where, after = json.loads(content)
        known = isinstance(after, int) and not isinstance(after, bool) and 0 <= after < 2**63
        cursor = Cursor(str(index), str(where), after)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        known = False
    if not known:
        raise QueryError("the cursor is none that was given here; leave it out to begin anew")
    if cursor.index_id != begins.index_id:
        raise QueryError("the cursor is of another index, or of one that was replaced; begin anew")
    if cursor.where != begins.where:
        raise QueryError("the cursor is of another filter; begin anew without it")
    return cursor


def page_of(
    reader: IndexReader, where: Filter | None, limit: int, cursor: str | None
) -> DocumentPage:
    """A page of at most ``limit`` documents; QueryError for a cursor of something else."""
    digest = "" if where is None else hashlib.sha256(repr(where).encode()).hexdigest()[:16]
    begins = Cursor(reader.card.id, digest, 0)
    place = begins if cursor is None else read_cursor(cursor, begins)
    rows = reader.documents_after(place.after, limit + 1, where)
    documents = [document for _, document in rows[:limit]]
    following = str(place._replace(after=rows[limit - 1][0])) if len(rows) > limit else None
    return DocumentPage(documents, following)


def check_listing(limit: int, where: Filter | None) -> None:
    """QueryError for a page of no or too many documents, or a filter that makes no sense."""
    if not 1 <= limit <= MOST_LISTED:
        raise QueryError(f"limit is {limit}; it must be from 1 to {MOST_LISTED}")
    if where is not None:
        check_filter(where)
