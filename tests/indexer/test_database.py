"""Connections: what they see of each other, where they end, and what they leave behind."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ingest, write_jsonl
from tests.indexer.test_ingest import rows
from trimseek.errors import OutOfTimeError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.card import folder_identity, read_card
from trimseek.indexer.database import LARGEST_LOG
from trimseek.indexer.folder import open_for_changes, open_index
from trimseek.indexer.store import Store
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.time_limit import time_limit


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(50)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def test_every_connection_has_the_same_version(folder: Path) -> None:
    with Store(folder) as one, Store(folder) as other:
        before = one.version()
        assert other.version() == before
        with open_for_changes(folder) as (_, store), store.transaction():
            store.delete(["d1"])
        assert one.version() == other.version() == before + 1


def test_a_moment_does_not_move(folder: Path) -> None:
    with Store(folder) as reader:
        reader.begin()
        assert reader.counts().documents == 50
        with open_for_changes(folder) as (_, store), store.transaction():
            store.delete(["d1"])
        assert reader.counts().documents == 50
        reader.end()
        assert reader.counts().documents == 49


def test_a_query_ends_at_the_time_limit(folder: Path) -> None:
    endless = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )
    with Store(folder) as store:
        with time_limit(time.monotonic() + 0.05), pytest.raises(OutOfTimeError, match="time limit"):
            store.rows(endless)
        assert store.counts().documents == 50


def test_the_log_shrinks_again_after_a_reader_held_it(folder: Path) -> None:
    log = folder / "documents.db-wal"
    with Store(folder) as reader, open_for_changes(folder) as (_, store):
        reader.begin()
        reader.counts()
        for i in range(8):
            with store.transaction():
                store.set_setting("filler", str(i) * 2**20)
        assert log.stat().st_size > 2 * LARGEST_LOG - 2**20
        reader.end()
        store.checkpoint()
        for i in range(2):
            with store.transaction():
                store.set_setting("filler", i)
        assert log.stat().st_size <= LARGEST_LOG


def test_an_old_writer_leaves_the_log_of_the_restored_index_alone(
    folder: Path, tmp_path: Path
) -> None:
    """The last connection to a database removes the log at its path, whoever that belongs to."""
    write_backup(folder, tmp_path / "b")
    old = IndexWriter(folder)
    old.delete(["d1"])
    restore_backup(tmp_path / "b", folder)
    with Store(folder, writable=True) as store:
        with store.transaction():
            store.delete(["d2"])
        old.close()
        assert (folder / "documents.db-wal").stat().st_size > 0
        with Store(folder) as other:
            assert other.keys_of(["d1", "d2"]).keys() == {"d1"}


def test_an_old_index_gets_an_id_when_it_is_written_to(folder: Path) -> None:
    card = json.loads((folder / "index.json").read_text())
    card |= {"format_version": 1}
    del card["id"]
    (folder / "index.json").write_text(json.dumps(card))
    with Store(folder, writable=True) as store, store.transaction():
        store._db.execute("DELETE FROM settings WHERE name = 'id'")
    with Searcher(folder) as searcher:
        assert len(searcher.search("shell", 50).hits) == 50
        assert read_card(folder).id == ""
        with IndexWriter(folder) as writer:
            writer.delete(["d1"])
        assert len(searcher.search("shell", 50).hits) == 49
    with open_index(folder) as (new, store):
        assert new.id == store.id == folder_identity(folder) != ""


# Imports what it needs while it may read Python's own folder.
READER = """
import os, sys
from pathlib import Path
from trimseek.search import Searcher
with Searcher(Path(sys.argv[1])) as searcher:
    searcher.search("shell")
os.seteuid(65534)
searcher = Searcher(Path(sys.argv[1]))
for _ in sys.stdin:
    print(len(searcher.search("shell", 100).hits), flush=True)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_reader_without_write_permission_sees_what_another_user_writes(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    base = Path("/var/tmp") / f"trimseek-{os.getpid()}"  # tmp_path is closed to others
    base.mkdir(mode=0o755)
    try:
        encoder = shutil.copytree(tiny_encoder, base / "encoder")
        folder = base / "index"
        ingest(write_jsonl(tmp_path / "c.jsonl", rows(50)), folder, encoder)
        with subprocess.Popen(
            [sys.executable, "-c", READER, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as reader:
            ask, answers = reader.stdin, reader.stdout
            assert ask is not None
            assert answers is not None

            def hits() -> int:
                ask.write("\n")
                ask.flush()
                return int(answers.readline())

            assert hits() == 50
            with open_for_changes(folder) as (_, store):
                with store.transaction():
                    store.delete(["d1"])
                assert hits() == 49
                with store.transaction():
                    store.delete(["d2", "d3"])
                assert hits() == 47
            assert hits() == 47
            ask.close()
    finally:
        shutil.rmtree(base)
