"""The files of a cluster's index: below a URI, on this machine or wherever pyarrow can write."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from trimseek.atomic import atomic_file, make_folder, storage_error
from trimseek.errors import ConfigError, MissingExtraError, StorageError

PART = 2**22  # bytes that are copied at a time


@dataclass(frozen=True)
class StoredFile:
    """A file by its name below the URI, as the manifest has it."""

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9-]{1,100}/[a-z0-9-]{1,100}(\.[a-z0-9-]{1,40}){1,3}$")
    ]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]

    __pydantic_config__ = ConfigDict(extra="forbid")


class Storage:
    """``uri``: a folder (``/data/corpus``) or a URI (``s3://bucket/corpus``, ``gs://...``).

    On this machine a file appears as a whole or not at all; elsewhere whoever reads compares its
    checksum. StorageError for what cannot be read or written; ConfigError for a URI that names
    nothing.
    """

    def __init__(self, uri: str) -> None:
        self._files, self._root, self.is_local = open_uri(uri)
        self.uri = uri.rstrip("/") or uri

    def path(self, name: str) -> str:
        """Of a file, as errors call it."""
        return f"{self.uri}/{name}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def read(self, name: str) -> bytes | None:
        """The content of a file; None where there is none."""
        with self._errors(name, "read"):
            try:
                with self._files.open_input_stream(self._path(name)) as file:
                    return bytes(file.read())
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> StoredFile:
        """Write a file, in place of what has its name."""
        with self._errors(name, "write"), self._writing(name) as file:
            file.write(content)
        return StoredFile(name, hashlib.sha256(content).hexdigest(), len(content))

    def upload(self, path: Path, name: str) -> StoredFile:
        """Copy a file of this machine."""
        sha256, size = hashlib.sha256(), 0
        with self._errors(name, "write"), path.open("rb") as source, self._writing(name) as file:
            while part := source.read(PART):
                sha256.update(part)
                size += len(part)
                file.write(part)
        return StoredFile(name, sha256.hexdigest(), size)

    def download(self, stored: StoredFile, path: Path) -> None:
        """Copy a file to this machine; StorageError where it is missing, or not what was stored."""
        sha256, size = hashlib.sha256(), 0
        with self._errors(stored.name, "read"):
            try:
                with self._files.open_input_stream(self._path(stored.name)) as source:
                    try:
                        with path.open("wb") as file:
                            while part := source.read(PART):
                                sha256.update(part)
                                size += len(part)
                                file.write(part)
                    except OSError as error:
                        raise storage_error(error, path) from error
            except FileNotFoundError:
                raise StorageError(
                    f"{self.path(stored.name)}: no such file, though the manifest names it; "
                    "build the index again"
                ) from None
        if (sha256.hexdigest(), size) != (stored.sha256, stored.bytes):
            raise StorageError(
                f"{self.path(stored.name)}: damaged: not the file that the manifest names; build "
                "the index again"
            )

    @contextmanager
    def opened(self, name: str) -> Iterator[Any]:
        """A file as pyarrow reads it, at any place of it."""
        with self._errors(name, "read"), self._files.open_input_file(self._path(name)) as file:
            yield file

    def names(self, folder: str) -> dict[str, int]:
        """The files below a folder and their sizes, by their names; none where it is missing."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)
        with self._errors(folder, "read"):
            found = self._files.get_file_info(selector)
        start = len(self._root) + 1
        return {each.path[start:]: each.size for each in found if each.type is fs.FileType.File}

    def remove(self, folder: str) -> None:
        """Delete a folder, if it is there."""
        with self._errors(folder, "delete"):
            try:
                self._files.delete_dir(self._path(folder))
            except FileNotFoundError:
                return

    @contextmanager
    def _writing(self, name: str) -> Iterator[Any]:
        path = self._path(name)
        if self.is_local:
            make_folder(Path(path).parent)
            with atomic_file(Path(path)) as temporary, temporary.open("wb") as file:
                yield file
        else:
            with self._files.open_output_stream(path) as file:
                yield file

    @contextmanager
    def _errors(self, name: str, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = " ".join(str(error.strerror or error).split())
            raise StorageError(f"{self.path(name)}: cannot {doing} it: {reason}") from error


def open_uri(uri: str) -> tuple[Any, str, bool]:
    """Pyarrow's file system of a URI, the path there, and whether it is on this machine."""
    try:
        from pyarrow import fs
    except ImportError:
        raise MissingExtraError("a cluster's index", "cluster") from None
    if not uri.strip():
        raise ConfigError("the URI is empty; is a shell variable not set?")
    if "://" not in uri:
        return fs.LocalFileSystem(), str(Path(uri).absolute()), True
    try:
        files, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{uri}: not a place that pyarrow can open: {reason}") from None
    if not path.strip("/"):
        raise ConfigError(f"{uri}: names no bucket or folder")
    return files, path.rstrip("/"), isinstance(files, fs.LocalFileSystem)
