"""Folders and backups that somebody else has made: checked before they are believed."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, ingest, write_jsonl
from tests.indexer.test_ingest import rows
from trimseek.encoders import DocumentEncoder
from trimseek.encoders.card import CARD, GRAPH
from trimseek.encoders.catalog import find_index_encoder
from trimseek.errors import EncoderError, IndexFolderError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.card import read_card
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", rows(20)), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def with_values(name: str, *values: Any) -> list[tuple[str, Any]]:
    return [(name, value) for value in values]


CARD_FIELDS: list[tuple[str, Any]] = [
    *with_values("dim", "32", -1, 0, 10**9, 1.5, None, True),
    *with_values("overlap", 10**9, -1, "8", 1.0),
    *with_values("space", 5, "", None, []),
    *with_values("encoder", 5, "", "a\nb", None),
    *with_values("queries", 5, "a\nb", None, "x" * 5000),
    *with_values("id", "x", 7, "0" * 31, "G" * 32),
    ("colour", "red"),
]


@pytest.mark.parametrize(("name", "value"), CARD_FIELDS)
def test_an_index_card_is_checked(name: str, value: object, folder: Path, run: Run) -> None:
    change(folder / "index.json", **{name: value})
    for words in (("search", "index", "x"), ("info", "index"), ("verify", "index")):
        done = run(*words)
        assert done.returncode == 2
        assert f"index.json: damaged: {name}" in done.stderr, done.stderr


def test_a_missing_field_is_named(folder: Path) -> None:
    card = json.loads((folder / "index.json").read_text())
    del card["dim"]
    (folder / "index.json").write_text(json.dumps(card))
    with pytest.raises(IndexFolderError, match=r"index\.json: damaged: dim"):
        read_card(folder)


@pytest.mark.parametrize(
    "name", ["someone/model", "someone/model-int8", "../model", "model", "./x"]
)
def test_nothing_is_fetched_or_opened_because_an_index_says_so(
    name: str, folder: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    def fetch(*_: object) -> None:
        pytest.fail("fetched")

    monkeypatch.setattr("trimseek.encoders.catalog.fetch", fetch)
    elsewhere = folder.parent / "work" / "someone"
    elsewhere.mkdir(parents=True)
    for link in (elsewhere / "model", elsewhere.parent / "model", folder.parent / "model"):
        link.symlink_to(tiny_encoder)
    monkeypatch.chdir(elsewhere.parent)
    change(folder / "index.json", encoder=name)
    with pytest.raises(EncoderError, match="is not here; if you trust it: trimseek pull"):
        Searcher(folder)
    done = run("search", "index", "x")
    assert done.returncode == 2
    assert "fetching" not in done.stderr


def test_a_folder_here_does_not_stand_for_the_catalogs_name(
    tmp_path: Path, tiny_encoder: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "minilm").symlink_to(tiny_encoder)
    (tmp_path / "minilm-int8").symlink_to(tiny_encoder)
    monkeypatch.chdir(tmp_path)
    assert find_index_encoder("minilm-int8", tmp_path) == minilm


FOREIGN = [
    "CREATE TRIGGER spy AFTER INSERT ON documents BEGIN DELETE FROM documents; END",
    "CREATE VIEW v AS SELECT * FROM documents",
    "CREATE TABLE more (x)",
    "CREATE INDEX other ON documents (title)",
    "CREATE VIRTUAL TABLE words2 USING fts5 (x)",
    "DROP TRIGGER facets_deleted",
    "ALTER TABLE documents ADD COLUMN more",
]


def altered(database: Path, sql: str) -> None:
    db = sqlite3.connect(database)
    db.execute(sql)
    db.commit()
    db.close()


@pytest.mark.parametrize("sql", FOREIGN)
def test_a_database_holds_our_schema_and_nothing_else(
    sql: str, folder: Path, tmp_path: Path
) -> None:
    write_backup(folder, tmp_path / "backup")
    altered(tmp_path / "backup", sql)
    with pytest.raises(IndexFolderError, match="is not ours"):
        restore_backup(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    altered(folder / "documents.db", sql)
    opened: list[Callable[[Path], object]] = [Searcher, IndexWriter]
    for use in opened:
        with pytest.raises(IndexFolderError, match="is not ours"):
            use(folder)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE documents SET id = x'00ff' WHERE id = 'd1'",
        "UPDATE documents SET metadata = 7 WHERE id = 'd1'",
        "UPDATE documents SET title = x'41' WHERE id = 'd1'",
        "UPDATE documents SET text = x'41' WHERE id = 'd1'",
        "UPDATE chunks SET vector = 'text'",
        "UPDATE chunks SET vector = NULL WHERE 0; UPDATE chunks SET vector = x'00'",
        "UPDATE chunks SET start = 'x'",
        "UPDATE chunks SET vector = zeroblob(62) || x'007e'",
        "UPDATE chunks SET end = 1000000",
        "UPDATE snapshots SET kind = 'magic'",
        "UPDATE snapshots SET chunks = -5",
        "UPDATE settings SET value = '[' WHERE name = 'changes'",
        "INSERT INTO settings VALUES ('kind', '{}'), ('efforts', '7')",
    ],
)
def test_rows_of_other_types_end_in_one_line(
    sql: str, folder: Path, tmp_path: Path, run: Run
) -> None:
    write_backup(folder, tmp_path / "backup")
    for database in (tmp_path / "backup", folder / "documents.db"):
        db = sqlite3.connect(database)
        db.executescript(sql)
        db.close()
    for words in (
        ("search", "index", "shell", "-k", 20),
        ("search", "index", "shell", "-k", 20, "--mode", "lexical"),
        ("info", "index"),
        ("get", "index", "d1"),
        ("verify", "index", "--deep"),
        ("restore", "backup", "--into", "new"),
        ("compact", "index"),
        ("export", "index", "--into", "all.jsonl"),
    ):
        done = run(*words)
        assert "unexpected" not in done.stderr, (words, done.stderr)
        assert "Traceback" not in done.stderr
        (tmp_path / "all.jsonl").unlink(missing_ok=True)


ENCODER_FIELDS: list[tuple[str, Any]] = [
    *with_values("head_dim", -8, 0, "8", 2**31, 65537),
    *with_values("dim", -32, 0, 2**40, None),
    *with_values("positions", -1, 0, 2**31),
    *with_values("max_tokens", -1, 0, 65, 2**31),
    *with_values("layers", [], {}, [{"heads": 0, "neurons": 64}], [7], "x"),
    *[("layers", [{"heads": heads, "neurons": 64}] * 2) for heads in (-4, 2**20)],
    *with_values("layer_norm_eps", -1, 0, "x", 1e300),
    ("prompts", {"query": 7}),
    ("pooling", "sum"),
    ("colour", "red"),
]


@pytest.mark.parametrize(("name", "value"), ENCODER_FIELDS)
def test_an_encoder_card_is_checked(
    name: str, value: object, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    change(folder / CARD, **{name: value})
    with pytest.raises(EncoderError, match=CARD if name != "layers" else "encoder"):
        DocumentEncoder(folder).encode(["a"])
    assert (folder / GRAPH).is_file()
