"""Damage is found and named; copies and exports are whole, or not there."""

import json
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import WITHOUT_BYTECODE, Run, ingest, write_jsonl
from tests.indexer.test_ingest import rows, stored
from trimseek.encoders import DocumentEncoder
from trimseek.errors import IndexFolderError
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.care import find_damage
from trimseek.indexer.database import DATABASE
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import open_index
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.store import Store
from trimseek.indexer.summary import summarize
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(60)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def execute(folder: Path, sql: str) -> None:
    with sqlite3.connect(folder / DATABASE) as db:
        db.execute(sql)
    db.close()


@pytest.mark.parametrize(
    ("damage", "message", "deep"),
    [
        (
            "UPDATE chunks SET vector = zeroblob(64) WHERE key = 3",
            "1 vectors are not of unit",
            True,
        ),
        (
            "UPDATE chunks SET vector = (SELECT vector FROM chunks WHERE key = 9) WHERE key = 1",
            "the vectors of document 'd0' are not its text's",
            True,
        ),
        ("DELETE FROM chunks WHERE key = 5", "1 documents have no chunks", False),
        ("DELETE FROM chunks WHERE key = 5", "holds 60 chunks, 59 are stored", False),
        (
            "UPDATE words SET counts = (SELECT counts FROM words WHERE chunk = 5) WHERE chunk = 4",
            "the words of document 'd3' are not those of its text",
            True,
        ),
    ],
)
def test_damage_inside_the_database_is_found(
    damage: str, message: str, deep: bool, folder: Path
) -> None:
    assert find_damage(folder, deep=True) == []
    execute(folder, damage)
    assert any(message in each for each in find_damage(folder, deep=deep))


