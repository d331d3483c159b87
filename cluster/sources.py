"""The files of a corpus that is read by many: names, folders, globs, and URIs of other places."""

import glob
import posixpath
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from trimseek.cluster.storage import PART, open_uri
from trimseek.encoders.card import EncoderCard
from trimseek.errors import CorpusError
from trimseek.indexer.corpus import HUB, READERS, SAMPLE, open_corpus
from trimseek.indexer.documents import Document, ReadOptions
from trimseek.indexer.ingest import AdmittedDocuments
from trimseek.indexer.readers.files import PACKINGS, kind_of_file

GLOB = "*?["


class Part(NamedTuple):
    """What is read at one go: a file, or a folder of texts. ``identity``: another when it changes.

    ``remote``: not on this machine.
    """

    name: str
    identity: str
    remote: bool = False


def corpus_parts(names: Sequence[str]) -> list[Part]:
    """The parts of a corpus in their order; CorpusError where there are none.

    A name is a file or folder as ``trimseek index`` takes it, a folder of several files, a pattern
    (``data/*.jsonl``), or a URI of one of these. Files of a folder come in the order of names.
    """
    parts: list[Part] = []
    for name in names:
        if not name.strip():
            raise CorpusError("a corpus has no name; is a shell variable empty?")
        if name == "-":
            raise CorpusError("-: a cluster reads files, as it reads them more than once")
        found = remote_parts(name) if "://" in name else local_parts(name)
        if not found:
            raise CorpusError(f"{name}: no such file or folder, or none that can be read")
        parts += found
    twice = {part.name for part in parts if [each.name for each in parts].count(part.name) > 1}
    if twice:
        raise CorpusError(f"{min(twice)}: given twice")
    return parts


def local_parts(name: str) -> list[Part]:
    """Those of a name on this machine."""
    if name == SAMPLE or name.startswith(HUB):
        return [Part(name, "")]
    if any(character in name for character in GLOB) and not Path(name).exists():
        return [
            part
            for path in sorted(glob.glob(name))  # noqa: PTH207 - also of absolute names
            for part in local_parts(path)
        ]
    path = Path(name)
    if path.is_dir() and not is_one_corpus(path):
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and is_readable(file)]
        if files:
            return [file_part(file) for file in files]
    if not path.exists():
        return []
    open_corpus(name)  # says what is wrong with it
    return [folder_part(path) if path.is_dir() else file_part(path)]


def is_one_corpus(folder: Path) -> bool:
    """Whether a folder is one in BEIR's format."""
    return any((folder / f"corpus.jsonl{packing}").is_file() for packing in ("", *PACKINGS))


def is_readable(file: Path) -> bool:
    """Whether a file is of rows, by its ending."""
    return kind_of_file(file) in READERS and not file.name.startswith(".")


def file_part(path: Path) -> Part:
    """A file of this machine."""
    status = path.stat()
    return Part(str(path.absolute()), f"{status.st_size} {status.st_mtime_ns}")


def folder_part(path: Path) -> Part:
    """A folder that is read as one."""
    states = [
        f"{file.relative_to(path)} {file.stat().st_size} {file.stat().st_mtime_ns}"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return Part(str(path.absolute()), "\n".join(states))


def remote_parts(name: str) -> list[Part]:
    """Those of a URI."""
    from pyarrow import fs

    scheme = name.partition("://")[0]
    begun = name
    while any(character in posixpath.basename(begun) for character in GLOB):
        begun = posixpath.dirname(begun)
    files, path, local = open_uri(begun)
    if local:
        inner = name.removeprefix(begun)
        return local_parts(f"{path}{inner}")
    pattern = f"{path}{name.removeprefix(begun)}"
    (here,) = files.get_file_info([path])
    if here.type is fs.FileType.File:
        found = [here]
    else:
        selector = fs.FileSelector(path, recursive=True, allow_not_found=True)
        found = [
            each
            for each in files.get_file_info(selector)
            if each.type is fs.FileType.File
            and is_readable(Path(each.path))
            and (begun == name or fnmatch(each.path, pattern))
        ]
    return [
        Part(f"{scheme}://{each.path}", f"{each.size} {each.mtime_ns}", remote=True)
        for each in sorted(found, key=lambda each: str(each.path))
    ]


class PartReader:
    """The documents of a part, by the rules of ``trimseek index``; CorpusError."""

    def __init__(
        self, part: Part, options: ReadOptions, card: EncoderCard, *, skip_empty: bool
    ) -> None:
        self.part, self._options, self._card = part, options, card
        self._skip_empty = skip_empty
        self.skipped = self.scaled = self.bad = 0

    def documents(self) -> Iterator[Document]:
        """Every document that has a text, as it is stored."""
        with tempfile.TemporaryDirectory(prefix="trimseek-part-") as folder:
            name = self.part.name
            if self.part.remote:
                name = str(fetched(name, Path(folder)))
            corpus = open_corpus(name, self._options)
            read = corpus.documents()
            if self.part.remote:
                read = (
                    replace(document, where=document.where.replace(name, self.part.name))
                    for document in read
                )
            admitted = AdmittedDocuments(read, self._card, skip_empty=self._skip_empty)
            yield from admitted
            self.skipped, self.scaled = admitted.skipped, admitted.scaled
            self.bad = corpus.notices.bad


def fetched(uri: str, folder: Path) -> Path:
    """A copy of a file in a folder of this machine; CorpusError."""
    files, path, _ = open_uri(uri)
    copy = folder / posixpath.basename(path)
    try:
        with files.open_input_stream(path, compression=None) as source, copy.open("wb") as file:
            while part := source.read(PART):
                file.write(part)
    except OSError as error:
        raise CorpusError(f"{uri}: cannot be read: {' '.join(str(error).split())}") from error
    return copy
