"""CSV and TSV: tables of text whose first row names the columns."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimseek.errors import CorpusError
from trimseek.indexer.documents import (
    LONGEST_DOCUMENT,
    Document,
    ReadOptions,
    document_from_row,
    roles_of,
)
from trimseek.indexer.notices import Notices
from trimseek.indexer.readers.columns import columns_of, typed
from trimseek.indexer.readers.files import UNPACKING, encoding_of, head_of, not_utf8, open_bytes

csv.field_size_limit(LONGEST_DOCUMENT)
DELIMITERS = (",", ";", "\t", "|")
ROWS_LOOKED_AT = 50
SEPARATOR_LINE = "sep="  # how Excel says the delimiter, before the header


@dataclass(frozen=True)
class Dialect:
    """How a table separates its cells.

    ``quoted``: quotes around a cell are not part of it; in tab-separated files they are, as a cell
    ends at the next tab or line whatever it holds. ``blanks``: a blank follows each delimiter.
    ``skipped``: lines before the header.
    """

    delimiter: str
    quoted: bool = True
    blanks: bool = False
    skipped: int = 0

    def rows(self, lines: io.TextIOBase) -> Any:
        """The csv module's reader."""
        for _ in range(self.skipped):
            lines.readline()
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            skipinitialspace=self.blanks,
            strict=True,
        )


def recognized(head: str, own: str) -> Dialect:
    """The dialect of a table from its beginning; ``own``: the delimiter that its name promises.

    A delimiter fits if it is in the header and cuts all of the first rows alike. Of those that
    fit the one that makes most columns is taken, of equals the file's own.
    """
    first = head.split("\n", 1)[0].strip()
    if first.lower().startswith(SEPARATOR_LINE) and len(first) == len(SEPARATOR_LINE) + 1:
        return Dialect(first[-1], skipped=1)
    found = own
    widths = {delimiter: widths_of(head, delimiter, own) for delimiter in DELIMITERS}
    fitting = [each for each in DELIMITERS if widths[each] and min(widths[each]) > 1]
    alike = [each for each in fitting if len(set(widths[each])) == 1]
    if own not in alike and (best := alike or (fitting if own not in fitting else [])):
        found = max(best, key=lambda each: widths[each][0])
    elif own in alike:
        found = max(alike, key=lambda each: (widths[each][0], each == own))
    dialect = Dialect(found, quoted=not (found == own == "\t"))
    header = first.split(found)
    blanks = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    return Dialect(found, dialect.quoted, blanks)


def widths_of(head: str, delimiter: str, own: str) -> list[int]:
    """How many cells a delimiter makes of each of the first rows; none if they cannot be read."""
    dialect = Dialect(delimiter, quoted=not (delimiter == own == "\t"))
    rows = dialect.rows(io.StringIO(head, newline=""))
    widths: list[int] = []
    try:
        for row in rows:
            if row:
                widths.append(len(row))
            if len(widths) == ROWS_LOOKED_AT:
                return widths
    except csv.Error:  # perhaps only as the head ends within a quoted cell
        return widths
    # the head's last row may be cut
    return widths[:-1] if len(widths) > 1 and not head.endswith("\n") else widths


class DelimitedTable:
    """CSV or TSV. Columns without a name are left out, blanks around names do not count."""

    streamed = False

    def __init__(self, path: Path, options: ReadOptions, delimiter: str) -> None:
        self.name = str(path)
        self._path, self._options, self._own = path, options, delimiter
        self.notices = Notices()
        self._kinds: dict[str, str | None] | None = None
        self._remarks: list[str] = []

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``; the first time all columns are looked at before."""
        if self._kinds is None:
            self._look_at_columns()
        self.notices = Notices(self._options.skip_bad)
        self.notices.remarks += self._remarks
        kinds = self._kinds or {}
        for number, where, cells in self._rows(self.notices):

            def read(
                cells: dict[str, str] = cells, number: int = number, where: str = where
            ) -> Document:
                roles = roles_of(cells, self._options.fields, where).values()
                row = {
                    name: cell if name in roles else typed(cell, kinds[name])
                    for name, cell in cells.items()
                }
                present = {name: value for name, value in row.items() if value is not None}
                return document_from_row(present, self._options.fields, number, where, self.notices)

            document = self.notices.attempt(read)
            if document is not None:
                yield document

    def _look_at_columns(self) -> None:
        """Find the kind of each column from all of its values; CorpusError."""
        rows = self._rows(Notices(self._options.skip_bad))
        first = next(rows, None)
        names = list(first[2]) if first else []
        if first is None or self._options.text_columns:
            self._kinds = dict.fromkeys(names)
            return
        roles = roles_of(first[2], self._options.fields, first[1])
        others = [name for name in names if name not in roles.values()]

        def cells() -> Iterator[Sequence[str]]:
            yield [first[2][name] for name in others]
            for _, _, row in rows:
                yield [row[name] for name in others]

        columns = dict(zip(others, columns_of(cells(), len(others)), strict=True))
        self._kinds = dict.fromkeys(names) | {name: columns[name].kind for name in others}
        remarks = [column.remark(name) for name, column in columns.items()]
        self._remarks = [remark for remark in remarks if remark]

    def _rows(self, notices: Notices) -> Iterator[tuple[int, str, dict[str, str]]]:
        """Number from 1, place, and named cells of each row; CorpusError."""
        head = head_of(self._path)
        encoding = encoding_of(head)
        dialect = recognized(head.decode(encoding, errors="replace"), self._own)
        with open_bytes(self._path) as file:
            text = io.TextIOWrapper(file, encoding, newline="")
            rows = dialect.rows(text)
            line = dialect.skipped
            try:
                header = next(rows, None)
                if header is None:
                    return
                names = self._names(header, f"{self.name}:{line + 1}")
                for number, cells in enumerate(rows, 1):
                    where = f"{self.name}:{line + rows.line_num}"
                    if cells:
                        row = notices.attempt(
                            lambda cells=cells, where=where: named(cells, names, where)  # type: ignore[misc]
                        )
                        if row is not None:
                            yield number, where, row
            except csv.Error as error:
                raise CorpusError(
                    f"{self.name}:{line + rows.line_num}: malformed: {error}"
                ) from error
            except UnicodeDecodeError:
                raise not_utf8(self._path) from None
            except UNPACKING as error:
                raise CorpusError(
                    f"{self.name}:{line + rows.line_num}: cannot be read further: {error}"
                ) from error

    def _names(self, header: Sequence[str], where: str) -> list[str]:
        """The columns' names; CorpusError for two of one name."""
        names = [name.strip() for name in header]
        given = [name for name in names if name]
        for name in given:
            if given.count(name) > 1:
                raise CorpusError(f"{where}: two columns have the same name: {name!r}")
        return names


def named(cells: Sequence[str], names: Sequence[str], where: str) -> dict[str, str]:
    """A row's cells by their columns' names; CorpusError for a row of another length."""
    if len(cells) > len(names) and not any(cell.strip() for cell in cells[len(names) :]):
        cells = cells[: len(names)]
    if len(cells) != len(names):
        raise CorpusError(f"{where}: {len(cells)} columns where the header has {len(names)}")
    return {name: cell for name, cell in zip(names, cells, strict=True) if name}
