"""Writing to an index that lives: what is acknowledged stays, through kills too."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Run, ingest, write_jsonl
from tests.indexer.test_ingest import rows, stored
from trimseek.encoders import DocumentEncoder
from trimseek.errors import CorpusError, IndexFolderError, StorageError, UnknownDocumentError
from trimseek.indexer.care import find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.embedding import DocumentEmbedder, EmbeddedDocuments
from trimseek.indexer.folder import write_lock
from trimseek.indexer.store import Store
from trimseek.indexer.where import parse_where
from trimseek.indexer.writer import IndexWriter, PutCounts
from trimseek.search import Searcher


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(50)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


@pytest.fixture
def writer(folder: Path, tiny_encoder: Path) -> Iterator[IndexWriter]:
    opened = IndexWriter(folder, DocumentEncoder(tiny_encoder))
    yield opened
    opened.close()


def chunk_keys(folder: Path) -> list[int]:
    store = Store(folder)
    found = store.chunk_keys().tolist()
    store.close()
    return [int(key) for key in found]


def test_put_says_what_became_of_each(writer: IndexWriter, folder: Path) -> None:
    same = Document("d1", "t1", str(rows(50)[1]["text"]), {"n": 1})
    documents = [
        same,
        Document("d2", "t2", "another text"),
        Document("d3", "t3", str(rows(50)[3]["text"]), {"n": "other"}),
        Document("new", "", "fresh"),
    ]
    assert writer.put(documents) == PutCounts(added=1, updated=2, unchanged=1)
    assert writer.put(documents) == PutCounts(0, 0, 4)
    assert stored(folder)["d2"] == "another text"
    assert find_damage(folder) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (Document("new", "", "again"), "the id 'new' is given twice"),
        (Document("x", "", "  "), "document 'x': it has no text and no title"),
        (Document("x", "", "a\0b"), "document 'x': the text holds a NUL"),
        (Document("x", "", "a", {"v": float("nan")}), "metadata field 'v': nan is no number"),
    ],
)
def test_one_bad_document_leaves_all_out(
    bad: Document, message: str, writer: IndexWriter, folder: Path
) -> None:
    before = stored(folder)
    with pytest.raises(CorpusError, match=message):
        writer.put([Document("new", "", "fresh"), bad])
    assert stored(folder) == before


def test_patches_change_metadata_alone(writer: IndexWriter, folder: Path) -> None:
    chunks = chunk_keys(folder)
    assert writer.patch("d1", {"year": 2021, "n": None}).metadata == {"year": 2021}
    assert writer.patch("d1", {"lang": "en"}).metadata == {"year": 2021, "lang": "en"}
    assert chunk_keys(folder) == chunks
    with pytest.raises(UnknownDocumentError, match="no document 'gone'"):
        writer.patch("gone", {})


def test_a_search_sees_each_change_at_once(writer: IndexWriter, folder: Path) -> None:
    searcher = Searcher(folder)
    writer.put([Document("x", "", "zebra", {"kind": "animal"})])
    assert searcher.search("zebra", 1).hits[0].id == "x"
    writer.patch("x", {"kind": "horse"})
    assert searcher.search("zebra", 1).hits[0].metadata == {"kind": "horse"}
    assert writer.delete_where(parse_where("kind = 'horse'")) == 1
    assert searcher.search("zebra", 1).hits[0].id != "x"
    assert writer.delete(["d1", "d2", "gone"]) == 2
    assert len(searcher.search("zebra", 100).hits) == 48
    searcher.close()


def test_writers_take_turns(folder: Path, tiny_encoder: Path) -> None:
    encoder = DocumentEncoder(tiny_encoder)

    def write(name: str) -> None:
        writer = IndexWriter(folder, encoder)
        for i in range(10):
            writer.put([Document(f"{name}{i}", "", f"text {name} {i}")])
        writer.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in "wxyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stored(folder)) == 90
    assert find_damage(folder, deep=True) == []


def test_a_document_changed_meanwhile_is_embedded_again(
    writer: IndexWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at what is stored and the write, another writer deletes a document."""
    other = IndexWriter(folder)
    embed = DocumentEmbedder.embed
    calls: list[object] = []

    def slow(self: DocumentEmbedder, documents: Sequence[Document]) -> EmbeddedDocuments:
        embedded = embed(self, documents)
        if not calls:
            other.delete(["d1"])
        calls.append(documents)
        return embedded

    monkeypatch.setattr(DocumentEmbedder, "embed", slow)
    document = Document("d1", "t1", str(rows(50)[1]["text"]), {"n": 1})
    assert writer.put([document]) == PutCounts(1, 0, 0)
    other.close()
    assert "d1" in stored(folder)


def test_a_writer_does_not_wait_for_ever(
    writer: IndexWriter, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimseek.indexer.writer.WAIT", 0.05)
    with write_lock(folder), pytest.raises(StorageError, match="another program is writing"):
        writer.delete(["d1"])
    assert writer.delete(["d1"]) == 1


def test_another_space_is_refused(folder: Path, other_encoder: Path) -> None:
    with pytest.raises(IndexFolderError, match="use an encoder of the index's space"):
        IndexWriter(folder, DocumentEncoder(other_encoder))


def test_the_commands(folder: Path, run: Run, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "more.jsonl", [{"_id": "x", "text": "zebra", "year": 2020}])
    assert '"added": 1' in run("add", folder, corpus, "--json").stdout
    assert "0 added, 0 updated, 1 unchanged" in run("add", folder, corpus).stderr
    assert '{"year": 2021}' in run("patch", folder, "x", '{"year": 2021}').stderr
    refused = run("delete", folder, "--where", "year = 2021")
    assert refused.returncode == 2
    assert "would delete 1 documents; say --yes" in refused.stderr
    done = run("delete", folder, "--where", "year = 2021", "--yes", "--json")
    assert done.stdout == '{"deleted": 1}\n'
    assert "2 deleted" in run("delete", folder, "d1", "--id", "d2", "--yes").stderr
    for words, message in (
        (("delete", folder), "their ids or --where"),
        (("patch", folder, "d3", "[1]"), "must be a JSON object"),
        (("patch", folder, "d3", "{"), "the changes are not JSON"),
        (("patch", folder, "gone", "{}"), "no document 'gone'"),
        (("add", "nowhere", corpus), "nowhere: no such folder"),
    ):
        failed = run(*words)
        assert failed.returncode == 2
        assert message in failed.stderr
        assert failed.stderr.count("\n") == 1
