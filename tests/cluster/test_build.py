"""What a build makes, what it takes from the one before, and what it says of wrong input."""

import json
import resource
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.local import LocalBuild, build, open_cluster
from tests.conftest import Run, write_jsonl
from tests.search.test_modes import documents
from trimseek.cluster import build as build_module
from trimseek.cluster.build import Workers
from trimseek.cluster.checking import first_twice, id_hash
from trimseek.cluster.fetch import fetched_shard
from trimseek.cluster.manifest import MANIFEST, read_manifest, served_manifest
from trimseek.cluster.placement import (
    MOST_ROWS,
    document_key,
    shard_of,
    shard_of_key,
    shards_before,
)
from trimseek.cluster.planning import planned
from trimseek.cluster.searcher import Generation
from trimseek.cluster.shards import OpenShards
from trimseek.cluster.sources import corpus_parts
from trimseek.cluster.storage import Storage
from trimseek.errors import (
    ConfigError,
    CorpusError,
    IndexFolderError,
    StorageError,
    TrimseekError,
)
from trimseek.indexer.documents import ReadOptions
from trimseek.indexer.kinds import SnapshotKind

ROWS = documents(120)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "c.jsonl", ROWS)


@pytest.fixture
def uri(corpus: Path, tmp_path: Path, tiny_encoder: Path) -> Path:
    build([corpus], tmp_path / "cluster", tiny_encoder, 3)
    return tmp_path / "cluster"


def ids_in(uri: Path) -> list[str]:
    searcher, _ = open_cluster(uri)
    with searcher:
        return [document.id for document in searcher.page(limit=1000).documents]


def test_what_lies_at_the_uri(uri: Path, tmp_path: Path, run: Run) -> None:
    manifest = served_manifest(Storage(str(uri)))
    assert (manifest.documents, manifest.generation) == (120, 1)
    assert sum(shard.documents for shard in manifest.shards) == 120
    on_disk = {str(path.relative_to(uri)) for path in uri.rglob("*") if path.is_file()}
    assert on_disk == {MANIFEST, *(file.name for file in manifest.files)}
    # a shard is an ordinary index
    backup = uri / manifest.shards[1].backup.name
    assert run("restore", backup, "--into", "restored").returncode == 0
    assert run("verify", "restored", "--deep").returncode == 0
    folder = fetched_shard(Storage(str(uri)), manifest, 1)
    assert run("verify", folder, "--deep").returncode == 0
    own = [row["_id"] for row in ROWS if shard_of(row["_id"], 3) == 1]
    listed = run("documents", folder, "--json", "--limit", 1000)
    assert [row["id"] for row in json.loads(listed.stdout)["documents"]] == own
    assert tmp_path.is_dir()


def test_what_is_unchanged_is_not_embedded_again(corpus: Path, uri: Path) -> None:
    assert build([corpus], uri, None, 3) == 0
    rows = [dict(row) for row in ROWS]
    rows[3]["text"] += " more"
    rows[4]["year"] = 1900
    del rows[5]
    rows.append({"_id": "new", "text": "qed of the new"})
    write_jsonl(corpus, rows)
    assert build([corpus], uri, None, 3) == 2
    assert ids_in(uri) == [row["_id"] for row in rows]
    searcher, _ = open_cluster(uri)
    with searcher:
        assert searcher.document("d4").metadata["year"] == 1900
        assert searcher.search("qed of the new", 1).hits[0].id == "new"
        assert searcher.summary().generation == 3
    # other numbers of shards
    assert build([corpus], uri, None, 5) == 0
    assert build([corpus], uri, None, 2) == 0
    assert ids_in(uri) == [row["_id"] for row in rows]


def test_two_generations_are_kept(corpus: Path, uri: Path) -> None:
    for _ in range(3):
        build([corpus], uri, None, 3)
    folders = sorted(path.name[:17] for path in uri.iterdir() if path.is_dir())
    assert folders == ["generation-000003", "generation-000004"]


def plan_of(corpus: Path, uri: Path, encoder: Path, **options: Any) -> Any:
    given: dict[str, Any] = {
        "skip_empty": False,
        "prompts": (None, None),
        "overlap": 32,
        "facets": (),
        "kind": SnapshotKind.AUTO,
        "language": None,
        "encoder": str(encoder),
    }
    return planned([str(corpus)], str(uri), 3, ReadOptions(), **(given | options))


