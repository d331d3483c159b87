"""Find the reader for what the user names as a corpus."""

from collections.abc import Callable
from pathlib import Path

from trimseek.errors import CorpusError
from trimseek.indexer.documents import Corpus, Fields, ReadOptions
from trimseek.indexer.readers.delimited import DelimitedTable
from trimseek.indexer.readers.files import PACKINGS, kind_of_file
from trimseek.indexer.readers.folders import TextFolder, files_below
from trimseek.indexer.readers.hub import HubDataset
from trimseek.indexer.readers.lines import JsonFile, JsonLines, StandardInput
from trimseek.indexer.readers.parquet import ParquetTable
from trimseek.indexer.readers.python_docs import PythonDocs
from trimseek.indexer.readers.texts import TEXT_FILES

SAMPLE = "sample:python"
HUB = "hub:"
# What reads a file, by its ending, behind which that of a packing may stand (not for Parquet, which
# is packed inside).
READERS: dict[str, Callable[[Path, ReadOptions], Corpus]] = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".json": JsonFile,
    ".csv": lambda path, options: DelimitedTable(path, options, ","),
    ".tsv": lambda path, options: DelimitedTable(path, options, "\t"),
    ".parquet": ParquetTable,
}


def open_corpus(name: str, options: ReadOptions | Fields | None = None) -> Corpus:
    """The corpus of that name; CorpusError if there is none or its kind is unknown.

    ``name``: a file (JSON Lines or an array, CSV, TSV, Parquet), a BEIR folder, a folder of texts
    (plain, Markdown, HTML), ``hub:owner/name``, ``sample:python``, or ``-`` for JSON Lines from
    standard input. ``options``: how it is read, or only which fields are id, title and text.
    """
    if not isinstance(options, ReadOptions):
        options = ReadOptions(options or Fields())
    if not name.strip():
        raise CorpusError("the corpus has no name; is a shell variable empty?")
    if name == "-":
        return StandardInput(options)
    if name == SAMPLE:
        return PythonDocs()
    if name.startswith(HUB):
        return HubDataset(name.removeprefix(HUB), options)
    path = Path(name)
    if path.is_dir():
        return open_folder(path, options)
    if not path.exists():
        raise CorpusError(f"{name}: no such file or folder")
    return open_file(path, options)


def open_folder(path: Path, options: ReadOptions) -> Corpus:
    """A BEIR folder, or a folder of texts; CorpusError if it is neither."""
    for packing in ("", *PACKINGS):
        beir = path / f"corpus.jsonl{packing}"
        if beir.is_file():
            return JsonLines(beir, options)
    found = files_below(path)
    if not found.texts:
        raise CorpusError(
            f"{path}: a folder with neither corpus.jsonl nor {', '.join(TEXT_FILES)} files"
            + found.others_there()
        )
    return TextFolder(path, options)


def open_file(path: Path, options: ReadOptions) -> Corpus:
    """By the file's ending; CorpusError for one that no reader takes."""
    ending = kind_of_file(path)
    reader = READERS.get(ending)
    packed = path.suffix.lower() in PACKINGS
    if reader is None or (packed and reader is ParquetTable):
        known = ", ".join(READERS)
        if ending in TEXT_FILES:
            raise CorpusError(f"{path}: a text file alone; give the folder that holds it")
        raise CorpusError(
            f"{path}: unknown kind of corpus {''.join(path.suffixes) or 'without ending'!r}; use "
            f"{known} (all but .parquet also packed: {', '.join(PACKINGS)})"
        )
    return reader(path, options)
