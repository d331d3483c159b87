import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, ingest, write_jsonl
from tests.indexer.test_ingest import Rows, rows
from trimseek.encoders import DocumentEncoder, QueryEncoder
from trimseek.errors import IndexFolderError, QueryError, UnknownDocumentError
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.card import IndexCard, read_card
from trimseek.indexer.chunks import Chunk
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import create_files, open_for_changes, open_index
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.snapshot import KIND, build_snapshot, read_snapshot
from trimseek.search import Searcher
from trimseek.search.options import Mode, Options
from trimseek.search.view import open_view, refreshed

DENSE = Options(mode=Mode.DENSE)


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(300)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


@pytest.fixture
def searcher(folder: Path) -> Iterator[Searcher]:
    opened = Searcher(folder)
    yield opened
    opened.close()


def brute_force(query: str, documents: Rows, encoder: Path) -> dict[str, float]:
    """Cosine of each document, from float16 vectors as they are stored."""
    texts = [f"{row['title']} {row['text']}" for row in documents]
    vectors = DocumentEncoder(encoder).encode(texts).vectors.astype(np.float16).astype(np.float32)
    scores = vectors @ QueryEncoder(encoder).encode([query]).vectors[0]
    return {str(row["_id"]): float(score) for row, score in zip(documents, scores, strict=True)}


def assert_best(searcher: Searcher, query: str, k: int, expected: dict[str, float]) -> None:
    hits = searcher.search(query, k, DENSE).hits
    best = sorted(expected.values(), reverse=True)[:k]
    np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-4)
    for hit in hits:
        assert hit.score == pytest.approx(expected[hit.id], abs=1e-4)
    assert len({hit.id for hit in hits}) == len(hits)


@pytest.mark.parametrize("k", [1, 10, 299])
def test_hits_equal_brute_force(k: int, searcher: Searcher, tiny_encoder: Path) -> None:
    for query in ("split words", "the list of files", "x7"):
        assert_best(searcher, query, k, brute_force(query, rows(300), tiny_encoder))


def test_k_larger_than_the_index_gives_every_document(searcher: Searcher) -> None:
    assert len(searcher.search("shell", 1000).hits) == 300


def test_hits_have_passage_and_metadata(searcher: Searcher) -> None:
    document = rows(300)[7]
    hit = searcher.search(f"{document['title']} {document['text']}", 1).hits[0]
    assert (hit.id, hit.title, hit.metadata) == ("d7", "t7", {"n": 7})
    assert hit.passage == (document["text"], 0, len(str(document["text"])))
    assert hit.score == pytest.approx(1, abs=2e-3)


