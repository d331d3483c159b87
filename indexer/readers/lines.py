"""JSON Lines, from files and standard input, and JSON arrays."""

import json
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import ijson

from trimseek.errors import CorpusError
from trimseek.indexer.documents import (
    LONGEST_DOCUMENT,
    Document,
    Fields,
    ReadOptions,
    document_from_row,
)
from trimseek.indexer.notices import Notices
from trimseek.indexer.readers.files import UNPACKING, UTF16, head_of, open_bytes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
LONGEST_LINE = 4 * LONGEST_DOCUMENT + 2**20  # UTF-8 has at most 4 bytes a character
READ_SIZE = 2**20


class JsonLines:
    """One JSON object a line; rows may have different keys."""

    streamed = False

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.name = str(path)
        self._path, self._options = path, options
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        self.notices = Notices(self._options.skip_bad)
        with open_bytes(self._path) as file:
            yield from documents_from_lines(file, self.name, self._options.fields, self.notices)


class JsonFile:
    """A .json file: an array of objects, read one by one, or JSON Lines after all."""

    streamed = False

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self.name = str(path)
        self._path, self._options = path, options
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        self.notices = Notices(self._options.skip_bad)
        fields, notices = self._options.fields, self.notices
        is_array = head_of(self._path).removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"[")
        with open_bytes(self._path) as file:
            if not is_array:
                yield from documents_from_lines(file, self.name, fields, notices)
                return
            for number, row in enumerate(self._elements(file), 1):
                where = f"{self.name}: element {number}"
                document = notices.attempt(
                    lambda row=row, number=number, where=where: document_from_row(  # type: ignore[misc]
                        row, fields, number, where, notices
                    )
                )
                if document is not None:
                    yield document

    def _elements(self, file: IO[bytes]) -> Iterator[Any]:
        """The array's elements; CorpusError where it is not JSON."""
        number = 0
        if file.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
            file.seek(0)
        try:
            for element in ijson.items(file, "item", use_float=True):
                number += 1
                yield element
        except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise CorpusError(
                f"{self.name}: malformed JSON after element {number}: {reason}"
            ) from None
        except UNPACKING as error:
            raise CorpusError(
                f"{self.name}: cannot be read after element {number}: {error}"
            ) from error


class StandardInput:
    """JSON Lines from standard input, kept in a temporary file so that they can be read twice."""

    name = "standard input"
    streamed = False

    def __init__(self, options: ReadOptions) -> None:
        self._options = options
        self._copy: IO[bytes] | None = None
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``; the first time it is read to its end."""
        self.notices = Notices(self._options.skip_bad)
        if self._copy is None:
            self._copy = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the corpus
            weakref.finalize(self, self._copy.close)
            shutil.copyfileobj(sys.stdin.buffer, self._copy, READ_SIZE)
        self._copy.seek(0)
        yield from documents_from_lines(self._copy, self.name, self._options.fields, self.notices)


def documents_from_lines(
    file: IO[bytes], name: str, fields: Fields, notices: Notices
) -> Iterator[Document]:
    """A document for each line; CorpusError."""
    for number, line in lines_of(file, name):
        where = f"{name}:{number}"

        def read(line: bytes = line, number: int = number, where: str = where) -> Document:
            return document_from_row(parse_line(line, where), fields, number, where, notices)

        document = notices.attempt(read)
        if document is not None:
            yield document


def rows_from_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, Any]]:
    """Line number from 1 and parsed value of each line that is not blank; CorpusError."""
    for number, line in lines_of(file, name):
        yield number, parse_line(line, f"{name}:{number}")


def lines_of(file: IO[bytes], name: str) -> Iterator[tuple[int, bytes]]:
    """Line number from 1 and bytes of each line that is not blank; CorpusError."""
    number = 0
    try:
        while line := file.readline(LONGEST_LINE):
            number += 1
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
                if line.startswith(UTF16):
                    raise CorpusError(f"{name}: UTF-16, and JSON Lines are UTF-8; convert it first")
            if len(line) == LONGEST_LINE:
                raise CorpusError(
                    f"{name}:{number}: the line is longer than {LONGEST_LINE:,} bytes"
                )
            if line.strip():
                yield number, line
    except UNPACKING as error:
        raise CorpusError(f"{name}: cannot be read after line {number}: {error}") from error


def parse_line(line: bytes, where: str) -> Any:
    """The value of one line, in which NaN is null; CorpusError."""
    try:
        return json.loads(line.decode(), parse_constant=constant)
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: not UTF-8 at byte {error.start} of the line") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: malformed JSON: {error}") from None


def constant(name: str) -> float | None:
    """NaN, which some programs write for a missing number, as none; infinities as they are."""
    return None if name == "NaN" else float(name)
