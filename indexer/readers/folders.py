"""A folder of text files, each a document."""

from collections.abc import Iterator
from pathlib import Path

from trimseek.errors import CorpusError
from trimseek.indexer.documents import LONGEST_DOCUMENT, Document, check

SUFFIXES = (".txt", ".md", ".markdown")


class TextFolder:
    """Every .txt and .md file below a folder; a document's id is its path in the folder."""

    streamed = False

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self._folder = folder

    def documents(self) -> Iterator[Document]:
        """As ``Corpus.documents``."""
        for path in text_files(self._folder):
            text = read_text(path)
            document = Document(
                id=path.relative_to(self._folder).as_posix(),
                title=title_of(path, text),
                text=text,
                where=str(path),
            )
            check(document)
            yield document


def text_files(folder: Path) -> list[Path]:
    """The text files below a folder, hidden ones left out, in the order of their paths."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_text(path: Path) -> str:
    """A file's text; CorpusError if it is too large or not UTF-8."""
    try:
        if path.stat().st_size > 4 * LONGEST_DOCUMENT:
            raise CorpusError(f"{path}: larger than {4 * LONGEST_DOCUMENT:,} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error


def title_of(path: Path, text: str) -> str:
    """The first heading of a Markdown file, else the file's name without its ending."""
    if path.suffix.lower() != ".txt":
        for line in text.splitlines():
            if line.startswith("# "):
                return line.removeprefix("# ").strip()
    return path.stem
