"""Lexical search: BM25 over the words of titles and texts, by SQLite's FTS5.

Words are folded (case, accents) and stemmed by Porter's rules; a query finds what has any of its
words (Robertson & Zaragoza 2009, with k1 = 1.2 and b = 0.75).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from trimseek.errors import IndexFolderError
from trimseek.indexer.filters import Sql
from trimseek.indexer.store import Store, marks

WORD = re.compile(r"\w+")
MOST_WORDS = 64
# Lucene's: they are in nearly every text, so that they cost time and tell nothing.
STOP_WORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "  # noqa: SIM905
    "there these they this to was will with".split()
)
# Around a word that matches: code points that no text may use for itself.
BEGIN, END = "\ufdd0", "\ufdd1"


class Ranked(NamedTuple):
    """A document key and its BM25 score, larger is better."""

    document: int
    score: float


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of a document's text."""

    start: int
    end: int


def match_expression(query: str) -> str | None:
    """FTS5's expression for any of a query's words; None if it has no word.

    Each word stands in quotes, so that nothing in it is syntax.
    """
    words = list(dict.fromkeys(word.lower() for word in WORD.findall(query)))
    telling = [word for word in words if word not in STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:MOST_WORDS]) or None


def search_words(store: Store, query: str, k: int, within: Sql | None = None) -> list[Ranked]:
    """The k documents of the best BM25 score, best first; of equal scores the older first.

    ``within``: an expression over ``documents``. IndexFolderError if the index has no words yet.
    """
    expression = match_expression(query)
    if not store.has_words:
        raise IndexFolderError(
            f"{store.path}: made by an earlier trimseek, without words; "
            f"'trimseek compact {store.path.parent}' adds them"
        )
    if expression is None:
        return []
    condition = Sql("")
    if within is not None:
        # the + keeps SQLite from searching once for each document that the filter lets through
        inner = f" AND +rowid IN (SELECT key FROM documents WHERE {within.text})"
        condition = Sql(inner, within.parameters)
    rows = store.rows(
        f"SELECT rowid, -rank FROM words WHERE words MATCH ?{condition.text}"
        " ORDER BY rank, rowid LIMIT ?",
        (expression, *condition.parameters, k),
    )
    return [Ranked(*row) for row in rows]


def matching_spans(store: Store, query: str, documents: Sequence[int]) -> dict[int, list[Span]]:
    """Where the query's words are in the texts of those documents."""
    expression = match_expression(query)
    if expression is None or not documents or not store.has_words:
        return {}
    rows = store.rows(
        f"SELECT rowid, highlight(words, 1, '{BEGIN}', '{END}') FROM words"
        f" WHERE words MATCH ? AND rowid IN ({marks(documents)})",
        (expression, *documents),
    )
    return {document: spans_of(marked) for document, marked in rows}


def spans_of(marked: str) -> list[Span]:
    """The marked spans, in characters of the text without the marks."""
    spans = []
    removed = 0
    for match in re.finditer(f"{BEGIN}(.*?){END}", marked, re.DOTALL):
        start = match.start() - removed
        spans.append(Span(start, start + len(match[1])))
        removed += len(BEGIN) + len(END)
    return spans