def test_a_long_document_is_one_hit_with_its_best_passage(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    long = " ".join(["qed x7"] * 150 + ["split the shell command"] + ["file 12"] * 150)
    corpus = write_jsonl(tmp_path / "l.jsonl", [{"_id": "long", "text": long}, *rows(5)])
    ingest(corpus, tmp_path / "long", tiny_encoder)
    searcher = Searcher(tmp_path / "long")
    hits = searcher.search("qed x7 qed x7 split the shell command file 12", 6).hits
    assert sorted(hit.id for hit in hits) == ["d0", "d1", "d2", "d3", "d4", "long"]
    passage = next(hit.passage for hit in hits if hit.id == "long")
    assert len(passage.text) < len(long) / 5
    assert long[passage.start : passage.end] == passage.text
    searcher.close()


def snapshot_number(searcher: Searcher) -> int:
    return searcher.read(lambda now: now.view.snapshot)


def test_changes_are_seen_by_the_next_search(
    searcher: Searcher, folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    """Few changes stay beside the snapshot: added, changed and deleted rows alike."""
    query = "the list of files"
    documents = rows(300)
    chosen = random.Random(2)
    for step in range(12):
        documents = [row for row in documents if chosen.random() > 0.02]
        for row in chosen.sample(documents, 3):
            row["text"] = f"list of files {step} {row['_id']}"
        documents.append({"_id": f"new{step}", "title": "new", "text": f"the files {step}"})
        ingest(write_jsonl(tmp_path / "c.jsonl", documents), folder, tiny_encoder, sync=True)
        assert_best(searcher, query, 20, brute_force(query, documents, tiny_encoder))
    assert snapshot_number(searcher) == 1
    fresh = Searcher(folder)
    assert_best(fresh, query, 20, brute_force(query, documents, tiny_encoder))
    fresh.close()


def test_a_new_snapshot_is_taken_up(
    searcher: Searcher, folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    documents = rows(3000)
    ingest(write_jsonl(tmp_path / "c.jsonl", documents), folder, tiny_encoder)
    assert_best(searcher, "shell x7", 10, brute_force("shell x7", documents, tiny_encoder))
    assert snapshot_number(searcher) == 2
    assert [path.name for path in folder.glob("*.faiss")] == ["snapshot-2.faiss"]


@pytest.mark.parametrize("damage", ["missing", "truncated", "flipped"])
def test_a_damaged_snapshot_is_made_anew(
    damage: str, folder: Path, tiny_encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "snapshot-1.faiss"
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = content[:500] + bytes([content[500] ^ 1]) + content[501:]
        path.write_bytes(content[:500] if damage == "truncated" else flipped)
    searcher = Searcher(folder)
    assert_best(searcher, "shell", 10, brute_force("shell", rows(300), tiny_encoder))
    searcher.close()
    assert (folder / "snapshot-2.faiss").is_file()
    assert "snapshot-1.faiss: " in capsys.readouterr().err


def test_a_view_without_snapshot_finds_everything(folder: Path) -> None:
    card = read_card(folder)
    with open_for_changes(folder) as (_, store), store.transaction():
        store._db.execute("DELETE FROM snapshots")
    _, store = open_index(folder)
    view = open_view(store, folder, card.dim)
    assert view.snapshot == 0
    query = np.ones(card.dim, np.float32)
    assert len(view.search(query, 1000).keys) == 300
    with open_for_changes(folder) as (_, writer), writer.transaction():
        assert writer.delete(["d1", "d2", "nobody"]) == 2
    view = refreshed(view, store, folder, card.dim)
    assert len(view.search(query, 1000).keys) == 298
    store.close()


def test_an_index_killed_before_its_first_document_has_no_hits(
    folder: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    create_files(empty, read_card(folder)).store.close()
    searcher = Searcher(empty)
    assert searcher.search("shell", 10).hits == []
    searcher.close()


def test_another_query_encoder_must_be_of_the_same_space(folder: Path, other_encoder: Path) -> None:
    with pytest.raises(IndexFolderError, match="use an encoder of the index's space"):
        Searcher(folder, str(other_encoder))


@pytest.mark.parametrize(
    ("query", "k", "message"),
    [
        ("x", 0, "k is 0; it must be from 1 to 1000"),
        ("x", -3, "k is -3"),
        ("x", 10**12, "k is 1000000000000"),
        ("", 1, "the query is empty"),
        (" \n\t", 1, "the query is empty"),
        ("a\0b", 1, "NUL"),
        ("a\ud800", 1, "not Unicode text at character 1"),
        ("x" * 100_001, 1, "the most is 100,000"),
    ],
)
def test_bad_queries(query: str, k: int, message: str, searcher: Searcher) -> None:
    with pytest.raises(QueryError, match=message):
        searcher.search(query, k)


def test_a_long_query_is_truncated_and_says_so(searcher: Searcher) -> None:
    assert searcher.search("the " * 500, 1).truncated
    assert not searcher.search("the", 1).truncated


def test_documents_by_id(searcher: Searcher) -> None:
    assert searcher.document("d5").metadata == {"n": 5}
    with pytest.raises(UnknownDocumentError, match="index 'index' has no document 'd5x'"):
        searcher.document("d5x")


def test_meaning_is_found_by_the_real_encoder(tmp_path: Path, minilm: Path) -> None:
    corpus = write_jsonl(
        tmp_path / "c.jsonl",
        [
            {"_id": "cat", "text": "A kitten sleeps on the sofa."},
            {"_id": "car", "text": "The engine of the automobile needs oil."},
            {"_id": "tax", "text": "Income is reported to the revenue service once a year."},
        ],
    )
    ingest(corpus, tmp_path / "i", minilm)
    searcher = Searcher(tmp_path / "i")
    best = {q: searcher.search(q, 1).hits[0].id for q in ("feline nap", "vehicle repair", "levy")}
    searcher.close()
    assert best == {"feline nap": "cat", "vehicle repair": "car", "levy": "tax"}


def test_documents_cannot_command_the_terminal(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    rows_ = [{"_id": "a\u202eb", "title": "T\u001b[2J", "text": "x \u001b[31m red"}]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows_), tmp_path / "i", tiny_encoder)
    shown = run("search", "i", "x").stdout
    assert "\x1b" not in shown
    assert "a\\u202eb  T\\x1b[2J" in shown


def test_the_command(folder: Path, run: Run) -> None:
    done = run("search", folder, "split the words", "-k", 3)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "  d" in line]) == 3
    assert " ms (encode " in done.stderr
    assert '"timing_ms": {"encode": ' in run("search", folder, "x", "--json").stdout
    assert "longer than 64 tokens" in run("search", folder, "the " * 99).stderr


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere", "x"), "nowhere: no such folder; make one with: trimseek index"),
        (("index", " "), "the query is empty"),
        (("index", "x", "-k", "0"), "k is 0"),
        (("index", "x", "-k", "many"), "Invalid value for '-k'"),
        (("index", "x", "--query-encoder", "nothing"), "no encoder 'nothing'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(words: tuple[str, ...], message: str, run: Run) -> None:
    done = run("search", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_a_snapshot_that_cannot_be_read_is_made_anew_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise IndexFolderError("snapshot: FAISS cannot read it")

    monkeypatch.setattr("trimseek.search.view.read_snapshot", refuse)
    searcher = Searcher(folder)
    assert len(searcher.search("shell", 3).hits) == 3
    searcher.close()
    assert capsys.readouterr().err.count("making it anew") <= 2


def test_ivf_of_the_real_dimension_is_read_again(tmp_path: Path) -> None:
    """FAISS counts tables beside the file that are larger than a small file."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((2000, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    (tmp_path / "i").mkdir()
    _, store = create_files(tmp_path / "i", IndexCard("s", 384, "minilm-int8", 0))
    with store.transaction():
        store.set_setting(KIND, SnapshotKind.IVF.value)
        for i, vector in enumerate(vectors):
            store.upsert(Document(str(i), "", "x"), [Chunk(0, 1, "x")], vector[None])
    record = build_snapshot(store, tmp_path / "i", 384)
    assert record is not None
    assert read_snapshot(record, tmp_path / "i", 384).ntotal == 2000
    store.close()


KINDS = [SnapshotKind.EXACT, SnapshotKind.SQ8, SnapshotKind.HNSW, SnapshotKind.IVF]


def make_kind(kind: SnapshotKind, texts: list[str], folder: Path, encoder: Path) -> None:
    documents = [{"_id": f"d{i}", "text": text} for i, text in enumerate(texts)]
    corpus = open_corpus(str(write_jsonl(folder.with_suffix(".jsonl"), documents)))
    Ingest(corpus, folder, DocumentEncoder(encoder), str(encoder), kind=kind).run()


@pytest.mark.parametrize("kind", KINDS)
def test_pages_of_equal_scores_have_every_document_once(
    kind: SnapshotKind, tmp_path: Path, tiny_encoder: Path
) -> None:
    better = [f"the list of files {i}" for i in range(7)]
    others = [f"number {i} words" for i in range(1100)]
    texts = [*others[:500], *better, *["the list of shell words"] * 120, *others[500:]]
    make_kind(kind, texts, tmp_path / "i", tiny_encoder)
    with Searcher(tmp_path / "i") as searcher:
        pages = [
            [hit.id for hit in searcher.search("the list", 10, replace(DENSE, offset=offset)).hits]
            for offset in range(0, 300, 10)
        ]
        whole = [hit.id for hit in searcher.search("the list", 300, DENSE).hits]
    listed = [id_ for page in pages for id_ in page]
    assert len(set(listed)) == 300
    assert listed == whole


@pytest.mark.parametrize("kind", KINDS)
def test_lost_tombstones_hide_nothing(
    kind: SnapshotKind, tmp_path: Path, tiny_encoder: Path
) -> None:
    """Chunks that a snapshot still has, and nothing says that they were deleted."""
    texts = ["the list of shell words"] * 60 + [f"number {i} words" for i in range(1100)]
    make_kind(kind, texts, tmp_path / "i", tiny_encoder)
    with open_for_changes(tmp_path / "i") as (_, store), store.transaction():
        store.delete([f"d{i}" for i in range(60)])
        store._db.execute("DELETE FROM tombstones")
    with Searcher(tmp_path / "i") as searcher:
        for k in (1, 10, 100, 1000):
            assert len(searcher.search("the list of shell words", k, DENSE).hits) == k
