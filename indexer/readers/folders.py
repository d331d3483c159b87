"""A folder of text files, each a document."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trimseek.indexer.documents import Document, ReadOptions, check
from trimseek.indexer.notices import Notices
from trimseek.indexer.readers.texts import TEXT_FILES, read_text

MOST_NAMED = 5  # endings of files that are left out


@dataclass
class FilesBelow:
    """``texts`` in the order of their paths; the endings of other files; folders that are links."""

    texts: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    links: int = 0

    def others_there(self) -> str:
        """Which other files there are, for a message; empty if there are none."""
        if not self.others:
            return ""
        named = ", ".join(f"{count} {ending}" for ending, count in self.others.most_common(5))
        return f"; there are {named}" + (" and more" if len(self.others) > MOST_NAMED else "")

    def sentences(self) -> list[str]:
        """What was left out."""
        said = []
        if self.others:
            count = sum(self.others.values())
            files = "1 file of another kind" if count == 1 else f"{count} files of other kinds"
            said.append(f"left out: {files}{self.others_there()}")
        if self.links:
            folders = "1 linked folder" if self.links == 1 else f"{self.links} linked folders"
            said.append(f"not entered: {folders}")
        return said


def files_below(folder: Path) -> FilesBelow:
    """The files below a folder; hidden ones, and those in hidden folders, do not count."""
    found = FilesBelow()
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.links += sum((Path(parent) / name).is_symlink() for name in folders)
        for name in files:
            path = Path(parent) / name
            if name.startswith(".") or not path.is_file():
                continue
            if path.suffix.lower() in TEXT_FILES:
                found.texts.append(path)
            else:
                found.others[path.suffix.lower() or "without ending"] += 1
    found.texts.sort()
    return found


class TextFolder:
    """Every text, Markdown and HTML file below a folder; an id is the path in the folder."""

    streamed = False

    def __init__(self, folder: Path, options: ReadOptions) -> None:
        self.name = str(folder)
        self._folder, self._options = folder, options
        self.notices = Notices()

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        self.notices = Notices(self._options.skip_bad)
        found = files_below(self._folder)
        self.notices.remarks += found.sentences()
        for path in found.texts:
            document = self.notices.attempt(lambda path=path: self._document(path))  # type: ignore[misc]
            if document is not None:
                yield document

    def _document(self, path: Path) -> Document:
        read = read_text(path)
        document = Document(
            id=path.relative_to(self._folder).as_posix(),
            title=read.title or path.stem,
            text=read.text,
            metadata=read.metadata,
            where=str(path),
        )
        check(document)
        self.notices.saw({}, document.metadata)
        return document
