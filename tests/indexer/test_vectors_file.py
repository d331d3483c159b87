"""The mapped vectors beside a snapshot: made with it, checked, and made anew."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run, ingest, write_jsonl
from trimseek.atomic import sha256_of
from trimseek.encoders import DocumentEncoder
from trimseek.errors import IndexFolderError
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import open_for_changes, open_index
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import SnapshotRecord
from trimseek.indexer.sketches import sketch_rows
from trimseek.indexer.snapshot import vectors_path
from trimseek.indexer.vectors_file import HEAD, read_vectors
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher

DIM = 32


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> Path:
    rows = [{"_id": f"d{i}", "text": f"number {i} words " * (1 + i % 90)} for i in range(50)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", tiny_encoder)
    return tmp_path / "index"


def recorded(folder: Path) -> tuple[SnapshotRecord, str]:
    with open_index(folder) as (_, store):
        record = store.snapshot()
        assert record is not None
        return record, store.vectors_file(record.number)


def best(folder: Path) -> list[tuple[str, float]]:
    with Searcher(folder) as searcher:
        return [(hit.id, hit.score) for hit in searcher.search("number 7 words", 5).hits]


def test_it_holds_what_is_stored(folder: Path) -> None:
    record, sha256 = recorded(folder)
    chunks = read_vectors(record, sha256, vectors_path(folder, record.number), DIM).chunks
    with open_index(folder) as (_, store):
        stored = [
            np.concatenate(column) for column in zip(*store.chunk_vectors(0, DIM), strict=True)
        ]
    for ours, expected in zip(chunks, stored, strict=True):
        np.testing.assert_array_equal(ours, expected)
    assert len(chunks.keys) > len(set(chunks.documents.tolist())) == 50


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "another", "empty"])
def test_one_that_is_damaged_is_made_anew(damage: str, folder: Path) -> None:
    expected = best(folder)
    record, _ = recorded(folder)
    path = vectors_path(folder, record.number)
    content = bytearray(path.read_bytes())
    content[HEAD + 9] ^= 1
    changed: dict[str, bytes] = {
        "cut": bytes(content[:-8]),
        "flipped": bytes(content),
        "another": b"x" * 400,
        "empty": b"",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert best(folder) == expected
    record, sha256 = recorded(folder)
    assert len(read_vectors(record, sha256, vectors_path(folder, record.number), DIM).chunks.keys)


def test_what_was_found_sound_is_not_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    expected = best(folder)
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr("trimseek.checked.sha256_of", counted)
    assert best(folder) == expected
    assert read == []
    assert run("verify", folder).returncode == 0
    assert len(read) == 3
    path = vectors_path(folder, recorded(folder)[0].number)
    path.write_bytes(path.read_bytes())  # the same, but who knows
    assert best(folder) == expected
    assert len(read) == 4


def test_numbers_are_checked(folder: Path, tmp_path: Path) -> None:
    """A file whose checksum somebody else has recorded."""

    record, _ = recorded(folder)
    content = vectors_path(folder, record.number).read_bytes()
    size = len(content)
    keys = size - 2 * -(-record.chunks * 8 // 64) * 64 + (-record.chunks * 8) % 64
    path = tmp_path / "other.bin"
    for place, value in ((HEAD, b"\x00\x7c"), (keys, (99).to_bytes(8, "little")), (8, b"\xff" * 8)):
        changed = bytearray(content)
        changed[place : place + len(value)] = value
        path.write_bytes(changed)
        with pytest.raises(IndexFolderError, match="damaged"):
            read_vectors(record, sha256_of(path), path, DIM)


def test_those_of_a_graph_are_sketched(folder: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    record, sha256 = recorded(folder)
    assert read_vectors(record, sha256, vectors_path(folder, record.number), DIM).sketches is None
    rows = [{"_id": f"d{i}", "text": f"number {i}"} for i in range(50)]
    graph = tmp_path / "graph"
    ingest(write_jsonl(tmp_path / "g.jsonl", rows), graph, tiny_encoder, kind=SnapshotKind.HNSW)
    record, sha256 = recorded(graph)
    path = vectors_path(graph, record.number)
    chunks, sketches = read_vectors(record, sha256, path, DIM)
    assert sketches is not None
    vectors = chunks.vectors.astype(np.float32)
    np.testing.assert_array_equal(sketches.rows, sketch_rows(vectors, sketches.model))
    content = bytearray(path.read_bytes())
    shared = content.index(sketches.model.mean.tobytes())
    content[shared : shared + 4] = b"\x00\x00\xc0\x7f"  # not a number
    path.write_bytes(content)
    with pytest.raises(IndexFolderError, match="not finite"):
        read_vectors(record, sha256_of(path), path, DIM)


def test_an_index_of_before_gets_one_when_it_is_written_to(
    folder: Path, tiny_encoder: Path
) -> None:
    expected = best(folder)
    with IndexWriter(folder, DocumentEncoder(tiny_encoder)) as writer:
        writer.delete(["d49"])
    forget(folder)
    assert [id_ for id_, _ in best(folder)] == [id_ for id_, _ in expected]  # out of the database
    with IndexWriter(folder, DocumentEncoder(tiny_encoder)) as writer:
        writer.put([Document("d49", "", "something else")])
    assert [id_ for id_, _ in best(folder)] == [id_ for id_, _ in expected]


def test_it_goes_with_its_snapshot(folder: Path, run: Run) -> None:
    assert run("compact", folder).returncode == 0
    record, sha256 = recorded(folder)
    assert sha256
    assert [path.name for path in folder.glob("vectors-*")] == [f"vectors-{record.number}.bin"]


def forget(folder: Path) -> None:
    """Take the file away, as an index of an earlier trimseek has none."""
    with open_for_changes(folder) as (_, store), store.transaction():
        store.set_vectors_file(0, "")
    for path in folder.glob("vectors-*"):
        path.unlink()
