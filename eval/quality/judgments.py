"""Queries and relevance judgments (qrels) from files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from trimseek.errors import CorpusError
from trimseek.indexer.readers.files import open_bytes
from trimseek.indexer.readers.lines import rows_from_lines

Qrels = dict[str, dict[str, int]]
LONGEST_SHOWN = 60
HIGHEST_GRADE = 1_000_000  # trec_eval allocates a table of as many entries


def read_queries(path: Path) -> dict[str, str]:
    """Id -> text, from JSON Lines with ``_id`` and ``text`` or from text with a query a line.

    A query without an id, as in a text file, has its line number as id. CorpusError.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: missing; queries are JSON Lines with _id and text")
    if path.suffix == ".txt":
        return checked_queries(text_lines(path), path)
    queries: dict[str, str] = {}
    with open_bytes(path) as file:
        for number, row in rows_from_lines(file, str(path)):
            try:
                id_, text = str(row.get("_id", number)), row["text"]
            except (AttributeError, KeyError):
                text = None
            if not isinstance(text, str):
                raise CorpusError(
                    f"{path}:{number}: expected an object with _id and text, "
                    f"got {json.dumps(row)[:LONGEST_SHOWN]}"
                )
            if id_ in queries:
                raise CorpusError(f"{path}:{number}: a second query with the id {id_!r}")
            queries[id_] = text
    return checked_queries(queries, path)


def text_lines(path: Path) -> dict[str, str]:
    """Line number -> line, without empty ones; CorpusError if it is not UTF-8."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text: {error.reason}") from error
    return {str(number): line.strip() for number, line in enumerate(lines, 1) if line.strip()}


def checked_queries(queries: dict[str, str], path: Path) -> dict[str, str]:
    """The queries; CorpusError if there are none, or one is empty or not Unicode."""
    if not queries:
        raise CorpusError(f"{path}: no queries")
    for id_, text in queries.items():
        if not text.strip():
            raise CorpusError(f"{path}: query {id_!r} is empty")
        if not is_unicode(id_ + text):
            raise CorpusError(f"{path}: query {id_!a} is not Unicode text")
    return queries


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8 and passed on as a C string.

    JSON can hold lone surrogates, which are no characters, and NUL, which ends a C string.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def read_qrels(path: Path) -> Qrels:
    """Read lines of ``query-id, corpus-id, score`` between tabs, with that header or without.

    A score is a grade, a whole number, of which 0 and less mean "not relevant". CorpusError.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            rows = [
                (f"{path}:{number}", line.rstrip("\r\n").split("\t"))
                for number, line in enumerate(file, 1)
            ]
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text: {error.reason}") from error
    if rows and rows[0][1][-1] == "score":
        rows = rows[1:]
    return collect_qrels((row for row in rows if row[1] != [""]), str(path))


def collect_qrels(rows: Iterable[tuple[str, list[str]]], name: str) -> Qrels:
    """Qrels from rows of a place, for messages, and three cells; CorpusError.

    ``name``: of all rows, for messages.
    """
    qrels: Qrels = {}
    for where, cells in rows:
        try:
            query, document, grade = cells
            value = int(grade)
            if abs(value) > HIGHEST_GRADE:
                raise ValueError
        except ValueError:
            raise CorpusError(
                f"{where}: expected query-id, corpus-id and a whole score of at most a million, "
                f"separated by tabs, got {' '.join(cells)[:LONGEST_SHOWN]!r}"
            ) from None
        if qrels.setdefault(query, {}).setdefault(document, value) != value:
            raise CorpusError(f"{where}: judges {query!r} and {document!r} a second time")
    if not any(grade > 0 for grades in qrels.values() for grade in grades.values()):
        raise CorpusError(f"{name}: no judgments of a relevant document")
    return qrels


def check_known(qrels: Qrels, queries: Mapping[str, str], where: str) -> None:
    """CorpusError if a judged query is not among the queries."""
    if unknown := qrels.keys() - queries.keys():
        raise CorpusError(
            f"{where}: judges {len(unknown):,} queries that are not among the queries, "
            f"such as {min(unknown)!r}"
        )