@pytest.mark.parametrize("kind", [each for each in SnapshotKind if each is not SnapshotKind.AUTO])
def test_every_kind_is_whole_after_changes(
    kind: SnapshotKind, tmp_path: Path, tiny_encoder: Path
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", rows(1200))
    encoder = DocumentEncoder(tiny_encoder)
    folder = tmp_path / "i"
    Ingest(open_corpus(str(corpus)), folder, encoder, str(tiny_encoder), kind=kind).run()
    assert summarize(folder).kind == kind.value
    writer = IndexWriter(folder, encoder)
    writer.delete([f"d{i}" for i in range(100)])
    writer.put([Document(f"n{i}", "", f"shell {i}") for i in range(50)])
    assert find_damage(folder, deep=True) == []
    writer.close()
    searcher = Searcher(folder)
    hits = searcher.search("shell 7", 1000).hits
    assert len(hits) == 1000
    assert not {hit.id for hit in hits} & {f"d{i}" for i in range(100)}
    (hit,) = searcher.search("shell 7", 1).hits
    exact = max(searcher.search("shell 7", 50).hits, key=lambda each: each.score)
    assert hit.score == pytest.approx(exact.score)
    searcher.close()


def test_another_kind_is_built_when_it_is_asked_for(folder: Path, tmp_path: Path, run: Run) -> None:
    assert summarize(folder).kind == "exact"
    done = run("index", tmp_path / "c.jsonl", "--into", folder, "--kind", "hnsw", "--facet", "n")
    assert done.returncode == 0, done.stderr
    assert summarize(folder).kind == "hnsw"
    shown = run("info", folder).stdout
    assert "60 of the chunks, hnsw" in shown
    assert "facets     n" in shown
    bad = run("index", tmp_path / "c.jsonl", "--into", folder, "--facet", 'a"b')
    assert bad.returncode == 2
    assert "cannot filter by a field called" in bad.stderr


def test_tuning_finds_the_least_effort_that_is_enough(
    tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", rows(3000))
    assert run("index", corpus, "--into", "i", "--encoder", tiny_encoder, "--kind", "hnsw")
    found = json.loads(run("tune", "i", "--recall", 0.97, "--json").stdout)
    assert found["kind"] == "hnsw"
    assert found["chosen"] == found["tried"][-1]
    assert found["chosen"]["recall"] >= 0.97
    assert all(each["recall"] < 0.97 for each in found["tried"][:-1])
    searcher = Searcher(tmp_path / "i")
    assert searcher.read(lambda now: now.effort) == found["chosen"]["effort"]
    searcher.close()
    (tmp_path / "q.txt").write_text("shell\nlist of words\n")
    assert "2 queries" in run("tune", "i", "--queries", "q.txt", "--recall", 0.5).stderr
    assert "at most 1" in run("tune", "i", "--recall", 1.5).stderr


def test_an_exact_index_has_nothing_to_tune(folder: Path, run: Run) -> None:
    done = run("tune", folder)
    assert done.returncode == 2
    assert "every vector is compared" in done.stderr


def test_compact_gives_back_room(folder: Path, run: Run) -> None:
    writer = IndexWriter(folder)
    writer.delete([f"d{i}" for i in range(40)])
    writer.close()
    before = summarize(folder).bytes
    done = json.loads(run("compact", folder, "--json").stdout)
    assert done["bytes"] < before == done["bytes_before"]
    assert len(stored(folder)) == 20
    store = Store(folder)
    assert len(store.tombstones()) == 0
    store.close()
    assert find_damage(folder, deep=True) == []


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_an_export_is_a_corpus_again(
    ending: str, folder: Path, tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    path = tmp_path / f"out.{ending}"
    assert run("export", folder, "-o", path, "--vectors").returncode == 0
    assert run("export", folder, "-o", path).returncode == 2  # it exists
    ingest(path, tmp_path / "again", tiny_encoder)
    assert stored(tmp_path / "again") == stored(folder)
    if ending == "jsonl":
        row = json.loads(path.read_text().splitlines()[7])
        assert (row["_id"], row["n"]) == ("d7", 7)
        (passage,) = row["passages"]
        store = Store(folder)
        assert passage["vector"] == pytest.approx(store.vectors_of([8], 32).vectors[0].tolist())
        store.close()


def test_a_backup_is_the_index_as_it_was(
    folder: Path, tmp_path: Path, tiny_encoder: Path, run: Run
) -> None:
    before = stored(folder)
    assert run("backup", folder, "-o", tmp_path / "copy.trimseek").returncode == 0
    writer = IndexWriter(folder, DocumentEncoder(tiny_encoder))
    writer.delete(["d1"])
    writer.put([Document("new", "", "fresh")])
    writer.close()
    assert run("restore", tmp_path / "copy.trimseek", "--into", "back").returncode == 0
    assert stored(tmp_path / "back") == before
    assert find_damage(tmp_path / "back", deep=True) == []
    refused = run("restore", tmp_path / "copy.trimseek", "--into", folder)
    assert "say --yes to replace it" in refused.stderr
    assert run("restore", tmp_path / "copy.trimseek", "--into", folder, "--yes").returncode == 0
    assert stored(folder) == before


def contents(folder: Path) -> list[object]:
    """Everything that an index's user can see of it."""
    card, store = open_index(folder)
    try:
        documents = [each for part in store.all_documents(1000) for each in part]
        places = store.chunks_of([key for key, _ in documents])
        vectors = [part.vectors.tobytes() for part in store.vectors(0, card.dim)]
        return [card, documents, places, vectors, store.facets(), store.counts()]
    finally:
        store.close()


@pytest.mark.parametrize("name", ["index.json", "documents.db", "snapshot-1.faiss"])
def test_a_flipped_byte_is_noticed_or_changes_nothing(name: str, folder: Path) -> None:
    """Wherever it is: in the truth it is refused or found, of a cache nothing is left."""
    whole = contents(folder)
    original = (folder / name).read_bytes()
    places = random.Random(3).sample(range(len(original)), min(40, len(original)))
    noticed = 0
    for place in places:
        spoilt = original[:place] + bytes([original[place] ^ 0xFF]) + original[place + 1 :]
        (folder / name).write_bytes(spoilt)
        try:
            damage = find_damage(folder, deep=True)
            if not damage or name.startswith("snapshot"):
                assert contents(folder) == whole, place
        except IndexFolderError as error:
            damage = [str(error)]
        assert all(name in each for each in damage), damage
        noticed += bool(damage)
        (folder / name).write_bytes(original)
    assert noticed > 5  # much of a small database is empty pages
    assert find_damage(folder, deep=True) == []


NEEDS_ROOM = {
    "index": ("index", "{corpus}", "--into", "{folder}"),
    "index a new folder": ("index", "{corpus}", "--into", "{base}/new", "--encoder", "{encoder}"),
    "add": ("add", "{folder}", "{corpus}"),
    "compact": ("compact", "{folder}"),
    "reembed": ("reembed", "{folder}", "--encoder", "{other}"),
    "export": ("export", "{folder}", "--into", "{base}/out.jsonl"),
    "backup": ("backup", "{folder}", "--into", "{base}/copy"),
    "restore": ("restore", "{base}/backup", "--into", "{folder}", "--yes"),
}


@pytest.mark.parametrize("words", NEEDS_ROOM.values(), ids=NEEDS_ROOM.keys())
def test_a_full_disk_is_one_clear_line(
    words: tuple[str, ...], folder: Path, tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    """The kernel lets no file grow beyond what is there, in a real process."""
    corpus = write_jsonl(
        tmp_path / "more.jsonl", [row | {"_id": f"m{i}"} for i, row in enumerate(rows(3000))]
    )
    write_backup(folder, tmp_path / "backup")
    places = {
        "base": tmp_path,
        "folder": folder,
        "corpus": corpus,
        "encoder": tiny_encoder,
        "other": other_encoder,
    }
    before, beside = contents(folder), {each.name for each in tmp_path.iterdir()}
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000));"
        "from trimseek.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *(word.format(**places) for word in words)],
        capture_output=True,
        text=True,
        check=False,
        env=WITHOUT_BYTECODE,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stderr.splitlines()[-1], done.stderr
    assert str(tmp_path) in done.stderr.splitlines()[-1]
    assert contents(folder) == before
    assert {each.name for each in tmp_path.iterdir()} == beside
    assert find_damage(folder, deep=True) == []


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b"shell")] ^= 0xFF  # of a stored text; free pages are free to change
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def fill(path: Path) -> None:
    path.write_text("no database " * 100)


@pytest.mark.parametrize("spoil", [flip, cut, fill, Path.unlink])
def test_a_damaged_backup_replaces_nothing(
    spoil: Callable[[Path], None], folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "copy.trimseek"
    write_backup(folder, path)
    spoil(path)
    before = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    with pytest.raises(IndexFolderError, match=r"copy\.trimseek: "):
        restore_backup(path, folder)
    after = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    assert after == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_folder_that_is_no_index_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    write_backup(folder, tmp_path / "copy.trimseek")
    (tmp_path / "mine").mkdir()
    with pytest.raises(IndexFolderError, match="mine: not an index"):
        restore_backup(tmp_path / "copy.trimseek", tmp_path / "mine")
    with pytest.raises(IndexFolderError, match="exists already"):
        write_backup(folder, tmp_path / "copy.trimseek")
