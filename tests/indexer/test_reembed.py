"""Another encoder for an index that is searched and written to all the while."""

import threading
from pathlib import Path

import pytest

from tests.conftest import Run, ingest, write_jsonl
from tests.indexer.test_ingest import rows, stored
from trimseek.encoders import DocumentEncoder, open_encoder
from trimseek.errors import IndexFolderError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.card import read_card
from trimseek.indexer.care import find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.ingest import Ingest
from trimseek.indexer.reembed import reembed
from trimseek.indexer.summary import summarize
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(600)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def test_searches_go_on_and_then_use_the_new_encoder(
    folder: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    before = stored(folder)
    searcher = Searcher(folder)
    stop, failures = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            try:
                assert len(searcher.search("shell", 10).hits) == 10
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    report = reembed(folder, DocumentEncoder(other_encoder), str(other_encoder))
    found = searcher.search("shell", 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert report.added == 600
    assert stored(folder) == before
    assert (
        read_card(folder).space
        == open_encoder(other_encoder).space
        != open_encoder(tiny_encoder).space
    )
    assert searcher.encoder.card.space == read_card(folder).space
    fresh = Searcher(folder)
    assert found.hits == fresh.search("shell", 1).hits
    fresh.close()
    searcher.close()
    assert find_damage(folder, deep=True) == []
    assert [path.name for path in folder.parent.iterdir() if "reembedded" in path.name] == []


def test_a_query_encoded_before_is_encoded_anew(folder: Path, other_encoder: Path) -> None:
    """A service encodes first and searches later; the spaces may have changed between."""
    searcher = Searcher(folder)
    (encoded,) = searcher.encode(["shell words"])
    reembed(folder, DocumentEncoder(other_encoder), str(other_encoder))
    found = searcher.answer("shell words", encoded, 5)
    assert found.hits == searcher.search("shell words", 5).hits
    searcher.close()


def test_what_is_written_meanwhile_is_taken_over(
    folder: Path, tiny_encoder: Path, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = IndexWriter(folder, DocumentEncoder(tiny_encoder))
    run = Ingest.run
    passes: list[object] = []

    def run_and_write(self: Ingest) -> object:
        report = run(self)
        if not passes:  # between the two passes
            writer.put([Document("new", "", "fresh")])
            writer.delete(["d1"])
        passes.append(report)
        return report

    monkeypatch.setattr(Ingest, "run", run_and_write)
    reembed(folder, DocumentEncoder(other_encoder), str(other_encoder))
    assert len(passes) == 2
    found = stored(folder)
    assert found["new"] == "fresh"
    assert "d1" not in found
    # the writer's encoder is of the old space: its next write is refused, not lost
    with pytest.raises(IndexFolderError, match="use an encoder of the index's space"):
        writer.put([Document("later", "", "too late")])
    writer.close()


def test_an_interrupted_one_goes_on(
    folder: Path, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_batch = Ingest._store_batch
    stored_batches: list[object] = []

    def stop_at_the_second(self: Ingest, *arguments: object) -> None:
        if len(stored_batches) == 1:
            raise KeyboardInterrupt
        stored_batches.append(arguments)
        store_batch(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("trimseek.indexer.ingest.BATCH_DOCUMENTS", 256)
    monkeypatch.setattr(Ingest, "_store_batch", stop_at_the_second)
    encoder = DocumentEncoder(other_encoder)
    with pytest.raises(KeyboardInterrupt):
        reembed(folder, encoder, str(other_encoder))
    assert read_card(folder).space != encoder.card.space
    monkeypatch.undo()
    report = reembed(folder, encoder, str(other_encoder))
    assert (report.added, report.unchanged) == (344, 256)
    assert read_card(folder).space == encoder.card.space


def test_a_restored_index_is_searched_by_who_had_it_open(
    folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    write_backup(folder, tmp_path / "copy.trimseek")
    writer = IndexWriter(folder, DocumentEncoder(tiny_encoder))
    searcher = Searcher(folder)
    writer.delete([f"d{i}" for i in range(500)])
    assert len(searcher.search("shell", 1000).hits) == 100
    restore_backup(tmp_path / "copy.trimseek", folder)
    assert len(searcher.search("shell", 1000).hits) == 600
    writer.delete(["d1"])
    assert len(searcher.search("shell", 1000).hits) == 599
    assert summarize(folder).documents == 599
    searcher.close()
    writer.close()


def test_the_command(folder: Path, run: Run, other_encoder: Path, tmp_path: Path) -> None:
    done = run("reembed", folder, "--encoder", other_encoder)
    assert done.returncode == 0, done.stderr
    assert f"600 embedded by {other_encoder}" in done.stderr
    assert run("search", folder, "shell").returncode == 0
    failed = run("reembed", tmp_path / "nowhere", "--encoder", other_encoder)
    assert failed.returncode == 2
    assert "no such folder" in failed.stderr
