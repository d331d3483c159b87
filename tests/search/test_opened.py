"""An index that is replaced while it is open: everything that is read is of what is there now."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ingest, write_jsonl
from tests.indexer.test_ingest import rows
from trimseek.encoders import DocumentEncoder
from trimseek.errors import IndexFolderError, ReplacedError, UnknownDocumentError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.card import read_card
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import (
    create_index,
    open_for_changes,
    open_index,
    renew_snapshot,
    replace_index,
)
from trimseek.indexer.reembed import reembed
from trimseek.indexer.snapshot import built_snapshot, use_snapshot
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search.recommend import Examples, recommend


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(50)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def restored(folder: Path, backup: Path) -> None:
    restore_backup(backup, folder)


def embedded_anew(folder: Path, other: Path) -> None:
    reembed(folder, DocumentEncoder(other), str(other))


@pytest.mark.parametrize("replace", [restored, embedded_anew])
def test_every_reading_is_of_the_new_index(
    replace: Callable[[Path, Path], None], folder: Path, tmp_path: Path, other_encoder: Path
) -> None:
    """Documents, facets and recommendations before any search has seen the new index."""
    with IndexWriter(folder) as writer:
        writer.patch("d1", {"n": "old"})
        writer.delete(["d2"])
    write_backup(folder, tmp_path / "backup")
    readers = [Searcher(folder) for _ in range(3)]
    with IndexWriter(folder) as writer:
        writer.patch("d1", {"n": "new"})
        writer.delete(["d3"])
    replace(folder, tmp_path / "backup" if replace is restored else other_encoder)
    back = replace is restored
    assert readers[0].document("d1").metadata == {"n": "old" if back else "new"}
    values = {value for value, _ in readers[1].facets(("n",))}
    assert ("old" in values, "new" in values, 3 in values) == (back, not back, back)
    if back:
        assert len(recommend(readers[2], Examples(("d3",)), 60).hits) == 48
    else:
        with pytest.raises(UnknownDocumentError):
            recommend(readers[2], Examples(("d3",)))
    for reader in readers:
        reader.close()


def test_restores_that_bring_an_inode_back_are_seen(folder: Path, tmp_path: Path) -> None:
    """Files of removed folders give their numbers to new ones: identity is none of them."""
    write_backup(folder, tmp_path / "backup")
    ids = {read_card(folder).id}
    with Searcher(folder) as searcher, IndexWriter(folder) as writer:
        for i in range(10):
            writer.delete([f"d{i}"])
            restore_backup(tmp_path / "backup", folder)
            ids.add(read_card(folder).id)
            assert searcher.document(f"d{i}").id == f"d{i}"
            assert writer.delete(["d20"]) == 1
            with pytest.raises(UnknownDocumentError):
                searcher.document("d20")
    assert len(ids) == 11


def test_searches_go_on_while_an_index_is_replaced(folder: Path, tmp_path: Path) -> None:
    write_backup(folder, tmp_path / "backup")
    errors: list[BaseException] = []
    over = threading.Event()

    def search() -> None:
        try:
            while not over.is_set():
                assert len(searcher.search("shell", 50).hits) == 50
                assert searcher.document("d7").id == "d7"
        except BaseException as error:
            errors.append(error)

    with Searcher(folder) as searcher:
        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(10):
            restore_backup(tmp_path / "backup", folder)
        over.set()
        for thread in threads:
            thread.join()
    assert errors == []


def test_a_snapshot_that_was_overtaken_is_dropped(folder: Path) -> None:
    """It would bring back what was deleted since: its tombstones are gone."""
    with open_index(folder) as (card, store), built_snapshot(store, folder, card.dim) as built:
        with IndexWriter(folder) as writer:
            writer.delete(["d1", "d2"])
        assert renew_snapshot(folder)
        with open_for_changes(folder) as (_, current):
            assert use_snapshot(built, current, folder) is None
    with Searcher(folder) as searcher:
        assert len(searcher.search("shell", 50).hits) == 48
    assert [path.name for path in folder.glob("*.faiss")] == ["snapshot-2.faiss"]


def test_work_that_began_with_another_index_changes_nothing(folder: Path, tmp_path: Path) -> None:
    write_backup(folder, tmp_path / "backup")
    began = read_card(folder).id
    restore_backup(tmp_path / "backup", folder)
    with pytest.raises(ReplacedError, match="run it again"), open_for_changes(folder, began=began):
        pass
    create_index(tmp_path / "other", read_card(folder))
    with pytest.raises(ReplacedError):
        replace_index(tmp_path / "other", folder, began)
    with pytest.raises(ReplacedError):
        replace_index(tmp_path / "other", folder, None)
    with Searcher(folder) as searcher:
        assert searcher.summary().documents == 50


def test_a_card_and_a_database_of_two_indexes_are_refused(folder: Path, tmp_path: Path) -> None:
    create_index(tmp_path / "other", read_card(folder))
    (tmp_path / "other" / "documents.db").replace(folder / "documents.db")
    with pytest.raises(IndexFolderError, match="of another index than index.json"):
        Searcher(folder)


def test_a_writer_goes_on_with_what_was_restored(
    folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    write_backup(folder, tmp_path / "backup")
    with IndexWriter(folder, DocumentEncoder(tiny_encoder)) as writer:
        for i in range(3):
            writer.put([Document(f"new{i}", "", "fresh words")])
            restore_backup(tmp_path / "backup", folder)
        writer.put([Document("last", "", "fresh words")])
    with Searcher(folder) as searcher:
        assert searcher.summary().documents == 51
        assert searcher.document("last").text == "fresh words"
