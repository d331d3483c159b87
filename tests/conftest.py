"""Fixtures: the real MiniLM, a tiny random encoder for what does not depend on meaning."""

import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from tests.logs import walks, write_log
from tests.tiny import save_hugging_face, tiny_checkpoint, write_tiny
from trimseek.child import module_command
from trimseek.cli import main
from trimseek.encoders import DocumentEncoder, find_encoder, write_encoder
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.checkpoint import Checkpoint, read_checkpoint
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.indexer import Ingest, IngestReport, open_corpus
from trimseek.indexer.database import DATABASE
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.schema import SCHEMAS

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

Run = Callable[..., subprocess.CompletedProcess[str]]
# For processes whose files may not grow: Python keeps bytecode that was cut short by that.
WITHOUT_BYTECODE = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real int8 encoder, fetched into TRIMSEEK_HOME if it is not there."""
    return find_encoder("minilm-int8")


@pytest.fixture(scope="session")
def minilm_float32() -> Path:
    return find_encoder("minilm-float32")


@pytest.fixture(scope="session")
def minilm_checkpoint() -> Path:
    return find_checkpoint("minilm")


@pytest.fixture(scope="session")
def tiny() -> Checkpoint:
    return tiny_checkpoint()


@pytest.fixture(scope="session")
def tiny_encoder(tiny: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoders") / "tiny"
    write_encoder(tiny, folder, Quantization.everywhere(Precision.FLOAT32))
    return folder


@pytest.fixture(scope="session")
def tiny_cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder's folder, of float32 and random weights."""
    base = tmp_path_factory.mktemp("cross-encoders")
    save_hugging_face("bert", base / "checkpoint", cross_encoder=True)
    checkpoint = read_checkpoint(base / "checkpoint")
    write_encoder(checkpoint, base / "tiny", Quantization.everywhere(Precision.FLOAT32))
    return base / "tiny"


@pytest.fixture(scope="session")
def walks_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small event log, of users who walk through groups of items."""
    return write_log(tmp_path_factory.mktemp("events") / "walks.csv", walks())


@pytest.fixture(scope="session")
def walker(walks_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recommender that was trained on it."""
    from trimseek.encoders.recommender.training.train import train_recommender
    from trimseek.encoders.recommender.training.trainer import RecommenderSettings

    folder = tmp_path_factory.mktemp("recommenders") / "walker"
    settings = RecommenderSettings(patience=4, batch=64, dropout=0.2, learning_rate=4e-3)
    train_recommender(walks_log, folder, settings=settings)
    return folder


@pytest.fixture(scope="session")
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of another space."""
    return write_tiny(tmp_path_factory.mktemp("encoders") / "other", seed=1)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in this process, in a temporary folder.

    What a command costs is then its work, not a second of imports; ``run_process`` starts one.
    """

    def call(*words: object, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        shown, said = io.StringIO(), io.StringIO()
        environment = dict(os.environ)
        with monkeypatch.context() as patch, redirect_stdout(shown), redirect_stderr(said):
            patch.chdir(tmp_path)
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            try:
                os.environ.update(env | {"COLUMNS": "80"})
                status = main([str(word) for word in words])
            finally:  # --config, too, sets a variable for the rest of the process
                os.environ.clear()
                os.environ.update(environment)
        return subprocess.CompletedProcess(
            [str(word) for word in words], status, shown.getvalue(), said.getvalue()
        )

    return call


@pytest.fixture
def run_process(tmp_path: Path) -> Run:
    """Run the command line in a process of its own, in a temporary folder."""

    def call(*words: object, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*module_command("trimseek"), *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=os.environ | env,
            check=False,
        )

    return call


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def ingest(
    corpus: Path | str,
    folder: Path,
    encoder: Path | str,
    *,
    sync: bool = False,
    facets: Sequence[str] = (),
    kind: SnapshotKind | None = None,
) -> IngestReport:
    """``encoder``: a name as ``find_encoder`` takes it."""
    opened = DocumentEncoder(find_encoder(str(encoder)))
    return Ingest(
        open_corpus(str(corpus)),
        *(folder, opened, str(encoder)),
        sync=sync,
        facets=facets,
        kind=kind,
    ).run()


def as_format(version: int, folder: Path) -> None:
    """Make an index's database one of an earlier format, as an earlier trimseek would have it."""
    path, old = folder / DATABASE, folder / "old.db"
    db = sqlite3.connect(old)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(SCHEMAS[version])
    db.execute("ATTACH ? AS new", (str(path),))
    tables = db.execute(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND name IN"
        " ('settings', 'facet_fields', 'documents', 'chunks', 'tombstones', 'snapshots')"
    ).fetchall()
    for (table,) in tables:
        names = ", ".join(row[1] for row in db.execute(f"PRAGMA main.table_info({table})"))
        db.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    if version > 1:
        db.execute("DELETE FROM main.settings WHERE name LIKE 'vectors_%'")
    if version == 3:
        db.execute("INSERT INTO facets SELECT * FROM new.facets")
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.close()
    for file in (*folder.glob("words-*"), *folder.glob("vectors-*")):
        file.unlink()
    old.replace(path)


def shared(name: str) -> Path:
    """A development collection beside the checkout; the test is skipped without it."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
