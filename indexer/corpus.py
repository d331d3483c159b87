"""Find the reader for what the user names as a corpus."""

from pathlib import Path

from indexer.documents import Corpus, Fields
from indexer.readers.folders import TextFolder, text_files
from indexer.readers.hub import HubDataset
from indexer.readers.lines import JsonLines, StandardInput
from indexer.readers.python_docs import PythonDocs
from indexer.readers.tables import DelimitedTable, ParquetTable
from trimseek.errors import CorpusError

SAMPLE = "sample:python"
HUB = "hub:"
KINDS = ".jsonl, .ndjson, .csv, .tsv (each also .gz), .parquet"


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
    for beir in (path / "corpus.jsonl", path / "corpus.jsonl.gz"):
        if beir.is_file():
            return JsonLines(beir, fields)
    if not text_files(path):
        raise CorpusError(f"{path}: a folder with neither corpus.jsonl nor .txt or .md files")
    return TextFolder(path)


def open_file(path: Path, fields: Fields) -> Corpus:
    kind = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    match kind.lower():
        case ".jsonl" | ".ndjson":
            return JsonLines(path, fields)
        case ".csv":
            return DelimitedTable(path, fields, ",")
        case ".tsv":
            return DelimitedTable(path, fields, "\t")
        case ".parquet":
            return ParquetTable(path, fields)
    raise CorpusError(f"{path}: unknown kind of corpus {kind or 'without ending'!r}; use {KINDS}")
