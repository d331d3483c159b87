"""Fixtures: the real MiniLM, a tiny random encoder for what does not depend on meaning."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from encoders import DocumentEncoder, find_encoder, write_encoder
from encoders.catalog import find_checkpoint
from encoders.checkpoint import Checkpoint
from encoders.quantize import Precision, Quantization
from indexer import Ingest, IngestReport, open_corpus
from tests.tiny import tiny_checkpoint, write_tiny

SHARED = Path(__file__).parent.parent.parent / "shared"

Run = Callable[..., subprocess.CompletedProcess[str]]


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
def other_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of another space."""
    return write_tiny(tmp_path_factory.mktemp("encoders") / "other", seed=1)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run the command line in a process of its own, in a temporary folder."""

    def call(*words: object, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trimseek", *map(str, words)],
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
) -> IngestReport:
    """``encoder``: a name as ``find_encoder`` takes it."""
    opened = DocumentEncoder(find_encoder(str(encoder)))
    return Ingest(
        open_corpus(str(corpus)), folder, opened, str(encoder), sync=sync, facets=facets
    ).run()


def shared(name: str) -> Path:
    """A development collection beside the checkout; the test is skipped without it."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
