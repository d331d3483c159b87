"""Test collections: a corpus, queries, and judgments of which documents answer them (qrels)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from indexer.corpus import SAMPLE, open_corpus
from indexer.readers.lines import open_bytes, rows_from_lines
from trimseek.console import note
from trimseek.errors import CorpusError

JUDGED_QUESTIONS = Path(__file__).parent / "collections"

Qrels = dict[str, dict[str, int]]


@dataclass(frozen=True)
class TestCollection:
    """``documents`` and ``queries`` map ids to texts; ``qrels[query][document]`` is a grade.

    A document's text is its title and its text, with a space between. Only judged queries are
    there.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def read_collection(name: str, split: str = "test") -> TestCollection:
    """Read a BEIR folder, or ``sample:python`` with its judged questions; CorpusError."""
    folder = JUDGED_QUESTIONS / "python" if name == SAMPLE else Path(name)
    qrels_path, queries_path = folder / "qrels" / f"{split}.tsv", folder / "queries.jsonl"
    for path in (queries_path, qrels_path):
        if not path.is_file():
            raise CorpusError(
                f"{path}: missing; a test collection is a folder with corpus.jsonl, "
                "queries.jsonl and qrels/SPLIT.tsv"
            )
    documents = {
        document.id: f"{document.title} {document.text}".strip()
        for document in open_corpus(name).documents()
    }
    if not documents:
        raise CorpusError(f"{name}: no documents")
    queries = read_queries(queries_path)
    qrels = read_qrels(qrels_path)
    if unknown := qrels.keys() - queries.keys():
        raise CorpusError(f"{qrels_path}: judges query {min(unknown)!r}, not in {queries_path}")
    missing = {id_ for grades in qrels.values() for id_ in grades} - documents.keys()
    if missing:
        note(f"{qrels_path}: judges {len(missing)} documents that are not in the corpus")
    label = name if name == SAMPLE else Path(name).resolve().name
    return TestCollection(label, documents, {id_: queries[id_] for id_ in qrels}, qrels)


def read_queries(path: Path) -> dict[str, str]:
    queries = {}
    with open_bytes(path) as file:
        for number, row in rows_from_lines(file, str(path)):
            try:
                queries[str(row["_id"])] = str(row["text"])
            except (KeyError, TypeError):
                raise CorpusError(
                    f"{path}:{number}: expected an object with _id and text, "
                    f"got {json.dumps(row)[:60]}"
                ) from None
    return queries


def read_qrels(path: Path) -> Qrels:
    """Read ``query-id, corpus-id, score`` separated by tabs, with that header or without."""
    qrels: Qrels = {}
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            cells = line.rstrip("\r\n").split("\t")
            if cells == [""] or (number == 1 and cells[-1] == "score"):
                continue
            try:
                query, document, grade = cells
                qrels.setdefault(query, {})[document] = int(grade)
            except ValueError:
                raise CorpusError(
                    f"{path}:{number}: expected query-id, corpus-id and a whole score, "
                    f"separated by tabs, got {line.strip()[:60]!r}"
                ) from None
    if not any(grade > 0 for grades in qrels.values() for grade in grades.values()):
        raise CorpusError(f"{path}: no judgments of a relevant document")
    return qrels
