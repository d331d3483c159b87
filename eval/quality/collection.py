"""Test collections: a corpus, queries, and judgments of which documents answer them (qrels)."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trimseek.console import note
from trimseek.encoders.recommender.events import is_event_log
from trimseek.errors import CorpusError
from trimseek.eval.quality.event_collection import read_event_collection
from trimseek.eval.quality.hub_collection import read_hub_collection
from trimseek.eval.quality.judgments import Qrels, check_known, is_unicode, read_qrels, read_queries
from trimseek.indexer.corpus import HUB, SAMPLE, open_corpus

JUDGED_QUESTIONS = Path(__file__).resolve().parent / "collections"
SAMPLED_QUERIES = 200
SEED = 7
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
LEAST_WORDS, MOST_WORDS = 4, 20  # of a sentence that stands for a query


@dataclass(frozen=True)
class TestCollection:
    """``documents`` and ``queries`` map ids to texts; ``qrels[query][document]`` is a grade.

    A document's text is its title and its text, with a space between. Without qrels, rankings can
    only be compared with one another; with qrels, all queries are judged ones. ``excluded[query]``:
    documents that it does not find, as what a user had before. ``histories``: documents are items,
    and queries histories of them, of an event log.
    """

    __test__ = False  # not a test, whatever pytest thinks of its name

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    excluded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    histories: bool = False

    @property
    def is_judged(self) -> bool:
        """Whether there are qrels."""
        return bool(self.qrels)


def read_collection(
    name: str, split: str = "test", queries_file: Path | None = None
) -> TestCollection:
    """Read a collection by the name that a user gives it; CorpusError.

    ``name``: a BEIR folder, ``sample:python`` with its judged questions, ``hub:owner/name`` of a
    collection in BEIR's layout, an event log, or any other corpus, which then has no judgments.
    Such a corpus takes its queries from ``queries_file``, else from its folder's queries.jsonl,
    else from sentences of its documents. Judged documents that are not in the corpus count as not
    found.
    """
    if is_event_log(Path(name)):
        label = Path(name).resolve().name
        return TestCollection(label, *read_event_collection(Path(name)), histories=True)
    if name.startswith(HUB):
        documents, queries, qrels = read_hub_collection(name, split)
    else:
        documents = read_documents(name)
        queries, qrels = read_judgments(name, split)
    where = f"{name}, split {split}"
    if qrels:
        if queries_file is not None:
            raise CorpusError(f"{name} has queries with judgments; leave --queries out")
        check_known(qrels, queries, where)
        queries = {id_: queries[id_] for id_ in qrels}
        missing = {id_ for grades in qrels.values() for id_ in grades} - documents.keys()
        if missing:
            note(f"{where}: judges {len(missing):,} documents that are not in the corpus")
    elif queries_file is not None:
        queries = read_queries(queries_file)
    elif not queries:
        queries = sampled_queries(documents)
        note(f"{name}: no queries; {len(queries)} sentences of its documents are taken as such")
    label = name if ":" in name else Path(name).resolve().name
    return TestCollection(label, documents, queries, qrels)


def read_documents(name: str) -> dict[str, str]:
    """Id -> title and text of a corpus; CorpusError if it is empty or not Unicode."""
    documents = {
        document.id: f"{document.title} {document.text}".strip()
        for document in open_corpus(name).documents()
    }
    if not documents:
        raise CorpusError(f"{name}: no documents")
    for id_, text in documents.items():
        if not is_unicode(id_ + text):
            raise CorpusError(f"{name}: document {id_!a} is not Unicode text")
    return documents


def read_judgments(name: str, split: str) -> tuple[dict[str, str], Qrels]:
    """The queries and qrels of a folder; each is empty where the folder has none. CorpusError."""
    folder = JUDGED_QUESTIONS / "python" if name == SAMPLE else Path(name)
    judged = folder / "qrels" / f"{split}.tsv"
    if (folder / "qrels").is_dir():
        if not judged.is_file():
            splits = sorted(path.stem for path in (folder / "qrels").glob("*.tsv"))
            there = f"there are {', '.join(splits)} (--split)" if splits else "the folder is empty"
            raise CorpusError(f"{judged}: missing; {there}")
        return read_queries(folder / "queries.jsonl"), read_qrels(judged)
    if (folder / "queries.jsonl").is_file():
        return read_queries(folder / "queries.jsonl"), {}
    return {}, {}


def sampled_queries(documents: Mapping[str, str]) -> dict[str, str]:
    """Sentences of at most 20 words from as many documents, the same ones every time."""
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    ids = sorted(id_ for id_, text in documents.items() if text.strip())
    queries = {}
    for id_ in chosen.sample(ids, min(SAMPLED_QUERIES, len(ids))):
        sentences = [sentence.split() for sentence in SENTENCE_END.split(documents[id_])]
        long_enough = [words for words in sentences if len(words) >= LEAST_WORDS]
        words = chosen.choice(long_enough) if long_enough else documents[id_].split()
        queries[f"sentence-of-{id_}"] = " ".join(words[:MOST_WORDS])
    return queries
