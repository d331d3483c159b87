"""Files opened for reading, unpacked on the way, and the encoding of their text."""

import bz2
import codecs
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from trimseek.errors import CorpusError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# What unpacks a file, by the last ending of its name.
PACKINGS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": zstd.open,
}
# What reading a packed file raises when it is damaged.
UNPACKING = (EOFError, OSError, zlib.error, lzma.LZMAError, zstd.ZstdError)
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
HEAD = 2**16  # bytes


def open_bytes(path: Path) -> IO[bytes]:
    """A file opened for reading, unpacked on the way as its name's ending says; CorpusError."""
    unpack = PACKINGS.get(path.suffix.lower())
    try:
        return cast("IO[bytes]", unpack(path)) if unpack else path.open("rb")
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror or error}") from error


def kind_of_file(path: Path) -> str:
    """The ending that says what a file holds, in small letters, without that of its packing."""
    name = path.with_suffix("") if path.suffix.lower() in PACKINGS else path
    return name.suffix.lower()


def head_of(path: Path) -> bytes:
    """The first bytes of a file, unpacked; CorpusError."""
    try:
        with open_bytes(path) as file:
            return file.read(HEAD)
    except UNPACKING as error:
        raise CorpusError(f"{path}: cannot be unpacked: {error}") from error


def encoding_of(head: bytes) -> str:
    """UTF-16 where the first bytes say so (byte order mark), else UTF-8 with or without a mark."""
    return "utf-16" if head.startswith(UTF16) else "utf-8-sig"


def not_utf8(path: Path) -> CorpusError:
    """The error of a text in another encoding, with the first line that shows it."""
    hint = "not UTF-8; convert it first, for example: iconv -f latin1 -t utf-8"
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return CorpusError(f"{path}:{number}: byte {error.start + 1} is {hint}")
    return CorpusError(f"{path}: {hint}")
