"""Parquet: tables whose columns have types."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trimseek.errors import CorpusError, MissingExtraError
from trimseek.indexer.documents import Document, ReadOptions, document_from_row
from trimseek.indexer.metadata import LARGEST_INTEGER, LEAST_INTEGER
from trimseek.indexer.notices import Notices

ROWS_AT_A_TIME = 1024
DIGITS_OF_64_BITS = 18  # that every whole number of 64 bits can hold


class ParquetTable:
    """A Parquet file, read a few rows at a time.

    Bytes become text where all of a column are UTF-8, else base64; whole numbers become text where
    one of a column needs more than 64 bits; NaN is no value.
    """

    streamed = False

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.name = str(path)
        self._path, self._options = path, options
        self.notices = Notices()
        self._as_base64: set[str] | None = None
        self._as_text: set[str] = set()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``; MissingExtraError without pyarrow."""
        try:
            from pyarrow import ArrowException
        except ImportError:
            raise MissingExtraError("reading Parquet", "parquet") from None
        try:
            if self._as_base64 is None:
                self._as_base64 = self._look_at_columns()
            self.notices = Notices(self._options.skip_bad)
            self._remark()
            yield from self._documents()
        except (ArrowException, OSError) as error:
            raise CorpusError(f"{self.name}: not a readable Parquet file: {error}") from error

    def _documents(self) -> Iterator[Document]:
        fields, notices = self._options.fields, self.notices
        for number, row in enumerate(self._rows(None), 1):
            where = f"{self.name}: row {number}"

            def read(row: Any = row, number: int = number, where: str = where) -> Document:
                return document_from_row(self._plain(row), fields, number, where, notices)

            document = notices.attempt(read)
            if document is not None:
                yield document

    def _rows(self, columns: list[str] | None) -> Iterator[dict[str, Any]]:
        """Each row, or only some of its columns, as Python values; CorpusError."""
        from pyarrow import RecordBatch, Table, parquet

        with parquet.ParquetFile(self._path) as table:
            names = table.schema_arrow.names
            for name in names:
                if names.count(name) > 1:
                    raise CorpusError(f"{self.name}: two columns have the same name: {name!r}")
            for batch in table.iter_batches(ROWS_AT_A_TIME, columns=columns):
                schema = in_microseconds(batch.schema)
                if schema != batch.schema:
                    parts = Table.from_batches([batch]).cast(schema, safe=False).to_batches()
                    batch = parts[0] if parts else RecordBatch.from_pylist([], schema)
                values = [
                    self._column(name, column)
                    for name, column in zip(batch.schema.names, batch.columns, strict=True)
                ]
                for row in zip(*values, strict=True):
                    yield dict(zip(batch.schema.names, row, strict=True))

    def _column(self, name: str, column: Any) -> list[Any]:
        """A column's values; CorpusError for times that Python does not have."""
        try:
            return list(without_nan(column.to_pylist(maps_as_pydicts="lossy")))
        except (ValueError, OverflowError) as error:
            raise CorpusError(f"{self.name}: column {name!r}: {error}") from None

    def _look_at_columns(self) -> set[str]:
        """The columns of bytes that are no text; notes those of numbers beyond 64 bits."""
        from pyarrow import parquet, types

        with parquet.ParquetFile(self._path) as table:
            schema = table.schema_arrow
        as_bytes = {field.name for field in schema if is_bytes(field.type)}
        large = {
            field.name
            for field in schema
            if types.is_uint64(field.type)
            or (
                types.is_decimal(field.type)
                and field.type.scale <= 0
                and field.type.precision > DIGITS_OF_64_BITS
            )
        }
        no_text: set[str] = set()
        if as_bytes | large:
            for row in self._rows([*as_bytes, *large]):
                no_text |= {name for name in as_bytes - no_text if not is_text(row[name])}
                self._as_text |= {name for name in large - self._as_text if is_large(row[name])}
        return no_text

    def _remark(self) -> None:
        for name in sorted(self._as_base64 or ()):
            self.notices.remarks.append(f"{name!r} holds bytes that are no text: read as base64")
        for name in sorted(self._as_text):
            self.notices.remarks.append(f"{name!r} is read as text, as it has more than 64 bits")

    def _plain(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row whose bytes are text, and whose numbers of more than 64 bits are."""
        return {
            name: base64_of(value)
            if name in (self._as_base64 or ())
            else str(value)
            if name in self._as_text and value is not None
            else decoded(value)
            for name, value in row.items()
        }


def in_microseconds(schema: Any) -> Any:
    """The schema with times of at most microseconds, as Python has them, and in UTC."""
    import pyarrow

    return pyarrow.schema([pyarrow.field(field.name, time_type(field.type)) for field in schema])


def time_type(kind: Any) -> Any:
    """A type, or that of the parts of a list or an object, whose times Python has."""
    import pyarrow
    from pyarrow import types

    if types.is_timestamp(kind):
        unit = "us" if kind.unit == "ns" else kind.unit
        return pyarrow.timestamp(unit, "UTC" if kind.tz else None)
    if types.is_time64(kind):
        return pyarrow.time64("us")
    if types.is_duration(kind) and kind.unit == "ns":
        return pyarrow.duration("us")
    if types.is_large_list(kind):
        return pyarrow.large_list(time_type(kind.value_type))
    if types.is_list(kind):
        return pyarrow.list_(time_type(kind.value_type))
    if types.is_struct(kind):
        return pyarrow.struct([(part.name, time_type(part.type)) for part in kind])
    return kind


def without_nan(values: Any) -> Any:
    """Values in which NaN, also within lists and objects, is None."""
    if isinstance(values, float):
        return None if values != values else values
    if isinstance(values, list):
        return [without_nan(value) for value in values]
    if isinstance(values, dict):
        return {name: without_nan(value) for name, value in values.items()}
    return values


def is_bytes(kind: Any) -> bool:
    """Whether a column's values are bytes."""
    from pyarrow import types

    return bool(
        types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    )


def is_text(value: bytes | None) -> bool:
    """Whether bytes are UTF-8 without NUL."""
    if value is None:
        return True
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def is_large(value: Any) -> bool:
    """Whether a number does not fit into 64 bits with a sign."""
    return value is not None and not LEAST_INTEGER <= value <= LARGEST_INTEGER


def base64_of(value: Any) -> str | None:
    """Bytes as text that always can be written."""
    return None if value is None else base64.b64encode(value).decode()


def decoded(value: Any) -> Any:
    """Bytes, also within lists and objects, as text, or as base64 where they are none."""
    if isinstance(value, bytes):
        return value.decode() if is_text(value) else base64_of(value)
    if isinstance(value, list):
        return [decoded(part) for part in value]
    if isinstance(value, dict):
        return {name: decoded(part) for name, part in value.items()}
    return value
