"""Find the reader for what the user names as a corpus."""

from collections.abc import Callable
from pathlib import Path

from trimseek.errors import CorpusError
from trimseek.indexer.documents import Corpus, Fields
from trimseek.indexer.readers.folders import TextFolder, text_files
from trimseek.indexer.readers.hub import HubDataset
from trimseek.indexer.readers.lines import JsonLines, StandardInput
from trimseek.indexer.readers.python_docs import PythonDocs
from trimseek.indexer.readers.tables import DelimitedTable, ParquetTable

SAMPLE = "sample:python"
HUB = "hub:"
# What reads a file, by its ending; ``.gz`` behind an ending is unpacked by those that say so.
READERS: dict[str, Callable[[Path, Fields], Corpus]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".csv": lambda path, fields: DelimitedTable(path, fields, ","),
    ".tsv": lambda path, fields: DelimitedTable(path, fields, "\t"),
    ".parquet": ParquetTable,
}


def open_corpus(name: str, fields: Fields | None = None, split: str = "train") -> Corpus:
    """The corpus of that name; CorpusError if there is none or its kind is unknown.

    ``name``: a file (JSONL, CSV, TSV, Parquet), a BEIR folder, a folder of .txt and .md files,
    ``hub:owner/name``, ``sample:python``, or ``-`` for JSON Lines from standard input.
    """
    fields = fields or Fields()
    if not name.strip():
        raise CorpusError("the corpus has no name; is a shell variable empty?")
    if name == "-":
        return StandardInput(fields)
    if name == SAMPLE:
        return PythonDocs()
    if name.startswith(HUB):
        return HubDataset(name.removeprefix(HUB), split, fields)
    path = Path(name)
    if path.is_dir():
        return open_folder(path, fields)
    if not path.exists():
        raise CorpusError(f"{name}: no such file or folder")
    return open_file(path, fields)


def open_folder(path: Path, fields: Fields) -> Corpus:
    """A BEIR folder, or a folder of texts; CorpusError if it is neither."""
    for beir in (path / "corpus.jsonl", path / "corpus.jsonl.gz"):
        if beir.is_file():
            return JsonLines(beir, fields)
    if not text_files(path):
        raise CorpusError(f"{path}: a folder with neither corpus.jsonl nor .txt or .md files")
    return TextFolder(path)


def open_file(path: Path, fields: Fields) -> Corpus:
    """By the file's ending; CorpusError for one that no reader takes."""
    ending = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    reader = READERS.get(ending.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise CorpusError(
            f"{path}: unknown kind of corpus {ending or 'without ending'!r}; use {known} "
            "(texts also .gz)"
        )
    return reader(path, fields)
