"""JSON Lines: files (also .gz) and standard input."""

import gzip
import json
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

from trimseek.errors import CorpusError
from trimseek.indexer.documents import LONGEST_DOCUMENT, Document, Fields, document_from_row

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 4 * LONGEST_DOCUMENT + 2**20  # UTF-8 has at most 4 bytes a character
READ_SIZE = 2**20


class JsonLines:
    """One JSON object a line; rows may have different keys."""

    streamed = False

    def __init__(self, path: Path, fields: Fields) -> None:
        self.name = str(path)
        self._path, self._fields = path, fields

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        with open_bytes(self._path) as file:
            yield from documents_from_lines(file, self.name, self._fields)


class StandardInput:
    """JSON Lines from standard input, kept in a temporary file so that they can be read twice."""

    name = "standard input"
    streamed = False

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._copy: IO[bytes] | None = None

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``; the first time it is read to its end."""
        if self._copy is None:
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the corpus
            weakref.finalize(self, self._copy.close)
            shutil.copyfileobj(sys.stdin.buffer, self._copy, READ_SIZE)
        self._copy.seek(0)
        yield from documents_from_lines(self._copy, self.name, self._fields)


def documents_from_lines(file: IO[bytes], name: str, fields: Fields) -> Iterator[Document]:
    """A document for each line; CorpusError."""
    for number, row in rows_from_lines(file, name):
        yield document_from_row(row, fields, number, f"{name}:{number}")


def rows_from_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
    """Line number from 1 and parsed value of each line that is not blank; CorpusError."""
    number = 0
    try:
        while line := file.readline(LONGEST_LINE):
            number += 1
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if len(line) == LONGEST_LINE:
                raise CorpusError(
                    f"{name}:{number}: the line is longer than {LONGEST_LINE:,} bytes"
                )
            if line.strip():
                yield number, parse_line(line, f"{name}:{number}")
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise CorpusError(f"{name}: cannot be read after line {number}: {error}") from error


def parse_line(line: bytes, where: str) -> Any:
    """The value of one line; CorpusError."""
    try:
        return json.loads(line.decode(), parse_constant=refuse_constant)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: not UTF-8 at byte {error.start} of the line") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: malformed JSON: {error}") from None


def refuse_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON."""
    raise ValueError(f"{name} is not JSON")


def open_bytes(path: Path) -> IO[bytes]:
    """A file opened for reading, unpacked on the way if its name ends in .gz."""
    try:
        return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
