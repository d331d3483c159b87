"""Random searches in pages: whatever is asked, the pages together are one long list.

python -m tests.pages 2000
"""

import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.tiny import write_tiny
from trimseek.encoders import DocumentEncoder
from trimseek.indexer import Ingest
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.where import parse_where
from trimseek.search import Searcher
from trimseek.search.options import Fusion, Mode, Options

DOCUMENTS = 3000
PAGE, PAGES = 10, 20
ADJECTIVES = "red blue green small large old new fast slow heavy".split()
NOUNS = "car boat house tree river dog cat phone lamp chair book table road cloud shoe".split()
PREPOSITIONS = "near behind under over beside without inside".split()
KINDS = (SnapshotKind.EXACT, SnapshotKind.SQ8, SnapshotKind.HNSW, SnapshotKind.IVF)


def sentence(chosen: random.Random) -> str:
    """Five words of few, so that many sentences are alike and many scores equal."""
    parts = (ADJECTIVES, NOUNS, PREPOSITIONS, ADJECTIVES, NOUNS)
    return " ".join(chosen.choice(part) for part in parts)


def make_indexes(folder: Path, documents: int) -> list[Path]:
    """An index of each kind of the same sentences."""
    chosen = random.Random(1)
    encoder = DocumentEncoder(write_tiny(folder / "encoder", seed=0))
    corpus = folder / "corpus.csv"
    lines = [f"d{i},{sentence(chosen)},{chosen.randrange(30)}" for i in range(documents)]
    corpus.write_text("\n".join(["id,text,n", *lines]))
    for kind in KINDS:
        name = str(folder / "encoder")
        Ingest(open_corpus(str(corpus)), folder / kind.value, encoder, name, kind=kind).run()
    return [folder / kind.value for kind in KINDS]


def random_search(chosen: random.Random) -> tuple[str, dict[str, Any]]:
    """A query, and options without an offset."""
    words = [*ADJECTIVES, *NOUNS, *PREPOSITIONS, "zebra"]
    options: dict[str, Any] = {
        "mode": chosen.choice(list(Mode)),
        "fusion": chosen.choice(list(Fusion)),
        "weight": chosen.choice([0.0, 0.5, 0.85, 1.0]),
    }
    if chosen.random() < 0.2:
        options["prefix"] = True
    if chosen.random() < 0.3:
        options["diversity"] = chosen.choice([0.1, 0.3, 1.0])
    if chosen.random() < 0.3:
        options["group_by"] = ("n",)
    if chosen.random() < 0.3:
        options["where"] = parse_where(
            f"n {chosen.choice(['<', '>=', '!='])} {chosen.randrange(30)}"
        )
    if chosen.random() < 0.2:
        options["min_score"] = chosen.choice([0.01, 0.3])
    return " ".join(chosen.choices(words, k=chosen.randint(1, 6))), options


def different_pages(
    searchers: list[Searcher], count: int, chosen: random.Random
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Random searches whose pages are not one list: index, query and options."""
    for _ in range(count):
        searcher = chosen.choice(searchers)
        query, options = random_search(chosen)
        whole = searcher.search(query, PAGE * PAGES, Options(**options)).hits
        pages = [
            hit
            for page in range(PAGES)
            for hit in searcher.search(query, PAGE, Options(**options, offset=page * PAGE)).hits
        ]
        repeated = len({hit.id for hit in whole}) < len(whole)
        if repeated or [(hit.id, hit.score) for hit in pages] != [
            (hit.id, hit.score) for hit in whole
        ]:
            yield searcher.name, query, options


def main(count: int) -> None:
    """So many random searches; what differs is printed."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        indexes = make_indexes(Path(folder), DOCUMENTS)
        searchers = [opened.enter_context(Searcher(index)) for index in indexes]
        wrong = list(different_pages(searchers, count, random.Random()))
        for each in wrong:
            print(*each)
        print(f"{count} searches, {len(wrong)} whose pages are not one list")
        if wrong:
            sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]))
