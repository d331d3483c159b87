"""``trimseek.evaluate`` as a program calls it."""

from pathlib import Path

import pytest

import trimseek
from tests.eval.bench.test_run import write_collection
from trimseek.errors import ConfigError, CorpusError


def test_rows_of_each_collection_and_encoder(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path / "home"))
    folders = [write_collection(tmp_path / name) for name in ("one", "two")]
    report = trimseek.evaluate(folders, str(tiny_encoder), reference=str(tiny_encoder))
    assert [(row.collection, row.encoder) for row in report.rows] == [
        ("one", str(tiny_encoder)),
        ("two", str(tiny_encoder)),
    ]
    for row in report.rows:
        assert row.quality is not None
        assert row.quality.measures["recall@10"] == 1
        assert row.encode is None  # not timed


def test_what_cannot_be_evaluated(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = write_collection(tmp_path / "one")
    with pytest.raises(ConfigError, match="two collections are called one"):
        trimseek.evaluate([folder, str(folder)], str(tiny_encoder))
    with pytest.raises(CorpusError, match="nowhere: no such file or folder"):
        trimseek.evaluate(tmp_path / "nowhere", str(tiny_encoder))