def test_an_interrupted_build_goes_on(
    corpus: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = tmp_path / "cluster"
    shards_built: list[int] = []
    real = build_module.built_shard

    def failing(plan: Any, shard: int, *rest: Any) -> Any:
        if shard == 2 and not shards_built.count(2):
            shards_built.append(2)
            raise StorageError("the machine has died")
        shards_built.append(shard)
        return real(plan, shard, *rest)

    monkeypatch.setattr("tests.cluster.local.built_shard", failing)
    with pytest.raises(StorageError, match="has died"):
        LocalBuild(plan_of(corpus, uri, tiny_encoder), Workers(1, 1)).run()
    assert read_manifest(Storage(str(uri))) is None
    # a broken piece would be noticed; those that are there are not written again
    report = LocalBuild(plan_of(corpus, uri, tiny_encoder), Workers(1, 1)).run()
    assert report.embedded == 0
    assert ids_in(uri) == [row["_id"] for row in ROWS]
    assert not list(uri.glob("work-*"))


def test_another_build_has_finished_meanwhile(corpus: Path, uri: Path, tiny_encoder: Path) -> None:
    late = LocalBuild(plan_of(corpus, uri, tiny_encoder), Workers(1, 1))
    build([corpus], uri, None, 3)
    with pytest.raises(StorageError, match="another build has finished meanwhile"):
        late.run()
    assert served_manifest(Storage(str(uri))).generation == 2


def test_parts_of_a_corpus(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = tmp_path / "data"
    (folder / "inner").mkdir(parents=True)
    write_jsonl(folder / "b.jsonl", ROWS[:3])
    write_jsonl(folder / "inner" / "a.jsonl", ROWS[3:5])
    (folder / "c.csv").write_text("id,text,year\nx,shell of words,2003\ny,qed,2004\n")
    (folder / "notes.md").write_text("not rows")
    assert [Path(part.name).name for part in corpus_parts([str(folder)])] == [
        "b.jsonl", "c.csv", "a.jsonl",
    ]  # fmt: skip
    by_pattern = corpus_parts([str(folder / "*.csv"), f"file://{folder}/b.jsonl"])
    assert [Path(part.name).name for part in by_pattern] == ["c.csv", "b.jsonl"]
    build([folder], tmp_path / "cluster", tiny_encoder, 2)
    assert ids_in(tmp_path / "cluster") == ["d0", "d1", "d2", "x", "y", "d3", "d4"]
    searcher, _ = open_cluster(tmp_path / "cluster")
    with searcher:
        assert searcher.document("x").metadata == {"year": 2003}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["gone.jsonl"], "gone.jsonl: no such file or folder"),
        (["*.nothing"], "no such file or folder"),
        (["-"], "a cluster reads files"),
        ([""], "no name"),
        (["c.jsonl", "c.jsonl"], "given twice"),
    ],
)
def test_corpora_that_are_none(
    names: list[str], message: str, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(corpus.parent)
    with pytest.raises(CorpusError, match=message):
        corpus_parts(names)


@pytest.mark.parametrize("uri", ["", "nothing://there", "s3:///"])
def test_uris_that_are_none(uri: str) -> None:
    with pytest.raises(TrimseekError):
        Storage(uri)


def test_a_folder_of_something_else(corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(IndexFolderError, match="neither empty nor a cluster's index"):
        plan_of(corpus, tmp_path / "mine", tiny_encoder)


def damaged_backup(uri: Path) -> None:
    path = uri / served_manifest(Storage(str(uri))).shards[0].backup.name
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)


def missing_backup(uri: Path) -> None:
    (uri / served_manifest(Storage(str(uri))).shards[0].backup.name).unlink()


def damaged_manifest(uri: Path) -> None:
    content = json.loads((uri / MANIFEST).read_text())
    content["shards"][0]["documents"] = -1
    (uri / MANIFEST).write_text(json.dumps(content))


def newer_manifest(uri: Path) -> None:
    content = json.loads((uri / MANIFEST).read_text()) | {"format_version": 99}
    (uri / MANIFEST).write_text(json.dumps(content))


def no_manifest(uri: Path) -> None:
    (uri / MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_backup, r"shard-0000\.backup: damaged: not the file that the manifest names"),
        (missing_backup, r"shard-0000\.backup: no such file, though the manifest names it"),
        (damaged_manifest, r"manifest\.json: damaged: shards\.0\.documents"),
        (newer_manifest, r"manifest\.json: format version 99, this trimseek reads 1"),
        (no_manifest, r"no such file; make an index with: trimseek cluster build"),
    ],
)
def test_damage_is_one_line(damage: Callable[[Path], None], message: str, uri: Path) -> None:
    damage(uri)
    with pytest.raises(TrimseekError, match=message) as error:
        open_cluster(uri)
    assert "\n" not in str(error.value)


def test_an_encoder_of_another_space(uri: Path, other_encoder: Path) -> None:
    storage = Storage(str(uri))
    manifest = served_manifest(storage)
    with closing(OpenShards([])) as shards, pytest.raises(IndexFolderError, match="of space"):
        Generation(storage, manifest, shards, str(other_encoder))


def test_a_full_disk(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "full"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="cannot write") as error:
            storage.write("some.file", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert storage.names("") == {}


def test_keys_come_in_the_order_of_the_corpus() -> None:
    places = [(0, 1), (0, 2), (0, MOST_ROWS), (1, 1), (7, 3)]
    keys = [document_key(file, row, 4095) for file, row in places]
    assert keys == sorted(keys)
    assert all(0 < key < 2**63 and shard_of_key(key) == 4095 for key in keys)
    assert {shard_of(f"d{i}", 5) for i in range(200)} == set(range(5))
    for before, now in [(4, 4), (4, 8), (8, 4), (4, 6), (3, 7)]:
        for i in range(300):
            assert shard_of(f"d{i}", before) in shards_before(shard_of(f"d{i}", now), now, before)
    assert list(shards_before(5, 8, 4)) == [1]


def test_ids_that_come_twice() -> None:
    import numpy as np

    def hashes(*ids: str) -> Any:
        return np.frombuffer(b"".join(map(id_hash, ids)), np.uint64).reshape(-1, 2)

    some, others = hashes("a", "b", "c"), hashes("d", "b")
    assert [first_twice(share, 2, some, others) for share in range(2)].count(None) == 1
    assert first_twice(0, 1, some, others) == id_hash("b")
    assert first_twice(0, 1, some, hashes("d", "e")) is None


def test_options_of_ray_are_json(run: Run, uri: Path) -> None:
    for text in ("{", "[1]"):
        done = run("cluster", "serve", uri, "--shard-options", text)
        assert done.returncode == 2
        assert done.stderr.startswith("trimseek: --shard-options: ")
    assert isinstance(ConfigError("x"), TrimseekError)
