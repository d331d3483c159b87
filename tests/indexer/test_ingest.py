import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import WITHOUT_BYTECODE, Run, ingest, write_jsonl
from trimseek.encoders import DocumentEncoder
from trimseek.errors import CorpusError, IndexFolderError, StorageError, TrimseekError
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.care import find_damage
from trimseek.indexer.database import DATABASE
from trimseek.indexer.folder import open_index, write_lock
from trimseek.indexer.store import Store
from trimseek.indexer.summary import summarize

Rows = list[dict[str, object]]


def rows(count: int) -> Rows:
    chosen = random.Random(1)
    words = ["shell", "split", "the", "list", "of", "words", "file", "x7", "qed"]
    return [
        {"_id": f"d{i}", "title": f"t{i}", "text": " ".join(chosen.choices(words, k=12)), "n": i}
        for i in range(count)
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "c.jsonl", rows(20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "index"


def stored(folder: Path) -> dict[str, str]:
    _, store = open_index(folder)
    found = {}
    for id_ in store.ids():
        document = store.document(id_)
        assert document is not None
        found[id_] = document.text
    store.close()
    return found


def test_first_run_adds_everything(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    report = ingest(corpus, folder, tiny_encoder)
    assert (report.added, report.updated, report.unchanged, report.removed) == (20, 0, 0, 0)
    assert stored(folder) == {row["_id"]: row["text"] for row in rows(20)}
    assert summarize(folder).snapshot == summarize(folder).chunks == report.chunks
    assert find_damage(folder) == []


def test_second_run_embeds_only_what_changed(
    corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    ingest(corpus, folder, tiny_encoder)
    changed = rows(21)
    changed[3]["text"] = "another text"
    changed[4]["n"] = "other metadata"
    report = ingest(write_jsonl(corpus, changed), folder, tiny_encoder)
    assert (report.added, report.updated, report.unchanged) == (1, 2, 18)
    assert report.chunks == 2  # new metadata alone is not embedded
    assert stored(folder)["d3"] == "another text"
    assert ingest(corpus, folder, tiny_encoder).unchanged == 21


def test_sync_removes_what_is_gone(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    ingest(corpus, folder, tiny_encoder)
    write_jsonl(corpus, rows(15))
    assert ingest(corpus, folder, tiny_encoder).removed == 0
    assert ingest(corpus, folder, tiny_encoder, sync=True).removed == 5
    assert len(stored(folder)) == 15
    assert find_damage(folder) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"_id": "d3", "text": "again"}, r"c\.jsonl:21: the id 'd3' was already at .*c\.jsonl:4"),
        ({"_id": "x", "text": " "}, r"c\.jsonl:21: document 'x' has no text and no title"),
        ({"_id": "x"}, r"c\.jsonl:21: no field 'text'"),
    ],
)
def test_a_bad_last_row_leaves_nothing_behind(
    bad: dict[str, object], message: str, corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    write_jsonl(corpus, [*rows(20), bad])
    with pytest.raises(CorpusError, match=message):
        ingest(corpus, folder, tiny_encoder)
    assert not folder.exists()


def test_a_bad_corpus_leaves_an_index_as_it_was(
    corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    ingest(corpus, folder, tiny_encoder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    changed = [row | {"text": "new"} for row in rows(20)]
    write_jsonl(corpus, [*changed, {"_id": "x"}])
    with pytest.raises(CorpusError):
        ingest(corpus, folder, tiny_encoder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_empty_corpus(folder: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(CorpusError, match="empty.jsonl: no documents"):
        ingest(tmp_path / "empty.jsonl", folder, tiny_encoder)
    assert not folder.exists()


def test_documents_without_text_are_left_out_when_asked(
    corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    write_jsonl(corpus, [{"_id": "e", "text": ""}, *rows(2)])
    run = Ingest(
        open_corpus(str(corpus)), folder, DocumentEncoder(tiny_encoder), "tiny", skip_empty=True
    )
    report = run.run()
    assert (report.added, report.skipped) == (2, 1)


def test_another_space_is_refused(
    corpus: Path, folder: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    ingest(corpus, folder, tiny_encoder)
    with pytest.raises(IndexFolderError, match="use an encoder of the index's space"):
        ingest(corpus, folder, other_encoder)


def test_a_newer_index_is_refused(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    ingest(corpus, folder, tiny_encoder)
    card = folder / "index.json"
    card.write_text(card.read_text().replace('"format_version": 3', '"format_version": 4'))
    with pytest.raises(IndexFolderError, match="format version 4, this trimseek reads 1, 2 and 3"):
        ingest(corpus, folder, tiny_encoder)
    card.write_text(card.read_text().replace('"format_version": 4', '"format_version": 3'))
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute("PRAGMA user_version = 5")
    db.close()
    with pytest.raises(IndexFolderError, match=r"documents\.db: format version 5"):
        ingest(corpus, folder, tiny_encoder)


def test_folders_that_are_no_index_are_left_alone(
    corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("precious")
    with pytest.raises(IndexFolderError, match="neither empty nor an index"):
        ingest(corpus, folder, tiny_encoder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]
    with pytest.raises(IndexFolderError, match="a file; --into needs a folder"):
        ingest(corpus, folder / "thesis.txt", tiny_encoder)


def test_an_index_killed_while_it_was_created_is_begun_again(
    corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    folder.mkdir()
    Store(folder, writable=True, create=True).close()
    (folder / ".index.json.123.tmp").touch()
    assert ingest(corpus, folder, tiny_encoder).added == 20
    assert find_damage(folder) == []


def test_one_writer_at_a_time(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    ingest(corpus, folder, tiny_encoder)
    with write_lock(folder), pytest.raises(StorageError, match="another program is writing"):
        ingest(corpus, folder, tiny_encoder)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "missing", "empty", "no table"])
def test_a_damaged_database_is_named(
    damage: str, corpus: Path, folder: Path, tiny_encoder: Path
) -> None:
    ingest(corpus, folder, tiny_encoder)
    path = folder / DATABASE
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "no table":
        with sqlite3.connect(path) as db:
            db.execute("DROP TABLE chunks")
        db.close()
    else:
        damaged = {"truncated": content[: len(content) // 2], "garbage": b"x" * 8192, "empty": b""}
        path.write_bytes(damaged[damage])
    with pytest.raises(IndexFolderError, match=r"documents\.db: (damaged|missing)"):
        summarize(folder)
    with pytest.raises(IndexFolderError, match=r"documents\.db: (damaged|missing)"):
        ingest(corpus, folder, tiny_encoder)


def test_a_damaged_snapshot_is_made_anew(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    ingest(corpus, folder, tiny_encoder)
    snapshot = folder / "snapshot-1.faiss"
    snapshot.write_bytes(snapshot.read_bytes()[:-10])
    assert "snapshot-1.faiss: damaged" in find_damage(folder)[0]
    ingest(corpus, folder, tiny_encoder)
    assert find_damage(folder) == []


def test_a_huge_document_is_chunked(folder: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    text = "split the words of the shell " * (2**20 // 29)
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"_id": "huge", "text": text}])
    assert ingest(corpus, folder, tiny_encoder).chunks > 2_000
    assert stored(folder)["huge"] == text


class FullDisk(Store):
    """A database that may not grow: SQLite's own "disk full"."""

    def upsert(self, *args: object) -> None:
        self._db.execute("PRAGMA max_page_count = 1")  # not below what is used now
        super().upsert(*args)  # type: ignore[arg-type]


def test_a_full_disk_leaves_the_index_as_it_was(
    corpus: Path, folder: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest(corpus, folder, tiny_encoder)
    before = stored(folder)
    write_jsonl(corpus, [row | {"text": "new text " * 99} for row in rows(400)])
    monkeypatch.setattr("trimseek.indexer.folder.Store", FullDisk)
    with pytest.raises(StorageError, match="cannot write .*full.*; what was committed before"):
        ingest(corpus, folder, tiny_encoder)
    monkeypatch.undo()
    assert stored(folder) == before
    assert find_damage(folder) == []


def test_a_full_disk_at_the_first_run_leaves_nothing(
    corpus: Path, folder: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_jsonl(corpus, [row | {"text": "new text " * 99} for row in rows(400)])
    monkeypatch.setattr("trimseek.indexer.folder.Store", FullDisk)
    with pytest.raises(StorageError):
        ingest(corpus, folder, tiny_encoder)
    assert not folder.exists()


def test_a_file_size_limit_is_a_clear_error(corpus: Path, folder: Path, tiny_encoder: Path) -> None:
    """The kernel refuses to let any file grow, in a real process."""
    ingest(corpus, folder, tiny_encoder)
    write_jsonl(corpus, rows(20) + [row | {"_id": f"new{i}"} for i, row in enumerate(rows(3000))])
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000));"
        "from trimseek.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "index", corpus, "--into", folder],
        capture_output=True,
        text=True,
        check=False,
        env=WITHOUT_BYTECODE,
    )
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr.splitlines()[-1]
    assert stored(folder).keys() >= {row["_id"] for row in rows(20)}
    assert find_damage(folder) == []


# Some seconds long, so that it is not over before somebody ends it.
IN_SMALL_BATCHES = """
import sys, time
from trimseek.cli import main
from trimseek.encoders.encoder import Encoder
from trimseek.indexer import ingest

def slowly(encoder, texts, encode=Encoder.encode):
    time.sleep(0.05)
    return encode(encoder, texts)

Encoder.encode = slowly
ingest.BATCH_DOCUMENTS = 50
sys.exit(main(sys.argv[1:]))
"""


def start_indexing(corpus: Path, folder: Path, encoder: Path) -> subprocess.Popen[str]:
    words = ("index", corpus, "--into", folder, "--encoder", encoder)
    return subprocess.Popen(
        [sys.executable, "-c", IN_SMALL_BATCHES, *words], stderr=subprocess.PIPE, text=True
    )


def documents_so_far(folder: Path) -> int:
    try:
        return summarize(folder).documents
    except (TrimseekError, OSError):
        return 0


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_an_interrupted_run_goes_on_where_it_stopped(
    kill: signal.Signals, folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    count = 8000
    corpus = write_jsonl(tmp_path / "c.jsonl", rows(count))
    process = start_indexing(corpus, folder, tiny_encoder)
    while documents_so_far(folder) == 0:
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, kill)
    _, message = process.communicate()
    done = documents_so_far(folder)
    assert 0 < done < count, message
    assert find_damage(folder) == []
    if kill is signal.SIGINT:
        assert process.returncode == 130
        assert message == "trimseek: interrupted; what was finished is kept\n"
    report = ingest(corpus, folder, tiny_encoder)
    assert (report.added, report.unchanged) == (count - done, done)
    assert find_damage(folder) == []


def test_a_read_only_index_can_be_searched(
    corpus: Path, folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    ingest(corpus, folder, tiny_encoder)
    frozen = tmp_path / "frozen"
    shutil.copytree(folder, frozen)
    for leftover in frozen.glob("documents.db-*"):
        leftover.unlink()
    frozen.chmod(0o555)
    try:
        assert summarize(frozen).documents == 20
    finally:
        frozen.chmod(0o755)


def test_commands_print_what_they_did(
    corpus: Path, folder: Path, tiny_encoder: Path, run: Run
) -> None:
    done = run("index", corpus, "--into", folder, "--encoder", tiny_encoder)
    assert done.returncode == 0, done.stderr
    assert "20 added, 0 updated, 0 unchanged, 0 removed" in done.stderr
    assert done.stdout == ""
    shown = run("info", folder)
    assert "documents  20" in shown.stdout
    assert run("info", folder, "--json").stdout.startswith('{"name": "index", "documents": 20')
    again = run("index", "-", "--into", folder, "--json", stdin=corpus.read_text())
    assert '"unchanged": 20' in again.stdout
