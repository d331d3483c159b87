"""BM25 over postings: against a plain reading, compiled and not, after changes."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SHARED, ingest, write_jsonl
from trimseek.encoders import DocumentEncoder
from trimseek.indexer import words as indexer_words
from trimseek.indexer.documents import Document
from trimseek.indexer.store import Store
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search import words as search_words
from trimseek.search.native import library
from trimseek.search.options import Mode, Options
from trimseek.search.query_words import QueryWords
from trimseek.search.words import Words, open_words, refreshed_words, words_without_file

WORDS = "shell split list files number words qed x7".split()


def documents(count: int, seed: int = 0) -> list[dict[str, Any]]:
    chosen = np.random.default_rng(seed)
    return [
        {
            "_id": f"d{seed}-{i}",
            "title": " ".join(chosen.choice(WORDS, chosen.integers(0, 4))),
            "text": " ".join(chosen.choice(WORDS, chosen.integers(1, 30))),
        }
        for i in range(count)
    ]


def plain_bm25(
    query: str, rows: list[dict[str, Any]], title_weight: float = 1.0
) -> dict[str, float]:
    counted = {}
    for row in rows:
        counted[row["_id"]] = Counter(row["text"].split())
        for word, count in Counter(row["title"].split()).items():
            counted[row["_id"]][word] += title_weight * count  # type: ignore[assignment]
    mean = sum(sum(counts.values()) for counts in counted.values()) / len(rows)
    scores: dict[str, float] = {}
    for word in set(query.split()):
        matching = [row["_id"] for row in rows if word in f"{row['title']} {row['text']}".split()]
        idf = math.log(1 + (len(rows) - len(matching) + 0.5) / (len(matching) + 0.5))
        for id_ in matching:
            tf, length = counted[id_][word], sum(counted[id_].values())
            part = tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / mean))
            scores[id_] = scores.get(id_, 0) + idf * part
    return scores


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(indexer_words, "BLOCK", 60)
    ingest(write_jsonl(tmp_path / "c.jsonl", documents(200)), tmp_path / "i", tiny_encoder)
    return tmp_path / "i"


def ranked(store: Store, words: Words | None, query: str, **options: Any) -> dict[str, float]:
    assert words is not None
    best = words.scores(QueryWords(query, store, words).term_ids, **options).best(1000)
    assert (np.diff(best.scores) <= 0).all()
    ids = dict(
        store.rows(
            "SELECT min(chunks.key), id FROM chunks JOIN documents ON documents.key = document"
            " GROUP BY document"
        )
    )
    return {
        ids[chunk]: score
        for chunk, score in zip(best.chunks.tolist(), best.scores.tolist(), strict=True)
    }


@pytest.mark.parametrize("title_weight", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("query", ["qed", "shell list", "split split files x7", " ".join(WORDS)])
def test_scores_are_those_of_a_plain_reading(query: str, title_weight: float, folder: Path) -> None:
    with Store(folder) as store:
        found = ranked(store, open_words(store, folder), query, title_weight=title_weight)
    assert found == pytest.approx(plain_bm25(query, documents(200), title_weight), rel=1e-5)


def test_compiled_code_and_numpy_agree_to_the_bit(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library.functions() is not None
    with Store(folder) as store:
        words = open_words(store, folder)
        compiled = ranked(store, words, "shell qed list")
        monkeypatch.setattr(search_words, "functions", lambda: None)
        assert list(ranked(store, words, "shell qed list").items()) == list(compiled.items())


def changes(folder: Path, encoder: Path) -> Iterator[list[dict[str, Any]]]:
    """What is in the index after each of some changes."""
    rows = {row["_id"]: row for row in documents(200)}
    with IndexWriter(folder, DocumentEncoder(encoder)) as writer:
        for seed in range(1, 13):
            some = documents(7, seed)
            again = [
                row | {"_id": id_} for row, id_ in zip(some, list(rows)[seed::40], strict=False)
            ]
            writer.put([Document(row["_id"], row["title"], row["text"]) for row in some + again])
            rows |= {row["_id"]: row for row in some + again}
            gone = list(rows)[seed::50]
            writer.delete(gone)
            rows = {id_: row for id_, row in rows.items() if id_ not in gone}
            yield list(rows.values())


def test_scores_after_changes(folder: Path, tiny_encoder: Path) -> None:
    with Store(folder) as store:
        words = open_words(store, folder)
        for rows in changes(folder, tiny_encoder):
            words = refreshed_words(words, store, folder)
            expected = pytest.approx(plain_bm25("qed list", rows), rel=1e-5)
            assert ranked(store, words, "qed list") == expected
            assert ranked(store, open_words(store, folder), "qed list") == expected
            assert ranked(store, words_without_file(store), "qed list") == expected


def test_scores_of_chosen_documents_and_filters(folder: Path) -> None:
    with Store(folder) as store:
        words = open_words(store, folder)
        assert words is not None
        scores = words.scores(QueryWords("qed list", store, words).term_ids)
        best = scores.best(1000)
        known = dict(zip(best.chunks.tolist(), best.scores.tolist(), strict=True))
        every = store.chunk_keys()
        assert scores.of(every).tolist() == [known.get(chunk, 0.0) for chunk in every.tolist()]
        assert scores.of(np.array([0, 10**9])).tolist() == [0, 0]
        allowed = every[::3]
        terms = QueryWords("qed list", store, words).term_ids
        filtered = words.scores(terms, counted=words.counted(allowed)).best(1000)
        kept = [chunk for chunk in best.chunks.tolist() if chunk in set(allowed.tolist())]
        assert filtered.chunks.tolist() == kept
        for k in (1, 5, 59, 61):
            assert scores.best(k).chunks.tolist() == best.chunks[:k].tolist()


CODES = [
    ("C++", "cpp"), ("C#", "csharp"), ("F#", "fsharp"), ("C", "c"), (".NET", "dotnet"),
    ("AT&T", "att"), ("hepatitis A", "hepa"), ("vitamin A", "vita"), ("IT department", "it"),
    ("node.js", "node"), ("nodejs", "node"), ("16 GB", "unit"), ("AB-1234-X", "part1"),
    ("get user name", "snake camel"), ("XR200B", "sku"), ("jane.doe@example.org", "mail"),
    ("10.0.0.12", "ip"), ("2.10.1", "ver"), ("🚀", "emo"), ("state of the art", "hyph"),
    ("email", "hyph hyph2"), ("resume", "quote"), ("5 kg", "unit"),
]  # fmt: skip
LANGUAGES = [
    ("上海", "zh"), ("発表会", "ja"), ("서울", "ko"), ("ประชุม", "th"), ("हिन्दी", "hi1"),
    ("محمد", "ar"), ("re\u0301sume\u0301", "fr-nfc fr-nfd"), ("e\u0301le\u0300ve", "fr-nfc fr-nfd"),
    ("financial", "lig"), ("information", "shy"), ("ABC123", "fw"), ("boeuf", "oe"),
    ("Strasse", "de"), ("ученые", "ru"), ("Istanbul", "tr"), ("ילד", "he"), ("ha noi", "vi"),
    ("책", ""), ("京", "ja"),
]  # fmt: skip


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    base = tmp_path_factory.mktemp("cases")
    for name in ("codes", "langs"):
        path = SHARED / "cases" / f"{name}.jsonl"
        if not path.is_file():
            pytest.skip("the cases are not here")
        ingest(path, base / name, tiny_encoder)
    return base


@pytest.mark.parametrize(
    ("name", "query", "expected"),
    [("codes", *case) for case in CODES] + [("langs", *case) for case in LANGUAGES],
)
def test_the_document_that_is_meant_is_first(
    name: str, query: str, expected: str, cases: Path
) -> None:
    with Searcher(cases / name) as searcher:
        hits = searcher.search(query, 5, Options(mode=Mode.LEXICAL, highlight=True)).hits
    first = [hit.id for hit in hits[: len(expected.split())]]
    assert set(first) == set(expected.split())
    for hit in hits[: len(expected.split())]:
        text = hit.passage.text
        for highlight in hit.highlights:
            before, after = text[: highlight.start][-1:], text[highlight.end :][:1]
            marked = text[highlight.start : highlight.end]
            assert marked.strip() == marked != ""
            if name == "langs" and query not in ("上海", "発表会", "ประชุม", "京"):
                assert not before.isalnum()
                assert not after.isalnum()


def test_only_documents_with_the_word(cases: Path) -> None:
    with Searcher(cases / "langs") as searcher:
        hits = searcher.search("हिन्दी", 5, Options(mode=Mode.LEXICAL)).hits
        assert [hit.id for hit in hits] == ["hi1"]
    with Searcher(cases / "codes") as searcher:
        hits = searcher.search("C", 5, Options(mode=Mode.LEXICAL)).hits
        assert "cpp" not in [hit.id for hit in hits]
        for query in ("+", "?", "™", "́"):
            assert searcher.search(query, 5, Options(mode=Mode.LEXICAL)).hits == []
