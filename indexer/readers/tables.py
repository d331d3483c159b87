"""Tables with named columns: CSV, TSV, Parquet."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from trimseek.errors import CorpusError, MissingExtraError
from trimseek.indexer.documents import LONGEST_DOCUMENT, Document, Fields, document_from_row
from trimseek.indexer.readers.lines import open_bytes

csv.field_size_limit(LONGEST_DOCUMENT)
ROWS_AT_A_TIME = 1024


class DelimitedTable:
    """CSV or TSV whose first row names the columns."""

    streamed = False

    def __init__(self, path: Path, fields: Fields, delimiter: str) -> None:
        self.name = str(path)
        self._path, self._fields, self._delimiter = path, fields, delimiter

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        with open_bytes(self._path) as file:
            text = io.TextIOWrapper(file, "utf-8-sig", newline="")
            rows = csv.reader(text, delimiter=self._delimiter, strict=True)
            try:
                columns = next(rows, None)
                if columns is None:
                    return
                if len(set(columns)) < len(columns):
                    raise CorpusError(f"{self.name}:1: two columns have the same name")
                for number, cells in enumerate(rows, 1):
                    where = f"{self.name}:{rows.line_num}"
                    if not cells:
                        continue
                    if len(cells) != len(columns):
                        raise CorpusError(
                            f"{where}: {len(cells)} columns where the header has {len(columns)}"
                        )
                    row = dict(zip(columns, cells, strict=True))
                    yield document_from_row(row, self._fields, number, where)
            except (csv.Error, EOFError, OSError) as error:
                raise CorpusError(f"{self.name}:{rows.line_num}: malformed: {error}") from error
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{self.name}:{rows.line_num + 1}: not UTF-8 near byte {error.start}"
                ) from None


class ParquetTable:
    """A Parquet file, read a few rows at a time."""

    streamed = False

    def __init__(self, path: Path, fields: Fields) -> None:
        self.name = str(path)
        self._path, self._fields = path, fields

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``; MissingExtraError without pyarrow."""
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise MissingExtraError("reading Parquet", "parquet") from None
        number = 0
        try:
            with parquet.ParquetFile(self._path) as table:
                for batch in table.iter_batches(ROWS_AT_A_TIME):
                    for row in batch.to_pylist():
                        number += 1
                        where = f"{self.name}: row {number}"
                        yield document_from_row(row, self._fields, number, where)
        except (ArrowException, OSError) as error:
            raise CorpusError(f"{self.name}: not a readable Parquet file: {error}") from error
