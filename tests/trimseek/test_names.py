"""A working directory with folders and modules called like ours changes nothing."""

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.api.serving import DOCUMENTS, serving
from tests.conftest import ROOT, ingest, write_jsonl
from tests.trimseek.test_architecture import FOLDERS

NAMES = ("search", "api", "encoders", "indexer", "eval", "compression", "settings", "errors")
COMMAND = Path(sysconfig.get_path("scripts")) / "trimseek"


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A folder with an index, and with folders and modules of our names that cannot be imported.

    ``trimseek`` is a folder without modules, as the parent of a clone has it.
    """
    folder = tmp_path_factory.mktemp("crowded")
    ingest(write_jsonl(folder / "c.jsonl", DOCUMENTS), folder / "index", tiny_encoder)
    for name in NAMES:
        (folder / f"{name}.py").write_text("raise ImportError('the wrong module')")
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise ImportError('the wrong package')")
    for name in ("commands", "cli", "api", "search"):
        (folder / "trimseek" / name).mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["search", "index", "kitten", "--json"],
        ["info", "index"],
        ["get", "index", "e"],
        ["list"],
        ["verify", "index"],
        ["config"],
        ["index", "c.jsonl", "--into", "again", "--encoder", "ENCODER"],
        ["backup", "index", "--into", "index.backup"],
        ["export", "index", "--into", "index.jsonl"],
        ["compact", "index"],
        ["doctor"],
        ["encoder", "info", "ENCODER"],
        ["bench", "c.jsonl", "--encoder", "ENCODER", "--no-timing", "--json"],
        pytest.param(
            ["bench", "c.jsonl", "--encoder", "ENCODER", "--json"], marks=pytest.mark.slow
        ),
    ],
)
def test_commands(words: list[str], crowded: Path, tiny_encoder: Path) -> None:
    words = [str(tiny_encoder) if word == "ENCODER" else word for word in words]
    done = subprocess.run([COMMAND, *words], cwd=crowded, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_several_workers(crowded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(crowded)
    with serving("index", "--workers", 2, command=COMMAND) as service:
        assert service.call("GET", "/v1/indexes/index/search?q=kitten").status == 200


PACKAGES = ", ".join(f"trimseek.{folder}" for folder in FOLDERS)
IMPORTS = f"import {PACKAGES}; print(trimseek.Index)"


def test_imports_beside_modules_of_the_same_names(crowded: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=crowded, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_wheel(tmp_path: Path, crowded: Path, tiny_encoder: Path) -> None:
    """Built, installed into an empty environment with our dependencies, and run."""
    source = tmp_path / "source"
    shutil.copytree(
        ROOT,
        source,
        ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "*.so", "*.egg-info"),
    )
    dist = tmp_path / "dist"
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(dist), str(source)], check=True)
    (wheel,) = dist.glob("*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True)
    code = (
        "import json, trimseek, trimseek.encoders.native.library as l;"
        f"v = trimseek.load_encoder({str(tiny_encoder)!r}).encode_queries(['a', 'b']);"
        "print(json.dumps([trimseek.__file__, l.kernels(), list(v.shape)]))"
    )
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    file, kernels, shape = json.loads(done.stdout)
    assert Path(file).is_relative_to(tmp_path / "venv")
    assert shape == [2, 32]
    # the same kernels as in the environment of the tests
    from trimseek.encoders.native.library import kernels as ours

    assert kernels == ours()
    command = python.with_name("trimseek")
    for words in (
        [command, "search", "index", "kitten"],
        [command, "list"],
        [command, "--help"],
        [python, "-c", IMPORTS],
    ):
        done = subprocess.run(
            [str(word) for word in words], cwd=crowded, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    with serving(crowded / "index", "--workers", 2, command=command) as service:
        assert service.call("GET", "/v1/indexes/index/search?q=kitten").status == 200
